"""Against R's mclust with a noise component, on clusters among uniform noise (data/README.md)."""

import json

import numpy as np
import pytest
from structures import SPECS
from support import ORACLES, STRUCTURE_OF_CODE

from tgmm import GaussianMixture
from tgmm.covariance import MCLUST

RECORD = json.loads((ORACLES / "chevron_noise.json").read_text())
CODES = {code: STRUCTURE_OF_CODE.get(code, code) for code in MCLUST}
# There are two clusters: what four components end at is a matter of the start. So it is with VEE: on the rows that do
# not begin as noise our start is the better one, by 0.02 nats a row, and among the noise mclust's is, by 1e-4.
OWN_START = [cell for cell in RECORD["cells"] if cell["G"] < 4 and cell["model"] != "VEE"]


def each(cells):
    return pytest.mark.parametrize("cell", cells, ids=[f"{cell['model']}-{cell['G']}" for cell in cells])


@pytest.fixture(scope="module")
def chevron():
    return np.loadtxt(ORACLES / "chevron.csv", delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def is_noise():
    mask = np.zeros(RECORD["n"], bool)
    mask[RECORD["initially_noise"]] = True
    return mask


@each(RECORD["cells"])
def test_from_its_solution_the_limit_is_mclusts(chevron, is_noise, cell):
    structure = CODES[cell["model"]]
    weights = np.array(cell["pro"][:-1])
    model = GaussianMixture(
        cell["G"],
        covariance_type=structure,
        noise=True,
        noise_init=is_noise,
        init_weights=weights / weights.sum(),
        init_means=cell["mean"],
        init_covariances=SPECS[structure].public(np.array(cell["sigma"])),
        reg_covar=0,
        tol=1e-12,
        max_iter=20_000,
    ).fit(chevron)
    assert model.noise_volume_ == pytest.approx(RECORD["volume"], rel=1e-9)
    assert model.lower_bound_ * len(chevron) >= cell["loglik"] - 1e-4
    if abs(model.lower_bound_ * len(chevron) - cell["loglik"]) < 1e-3:
        np.testing.assert_allclose(model.weights_, weights, atol=1e-4)
        assert model.noise_weight_ == pytest.approx(cell["pro"][-1], abs=1e-4)


@each(OWN_START)
def test_from_its_own_start_it_is_no_lower(chevron, is_noise, cell):
    model = GaussianMixture(
        cell["G"], covariance_type=CODES[cell["model"]], noise=True, noise_init=is_noise, random_state=0, tol=1e-8
    ).fit(chevron)
    assert model.lower_bound_ * len(chevron) >= cell["loglik"] - 1e-2
