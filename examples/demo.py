"""Fit a Gaussian mixture to the Old Faithful eruptions, explain it, draw it, save it, and sample from the saved model.

    python examples/demo.py [--components K] [--output FOLDER]

The summary goes to the terminal, the picture to FOLDER/faithful.png and the model to FOLDER/faithful.pth, which a
second process (sample.py) loads and samples from.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")

from tgmm import GaussianMixture
from tgmm.plotting import plot

DATA = Path(__file__).parent / "data" / "faithful.csv"
SAMPLER = Path(__file__).parent / "sample.py"


def main() -> None:
    options = parse_arguments()
    gmm = GaussianMixture(n_components=options.components, random_state=0).fit(DATA).reorder(by="mean")
    print(gmm.summary(DATA))

    options.output.mkdir(parents=True, exist_ok=True)
    picture, model = options.output / "faithful.png", options.output / "faithful.pth"
    X = torch.from_numpy(np.loadtxt(DATA, delimiter=",", skiprows=1))
    plot(gmm, X).figure.savefig(picture, dpi=150)
    gmm.save(model)
    print(f"\nPicture: {picture}\nModel:   {model}\n", flush=True)
    subprocess.run([sys.executable, SAMPLER, model], check=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--components", type=int, default=2, metavar="K")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="FOLDER")
    return parser.parse_args()


if __name__ == "__main__":
    main()
