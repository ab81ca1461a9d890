"""What all pictures have in common: colours, markers, names, axes and legends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tgmm.data.validation import check_rows
from tgmm.estimators.base import MixtureEstimator
from tgmm.mixture.base import as_mixture
from tgmm.mixture.mixture import Mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Model = Mixture | MixtureEstimator  # whose pictures can be drawn

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), without the yellow that white paper swallows and the black of the sums.
# Six colours and seven markers make 42 pairs, so that components are told apart without colours, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "0.45"


def colour(k: int) -> str:
    """Return the colour of component k."""
    return COLOURS[k % len(COLOURS)]


def marker(k: int) -> str:
    """Return the marker of component k."""
    return MARKERS[k % len(MARKERS)]


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, or raise an ImportError that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("tgmm.plotting needs matplotlib: pip install tgmm[plot].") from error
    return plt


def picture_formats() -> list[str]:
    """Return the suffixes of files that a picture can be saved to."""
    pyplot()
    from matplotlib.backend_bases import FigureCanvasBase

    return sorted(f".{name}" for name in FigureCanvasBase.get_supported_filetypes())


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.4) -> Axes:
    """Return the axes to draw on: those given, or those of a new figure."""
    drawn = pyplot().figure(figsize=(width, height), layout="constrained").add_subplot() if ax is None else ax
    drawn.spines[["top", "right"]].set_visible(False)
    return drawn


def legend_outside(ax: Axes, **settings: Any) -> None:
    """Put the legend to the right of the data."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, **settings)


def component_name(weights: np.ndarray, k: int) -> str:
    """Return a component's number, that of `predict`, and its weight."""
    return f"component {k} ({weights[k]:.0%})" if weights[k] >= 0.095 else f"component {k} ({weights[k]:.1%})"


def feature_names(model: Model) -> list[str]:
    """Return the names of the features of the fit, or their numbers."""
    names = as_mixture(model, "model").feature_names
    return [f"feature {j}" for j in range(n_features(model))] if names is None else [str(name) for name in names]


def n_features(model: Model) -> int:
    """Return d of a fitted model."""
    return as_mixture(model, "model").n_features


def rows_of(model: Model, X: Any) -> np.ndarray:
    """Return checked rows as a float64 array (n, d)."""
    rows, _ = check_rows(X, as_mixture(model, "model").columns)
    return rows.tensor.cpu().double().numpy()


def probabilities_of(model: Model, X: Any) -> np.ndarray:
    """Return the posterior probabilities of the components as an array (n, K)."""
    return torch.as_tensor(model.predict_proba(X)).cpu().numpy()


def labels_of(model: Model, X: Any) -> np.ndarray:
    """Return the most probable components as an array (n,)."""
    return torch.as_tensor(model.predict(X)).cpu().numpy()


def point_style(n_rows: int) -> dict[str, float]:
    """Return size and opacity of points: the more, the smaller and the paler."""
    crowd = np.clip(np.log10(max(n_rows, 1)) - 2, 0, 3)  # 0 up to 100 rows, 3 from 100 000
    return {"s": 24 / (1 + crowd), "alpha": 0.75 / (1 + 0.6 * crowd), "linewidths": 0}
