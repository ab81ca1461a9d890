"""What the commands do."""

from __future__ import annotations

import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tgmm.cli import report, scaling, tables, writing
from tgmm.cli.writing import Columns
from tgmm.covariance import COMMON
from tgmm.data.source import Source
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.files.formats import format_of
from tgmm.runtime.generators import as_generator
from tgmm.runtime.progress import progress_bar
from tgmm.selection import Selection, select

SAMPLED_ROWS = 65536  # rows drawn at a time


def fit(options: Namespace) -> None:
    """Fit or choose a mixture; report, save and draw it."""
    _check_outputs(options)
    with tables.at_hand(options.data) as data, tempfile.TemporaryDirectory() as folder:
        source = tables.open_table(data, options.columns, lenient=options.drop_missing)
        source = tables.Complete(source) if options.drop_missing else source
        rows = tables.readable(source, data, Path(folder))
        n_rows = tables.count(rows)
        if isinstance(source, tables.Complete):
            warn_of_left_out(source.n_left_out, n_rows)
        fewest = min(options.components)
        if fewest > n_rows:
            raise ValueError(f"n_components={fewest} needs at least as many rows, but there are {n_rows}: lower -k.")
        selection = _selected(rows, n_rows, options)
        best = selection.best_
        if source.feature_names is not None:
            best.feature_names_in_ = source.feature_names
        _warn(selection)
        if options.plot is not None:
            _draw(selection, rows, options.plot)
    if options.out is not None:
        best.save(options.out)
    arguments = (selection, str(options.data), n_rows)
    print(report.as_json(report.describe_fit(*arguments)) if options.json else report.fit_text(*arguments))


def _check_outputs(options: Namespace) -> None:
    """Raise an error now for what would be one after a long fit."""
    if options.out is not None:
        format_of(options.out)
    if options.plot is not None:
        from tgmm.plotting.style import picture_formats

        if options.plot.suffix not in picture_formats():
            raise ValueError(f"{options.plot}: a picture ends in one of {', '.join(picture_formats())}.")
    for path in (options.out, options.plot):
        if path is not None:
            writing.check_output(path, options.data)


def _selected(rows: Any, n_rows: int, options: Namespace) -> Selection:
    """Return the selection, in the units of the data."""
    types = structures(options)
    if not options.scale:
        return _select(rows, types, options)
    shift, scale = scaling.moments(GaussianMixture(covariance_type="diag", device=options.device).fit(rows))

    def standardised(batch: np.ndarray) -> np.ndarray:
        return ((batch - shift.numpy()) / scale.numpy()).astype(batch.dtype)

    scaled = tables.Mapped(rows, standardised, None) if isinstance(rows, Source) else standardised(rows)
    return scaling.in_units(_select(scaled, types, options), shift, scale, n_rows)


def _select(rows: Any, types: list[str], options: Namespace) -> Selection:
    """Return the selection, in the units of the rows."""
    priors = {}
    if options.weight_concentration is not None:
        priors["weight_concentration_prior"] = options.weight_concentration
    if options.mean_precision is not None or options.degrees_of_freedom is not None:
        priors |= _conjugate(rows, types, options)
    return select(rows, options.components, types, verbose=options.progress, **estimation(options), **priors)


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


def structures(options: Namespace) -> list[str]:
    """Return the covariance structures to try: full for one number of components, else all, where none are named."""
    return options.covariance or (["full"] if len(options.components) == 1 else list(COMMON))


def _conjugate(rows: Any, types: list[str], options: Namespace) -> dict[str, Any]:
    """Return the priors of means and covariances, about the moments of the data."""
    one = GaussianMixture(covariance_type=types[0], device=options.device).fit(rows)
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
    """Say what is doubtful about the winner, and which cells failed."""
    cell = selection.best_cell
    if cell.reason:
        warnings.warn(cell.reason, stacklevel=2)
    if cell.status != "converged":
        warnings.warn(f"the model is {cell.status}: raise --max-iter or --tol, or try other starts", stacklevel=2)
    for failed in (cell for cell in selection.cells if cell.status == "failed"):
        warnings.warn(f"{failed.covariance_type}, {failed.n_components} failed: {failed.reason}", stacklevel=2)


def _draw(selection: Selection, rows: Any, path: Path) -> None:
    from tgmm.plotting import plot_fit

    drawn = tables.thinned(rows) if isinstance(rows, Source) else rows[:: -(-len(rows) // tables.DRAWN_ROWS)]
    plot_fit(selection, torch.from_numpy(drawn)).savefig(path, dpi=150)  # tensors have no names to be missed


def predict(options: Namespace) -> None:
    """Write the label, probabilities and log-density of each row."""
    model = GaussianMixture.load(options.model, device=options.device)
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        del model.feature_names_in_  # the columns are matched here, and arrays have no names
    with tables.at_hand(options.data) as data:
        columns = options.columns or feature_columns(names, data, options.id)
        write_of_rows(options, data, columns, options.model, partial(_predictions, model))


def write_of_rows(
    options: Namespace, data: Path, columns: list[str] | None, read: Path, predictions: Callable[[np.ndarray], Columns]
) -> None:
    """Write what a function says of the rows of a file, some at a time, after what identifies each where that is asked.

    Parameters
    ----------
    options : Namespace
    data : Path
    columns : list of str or None
        The features.
    read : Path
        The other file that is read, over which nothing is written.
    predictions : callable
        From rows (c, d) to columns of results.
    """
    source = tables.open_table(data, columns, lenient=options.drop_missing)
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
    if options.drop_missing:
        warn_of_left_out(n_rows - n_kept, n_kept)


def _predictions(model: GaussianMixture, rows: np.ndarray) -> Columns:
    """Return the label, probabilities and log-density of each row."""
    return {
        "label": model.predict(rows),
        "probabilities": model.predict_proba(rows),
        "log_density": model.score_samples(rows),
    }


def _identified(found: Columns, name: str | None, identifiers: np.ndarray | None) -> Columns:
    """Return predictions after what identifies each row, where that is wanted."""
    if name is None or identifiers is None:
        return found
    if name in found:
        raise ValueError(f"--id {name} is the name of a column of predictions: rename that of the data.")
    return {name: identifiers, **found}


def feature_columns(names: Sequence[str] | None, path: Path, identifier: str | None) -> list[str] | None:
    """Return which columns are features: those of the fit, where it and the file have names, or all but one."""
    if names is None and identifier is None:
        return None
    in_file = tables.names_of(path)
    if names is not None and in_file is not None:
        return list(names)
    if identifier is None:
        return None
    if in_file is None:
        in_file = [str(j) for j in range(next(tables.arrays(tables.open_table(path, None))).shape[1])]
    return [name for name in in_file if name != identifier]


def warn_of_left_out(n_left_out: int, n_kept: int) -> None:
    """Say how many rows were left out, if any, or raise an error where no other is there."""
    if not n_kept:
        raise ValueError("every row lacks a value: name columns that are whole, with --columns.")
    if n_left_out:
        warnings.warn(f"{n_left_out} of {n_left_out + n_kept} rows lack a value and were left out", stacklevel=2)


def sample(options: Namespace) -> None:
    """Write rows drawn from a model, and the components they come from."""
    model = GaussianMixture.load(options.model, device="cpu")
    names = report.names_of(model)
    region = {"component": options.component, "confidence": options.confidence, "std_range": options.std_range}
    generator = as_generator(options.seed)
    with writing.written(options.out, [options.model], json=options.json) as write:
        for first in range(0, max(options.rows, 1), SAMPLED_ROWS):
            n_rows = min(SAMPLED_ROWS, options.rows - first)
            rows, components = model.sample(n_rows, random_state=generator, **region)
            write(dict(zip(names, np.asarray(rows).T, strict=True)) | {"component": np.asarray(components)})


def info(options: Namespace) -> None:
    """Describe a model."""
    model = GaussianMixture.load(options.model, device="cpu")
    if options.json:
        print(report.as_json(report.describe(model)))
        return
    print(report.model_text(model))
    if model.n_iter_:
        state = "converged" if model.converged_ else "not converged"
        print(f"\nfitted in {model.n_iter_} EM iterations, {state}; average log-likelihood {model.lower_bound_:.6f}")
