"""Fill in missing values: `tgmm impute`."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from tgmm.cli import report, tables
from tgmm.cli.features import open_features
from tgmm.cli.models import as_mixture, model_in, without_names
from tgmm.cli.rows import write_of_rows
from tgmm.cli.writing import Columns
from tgmm.estimators.imputer import MixtureImputer
from tgmm.runtime.generators import as_generator


def run(options: Namespace) -> None:
    """Write the rows with values in the place of those that they lack."""
    if options.seed is not None and not options.draw:
        raise ValueError("--seed only affects random draws: add --draw, or leave it out for expected values.")
    found = model_in(options.model, options.device, options.data)
    model = as_mixture(found.estimator_ if isinstance(found, MixtureImputer) else found, options.model)
    names = without_names(model)
    generator = as_generator(options.seed) if options.draw else None
    with tables.at_hand(options.data) as data:
        source = open_features(data, names, model.n_features_in_, options, lenient=True)
        features = [str(name) for name in source.feature_names or names or report.names_of(model)]
        if options.id in features:
            raise ValueError(f"--id {options.id} is a feature, and features are written anyway: leave the option out.")

        def filled(rows: np.ndarray) -> Columns:
            """Return the features of rows, without gaps."""
            return dict(zip(features, np.asarray(model.impute(rows, random_state=generator)).T, strict=True))

        write_of_rows(options, source, data, options.model, filled)
