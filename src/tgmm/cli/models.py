"""The models that commands use, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tgmm.estimators.base import MixtureEstimator
from tgmm.estimators.loading import load_any
from tgmm.files.formats import FORMATS

# What to do with a file of another estimator than a mixture.
INSTEAD = {
    "MixtureClassifier": "tgmm classify {path} ROWS classifies rows with it",
    "MixtureImputer": "tgmm impute {path} ROWS fills in missing values with it",
    "MixtureOutlierDetector": "in Python, tgmm.MixtureOutlierDetector.load({name!r}).predict(rows) finds outliers",
    "MixtureRegressor": "in Python, tgmm.MixtureRegressor.load({name!r}).predict(rows) predicts targets",
    "Mixtures": "in Python, tgmm.Mixtures.load({name!r})[group].save(path) writes the model of one group to a file",
}


def model_in(path: Path, device: str | None = None, data: Path | None = None) -> Any:
    """Return the estimator in a file, of any kind.

    Parameters
    ----------
    path : Path
    device : str or None
    data : Path, optional
        The rows of the same command, which may have been given in the place of the model.

    Raises
    ------
    ValueError
        Where the name is not that of a model, or the file holds none.
    """
    if path.suffix.lower() not in FORMATS:
        message = f"{path} is not a model file: these end in {' or '.join(FORMATS)}, as tgmm fit --out writes them."
        if data is not None and data.suffix.lower() in FORMATS:
            message += f" The model comes first, then the rows: {data} {path}."
        raise ValueError(message)
    return load_any(path, device)


def mixture_in(path: Path, device: str | None, data: Path | None = None) -> MixtureEstimator:
    """Return the mixture in a file, or raise a ValueError that says what uses it where it holds another estimator."""
    return as_mixture(model_in(path, device, data), path)


def as_mixture(model: Any, path: Path) -> MixtureEstimator:
    """Return the estimator in a file as a mixture; for the error, see `mixture_in`."""
    if isinstance(model, MixtureEstimator):
        return model
    kind = type(model).__name__
    instead = INSTEAD[kind].format(path=path, name=str(path))
    raise ValueError(f"{path} holds a {kind}, but this command needs a mixture: {instead}.")


def without_names(model: Any, *holders: Any) -> list[str] | None:
    """Take the features' names from a model: the columns are matched here, and arrays have no names.

    Holders are the mixtures that have the names, where the model itself is composed of these.
    """
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return None
    for holder in holders or (model,):
        del holder.feature_names_in_
    return list(names)
