"""The sums of kernels in Triton against float64: on a GPU where there is one, else in Triton's interpreter."""

import numpy as np
import pytest
import torch
from support import COVARIANCE_TYPES, TIED_TYPES

pytest.importorskip("triton")

from cases import explicit_start, fit_quietly, mixture
from triton_problems import CPU, DEVICE, SUMS, assert_close, expectation, problem

from tgmm import GaussianMixture
from tgmm.covariance import Spherical
from tgmm.kernels import choose
from tgmm.kernels.assignment import given, hard, soft
from tgmm.kernels.fused import Fused
from tgmm.kernels.products import Products
from tgmm.kernels.split import Split
from tgmm.model.parameters import Parameters

CASES = [
    *((form, covariance_type, 5, 3) for form in (Split, Fused) for covariance_type in COVARIANCE_TYPES),
    (Split, "full", 20, 23),
    (Split, "diag", 70, 70),
    (Split, "spherical", 1030, 5),
    (Split, "tied_full", 70, 150),
    (Fused, "full", 20, 9),
    (Fused, "diag", 60, 30),
    (Fused, "spherical", 20, 60),
    (Fused, "tied_full", 17, 17),
]
every_form = pytest.mark.parametrize("form", [Split, Fused])
full_and_tied = pytest.mark.parametrize("problem_of", [("full", 5, 3), ("tied_full", 17, 17)])


def past_its_first_pass(form, arguments, data, start):
    """A kernel, which has seen the data once if that is where it sums second moments."""
    kernel = form(*arguments, torch.float32, DEVICE)
    if start.covariances.shared:
        expectation(kernel, data, start, soft)
    return kernel


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("form", "covariance_type", "n_components", "n_features"), CASES)
def test_statistics_are_those_of_plain_products(form, covariance_type, n_components, n_features, weighted):
    data, start, arguments = problem(covariance_type, n_components, n_features, weighted=weighted)
    kernel = past_its_first_pass(form, arguments, data, start)
    kernel.n_rows, kernel.slice = 160, 32  # two chunks, the second of slices that are not full
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)


@every_form
@full_and_tied
def test_sums_are_added_up_the_same_way_every_time(form, problem_of):
    data, start, arguments = problem(*problem_of, n=300)  # several slices, some of them by four where parts are small
    kernel = past_its_first_pass(form, arguments, data, start)
    kernel.slice = 16
    first, second = (expectation(kernel, data, start, soft) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in SUMS)
    assert_close(first, expectation(Products(*arguments, torch.float64, CPU), data, start, soft))


@every_form
@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_the_first_pass_of_a_pooled_structure_sums_second_moments(form, covariance_type):
    data, start, arguments = problem(covariance_type, 5, 3)
    kernel = form(*arguments, torch.float32, DEVICE)
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)
    assert_close(expectation(kernel, data, start, soft), expected)


@every_form
@full_and_tied
@pytest.mark.parametrize("kind", ["hard", "given", "other structure"])
def test_what_does_not_fit_goes_to_plain_products(form, problem_of, kind):
    data, start, arguments = problem(*problem_of)
    n_components = arguments[2]
    if kind == "other structure":
        ball = Spherical(torch.ones(1, dtype=torch.float64), start.n_features, shared=True)
        start = Parameters(start.weights, start.means, ball)
    data = data.knowing(torch.arange(data.n_rows) % n_components)
    assignment = {"hard": hard, "given": given, "other structure": soft}[kind]
    expected = expectation(Products(*arguments, torch.float32, DEVICE), data, start, assignment)
    actual = expectation(form(*arguments, torch.float32, DEVICE), data, start, assignment)
    assert all(torch.equal(getattr(actual, name), getattr(expected, name)) for name in SUMS)


@every_form
@pytest.mark.parametrize("problem_of", [("diag", 5, 3), ("spherical", 5, 3), ("diag", 60, 30)])
def test_components_of_weight_0_and_rows_far_from_all_others_leave_sums_finite(form, problem_of):
    data, start, arguments = problem(*problem_of)
    data.rows[7] = 1e12
    weights = start.weights.clone()
    weights[0], weights[1] = 0, weights[0] + weights[1]
    start = Parameters(weights, start.means, start.covariances)
    actual = expectation(past_its_first_pass(form, arguments, data, start), data, start, soft)
    expected = expectation(Products(*arguments, torch.float32, CPU), data, start, soft)
    assert actual.mass[0] == 0
    assert torch.isfinite(actual.second).all()
    torch.testing.assert_close(actual.mass.cpu(), expected.mass, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(actual.log_likelihood.cpu(), expected.log_likelihood, rtol=1e-5, atol=0)


@every_form
@pytest.mark.parametrize("problem_of", [("spherical", 5, 3), ("full", 20, 23)])
def test_log_densities_are_those_of_plain_products(form, problem_of):
    data, start, arguments = problem(*problem_of)
    narrow, wide = form(*arguments, torch.float32, DEVICE), Products(*arguments, torch.float64, CPU)
    joint, _ = narrow.log_joint(data.rows, narrow.operands(start), narrow.buffer())
    expected, _ = wide.log_joint(data.rows, wide.operands(start), wide.buffer())
    torch.testing.assert_close(joint.cpu().double(), expected, rtol=2e-5, atol=2e-5)


@every_form
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_are_those_of_plain_products(form, covariance_type, monkeypatch):
    X, _ = mixture(3, n=200)
    weights, means, covariances = explicit_start(3, X, covariance_type, 3)
    starts = {"init_weights": weights, "init_means": means, "init_covariances": covariances}
    model = GaussianMixture(3, covariance_type=covariance_type, max_iter=5, tol=0, device=DEVICE, **starts)
    X = X.astype(np.float32)
    monkeypatch.setattr("tgmm.em.problem.FEW_NUMBERS", 0)  # for which the CPU takes float64
    monkeypatch.setattr(choose, "products_for", lambda *problem: Products)
    expected = fit_quietly(model, X).objective_history_
    made, eta = [], form.eta
    monkeypatch.setattr(choose, "products_for", lambda *problem: form if torch.float32 in problem else Products)
    monkeypatch.setattr(form, "eta", lambda self, parameters: made.append(1) or eta(self, parameters))
    np.testing.assert_allclose(fit_quietly(model, X).objective_history_, expected, rtol=1e-5)
    assert made  # the kernel served
