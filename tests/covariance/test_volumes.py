"""Volumes of components with a shape in common: against a brute-force minimiser, and near what has no minimum."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES, volumes
from tgmm.covariance.diagonal import Diagonal
from tgmm.covariance.full import Full

KINDS = {"VEE": volumes.of_matrices, "VEI": volumes.of_diagonals}
every_kind = pytest.mark.parametrize("name", KINDS)


def squares(name, n_components, d, seed=0, batch=()):
    """Mean squares of components, and counts."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(*batch, n_components, d, d + 1, dtype=torch.float64, generator=generator)
    sizes = torch.randn(*batch, n_components, dtype=torch.float64, generator=generator).exp()
    matrices = roots @ roots.mT * sizes[..., None, None]
    counts = 1 + 99 * torch.rand(*batch, n_components, dtype=torch.float64, generator=generator)
    return matrices if name == "VEE" else matrices.diagonal(dim1=-2, dim2=-1), counts


def value(name, values):
    return (Full if name == "VEE" else Diagonal)(values, values.shape[-1])


def objective(found, given, counts):
    """Minus twice the log-likelihood, but for constants."""
    precisions = torch.linalg.inv(found.dense)
    traces = (precisions * given.dense).sum((-2, -1))
    return (counts * (torch.logdet(found.dense) + traces)).sum(-1)


def counted(monkeypatch):
    n_steps, step = [], volumes._step
    monkeypatch.setattr(volumes, "_step", lambda *args: n_steps.append(1) or step(*args))
    return n_steps


@every_kind
@pytest.mark.parametrize(("n_components", "d"), [(2, 1), (3, 4), (50, 3)])
def test_they_are_those_of_a_brute_force_minimiser(name, n_components, d):
    values, counts = squares(name, n_components, d)
    found = STRUCTURES[name].estimate(value(name, counts.reshape(-1, *[1] * (values.ndim - 1)) * values), counts)

    def profile(logs):
        factors = counts * torch.as_tensor(-logs).exp()
        common = torch.tensordot(factors, value(name, values).dense, 1)
        slope = counts * d - counts.sum() * factors * (torch.linalg.inv(common) * value(name, values).dense).sum((1, 2))
        return float(d * (counts @ torch.as_tensor(logs)) + counts.sum() * torch.logdet(common)), slope.numpy()

    best = minimize(profile, np.zeros(n_components), jac=True, method="BFGS", options={"gtol": 1e-7})
    variances = found.variances
    logs = (variances / variances[:1]).log().mean(-1).numpy()
    np.testing.assert_allclose(logs, best.x - best.x[0], atol=1e-6)
    assert profile(logs)[0] <= best.fun + 1e-12 * abs(best.fun)
    np.testing.assert_allclose(profile(logs)[1] / counts.sum(), 0, atol=1e-10)


@every_kind
def test_a_batch_is_each_of_its_own_and_components_without_rows_get_the_volume_that_suits_the_shape(name):
    values, counts = squares(name, 4, 3, batch=(5,))
    counts[1, 2] = 0
    values[3, 1, ..., 2:] *= 1e-9
    values[3, 1, 2:] *= 1e-9
    structure = STRUCTURES[name]
    together = structure.project(value(name, values), counts)
    for i in range(5):
        alone = structure.project(value(name, values[i]), counts[i])
        torch.testing.assert_close(together.values[i], alone.values, rtol=1e-10, atol=0)
    with_rows = [0, 1, 3]
    without = structure.project(value(name, values[1, with_rows]), counts[1, with_rows])
    torch.testing.assert_close(together.values[1, with_rows], without.values, rtol=1e-10, atol=1e-14)
    scale = (torch.linalg.inv(without.dense[0]) * value(name, values[1]).dense[2]).sum() / 3
    torch.testing.assert_close(together.dense[1, 2], scale * without.dense[0], rtol=1e-10, atol=1e-14)


@every_kind
@pytest.mark.parametrize("thinnest", [1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_few_steps_find_them_where_a_component_is_nearly_flat(name, thinnest, size, monkeypatch):
    values, _ = squares(name, 2, 4)
    root = torch.tensor([1, 1, thinnest, thinnest], dtype=torch.float64).sqrt() * size
    values[1] *= root if name == "VEI" else root[:, None] * root
    values[1] *= root if name == "VEI" else 1
    n_steps, counts = counted(monkeypatch), torch.tensor([40.0, 40.0], dtype=torch.float64)
    found = STRUCTURES[name].project(value(name, values), counts)
    assert len(n_steps) < 100  # of minimising in turn, a thousand and more
    factors = (counts / found.variances[:, 0])[None]
    traces = KINDS[name](factors, values[None])[0]
    torch.testing.assert_close(factors * traces, torch.full((1, 2), 2.0, dtype=torch.float64), rtol=1e-8, atol=0)


@every_kind
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_every_step_descends_from_wherever_it_starts(name, spread, monkeypatch):
    values, counts = squares(name, 6, 4, seed=1)
    given, generator = value(name, values), torch.Generator().manual_seed(2)
    sizes = (spread * torch.randn(6, dtype=torch.float64, generator=generator)).exp()
    before = STRUCTURES[name].project(given, counts)
    previous = value(name, before.values * sizes.reshape(-1, *[1] * (values.ndim - 1)))
    heights, shares = [], counts / counts.sum()
    for n_steps in range(1, 12):
        monkeypatch.setattr(volumes, "STEPS", n_steps)
        factors = volumes.factors_of(values, counts, previous.variances.mean(-1), KINDS[name])
        common = volumes.common_matrix(factors, given.dense)
        heights.append(objective(value("VEE", (shares / factors)[:, None, None] * common), given, counts))
    assert all(after <= height + 1e-12 * abs(height) for height, after in pairwise(heights))
    assert heights[0] <= objective(previous, given, counts)


def test_fits_end_soon_where_one_cluster_is_flat_or_some_features_are_not_observed_in_it(monkeypatch):
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 40)
    rows = 6.0 * labels[:, None] + rng.normal(size=(80, 4))
    flat, gaps = rows.copy(), rows.copy()
    flat[labels == 1, 2:] = 6
    gaps[labels == 1, 2:] = gaps[labels == 0, 0] = np.nan
    n_steps = counted(monkeypatch)
    for each in (flat, gaps):
        fit = GaussianMixture(2, covariance_type="VEE", missing="em", random_state=0).fit(each)
        assert np.isfinite(fit.lower_bound_)
        assert all(np.diff(fit.objective_history_) > -1e-12)
    assert len(n_steps) < 3000  # 277 000 of minimising in turn
