"""Load a saved mixture and draw rows from it.

python examples/sample.py FILE [--rows N]
"""

import argparse
import os
from pathlib import Path

import numpy as np

from tgmm import GaussianMixture


def main() -> None:
    options = parse_arguments()
    gmm = GaussianMixture.load(options.file)
    X, components = map(np.asarray, gmm.sample(options.rows, random_state=0))
    print(f"Process {os.getpid()} loaded {options.file} and drew {len(X)} rows from it:")
    print(table(gmm, X, np.bincount(components, minlength=len(gmm.weights_)) / len(X)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--rows", type=int, default=1000, metavar="N")
    return parser.parse_args()


def table(gmm: GaussianMixture, X: np.ndarray, shares: np.ndarray) -> str:
    """The draws beside what the mixture says of them: shares of the components, means of the features."""
    rows = {f"share of component {k}": pair for k, pair in enumerate(zip(shares, gmm.weights_, strict=True))}
    means = zip(gmm.feature_names_in_, X.mean(0), gmm.mean(), strict=True)
    rows |= {f"mean of {name}": (drawn, exact) for name, drawn, exact in means}
    lines = [f"  {'':<22}{'draws':>10}{'mixture':>10}"]
    return "\n".join(lines + [f"  {name:<22}{drawn:>10.4f}{exact:>10.4f}" for name, (drawn, exact) in rows.items()])


if __name__ == "__main__":
    main()
