"""Fit a mixture, or choose among several: `tgmm fit`."""

from __future__ import annotations

import tempfile
import warnings
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from tgmm.cli import report, scaling, tables, writing
from tgmm.cli.labels import Labels, labels_of
from tgmm.cli.messages import say_written
from tgmm.cli.rows import warn_of_left_out
from tgmm.cli.settings import estimation, structures
from tgmm.data.source import Source
from tgmm.estimators.base import solution_of
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.estimators.settings import EM
from tgmm.files.formats import format_of
from tgmm.mixture.profiles import counted
from tgmm.selection import Selection, select
from tgmm.selection.search import UNLABELLED


def run(options: Namespace) -> None:
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
        if labels is not None:
            selection = replace(selection, best_=_with_names(selection.best_, labels))
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
    labels = labels_of(values, column, options.components[0])
    names = [*labels.component_names(options.components[0]), *["noise"] * options.noise]
    if repeated := [name for name in labels.names if names.count(name) > 1]:
        raise ValueError(
            f"--labels {column}: {repeated[0]!r} is also what another component, or the noise, is called: write "
            "another word in the column."
        )
    return labels


def _with_names(model: GaussianMixture, labels: Labels) -> GaussianMixture:
    """Return the model with the words of the labels as names of its components."""
    solution = solution_of(model)
    names = labels.component_names(solution.mixture.n_components)
    return fitted_as(replace(solution, component_names=names), model.get_params(deep=False))


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
