"""Write the component of each row: `tgmm predict`."""

from __future__ import annotations

from argparse import Namespace
from functools import partial

import numpy as np

from tgmm.cli import tables
from tgmm.cli.features import open_features
from tgmm.cli.labels import called
from tgmm.cli.models import mixture_in, without_names
from tgmm.cli.rows import write_of_rows
from tgmm.cli.writing import Columns
from tgmm.estimators.base import MixtureEstimator, solution_of
from tgmm.estimators.settings import EM


def run(options: Namespace) -> None:
    """Write the label, probabilities and log-density of each row."""
    model = mixture_in(options.model, options.device, options.data)
    names = without_names(model)
    with tables.at_hand(options.data) as data:
        lenient = options.drop_missing or model.missing == EM
        source = open_features(data, names, model.n_features_in_, options, lenient=lenient)
        write_of_rows(options, source, data, options.model, partial(_predictions, model))


def _predictions(model: MixtureEstimator, rows: np.ndarray) -> Columns:
    """Return the label, probabilities and log-density of each row."""
    probabilities, names = model.predict_proba(rows), solution_of(model).component_names
    found: Columns = {"label": called(model, model.predict(rows))}
    if names:
        found |= {f"probability_{name}": column for name, column in zip(names, probabilities.T, strict=False)}
    else:
        found["probabilities"] = probabilities[:, : len(model.weights_)]
    if model.mixture_.noise is not None:
        found["probability_noise"] = probabilities[:, -1]
    return {**found, "log_density": model.score_samples(rows)}
