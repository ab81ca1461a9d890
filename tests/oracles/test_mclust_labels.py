"""Against R's mclust with labels of some rows (data/README.md)."""

import json

import numpy as np
import pytest
from support import ORACLES

from tgmm import GaussianMixture

RECORD = json.loads((ORACLES / "mclust_semi_supervised.json").read_text())


@pytest.fixture
def banknotes():
    return np.loadtxt(ORACLES / "banknote.csv", delimiter=",", skiprows=1)


def started(**settings):
    """A mixture that starts from mclust's solution, whose structure is within that of full covariances."""
    weights, means, covariances = (RECORD["parameters"][name] for name in ("pro", "mean", "sigma"))
    return GaussianMixture(
        RECORD["G"], init_weights=weights, init_means=means, init_covariances=covariances, reg_covar=0, **settings
    )


def test_the_likelihood_with_labels_is_mclusts(banknotes):
    model = started(max_iter=0).fit(banknotes, labels=RECORD["known"])
    assert model.lower_bound_ * len(banknotes) == pytest.approx(RECORD["loglik"], abs=1e-5)
    np.testing.assert_array_equal(model.predict(banknotes), RECORD["classification"])


def test_the_limit_of_its_structure_is_mclusts(banknotes):
    """But that mclust stops a little before."""
    settings = {"covariance_type": RECORD["model"], "tol": 1e-10, "max_iter": 5000}
    model = started(**settings).fit(banknotes, labels=RECORD["known"])
    assert 0 <= model.lower_bound_ * len(banknotes) - RECORD["loglik"] < 1e-3
    np.testing.assert_allclose(model.covariances_, RECORD["parameters"]["sigma"], atol=3e-3)
    own = GaussianMixture(RECORD["G"], covariance_type=RECORD["model"], random_state=0, tol=1e-8, max_iter=1000)
    assert own.fit(banknotes, labels=RECORD["known"]).lower_bound_ >= model.lower_bound_ - 1e-6


def test_full_covariances_lead_on_from_there(banknotes):
    model = started(tol=1e-8, max_iter=1000).fit(banknotes, labels=RECORD["known"])
    assert model.converged_
    assert model.lower_bound_ * len(banknotes) > RECORD["loglik"]
    np.testing.assert_array_equal(model.predict(banknotes), RECORD["classification"])
    own = GaussianMixture(RECORD["G"], random_state=0, tol=1e-8, max_iter=1000).fit(banknotes, labels=RECORD["known"])
    assert own.lower_bound_ >= model.lower_bound_ - 1e-6
