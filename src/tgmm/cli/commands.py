"""What the commands do."""

from __future__ import annotations

import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from tgmm.cli import report, scaling, tables, writing
from tgmm.cli.features import open_features
from tgmm.cli.labels import Labels, labels_of
from tgmm.cli.messages import say_written
from tgmm.cli.writing import Columns
from tgmm.covariance import COMMON
from tgmm.data.source import Source
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.settings import EM
from tgmm.files.formats import FORMATS, format_of
from tgmm.files.store import ModelFileError, model_file_errors, read_file
from tgmm.mixture.profiles import counted
from tgmm.runtime.generators import as_generator
from tgmm.runtime.progress import progress_bar
from tgmm.selection import Selection, select
from tgmm.selection.search import UNLABELLED

SAMPLED_ROWS = 65536  # rows drawn at a time
COMPONENT = "component"  # the column of the components that rows are drawn from


def fit(options: Namespace) -> None:
    """Fit or choose a mixture; report, save and draw it."""
    _check_outputs(options)
    with tables.at_hand(options.data) as data, tempfile.TemporaryDirectory() as folder:
        may_lack = options.drop_missing or options.missing == EM
        columns = options.columns or tables.columns_but(options.labels, data)
        source = tables.open_table(data, columns, lenient=may_lack)
        source = tables.Complete(source) if options.drop_missing else source
        labels = _labels(source, data, options)
        rows = tables.readable(source, data, Path(folder))
        n_rows = tables.count(rows)
        if isinstance(source, tables.Complete):
            warn_of_left_out(source.n_left_out, n_rows)
        fewest = min(options.components)
        if fewest > n_rows:
            raise ValueError(f"n_components={fewest} needs at least as many rows, but there are {n_rows}: lower -k.")
        selection = _selected(rows, n_rows, labels, options)
        best = selection.best_
        _, profiles = counted(best.mixture_, rows)
        if source.feature_names is not None:
            best.feature_names_in_ = source.feature_names
        _warn(selection)
        if options.plot is not None:
            _draw(selection, rows, options.plot)
            say_written("the picture", options.plot)
    if options.out is not None:
        best.save(options.out)
        say_written("the model", options.out)
    arguments = (selection, profiles, str(options.data), n_rows, labels)
    print(report.as_json(report.describe_fit(*arguments)) if options.json else report.fit_text(*arguments))


def _check_outputs(options: Namespace) -> None:
    """Raise an error now for what would be one after a long fit."""
    if options.out is not None:
        format_of(options.out)
    if options.plot is not None:
        from tgmm.plotting.style import picture_formats

        if options.plot.suffix.lower() not in picture_formats():
            raise ValueError(f"{options.plot}: the name of a picture ends in one of {', '.join(picture_formats())}.")
    for path in (options.out, options.plot):
        if path is not None:
            writing.check_output(path, options.data)


def _labels(source: Source, data: Path, options: Namespace) -> Labels | None:
    """Return what a column says of the components of the rows that are fitted, or None where none is named."""
    column = options.labels
    if column is None:
        return None
    n_cells = len(options.components) * len(structures(options)) * len(options.factors or [None])
    if n_cells != 1 or options.criterion in UNLABELLED:
        raise ValueError(
            f"--labels {column} needs one number of components, one covariance type, and --criterion bic or aic: "
            "choose the others without labels first."
        )
    if column in (options.columns or []):
        raise ValueError(
            f"--labels {column} is among --columns: it holds the known components and cannot be a feature."
        )
    values = tables.identifiers(data, column)
    if isinstance(source, tables.Complete):
        values = values[np.concatenate([tables.are_complete(rows) for rows in tables.arrays(source.source)])]
    return labels_of(values, column, options.components[0])


def structures(options: Namespace) -> list[str]:
    """Return the covariance structures to try: full for one number of components, else all, where none are named."""
    return options.covariance or (["full"] if len(options.components) == 1 else list(COMMON))


def _selected(rows: Any, n_rows: int, labels: Labels | None, options: Namespace) -> Selection:
    """Return the selection, in the units of the data."""
    if not options.scale:
        return _select(rows, labels, options)
    shift, scale = scaling.moments(_one_component("diag", options).fit(rows))

    def standardised(batch: np.ndarray) -> np.ndarray:
        return ((batch - shift.numpy()) / scale.numpy()).astype(batch.dtype)

    scaled = tables.Mapped(rows, standardised) if isinstance(rows, Source) else standardised(rows)
    selection = _select(scaled, labels, options)
    return scaling.in_units(selection, shift, scale, torch.from_numpy(tables.n_values(rows)), n_rows)


def _one_component(covariance_type: str, options: Namespace) -> GaussianMixture:
    """Return what is to be fitted for the moments of the data."""
    return GaussianMixture(covariance_type=covariance_type, missing=options.missing, device=options.device)


def _select(rows: Any, labels: Labels | None, options: Namespace) -> Selection:
    """Return the selection, in the units of the rows."""
    types, settings = structures(options), estimation(options)
    settings |= {"missing": options.missing, "noise": options.noise, "verbose": options.progress}
    if options.weight_concentration is not None:
        settings["weight_concentration_prior"] = options.weight_concentration
    if options.mean_precision is not None or options.degrees_of_freedom is not None:
        settings |= _conjugate(rows, types, options)
    known = None if labels is None else labels.components
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is said of the cell
        return select(rows, options.components, types, labels=known, n_factors=options.factors, **settings)


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


def _conjugate(rows: Any, types: list[str], options: Namespace) -> dict[str, Any]:
    """Return the priors of means and covariances, about the moments of the data."""
    one = _one_component(types[0], options).fit(rows)
    priors: dict[str, Any] = {}
    if options.mean_precision is not None:
        priors |= {"mean_prior": one.means_[0], "mean_precision_prior": options.mean_precision}
    if options.degrees_of_freedom is not None:
        if len(types) * len(options.components) != 1:
            raise ValueError("--degrees-of-freedom needs one number of components and one covariance type.")
        psi = scaling.psi(one, options.components[0])
        priors |= {"covariance_prior": psi, "degrees_of_freedom_prior": options.degrees_of_freedom}
    return priors


def _warn(selection: Selection) -> None:
    """Say whether the winner has converged, and which cells failed; `select` and `fit` have said the rest."""
    if selection.best_cell.status == "not converged":
        warnings.warn("the model is not converged: raise --max-iter or --tol, or try other starts", stacklevel=2)
    for failed in (cell for cell in selection.cells if cell.status == "failed"):
        warnings.warn(f"{failed.structure}, {failed.n_components} failed: {failed.reason}", stacklevel=2)


def _draw(selection: Selection, rows: Any, path: Path) -> None:
    from tgmm.plotting import plot_fit

    drawn = tables.thinned(rows) if isinstance(rows, Source) else rows[:: -(-len(rows) // tables.DRAWN_ROWS)]
    whole = torch.from_numpy(drawn[tables.are_complete(drawn)])  # tensors have no names to be missed
    plot_fit(selection, whole).savefig(path, dpi=150)


def predict(options: Namespace) -> None:
    """Write the label, probabilities and log-density of each row."""
    model = loaded(options.model, options.device, options.data)
    names = without_names(model)
    with tables.at_hand(options.data) as data:
        lenient = options.drop_missing or model.missing == EM
        source = open_features(data, names, model.n_features_in_, options, lenient=lenient)
        write_of_rows(options, source, data, options.model, partial(_predictions, model))


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


def write_of_rows(
    options: Namespace, source: Source, data: Path, read: Path, predictions: Callable[[np.ndarray], Columns]
) -> None:
    """Write what a function says of the rows of a file, some at a time, after what identifies each where that is asked.

    Parameters
    ----------
    options : Namespace
    source : Source
        The rows.
    data : Path
        The file that they are read from.
    read : Path
        The other file that is read, over which nothing is written.
    predictions : callable
        From rows (c, d) to columns of results.
    """
    identifiers = None if options.id is None else tables.identifiers(data, options.id)
    with (
        writing.written(options.out, [read, options.data], json=options.json) as write,
        progress_bar(enabled=options.progress, unit="row", total=source.n_rows) as bar,
    ):
        n_rows = n_kept = 0
        for rows in tables.arrays(source):
            kept = tables.are_complete(rows) if options.drop_missing else np.full(len(rows), True)
            if kept.any():
                own = None if identifiers is None else identifiers[n_rows : n_rows + len(rows)][kept]
                write(_identified(predictions(rows[kept]), options.id, own))
            n_rows, n_kept = n_rows + len(rows), n_kept + int(kept.sum())
            bar.update(len(rows))
        if not n_rows:
            raise ValueError(f"{str(options.data)!r} has no rows below its names: there is nothing to predict.")
    if options.drop_missing:
        warn_of_left_out(n_rows - n_kept, n_kept)


def without_names(model: GaussianMixture) -> list[str] | None:
    """Take the features' names from a model: the columns are matched here, and arrays have no names."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return None
    del model.feature_names_in_
    return list(names)


def _predictions(model: GaussianMixture, rows: np.ndarray) -> Columns:
    """Return the label, probabilities and log-density of each row."""
    probabilities = model.predict_proba(rows)
    found: Columns = {"label": model.predict(rows), "probabilities": probabilities[:, : model.n_components]}
    if model.noise:
        found["probability_noise"] = probabilities[:, -1]
    return {**found, "log_density": model.score_samples(rows)}


def _identified(found: Columns, name: str | None, identifiers: np.ndarray | None) -> Columns:
    """Return predictions after what identifies each row, where that is wanted."""
    if name is None or identifiers is None:
        return found
    if name in found or name in writing.flat_of(found):
        raise ValueError(f"--id {name} is also the name of a column of the predictions: rename it in the data.")
    return {name: identifiers, **found}


def warn_of_left_out(n_left_out: int, n_kept: int) -> None:
    """Say how many rows were left out, if any, or raise an error where no other is there."""
    if not n_kept:
        raise ValueError("every row lacks a value: choose complete columns with --columns.")
    if n_left_out:
        warnings.warn(f"{n_left_out} of {n_left_out + n_kept} rows lack a value and were left out", stacklevel=2)


def sample(options: Namespace) -> None:
    """Write rows drawn from a model, and the components they come from."""
    model = loaded(options.model, "cpu")
    names = report.names_of(model)
    if COMPONENT in names:
        raise ValueError(
            f"{options.model} has a feature named {COMPONENT}, which is the name of the column of components: rename "
            "the feature in the data and fit again, or call sample() of the model in Python."
        )
    region = {"component": options.component, "confidence": options.confidence, "std_range": options.std_range}
    generator = as_generator(options.seed)
    with writing.written(options.out, [options.model], json=options.json) as write:
        for first in range(0, max(options.rows, 1), SAMPLED_ROWS):
            n_rows = min(SAMPLED_ROWS, options.rows - first)
            rows, components = model.sample(n_rows, random_state=generator, **region)
            write(dict(zip(names, np.asarray(rows).T, strict=True)) | {COMPONENT: np.asarray(components)})
