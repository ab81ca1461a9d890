"""Draw rows from a model: `tgmm sample`."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from tgmm.cli import report, writing
from tgmm.cli.labels import called
from tgmm.cli.models import mixture_in
from tgmm.runtime.generators import as_generator

SAMPLED_ROWS = 65536  # rows drawn at a time
COMPONENT = "component"  # the column of the components that rows are drawn from


def run(options: Namespace) -> None:
    """Write rows drawn from a model, and the components they come from."""
    model = mixture_in(options.model, "cpu")
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
            drawn = called(model, np.asarray(components))
            write(dict(zip(names, np.asarray(rows).T, strict=True)) | {COMPONENT: drawn})
