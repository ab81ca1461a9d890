"""Fit a Gaussian mixture to the Old Faithful eruptions, report it, draw it, save it, and sample from the saved one.

    python examples/demo.py [--components K] [--output FOLDER]

The report goes to the terminal, the picture to FOLDER/faithful.png and the model to FOLDER/faithful.pth, which a
second process (sample.py) loads and samples from.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from tgmm import GaussianMixture

DATA = Path(__file__).parent / "data" / "faithful.csv"
SAMPLER = Path(__file__).parent / "sample.py"
FEATURES = ("eruption duration", "waiting time")
UNIT = "min"
# Okabe and Ito's colours, told apart by colour-blind readers too, and a marker of its own for each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")


def main() -> None:
    options = parse_arguments()
    X = np.loadtxt(DATA, delimiter=",", skiprows=1)
    gmm = GaussianMixture(n_components=options.components, covariance_type="full", n_init=5, tol=1e-8, random_state=0)
    gmm.fit(X)
    print(report(gmm, X))
    options.output.mkdir(parents=True, exist_ok=True)
    picture = options.output / "faithful.png"
    draw(gmm, X, picture)
    print(f"\nPicture: {picture}")
    model = options.output / "faithful.pth"
    gmm.save(model)
    print(f"Model:   {model}\n", flush=True)
    subprocess.run([sys.executable, SAMPLER, model], check=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--components", type=int, default=2, choices=range(1, len(COLOURS) + 1), metavar="K")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="FOLDER")
    return parser.parse_args()


# -------------------------------------------------------------------------------------------------------- the report


def report(gmm: GaussianMixture, X: np.ndarray) -> str:
    return "\n\n".join([heading(gmm, X), fit_summary(gmm, X), *component_summaries(gmm), cluster_table(gmm, X)])


def heading(gmm: GaussianMixture, X: np.ndarray) -> str:
    n, d = X.shape
    title = "Gaussian mixture fitted by maximum likelihood (EM)"
    return (
        f"{title}\n{'=' * len(title)}\n"
        f"Old Faithful: n = {n} eruptions, d = {d} features ({', '.join(FEATURES)}; {UNIT})\n"
        f"K = {gmm.n_components} components, covariance type {gmm.covariance_type!r}"
    )


def fit_summary(gmm: GaussianMixture, X: np.ndarray) -> str:
    n, d = X.shape
    rows = {
        "log-likelihood": f"{n * gmm.score(X):.3f}",
        "free parameters": f"{free_parameters(gmm.n_components, d)}",
        "AIC": f"{gmm.aic(X):.3f}",
        "BIC": f"{gmm.bic(X):.3f}",
        "EM iterations": f"{gmm.n_iter_}",
        "converged": "yes" if gmm.converged_ else "no",
    }
    return "\n".join(f"{name:<16}{value:>12}" for name, value in rows.items()) + "\n(AIC, BIC: lower is better)"


def free_parameters(K: int, d: int) -> int:
    """Weights, means and full covariances, less the one weight that the others determine."""
    return (K - 1) + K * d + K * d * (d + 1) // 2


def component_summaries(gmm: GaussianMixture) -> list[str]:
    weights, means, covariances = parameters(gmm)
    return [
        component_summary(k, weight, mean, covariance)
        for k, (weight, mean, covariance) in enumerate(zip(weights, means, covariances, strict=True), start=1)
    ]


def component_summary(k: int, weight: float, mean: np.ndarray, covariance: np.ndarray) -> str:
    deviations = np.sqrt(np.diag(covariance))
    correlation = covariance[0, 1] / deviations.prod()
    lines = [
        f"Component {k}: weight {weight:.4f}, correlation {correlation:.3f}",
        f"  {'':<20}{'mean':>10}{'sd':>10}{'covariance':>24}",
    ]
    for name, centre, deviation, row in zip(FEATURES, mean, deviations, covariance, strict=True):
        lines.append(f"  {name:<20}{centre:>10.4f}{deviation:>10.4f}" + "".join(f"{value:>12.4f}" for value in row))
    return "\n".join(lines)


def cluster_table(gmm: GaussianMixture, X: np.ndarray) -> str:
    """How many rows each component wins, and how sure the model is of them: 1 - their largest probability."""
    probabilities = memberships(gmm, X)
    labels, uncertainty = probabilities.argmax(axis=1), 1 - probabilities.max(axis=1)
    lines = [f"{'Cluster':<10}{'rows':>6}{'mean uncertainty':>20}{'largest':>12}"]
    for k in range(gmm.n_components):
        own = uncertainty[labels == k]
        mean, largest = (own.mean(), own.max()) if own.size else (np.nan, np.nan)
        lines.append(f"{k + 1:<10}{own.size:>6}{mean:>20.6f}{largest:>12.6f}")
    lines.append(f"{'all':<10}{len(X):>6}{uncertainty.mean():>20.6f}{uncertainty.max():>12.6f}")
    return "\n".join(lines)


# ------------------------------------------------------------- the fit, components in the order of their first feature


def parameters(gmm: GaussianMixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = by_first_feature(gmm)
    return gmm.weights_[order], gmm.means_[order], gmm.covariances_[order]


def memberships(gmm: GaussianMixture, X: np.ndarray) -> np.ndarray:
    return gmm.predict_proba(X)[:, by_first_feature(gmm)]


def by_first_feature(gmm: GaussianMixture) -> np.ndarray:
    """The components' order in the report and the picture: a fit's own order is arbitrary."""
    return gmm.means_[:, 0].argsort()


# ------------------------------------------------------------------------------------------------------- the picture


def draw(gmm: GaussianMixture, X: np.ndarray, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8.4, 5.2), layout="constrained")
    set_limits(axes, X)
    draw_density(axes, gmm)
    draw_points(axes, gmm, X)
    draw_ellipses(axes, gmm)
    axes.set_xlabel(f"{FEATURES[0].capitalize()} ({UNIT})")
    axes.set_ylabel(f"{FEATURES[1].capitalize()} to the next eruption ({UNIT})")
    axes.set_title(f"Old Faithful: {len(X)} eruptions, {gmm.n_components} Gaussian components")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=legend_entries(gmm), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def set_limits(axes: Axes, X: np.ndarray, margin: float = 0.18) -> None:
    low, high = X.min(axis=0), X.max(axis=0)
    low, high = low - margin * (high - low), high + margin * (high - low)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def draw_density(axes: Axes, gmm: GaussianMixture, resolution: int = 300) -> None:
    """Contours of the density, each level half of the next."""
    x, y = np.meshgrid(np.linspace(*axes.get_xlim(), resolution), np.linspace(*axes.get_ylim(), resolution))
    density = np.exp(gmm.score_samples(np.column_stack([x.ravel(), y.ravel()]))).reshape(x.shape)
    levels = density.max() * 2.0 ** np.arange(-7, 0)
    axes.contour(x, y, density, levels=levels, colors="0.72", linewidths=0.7, zorder=1)


def draw_points(axes: Axes, gmm: GaussianMixture, X: np.ndarray) -> None:
    labels = memberships(gmm, X).argmax(axis=1)
    for k in range(gmm.n_components):
        own = X[labels == k]
        style = {"c": COLOURS[k], "marker": MARKERS[k], "s": 18, "alpha": 0.65, "linewidths": 0}
        axes.scatter(own[:, 0], own[:, 1], **style, zorder=2)


def draw_ellipses(axes: Axes, gmm: GaussianMixture) -> None:
    """Each component's mean, and its ellipses at Mahalanobis distance 1 and 2."""
    _, means, covariances = parameters(gmm)
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        for sigma, line in ((1, "-"), (2, "--")):
            axes.add_patch(ellipse(mean, covariance, sigma, edgecolor=COLOURS[k], linestyle=line))
        axes.plot(*mean, marker="+", color="black", markersize=9, markeredgewidth=1.6, zorder=4)


def ellipse(mean: np.ndarray, covariance: np.ndarray, sigma: float, **style: str) -> Ellipse:
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * sigma * np.sqrt(variances)
    angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
    return Ellipse((mean[0], mean[1]), width, height, angle=angle, facecolor="none", linewidth=1.6, zorder=3, **style)


def legend_entries(gmm: GaussianMixture) -> list[Line2D]:
    weights, _, _ = parameters(gmm)
    points = [
        Line2D([], [], color=COLOURS[k], marker=MARKERS[k], linestyle="none", label=f"component {k + 1} ({weight:.0%})")
        for k, weight in enumerate(weights)
    ]
    marks = [
        Line2D([], [], color="black", marker="+", linestyle="none", markersize=9, label="mean"),
        Line2D([], [], color="0.2", linestyle="-", label="1 sigma, holds 39%"),
        Line2D([], [], color="0.2", linestyle="--", label="2 sigma, holds 86%"),
        Line2D([], [], color="0.72", linewidth=0.9, label="density, levels halving"),
    ]
    return points + marks


if __name__ == "__main__":
    main()
