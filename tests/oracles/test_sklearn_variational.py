"""scikit-learn's variational mixture, whose step is exact for "full": the same posterior after every iteration."""

import json

import numpy as np
import pytest
import sklearn.mixture
from support import ORACLES

from tgmm import BayesianGaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PLAIN = {"accelerate": None, "moves": False}
RECORDS = {
    name: json.loads((ORACLES / f"sklearn_variational_{name}.json").read_text()) for name in ("faithful", "iris")
}
KINDS = ["dirichlet_process", "dirichlet_distribution"]
POSTERIOR = ["weights_", "means_", "covariances_", "mean_precision_", "degrees_of_freedom_"]


def rows_of(name):
    return np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)


def settings_of(record):
    ignored = ("tol", "reg_covar", "max_iter", "n_init")
    return {name: value for name, value in record["settings"].items() if name not in ignored}


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("name", RECORDS)
def test_what_it_converged_to(name, index):
    found = RECORDS[name]
    record, start = found["records"][index], np.array(found["start_labels"])
    model = BayesianGaussianMixture(**settings_of(record), **PLAIN, tol=0, max_iter=1)
    model.fit(rows_of(name), init_responsibilities=start)
    for entry, value in record["after_one_iteration"].items():
        if entry != "lower_bound":
            np.testing.assert_allclose(getattr(model, f"{entry}_"), value, rtol=1e-6, atol=1e-9, err_msg=entry)
    for entry, value in record["priors"].items():
        own = np.asarray(getattr(model, entry))
        np.testing.assert_allclose(own, np.broadcast_to(value, own.shape), rtol=1e-10)
    model.set_params(max_iter=record["n_iter"]).fit(rows_of(name), init_responsibilities=start)
    np.testing.assert_allclose(model.means_, record["means"], rtol=1e-7)
    np.testing.assert_allclose(model.weights_, record["weights"], rtol=1e-5, atol=1e-9)
    proba = model.predict_proba(rows_of(name)[:5])
    np.testing.assert_allclose(proba, record["proba_first_5"], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_iteration_by_iteration(kind):
    X, start = rows_of("iris"), np.array(RECORDS["iris"]["start_labels"])
    responsibilities = np.eye(6)[start]
    priors = {"mean_precision_prior": 0.5, "degrees_of_freedom_prior": 6.0, "weight_concentration_prior": 0.3}
    settings = {"n_components": 6, "weight_concentration_prior_type": kind, **priors}
    theirs = sklearn.mixture.BayesianGaussianMixture(**settings, reg_covar=0)
    theirs._check_parameters(X, **({"xp": np} if "xp" in theirs._check_parameters.__code__.co_varnames else {}))
    theirs._initialize(X, responsibilities)
    for n_steps in range(1, 16):
        _, log_responsibilities = theirs._e_step(X)
        theirs._m_step(X, log_responsibilities)
        theirs._set_parameters(theirs._get_parameters())
        ours = BayesianGaussianMixture(**settings, **PLAIN, tol=0)
        ours.set_params(max_iter=n_steps).fit(X, init_responsibilities=responsibilities)
        for name in POSTERIOR:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-12, err_msg=name)
        concentration = np.asarray(ours.weight_concentration_)
        np.testing.assert_allclose(concentration, np.asarray(theirs.weight_concentration_), rtol=1e-7)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-7)
