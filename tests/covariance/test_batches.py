"""Covariances of a batch of mixtures: some of them, those that collapse, and how thin they are beside a whole."""

import numpy as np
import pytest
import torch
from batches import covariances_of, members, tensor
from scipy.linalg import eigh
from structures import SPECS

from tgmm.covariance import STRUCTURES, CovarianceCollapse, separate

R, K, D = 4, 3, 3
every_structure = pytest.mark.parametrize("name", SPECS)


@every_structure
def test_some_of_factored_covariances_are_factored(name):
    batch = members(name, R, K, D)[1].covariances
    index = torch.tensor([2, 0])
    assert "factor" not in vars(batch.of_some(index))
    expected = batch.of_some(index).factor
    _ = batch.factor
    some = batch.of_some(index)
    assert "factor" in vars(some)
    torch.testing.assert_close(some.factor.log_det, expected.log_det, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(some.factor.coefficients(), expected.coefficients(), rtol=1e-12, atol=1e-13)


@every_structure
def test_a_collapse_says_which_of_a_batch_it_is(name):
    """Singular matrices, and variances that are none, one kind after the other if need be."""
    matrices = [SPECS[name].member(seed, K, D) for seed in range(R)]
    covariances = covariances_of(name, matrices)
    expected = torch.zeros(covariances.values.shape[:2], dtype=torch.bool)
    expected[1, -1] = True
    for worse in (0.0, -1.0, float("nan")):
        values = covariances.values.clone()
        values[1, -1] *= worse
        with pytest.raises(CovarianceCollapse) as collapse:
            _ = type(covariances)(values, D, covariances.shared).factor
        assert collapse.value.bad is not None
        assert torch.equal(collapse.value.bad, expected)
        assert collapse.value.component == (None if SPECS[name].tied else K - 1)


@pytest.mark.parametrize("name", [name for name in SPECS if STRUCTURES[name].form.spans])
def test_a_singular_matrix_of_a_batch_collapses(name):
    matrices = [SPECS[name].member(seed, K, D) for seed in range(R)]
    covariances = covariances_of(name, matrices)
    values = covariances.values.clone()
    direction = np.array([1.0, -2.0, 0.5])
    values[2, 0] = tensor(np.outer(direction, direction))
    with pytest.raises(CovarianceCollapse) as collapse:
        _ = type(covariances)(values, D, covariances.shared).factor
    assert collapse.value.bad is not None
    assert collapse.value.bad.nonzero().tolist() == [[2, 0]]


@every_structure
def test_thinness_is_the_least_variance_in_any_direction_relative_to_the_wholes(name):
    arrays, batch = members(name, R, K, D)
    free = separate(STRUCTURES[name]).name
    whole = SPECS[free].member(9, 1, D)
    found = batch.covariances.thinness(covariances_of(free, [whole]).of_some(0))
    n_covariances = 1 if SPECS[name].tied else K
    expected = [[eigh(m, whole[0], eigvals_only=True)[0] for m in ms[:n_covariances]] for _, _, ms in arrays]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_there_is_a_structure_of_every_form_without_restriction():
    for name, spec in SPECS.items():
        assert separate(STRUCTURES[name]).name == spec.free
