"""Axes in common: slope and curvature by automatic differentiation, and both methods that look for the axes."""

import pytest
import torch

from tgmm.covariance.axes import NEWTON, common_axes, variances_along
from tgmm.covariance.orientation import Orientation


def problem(n_components, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(n_components, d, 2 * d, dtype=torch.float64, generator=generator)
    counts = 10 + 90 * torch.rand(n_components, dtype=torch.float64, generator=generator)
    return roots @ roots.mT / (2 * d), counts, torch.linalg.qr(roots[0, :, :d])[0]


@pytest.mark.parametrize("equal_volumes", [False, True])
def test_slope_and_curvature_are_those_of_automatic_differentiation(equal_volumes):
    d = 4
    matrices, counts, axes = problem(3, d)
    i, j = torch.triu_indices(d, d, 1)
    place = Orientation(axes, matrices, counts / counts.sum(), equal_volumes)

    def value(angles):
        turn = torch.zeros(d, d, dtype=torch.float64).index_put((i, j), angles)
        return place.at(axes @ torch.linalg.matrix_exp(turn - turn.T)).value

    start = torch.zeros(len(i), dtype=torch.float64)
    torch.testing.assert_close(place.slope, torch.autograd.functional.jacobian(value, start))
    torch.testing.assert_close(place.curvature, torch.autograd.functional.hessian(value, start))


@pytest.mark.parametrize("equal_volumes", [False, True])
@pytest.mark.parametrize("d", [5, NEWTON + 1])
def test_axes_that_components_have_in_common_are_found(d, equal_volumes):
    generator = torch.Generator().manual_seed(1)
    _, counts, axes = problem(3, d)
    matrices = axes @ torch.diag_embed(torch.rand(3, d, dtype=torch.float64, generator=generator).exp()) @ axes.T
    perturbed = torch.linalg.qr(axes + 0.02 * torch.randn(d, d, dtype=torch.float64, generator=generator))[0]
    near = perturbed @ torch.diag_embed(torch.linalg.eigvalsh(matrices)) @ perturbed.T
    found = common_axes(matrices, counts, near, equal_volumes=equal_volumes)
    gaps = found.T @ matrices @ found - torch.diag_embed(variances_along(found, matrices))
    torch.testing.assert_close(gaps, torch.zeros_like(gaps), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("seed", "equal_volumes"), [(5, True), (128, False), (171, False)])
def test_searches_that_begin_slowly_are_not_given_up(seed, equal_volumes, monkeypatch):
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(5, 6, 6, dtype=torch.float64, generator=generator)
    matrices, counts = roots @ roots.mT, torch.ones(5, dtype=torch.float64)

    def lowest():
        axes = common_axes(matrices, counts, equal_volumes=equal_volumes)
        return Orientation(axes[None], matrices[None], counts / 5, equal_volumes).value

    found = lowest()
    monkeypatch.setattr("tgmm.covariance.axes.FEW", 6)  # all of them
    torch.testing.assert_close(found, lowest())
