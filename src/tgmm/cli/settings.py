"""What to choose by and how to fit, as options say."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tgmm.covariance import COMMON


def structures(options: Namespace) -> list[str]:
    """Return the covariance structures to try: full for one number of components, else all, where none are named."""
    return options.covariance or (["full"] if len(options.components) == 1 else list(COMMON))


def estimation(options: Namespace) -> dict[str, Any]:
    """Return what to choose by and how to fit, as arguments of `select`."""
    return {
        "criterion": options.criterion,
        "n_init": options.n_init,
        "init_means": options.init,
        "tol": options.tol,
        "max_iter": options.max_iter,
        "reg_covar": options.reg_covar,
        "random_state": options.seed,
        "device": options.device,
    }
