"""What each command accepts."""

from __future__ import annotations

import argparse
import math
import sys

from tgmm.cli.choices import ALIASES, AUTO, COMMON, CRITERIA, FORMATS, MCLUST, MISSING, STARTS, STRUCTURES
from tgmm.runtime.paths import expanded


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
    command.add_argument("data", type=expanded, help="rows to fit; - for the standard input")
    _add_model(command)
    _add_columns(command)
    _add_missing(command).add_argument(
        "--missing",
        choices=MISSING,
        default=MISSING[0],
        help="em: fit to what is there of rows that lack values; default error",
    )
    command.add_argument("--noise", action="store_true", help="let rows belong to no component; they are labelled -1")
    command.add_argument(
        "--labels",
        metavar="COLUMN",
        help="a column that says the components of some rows: numbers from 0, or texts, which are numbered in sorted "
        "order; empty or -1 where nothing is known. It is no feature",
    )
    command.add_argument(
        "--scale",
        action="store_true",
        help="fit standardised features. The model is in the units of the data all the same; the spherical types, the "
        "only ones to which it matters, become diagonal",
    )
    _add_estimation(command)
    _add_priors(command)
    command.add_argument("--out", type=expanded, metavar="MODEL", help="where to save the model: .pth or .safetensors")
    command.add_argument("--plot", type=expanded, metavar="PICTURE", help="where to draw it: .png, .svg, .pdf")
    _add_common(command)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-k",
        "--components",
        type=_counts,
        default=[1],
        metavar="K",
        help="a number, a range 1:9 or a list 2,4; default 1",
    )
    command.add_argument(
        "--covariance",
        type=_structures,
        metavar="TYPE",
        help=f"{', '.join(STRUCTURES)}, a list of them, or all, the common ones, or mclust, its fourteen; mclust's "
        "codes are names too; default: full for one number of components, else all",
    )
    command.add_argument(
        "--factors",
        type=_counts,
        metavar="Q",
        help="factors of low_rank and factor: a number, a range or a list; default: the root of the number of features",
    )
    command.add_argument("--criterion", choices=CRITERIA, default="bic", help="what to choose by; default bic")


def _add_estimation(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("estimation")
    group.add_argument(
        "--init",
        choices=(AUTO, *STARTS),
        default=AUTO,
        metavar="START",
        help=f"where runs start: {', '.join((AUTO, *STARTS))}; default {AUTO}, trials of several starts",
    )
    group.add_argument("--n-init", type=int, default=5, metavar="N", help="runs, or trials; default 5")
    group.add_argument("--max-iter", type=int, default=1000, metavar="N", help="most EM iterations; default 1000")
    group.add_argument("--tol", type=float, default=1e-8, help="least gain of the average log-likelihood; default 1e-8")
    group.add_argument(
        "--reg-covar",
        type=float,
        default=1e-12,
        metavar="R",
        help="added to variances, relative to the data's; default 1e-12",
    )
    group.add_argument("--seed", type=int, default=0, help="of the starts; default 0")
    group.add_argument("--device", help="cpu, cuda, ...; default: CUDA where there is one")


def _add_priors(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("priors", "With any of them the fit is the mode of the posterior.")
    group.add_argument("--weight-concentration", type=float, metavar="ALPHA", help="Dirichlet prior of the weights")
    group.add_argument(
        "--mean-precision",
        type=float,
        metavar="KAPPA",
        help="normal prior of the means about the mean of the data, worth KAPPA rows; mclust's default is 0.01",
    )
    group.add_argument(
        "--degrees-of-freedom",
        type=float,
        metavar="NU",
        help="inverse-Wishart prior of the covariances, with scale cov(data) / K^(2/d) as in mclust, whose default is "
        "d + 2; for one number of components and one type",
    )


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=expanded)
    command.add_argument(
        "data",
        type=expanded,
        help="rows, or - for the standard input; of files with names, the columns of the fit are read",
    )
    _add_columns(command)
    _add_missing(command)
    command.add_argument("--id", metavar="COLUMN", help="a column of the data, of any kind, to write beside the labels")
    _add_out(command, "LABELS")
    command.add_argument("--device")
    _add_common(command)


def _add_classify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "training",
        type=expanded,
        help="rows with their classes, which are held in memory; or a classifier that --save wrote",
    )
    command.add_argument("data", type=expanded, help="rows to classify, or - for the standard input")
    command.add_argument("--class", dest="of_class", metavar="COLUMN", help="the column of training with the classes")
    _add_model(command)
    _add_columns(command)
    command.add_argument(
        "--id", metavar="COLUMN", help="a column of the data, of any kind, to write beside the classes"
    )
    _add_estimation(command)
    command.add_argument(
        "--save", type=expanded, metavar="MODEL", help="where to save the classifier: .pth or .safetensors"
    )
    _add_out(command, "CLASSES")
    _add_missing(command)
    _add_common(command)


def _add_impute(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "data",
        type=expanded,
        help="rows, or - for the standard input; of files with names, the columns of the fit are read",
    )
    command.add_argument("--model", type=expanded, required=True, help="of any fit; best one with --missing em")
    command.set_defaults(drop_missing=False)  # rows that lack values are what it is for
    _add_columns(command)
    command.add_argument("--draw", action="store_true", help="draw values; default: the expected ones")
    command.add_argument("--seed", type=int, help="of the draws; default: other values each time")
    command.add_argument("--id", metavar="COLUMN", help="a column of the data, of any kind, to write beside the rows")
    _add_out(command, "ROWS")
    command.add_argument("--device")
    _add_common(command)


def _add_sample(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=expanded)
    command.add_argument("-n", "--rows", type=int, default=1, metavar="N", help="how many rows; default 1")
    command.add_argument("--component", type=int, metavar="K", help="from this component alone, from 0")
    command.add_argument("--confidence", type=float, metavar="C", help="inside the region that holds probability C")
    command.add_argument(
        "--std-range", type=_interval, metavar="LOW:HIGH", help="at these Mahalanobis distances; HIGH may be inf"
    )
    command.add_argument("--seed", type=int, help="default: other rows each time")
    _add_out(command, "ROWS")
    _add_common(command)


def _add_out(command: argparse.ArgumentParser, metavar: str) -> None:
    command.add_argument(
        "--out",
        type=expanded,
        metavar=metavar,
        help=f"where to write: {', '.join(FORMATS)}; default: CSV to the standard output",
    )


def _add_info(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=expanded)
    _add_common(command)


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="features by name, or by number from 0 where the file has no names; default all",
    )


def _add_missing(command: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    group = command.add_mutually_exclusive_group()
    group.add_argument("--drop-missing", action="store_true", help="leave out rows that lack a value, and say how many")
    return group


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="results as JSON")
    command.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=sys.stderr.isatty(), help="default: on a terminal"
    )


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
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join([*STRUCTURES, *ALIASES])}, all, mclust")
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
