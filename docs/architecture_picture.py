"""The picture of a fit on the architecture page."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

BOXES = {  # name: (x, y, what it says below its name)
    "rows": (0.0, 1.0, "array, tensor, frame,\nfile, loader"),
    "Data": (2.2, 1.0, "checked, surveyed\nonce"),
    "Problem": (4.4, 1.0, "frame, priors,\nladder of kernels"),
    "start": (4.4, -0.9, "trials of several\non a sample"),
    "Expectation": (6.9, 1.0, "folds a kernel\nover the rows"),
    "Update": (6.9, -0.9, "the M-step"),
    "Solution": (9.3, 1.0, "the best run, in\nthe user's units"),
    "Mixture": (9.3, -0.9, "predict, sample,\ncondition, save ..."),
}
ARROWS = [  # from, to, label
    ("rows", "Data", ""),
    ("Data", "Problem", ""),
    ("Problem", "start", ""),
    ("start", "Update", ""),
    ("Expectation", "Update", "Statistics"),
    ("Update", "Expectation", "Parameters"),
    ("Expectation", "Solution", ""),
    ("Solution", "Mixture", ""),
]
WIDTH, HEIGHT = 1.6, 1.0
FRAME = (4.4, 8.15)  # where the engine's units begin and end


def draw() -> None:
    """Draw the walk of a fit, the units of the engine on a ground of their own."""
    _, ax = plt.subplots(figsize=(11, 3.4), layout="constrained")
    ax.axvspan(FRAME[0] - WIDTH / 2 - 0.12, FRAME[1], color="0.94", zorder=0)
    ax.text(FRAME[0] - WIDTH / 2, 2.05, "inside the frame", color="0.35", va="top", style="italic")
    for name, (x, y, words) in BOXES.items():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        ax.add_patch(
            FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", fc="white", ec="C0", lw=1.2)
        )
        ax.text(x, y + 0.27, name, ha="center", va="center", weight="bold")
        ax.text(x, y - 0.13, words, ha="center", va="center", fontsize=8, color="0.25")
    for arrow in ARROWS:
        _draw_arrow(ax, *arrow)
    ax.set(xlim=(-0.95, 10.25), ylim=(-1.55, 2.15))
    ax.axis("off")


def _draw_arrow(ax: Axes, begin: str, end: str, label: str) -> None:
    """Draw an arrow between two boxes, along a row or a column; of those with a label there are two side by side."""
    (x0, y0, _), (x1, y1, _) = BOXES[begin], BOXES[end]
    if y0 == y1:
        tail, head = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)
    else:
        down = 1 if y1 < y0 else -1
        x = x0 + 0.3 * down if label else x0
        tail, head = (x, y0 - down * HEIGHT / 2), (x, y1 + down * HEIGHT / 2)
        ax.text(x + 0.15 * down, (y0 + y1) / 2, label, ha="left" if down > 0 else "right", va="center", fontsize=8)
    ax.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "0.3", "shrinkA": 2, "shrinkB": 2})
