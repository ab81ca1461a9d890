"""Classify rows by a mixture of each class: `tgmm classify`."""

from __future__ import annotations

from argparse import Namespace
from functools import partial

import numpy as np
from sklearn.base import clone

from tgmm.cli import tables, writing
from tgmm.cli.features import open_features
from tgmm.cli.labels import is_missing
from tgmm.cli.messages import say_written
from tgmm.cli.models import model_in, without_names
from tgmm.cli.rows import warn_of_left_out, write_of_rows
from tgmm.cli.settings import estimation, structures
from tgmm.cli.writing import Columns
from tgmm.estimators.classifier import MixtureClassifier
from tgmm.estimators.settings import EM
from tgmm.files.formats import FORMATS, format_of
from tgmm.selection import select


def run(options: Namespace) -> None:
    """Write the class of each row, and the probability of each class."""
    if options.training.suffix.lower() in FORMATS:
        classifier, names = _loaded(options)
    else:
        classifier, names = _trained(options)
    with tables.at_hand(options.data) as data:
        lenient = options.drop_missing or all(mixture.missing == EM for mixture in classifier.estimators_)
        source = open_features(data, names, classifier.n_features_in_, options, lenient=lenient)
        write_of_rows(options, source, data, options.training, partial(_predictions, classifier))


def _predictions(classifier: MixtureClassifier, rows: np.ndarray) -> Columns:
    """Return the class of each row, and the probability of each class in a column of its own."""
    probabilities = classifier.predict_proba(rows)
    by_class = zip(classifier.classes_, probabilities.T, strict=True)
    return {"class": classifier.predict(rows)} | {f"probability_{name}": column for name, column in by_class}


def _loaded(options: Namespace) -> tuple[MixtureClassifier, list[str] | None]:
    """Return a classifier of a file, and the names of its features, which it forgets: they are matched here."""
    given = {"--class": options.of_class, "--save": options.save}
    for name, default in options.of_training.items():
        value = getattr(options, name)
        given[f"--{name.replace('_', '-')}"] = None if value == default else value
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} is for training: {options.training} is a trained classifier.")
    classifier = model_in(options.training, options.device)
    if not isinstance(classifier, MixtureClassifier):
        raise ValueError(
            f"{options.training} holds a {type(classifier).__name__}, but this command needs a MixtureClassifier, as "
            "tgmm classify --save writes it: give the training rows instead."
        )
    return classifier, without_names(classifier, *classifier.estimators_)


def _trained(options: Namespace) -> tuple[MixtureClassifier, list[str] | None]:
    """Return a classifier fitted to rows with their classes, saved where that is wanted, and its features' names."""
    if options.of_class is None:
        raise ValueError("--class is needed: name the column of the training rows that holds their classes.")
    if options.save is not None:
        format_of(options.save)
        writing.check_output(options.save, options.training, options.data)
    if options.of_class in (options.columns or []):
        raise ValueError(
            f"--class {options.of_class} is among --columns: it holds the classes and cannot be a feature."
        )
    classes = tables.identifiers(options.training, options.of_class)
    columns = options.columns or tables.columns_but(options.of_class, options.training)
    source = tables.open_table(options.training, columns, lenient=options.drop_missing)
    rows = np.concatenate(list(tables.arrays(source)))
    known = np.array([not is_missing(str(value)) for value in classes.tolist()])
    if options.drop_missing:
        known &= tables.are_complete(rows)
        warn_of_left_out(int((~known).sum()), int(known.sum()))
    elif not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise ValueError(
            f"{options.of_class} is missing in row {row} of {options.training} ({str(classes[row])!r}): --drop-missing "
            "leaves such rows out."
        )
    chosen = partial(
        select,
        n_components=options.components,
        covariance_types=structures(options),
        n_factors=options.factors,
        **estimation(options),
    )
    classifier = MixtureClassifier(chosen).fit(rows[known], classes[known])
    names = None if source.feature_names is None else list(source.feature_names)
    if options.save is not None:
        _save(classifier, names, options)
    return classifier, names


def _save(classifier: MixtureClassifier, names: list[str] | None, options: Namespace) -> None:
    """Save a classifier with the names of its features, and with what was chosen as its settings."""
    models = dict(zip(classifier.classes_.tolist(), classifier.estimators_, strict=True))
    classifier.set_params(estimator={name: clone(model) for name, model in models.items()})
    if names is not None:
        for model in models.values():
            model.feature_names_in_ = names
    classifier.save(options.save)
    say_written("the classifier", options.save)
    without_names(classifier, *classifier.estimators_)
