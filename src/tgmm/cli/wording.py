"""The library's messages in the words of the command line: options in the place of arguments."""

from __future__ import annotations

import re
from argparse import Namespace

from tgmm.data.tables import CHOOSE
from tgmm.data.text import LACKING

# The options by which the command line sets arguments of the library.
ARGUMENTS = {
    "n_components": "components",
    "covariance_type": "covariance",
    "covariance_types": "covariance",
    "n_factors": "factors",
    "init_means": "init",
    "n_init": "n_init",
    "max_iter": "max_iter",
    "tol": "tol",
    "reg_covar": "reg_covar",
    "random_state": "seed",
    "weight_concentration_prior": "weight_concentration",
    "mean_precision_prior": "mean_precision",
    "degrees_of_freedom_prior": "degrees_of_freedom",
    "n_samples": "rows",
    "std_range": "std_range",
}
# Words of everyday language, which mean an argument only where a value or a condition follows.
WORDS = {name: name for name in ("component", "confidence", "criterion", "device", "missing", "noise")}
PHRASES = {
    LACKING: "Leave such rows out with --drop-missing, fill them in, fit the model with tgmm fit --missing em",
    CHOOSE: "choose numeric columns with --columns",
    "X names": "The data file is",
    "X has n_samples=": "the number of rows is ",
    "path must end in": "the name of a model must end in",
}
VALUE = r"'[^']*'|\[[^\]]*\]|[\w+-]+(?:\.\w+)*"
KIND_OF_ERROR = re.compile(r"\b[A-Z]\w*Error: ")


def in_options(message: str, options: Namespace) -> str:
    """Return a message with the options of a command for the arguments of the library that they set.

    Parameters
    ----------
    message : str
    options : Namespace
        Those of the command; what else the message names has no option and stays as it is.

    Returns
    -------
    str
    """
    for phrase, words in PHRASES.items():
        message = message.replace(phrase, words)
    for name, option in (ARGUMENTS | WORDS).items():
        if not hasattr(options, option):
            continue
        flag = f"--{option.replace('_', '-')}"
        outside = rf"(?<![\w.'\"-]){name}"
        message = re.sub(rf"{outside}=({VALUE})", lambda found, flag=flag: f"{flag}{_bare(found[1])}", message)
        follows = r"(?= must | and --)" if name in WORDS else r"(?![\w='\"])"
        message = re.sub(outside + follows, flag, message)
    return KIND_OF_ERROR.sub("", message)


def _bare(value: str) -> str:
    """Return a value as one writes it after an option: without quotes, lists without brackets, and nothing for True."""
    return "" if value == "True" else " " + re.sub(r"[\[\]' ]", "", value)
