"""What all pictures share: colours, markers, names, axes and legends."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tgmm.data.validation import check_rows
from tgmm.estimators.base import MixtureEstimator
from tgmm.mixture.base import BaseMixture, as_mixture
from tgmm.mixture.evaluation import predict, predict_proba
from tgmm.mixture.mixture import Mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Model = Mixture | MixtureEstimator  # whose pictures can be drawn

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), without yellow, which is hard to see on white, and black, which sums have;
# then other hues. Colours repeat from the twentieth component on. Seven markers, or five styles of lines, distinguish
# components without colours, too.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#332288", "#882255", "#117733", "#999933", "#AA4499", "#661100", "#44AA99"),
    *("#808080", "#4B0082", "#B8860B", "#E6194B", "#A6CE39", "#9A86D0"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)))
GREY = "0.45"
LETTERS, LEAST = 10.0, 4.0  # the usual and the smallest font size of a legend, in points
ROW, COLUMN = 0.22, 1.75  # height and width of a legend entry in the usual font size, in inches
AROUND = 0.5  # width of the margin for noise, relative to the components and their rows
SHARE = 0.6  # of the width of the axes, for the legend
TALL = 0.9  # of the height of a figure, for the legend
NARROW, MOST_LINES = 18, 2  # letters of a line, and lines, of the name of one of many axes


def colour(k: int) -> str:
    """Return the colour of component k."""
    return COLOURS[k % len(COLOURS)]


def marker(k: int) -> str:
    """Return the marker of component k."""
    return MARKERS[k % len(MARKERS)]


def line(k: int) -> Any:
    """Return the line style of component k, for lines without markers. It changes every six components."""
    return LINES[k // 6 % len(LINES)]


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, or raise an ImportError that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("tgmm.plotting needs matplotlib: pip install matplotlib") from error
    return plt


def picture_formats() -> list[str]:
    """Return the suffixes of files that a picture can be saved to."""
    pyplot()
    from matplotlib.backend_bases import FigureCanvasBase

    return sorted(f".{name}" for name in FigureCanvasBase.get_supported_filetypes())


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.4, n_entries: int = 0) -> Axes:
    """Return the axes to draw on: those given, or those of a new figure, with room for the legend."""
    if ax is None:
        width += COLUMN * more_columns(n_entries, height)
        drawn = pyplot().figure(figsize=(width, height), layout="constrained").add_subplot()
    else:
        drawn = ax
    drawn.spines[["top", "right"]].set_visible(False)
    return drawn


def more_columns(n_entries: int, height: float) -> float:
    """Return how many columns a legend needs beyond one in a figure of this height, in inches."""
    return max(0.0, ROW * n_entries / (TALL * height) - 1)


def legend_outside(ax: Axes, handles: list[Any] | None = None, **settings: Any) -> None:
    """Put the legend to the right of the data, in a font size and in columns in which it fits."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    settings |= legend_look(len(handles), ax)
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, **settings
    )


def legend_look(n_entries: int, beside: Any, tall: float = 1.0) -> dict[str, Any]:
    """Return the settings with which a legend fits beside axes, or in this share of the height of a figure."""
    dpi = beside.figure.dpi
    columns, size = legend_form(n_entries, SHARE * beside.bbox.width / dpi, tall * beside.bbox.height / dpi)
    return {"ncols": columns, "fontsize": size, "columnspacing": 1.0}


def legend_form(n_entries: int, width: float, height: float) -> tuple[int, float]:
    """Return the number of columns and the largest font size in which a legend fits into a space in inches."""

    def size(columns: int) -> float:
        n_rows = math.ceil(n_entries / columns)
        return LETTERS * min(1.0, height / (ROW * n_rows), width / (COLUMN * columns))

    columns = max(range(1, n_entries + 1), key=size)
    return columns, max(size(columns), LEAST)


def draw_noise(ax: Axes, rows: np.ndarray) -> None:
    """Draw rows (m, 2) that are noise."""
    if len(rows):
        ax.scatter(*rows.T, color=GREY, marker="x", s=14, linewidths=0.8, zorder=1, label="noise")


def name_noise(ax: Axes, model: Model, note: str, mark: str = "") -> None:
    """Give the legend an entry for noise, where there is some, with its weight, a note, and the mark of its rows."""
    mixture = as_mixture(model, "model")
    if mixture.noise is not None:
        name = f"noise ({percent(float(mixture.parameters.rest))}, {note})"
        look = {"color": GREY, "linestyle": "none", "marker": mark, "markersize": 4, "markeredgewidth": 0.8}
        ax.errorbar([], [], label=name, **look)  # which legends have last


def near_rows(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which rows (n, m) are not noise so far away that it would squeeze the others in a picture, (n,)."""
    is_noise = labels == -1
    if is_noise.all():
        return is_noise
    low, high = room(rows[~is_noise])
    return ~(is_noise & ((rows < low) | (rows > high)).any(1))


def room(inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners (m,) of the box around points (n, m) beyond which noise would squeeze them in a picture."""
    low, high = np.fmin.reduce(inner), np.fmax.reduce(inner)  # of the values that are there
    margin = AROUND * (high - low)
    return low - margin, high + margin


def data_name(shown: np.ndarray) -> str:
    """Return the legend's text for rows of which some (n,) are shown."""
    outside = int((~shown).sum())
    return f"data ({outside} of {len(shown)} outside)" if outside else "data"


def component_name(weights: np.ndarray, k: int) -> str:
    """Return a component's number, that of `predict`, and its weight."""
    return f"component {k} ({percent(weights[k])})"


def percent(weight: float) -> str:
    """Return a weight in per cent, with a decimal where it is small."""
    return f"{weight:.0%}" if weight >= 0.095 else f"{weight:.1%}"


def feature_names(model: Model) -> list[str]:
    """Return the names of the features of the fit, or their numbers."""
    names = as_mixture(model, "model").feature_names
    return [f"feature {j}" for j in range(n_features(model))] if names is None else [str(name) for name in names]


def plain(text: str) -> str:
    """Return a text as matplotlib must have it so that no dollar sign begins a formula."""
    return text.replace("$", r"\$")


def narrow(name: str) -> str:
    """Return a name in short lines, broken after what parts its words, and cut where it is too long for them."""
    lines = [""]
    for word in re.findall(r"[^\s_/.-]+[\s_/.-]*|[\s_/.-]+", name):
        if lines[-1] and len(lines[-1] + word.rstrip()) > NARROW:
            lines.append("")
        lines[-1] += word
    cut = [line.rstrip() for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        cut[-1] += "\N{HORIZONTAL ELLIPSIS}"
    return "\n".join(line if len(line) <= NARROW else line[: NARROW - 1] + "\N{HORIZONTAL ELLIPSIS}" for line in cut)


def n_features(model: Model) -> int:
    """Return d of a fitted model."""
    return as_mixture(model, "model").n_features


def n_components(model: Model) -> int:
    """Return K of a fitted model."""
    return as_mixture(model, "model").n_components


def rows_of(model: Model, X: Any) -> np.ndarray:
    """Return checked rows as a float64 array (n, d)."""
    columns = as_mixture(model, "model").columns
    rows, _ = check_rows(X, columns, may_lack=columns.may_lack)
    return rows.tensor.cpu().double().numpy()


def shown(probability: float) -> str:
    """Return a probability with at most three decimals."""
    if 0 < probability < 0.0005:
        return "< 0.001"
    return "> 0.999" if 0.9995 <= probability < 1 else f"{probability:.3f}".rstrip("0").rstrip(".")


def probabilities_of(model: Model | BaseMixture, X: Any) -> np.ndarray:
    """Return the posterior probabilities of the components as an array (n, K)."""
    return _array(predict_proba(as_mixture(model, "model"), X))


def labels_of(model: Model, X: Any) -> np.ndarray:
    """Return the most probable components as an array (n,), by the numbers of those that are drawn."""
    return _array(predict(as_mixture(model, "model"), X))


def _array(values: Any) -> np.ndarray:
    """Return an array or tensor from a model as an array."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def point_style(n_rows: int) -> dict[str, float]:
    """Return the size and opacity of points. Many points are small and pale."""
    crowd = np.clip(np.log10(max(n_rows, 1)) - 2, 0, 3)  # 0 up to 100 rows, 3 from 100 000
    return {"s": 24 / (1 + crowd), "alpha": 0.75 / (1 + 0.6 * crowd), "linewidths": 0}
