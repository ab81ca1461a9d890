"""Factor analysis as a function of noise variances: slope and curvature by automatic differentiation."""

import pytest
import torch

from tgmm.covariance.uniqueness import Profile


def correlations(d, n_factors, seed=0):
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.randn(d, n_factors, dtype=torch.float64, generator=generator)
    roots = torch.randn(d, 3 * d, dtype=torch.float64, generator=generator)
    matrix = loadings @ loadings.T + roots @ roots.T / (3 * d)
    sd = matrix.diagonal().sqrt()
    return (matrix / (sd[:, None] * sd))[None]


@pytest.mark.parametrize(("d", "n_factors"), [(6, 0), (6, 2), (9, 4)])
@pytest.mark.parametrize("level", [-1.5, -0.1])  # the higher one leaves fewer factors
def test_slope_and_curvature_are_those_of_automatic_differentiation(d, n_factors, level):
    matrix = correlations(d, n_factors)
    logs = level + 0.2 * torch.rand(1, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value(logs):
        return Profile.at(matrix, logs[None], n_factors).value[0]

    profile = Profile.at(matrix, logs, n_factors)
    torch.testing.assert_close(profile.slope[0], torch.autograd.functional.jacobian(value, logs[0]))
    hessian = torch.autograd.functional.hessian(value, logs[0])
    torch.testing.assert_close(profile.curvature(0, -torch.inf), hessian, rtol=1e-8, atol=1e-10)


def test_second_derivatives_hold_no_product_of_three_features(monkeypatch):
    d, n_factors, largest = 60, 2, []
    profile = Profile.at(correlations(d, n_factors), torch.full((1, d), -1.0, dtype=torch.float64), n_factors)
    mul = torch.Tensor.__mul__
    monkeypatch.setattr(torch.Tensor, "__mul__", lambda *args: largest.append(mul(*args).numel()) or mul(*args))
    profile.curvature(0, 0.0)
    assert max(largest) <= n_factors * d * d
