"""Against R's mclust: the same start, the same limit, the same number of parameters, the same BIC (of the other sign).

The records and what they hold are described in data/README.md.
"""

import json

import numpy as np
import pytest
from cases import assert_same_parameters, parameters
from naive_em import as_matrices, naive_em
from structures import log_likelihood, slope
from support import ORACLES, STRUCTURE_OF_CODE

from tgmm import GaussianMixture

RECORDS = json.loads((ORACLES / "mclust_faithful.json").read_text())
every_record = pytest.mark.parametrize(
    "record", RECORDS, ids=[f"{r['model']}-{r['K']}-{'prior' if r['prior'] else 'ml'}" for r in RECORDS]
)


@pytest.fixture(scope="module")
def faithful():
    return np.loadtxt(ORACLES / "faithful.csv", delimiter=",", skiprows=1)


def test_every_model_is_there_with_and_without_a_prior():
    seen = {(r["model"], r["K"], r["prior"] is not None) for r in RECORDS}
    plain = {(code, K, False) for code in STRUCTURE_OF_CODE for K in (2, 3)}
    assert seen == plain | {(code, K, True) for code in ("VII", "EEE", "VVV") for K in (2, 3)}


@every_record
def test_the_naive_em_has_mclusts_limit(faithful, record):
    structure = STRUCTURE_OF_CODE[record["model"]]
    fit = naive_em(faithful, structure, np.eye(record["K"])[record["start_labels"]], 400, **(record["prior"] or {}))
    matrices = as_matrices(fit.covariances, structure, *fit.means.shape)
    expected = (record["weights"], record["means"], record["covariances"])
    assert_same_parameters((fit.weights, fit.means, matrices), expected, "full", tolerance=1e-3)


@every_record
def test_the_limit_is_mclusts(faithful, record):
    structure = STRUCTURE_OF_CODE[record["model"]]
    n, d = faithful.shape
    model = GaussianMixture(
        n_components=record["K"],
        covariance_type=structure,
        reg_covar=0,
        tol=1e-12,
        max_iter=20_000,
        accelerate=None,
        **(record["prior"] or {}),
    )
    model.fit(faithful, init_responsibilities=np.array(record["start_labels"]))
    assert model.converged_

    weights, means, covariances = parameters(model)
    matrices = as_matrices(covariances, structure, record["K"], d)
    expected = (record["weights"], record["means"], record["covariances"])
    assert_same_parameters((weights, means, matrices), expected, "full", tolerance=1e-3)

    log_likelihood = n * model.score(faithful)
    assert log_likelihood == pytest.approx(record["loglik"], abs=1e-3)
    assert model.bic(faithful) == pytest.approx(-record["bic"], abs=2e-3)
    free_parameters = (model.bic(faithful) + 2 * log_likelihood) / np.log(n)
    assert free_parameters == pytest.approx(record["df"], abs=1e-9)
    assert model.aic(faithful) == pytest.approx(2 * record["df"] - 2 * record["loglik"], abs=2e-3)


SETS = json.loads((ORACLES / "mclust_structures.json").read_text())


@pytest.mark.parametrize("model", sorted({cell["model"] for found in SETS.values() for cell in found["cells"]}))
@pytest.mark.parametrize("name", SETS)
def test_likelihoods_and_parameters_are_mclusts_from_its_own_labels(name, model):
    X = np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)
    cells = [cell for cell in SETS[name]["cells"] if cell["model"] == model]
    assert len(cells) >= 2  # but for those that have no variance left
    for cell in cells:
        K = cell["K"]
        labels = np.array(SETS[name]["start_labels"].get(str(K), np.zeros(len(X), int)))
        gmm = em(K, model).fit(X, init_responsibilities=labels)
        assert gmm.score(X) * len(X) == pytest.approx(cell["loglik"], rel=1e-6)
        assert gmm.mixture_.n_parameters == cell["df"]


@pytest.mark.parametrize(("name", "model", "K"), [("swiss", "VII", 2), ("banknote", "EII", 4)])
def test_round_clusters_are_found_in_rows_that_whitening_leads_astray(name, model, K):
    X = np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)
    (theirs,) = (cell["loglik"] for cell in SETS[name]["cells"] if (cell["model"], cell["K"]) == (model, K))
    gmm = GaussianMixture(K, covariance_type=model, random_state=0).fit(X)
    assert gmm.score(X) >= theirs / len(X) - 1e-6


def em(n_components, model, **settings):
    """Plain EM, far."""
    far = {"reg_covar": 0, "tol": 1e-12, "max_iter": 20_000, "accelerate": None}
    return GaussianMixture(n_components, covariance_type=model, **far, **settings)


VVE = json.loads((ORACLES / "mclust_vve.json").read_text())


@pytest.mark.parametrize("name", VVE)
def test_where_mclusts_vve_ends_the_likelihood_is_not_flat_and_it_climbs_on(name):
    """With one component it is; with more, mclust 6.0.0 stops elsewhere, and EM that starts there ends higher."""
    X = np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)
    for cell in VVE[name]:
        weights, sigma = np.array(cell["pro"]), np.array(cell["sigma"])
        start = {"init_weights": weights / weights.sum(), "init_means": cell["mean"], "init_covariances": sigma}
        gmm = em(cell["G"], "VVE", **start).fit(X)
        found = (weights, np.array(cell["mean"]), sigma), (gmm.weights_, gmm.means_, gmm.covariances_)
        theirs, ours = (np.abs(slope(log_likelihood(X, *each[:2]), "VVE", each[2])).max() for each in found)
        assert ours < 1e-3
        assert gmm.mixture_.n_parameters == cell["df"]
        if cell["G"] == 1:
            assert gmm.score(X) * len(X) == pytest.approx(cell["loglik"], rel=1e-9)
        else:
            assert theirs > 1
            assert gmm.score(X) * len(X) > cell["loglik"] + 0.01


PRIOR = json.loads((ORACLES / "mclust_prior.json").read_text())


@pytest.mark.parametrize("name", PRIOR)
@pytest.mark.parametrize("model", ["VII", "VEI", "EVI", "VVI", "EEE", "EEV", "VEV", "VVV"])
def test_default_priors_and_their_modes_are_mclusts(name, model):
    X = np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)
    cells = [cell for cell in PRIOR[name] if cell["model"] == model]
    assert cells
    for cell in cells:
        gmm = em(cell["G"], model, mean_prior="default", covariance_prior="default")
        gmm.fit(X, init_responsibilities=cell["start_labels"])
        assert (np.diff(gmm.objective_history_) > -1e-12).all()
        assert gmm.score(X) * len(X) == pytest.approx(cell["loglik"], rel=1e-6)
        np.testing.assert_allclose(gmm.weights_, cell["pro"], atol=1e-5)
        np.testing.assert_allclose(gmm.means_, cell["mean"], rtol=1e-3)
