"""How pictures look on the site."""

from typing import Any

import matplotlib

STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def reset(*_: Any) -> None:
    """Begin a tutorial with this style."""
    matplotlib.rcParams.update(STYLE)
