"""What each command accepts."""

from __future__ import annotations

import argparse
import csv
import math
import sys

from tgmm.cli.choices import ALIASES, COMMON, CRITERIA, FORMATS, MCLUST, MISSING, STARTS, STRUCTURES
from tgmm.runtime.paths import expanded

# Of `classify`, which have a meaning where it trains.
OF_TRAINING = [
    "components",
    "covariance",
    "factors",
    "criterion",
    "init",
    "n_init",
    "max_iter",
    "tol",
    "reg_covar",
    "seed",
]
DEVICE = "Where to compute: cpu, cuda and so on. The default is CUDA if there is a CUDA device."


def add(command: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of the command of a name to its parser."""
    arguments = {
        "fit": _add_fit,
        "predict": _add_predict,
        "classify": _add_classify,
        "impute": _add_impute,
        "sample": _add_sample,
        "info": _add_info,
    }
    arguments[name](command)


def _add_fit(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", type=expanded, help="The file of rows to fit. Give - for the standard input.")
    _add_model(command)
    _add_columns(command)
    _add_missing(command).add_argument(
        "--missing",
        choices=MISSING,
        default=MISSING[0],
        help="What to do with rows that lack a value: stop with an error, or fit to the values that are there (em). "
        "The default is error.",
    )
    _add_special(command)
    _add_estimation(command)
    _add_priors(command)
    command.add_argument(
        "--out",
        type=expanded,
        metavar="MODEL",
        help="Save the model to this file, which ends in .pth or .safetensors.",
    )
    command.add_argument(
        "--plot",
        type=expanded,
        metavar="PICTURE",
        help="Draw the fit to this file, which ends in .png, .svg or .pdf.",
    )
    _add_common(command)


def _add_special(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--noise",
        action="store_true",
        help="Add a noise component for rows that belong to no cluster. They are labelled -1.",
    )
    command.add_argument(
        "--labels",
        metavar="COLUMN",
        help="The column that holds the known component of some rows. Values are numbers from 0, or words, which are "
        "numbered in sorted order and kept in the model. An empty value or -1 means that the component is not known. "
        "The column is not used as a feature.",
    )
    command.add_argument(
        "--scale",
        action="store_true",
        help="Standardise the features before the fit. The saved model is in the units of the data. This matters "
        "only to the types whose features have one unit in common: spherical ones become diagonal, low_rank becomes "
        "factor, and EVE, VVE, EEV and VEV become full.",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-k",
        "--components",
        type=_counts,
        default=[1],
        metavar="K",
        help="The number of components: a number, a range such as 1:9, or a list such as 2,4. Of several numbers, "
        "the one with the best criterion is chosen. The default is 1.",
    )
    command.add_argument(
        "--covariance",
        type=_structures,
        metavar="TYPE",
        help=f"The covariance type, or a comma-separated list to choose from: {', '.join(STRUCTURES)}, or a code of "
        "mclust such as EEE. all stands for the six common types and mclust for its fourteen. The default is full for "
        "one number of components and all for several.",
    )
    command.add_argument(
        "--factors",
        type=_counts,
        metavar="Q",
        help="The number of factors of the types low_rank and factor: a number, a range or a list. The default is the "
        "square root of the number of features.",
    )
    command.add_argument(
        "--criterion",
        choices=CRITERIA,
        default="bic",
        help="The criterion that chooses among several models. The default is bic.",
    )


def _add_estimation(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("estimation")
    group.add_argument(
        "--init",
        choices=STARTS,
        default=STARTS[0],
        metavar="START",
        help=f"How to find the starting point: {', '.join(STARTS)}. The default is {STARTS[0]}, which tries "
        "several starts on a sample of the rows.",
    )
    group.add_argument(
        "--n-init",
        type=int,
        default=5,
        metavar="N",
        help="The number of starts with different random draws. The default is 5.",
    )
    group.add_argument(
        "--max-iter",
        type=int,
        default=1000,
        metavar="N",
        help="The maximum number of EM iterations. The default is 1000.",
    )
    group.add_argument(
        "--tol",
        type=float,
        default=1e-8,
        help="Stop when an iteration gains less average log-likelihood than this. The default is 1e-8.",
    )
    group.add_argument(
        "--reg-covar",
        type=float,
        default=1e-12,
        metavar="R",
        help="Add this share of the smallest variance within a component to all variances. The default is 1e-12.",
    )
    group.add_argument("--seed", type=int, default=0, help="The random seed of the starts. The default is 0.")
    group.add_argument("--device", help=DEVICE)


def _add_priors(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "priors", "If you give any of these, the fit maximises the posterior density instead of the likelihood."
    )
    group.add_argument(
        "--weight-concentration",
        type=float,
        metavar="ALPHA",
        help="The concentration of a Dirichlet prior on the weights.",
    )
    group.add_argument(
        "--mean-precision",
        type=float,
        metavar="KAPPA",
        help="The weight, in rows, of a normal prior that pulls the means towards the mean of the data. mclust uses "
        "0.01.",
    )
    group.add_argument(
        "--degrees-of-freedom",
        type=float,
        metavar="NU",
        help="The degrees of freedom of an inverse-Wishart prior on the covariances, whose scale is cov(data) / "
        "K^(2/d) as in mclust. mclust uses d + 2. It needs one number of components and one covariance type.",
    )


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", type=expanded, help="The model, a file that tgmm fit --out or GaussianMixture.save wrote."
    )
    command.add_argument(
        "data",
        type=expanded,
        help="The file of rows, or - for the standard input. If the file names its columns, the features of the "
        "model are read by name, and other columns are ignored.",
    )
    _add_columns(command)
    _add_missing(command)
    command.add_argument(
        "--id", metavar="COLUMN", help="A column of the data to copy beside the labels. It may hold any kind of value."
    )
    _add_out(command, "LABELS")
    command.add_argument("--device", help=DEVICE)
    _add_common(command)


def _add_classify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "training",
        type=expanded,
        help="The file of rows with known classes, which must fit in memory, or a classifier that --save wrote.",
    )
    command.add_argument("data", type=expanded, help="The file of rows to classify, or - for the standard input.")
    command.add_argument(
        "--class",
        dest="of_class",
        metavar="COLUMN",
        help="The column of the training file that holds the classes.",
    )
    _add_model(command)
    _add_columns(command)
    command.add_argument(
        "--id", metavar="COLUMN", help="A column of the data to copy beside the classes. It may hold any kind of value."
    )
    _add_estimation(command)
    command.add_argument(
        "--save",
        type=expanded,
        metavar="MODEL",
        help="Save the classifier to this file, which ends in .pth or .safetensors.",
    )
    _add_out(command, "CLASSES")
    _add_missing(command)
    _add_common(command)
    command.set_defaults(of_training={name: command.get_default(name) for name in OF_TRAINING})


def _add_impute(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        type=expanded,
        help="The model, a file that tgmm fit --out or GaussianMixture.save wrote, best of a fit with --missing em.",
    )
    command.add_argument(
        "data",
        type=expanded,
        help="The file of rows, or - for the standard input. If the file names its columns, the features of the "
        "model are read by name, and other columns are ignored.",
    )
    command.set_defaults(drop_missing=False)  # rows that lack values are what it is for
    _add_columns(command)
    command.add_argument(
        "--draw",
        action="store_true",
        help="Draw the missing values at random. By default they are the expected values.",
    )
    command.add_argument("--seed", type=int, help="The random seed of --draw. By default every run draws other values.")
    command.add_argument(
        "--id", metavar="COLUMN", help="A column of the data to copy beside the rows. It may hold any kind of value."
    )
    _add_out(command, "ROWS")
    command.add_argument("--device", help=DEVICE)
    _add_common(command)


def _add_sample(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", type=expanded, help="The model, a file that tgmm fit --out or GaussianMixture.save wrote."
    )
    command.add_argument(
        "-n",
        "--rows",
        type=int,
        default=1,
        metavar="N",
        help="The number of rows to draw. The default is 1.",
    )
    command.add_argument(
        "--component",
        type=int,
        metavar="K",
        help="Draw from this component only. The first is 0.",
    )
    command.add_argument(
        "--confidence",
        type=float,
        metavar="C",
        help="Draw inside the region of each component that holds probability C.",
    )
    command.add_argument(
        "--std-range",
        type=_interval,
        metavar="LOW:HIGH",
        help="Draw at Mahalanobis distances between LOW and HIGH, which may be inf.",
    )
    command.add_argument("--seed", type=int, help="The random seed. By default every run draws other rows.")
    _add_out(command, "ROWS")
    _add_common(command)


def _add_out(command: argparse.ArgumentParser, metavar: str) -> None:
    command.add_argument(
        "--out",
        type=expanded,
        metavar=metavar,
        help=f"Write the result to this file, which ends in one of {', '.join(FORMATS)}. By default it is written as "
        "CSV to the standard output.",
    )


def _add_info(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", type=expanded, help="The model, a file that tgmm fit --out or GaussianMixture.save wrote."
    )
    _add_common(command)


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--columns",
        type=_names,
        metavar="A,B",
        help="The columns to use as features, by name, or by number from 0 if the file has no names. Names that "
        "contain commas have double quotes: '\"width, cm\",height'. The default is all.",
    )


def _add_missing(command: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    group = command.add_mutually_exclusive_group()
    group.add_argument(
        "--drop-missing",
        action="store_true",
        help="Leave out rows that lack a value. A warning says how many there were.",
    )
    return group


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="Print the result as JSON; for rows, one object per line.")
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=sys.stderr.isatty(),
        help="Show the progress. By default it is shown on a terminal.",
    )


def _names(text: str) -> list[str]:
    """Return names of different columns, "a,b"; those with commas are quoted, as in CSV files."""
    names = next(csv.reader([text]), []) or [""]
    for name in names:
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"{text!r} names column {name!r} more than once")
    return names


def _counts(text: str) -> list[int]:
    """Return numbers of components: "3", "2,4" or "1:9", which has both ends."""
    try:
        low, colon, high = text.partition(":")
        counts = list(range(int(low), int(high) + 1)) if colon else [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number, a range like 1:9 or a list like 2,4, of at least 1"
        )
    return counts


def _structures(text: str) -> list[str]:
    """Return covariance structures: names, or "all" or "mclust"."""
    groups = {"all": COMMON, "mclust": MCLUST}
    names = list(groups.get(text, text.split(",")))
    for name in names:
        if name not in STRUCTURES and name not in ALIASES:
            raise argparse.ArgumentTypeError(
                f"{name!r} is not one of {', '.join([*STRUCTURES, *ALIASES])}, all, mclust"
            )
    return names


def _interval(text: str) -> tuple[float, float]:
    """Return the ends of an interval, "3:inf"."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        low = high = math.nan
    if math.isnan(low) or math.isnan(high):
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval like 2:inf")
    return low, high
