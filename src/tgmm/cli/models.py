"""Model files: which estimator they hold, and that it is one that a command uses."""

from __future__ import annotations

from pathlib import Path

from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.files.formats import FORMATS, format_of
from tgmm.files.store import ModelFileError, model_file_errors, read_file


def loaded(path: Path, device: str | None, data: Path | None = None) -> GaussianMixture:
    """Return the model in a file, or raise a ValueError that says what to give where it is none.

    Parameters
    ----------
    path : Path
    device : str or None
    data : Path, optional
        The rows of the same command, which may have been given in the place of the model.
    """
    _require_model(path, data)
    try:
        return GaussianMixture.load(path, device=device)
    except ModelFileError:
        if (kind := kind_of(path)) == GaussianMixture.__name__:
            raise
    raise ValueError(
        f"{path} holds a {kind}, but this command needs a GaussianMixture. tgmm info describes every model, and tgmm "
        "classify uses classifiers."
    )


def _require_model(path: Path, data: Path | None = None) -> None:
    """Raise a ValueError where the name of a file is not that of a model; for the arguments, see `loaded`."""
    if path.suffix.lower() not in FORMATS:
        message = f"{path} is not a model file: these end in {' or '.join(FORMATS)}, as tgmm fit --out writes them."
        if data is not None and data.suffix.lower() in FORMATS:
            message += f" The model comes first, then the rows: {data} {path}."
        raise ValueError(message)


def kind_of(path: Path) -> str:
    """Return the name of the estimator that a file holds."""
    _require_model(path)
    content = read_file(path)
    with model_file_errors(repr(str(path))):
        state = format_of(path).decode(content)
        if not isinstance(state, dict):
            return GaussianMixture.__name__  # whose `load` says what is wrong
        mixture = "BayesianGaussianMixture" if "weight_concentration_prior_type" in state else "GaussianMixture"
        return str(state.get("kind", mixture))


def without_names(model: GaussianMixture) -> list[str] | None:
    """Take the features' names from a model: the columns are matched here, and arrays have no names."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return None
    del model.feature_names_in_
    return list(names)
