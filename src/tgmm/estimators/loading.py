"""Files of estimators of which it is not known what they hold."""

from __future__ import annotations

import os
from typing import Any

from tgmm.estimators.bayesian import BayesianGaussianMixture
from tgmm.estimators.classifier import MixtureClassifier
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.imputer import MixtureImputer
from tgmm.estimators.mixtures import Mixtures
from tgmm.estimators.outliers import MixtureOutlierDetector
from tgmm.estimators.regressor import MixtureRegressor
from tgmm.files.store import read_state
from tgmm.runtime.devices import check_device

COMPOSED = {
    kind.__name__: kind
    for kind in (MixtureClassifier, MixtureImputer, MixtureOutlierDetector, MixtureRegressor, Mixtures)
}


def load_any(path: str | os.PathLike[str], device: Any = None) -> Any:
    """Return the estimator in a file, of whatever kind it is; that of a mixture is as if fitted.

    Raises
    ------
    ModelFileError, FileNotFoundError
        As for `GaussianMixture.load`.
    """
    check_device(device)
    return read_state(path, lambda state: _kind_of(state)._of_state(state, device))


def _kind_of(state: Any) -> Any:
    """Return the class of the estimator that a state dict is of."""
    if not isinstance(state, dict) or "kind" not in state:
        is_posterior = isinstance(state, dict) and "weight_concentration_prior_type" in state
        return BayesianGaussianMixture if is_posterior else GaussianMixture
    if state["kind"] not in COMPOSED:
        raise ValueError(f"it holds a {state['kind']}, which this tgmm does not know: upgrade tgmm.")
    return COMPOSED[state["kind"]]
