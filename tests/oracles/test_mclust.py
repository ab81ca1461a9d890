"""Against R's mclust: the same start, the same limit, the same number of parameters, the same BIC (of the other sign).

The records and what they hold are described in data/README.md.
"""

import json

import numpy as np
import pytest
from cases import assert_same_parameters, parameters
from naive_em import as_matrices, naive_em
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
    assert len(cells) == 4
    for cell in cells:
        K = cell["K"]
        labels = np.array(SETS[name]["start_labels"].get(str(K), np.zeros(len(X), int)))
        gmm = GaussianMixture(
            K,
            covariance_type=STRUCTURE_OF_CODE.get(model, model),
            reg_covar=0,
            tol=1e-12,
            max_iter=20_000,
            accelerate=None,
        ).fit(X, init_responsibilities=labels)
        assert gmm.score(X) * len(X) == pytest.approx(cell["loglik"], rel=1e-6)
        assert gmm.mixture_.n_parameters == cell["df"]
