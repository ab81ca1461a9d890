"""float32 runs finish in float64: where they stop, and what it costs."""

import numpy as np
import pytest
import torch

from tgmm import GaussianMixture
from tgmm.em import problem
from tgmm.kernels.products import Products


@pytest.fixture
def passes(monkeypatch):
    """The float type of every pass over the data, which are not too few for float32."""
    monkeypatch.setattr(problem, "FEW_NUMBERS", 0)
    found, gather = [], Products.gather

    def counting(self, *args, **kwargs):
        found.append(self.dtype)
        return gather(self, *args, **kwargs)

    monkeypatch.setattr(Products, "gather", counting)
    return found


def fit(X, labels, tol):
    return GaussianMixture(4, tol=tol, max_iter=2000, accelerate=None).fit(X, init_responsibilities=labels)


@pytest.mark.parametrize(("separation", "tol", "wide"), [(8.0, 1e-3, 1), (8.0, 1e-6, None), (2.5, 1e-5, None)])
def test_it_stops_where_float64_does(passes, separation, tol, wide):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=2000)
    X = (separation * np.eye(4)[labels] / np.sqrt(2) + rng.standard_normal((2000, 4))).astype(np.float32)
    labels[rng.random(2000) < 0.2] = 0  # something to do
    narrow = fit(X, labels, tol)
    found = passes.copy()
    exact = fit(X.astype(float), labels, tol)
    assert narrow.n_iter_ == exact.n_iter_ > 1
    assert found == sorted(found, key=[torch.float32, torch.float64].index)  # float64 once, and then to the end
    assert narrow.lower_bound_ == pytest.approx(exact.lower_bound_, abs=1e-6)
    np.testing.assert_allclose(narrow.means_, exact.means_, atol=1e-4)
    assert (np.diff(narrow.objective_history_) >= 0).all()
    # Where the stop is clear, one pass says where it is; else the last steps are taken again.
    assert found.count(torch.float64) == wide if wide else found.count(torch.float64) > 1


def test_few_rows_are_fitted_in_float64_from_the_beginning(passes, monkeypatch):
    monkeypatch.undo()
    X = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    labels = np.arange(200) % 4
    narrow, exact = fit(X, labels, 1e-5), fit(X.astype(float), labels, 1e-5)
    assert narrow.n_iter_ == exact.n_iter_
    assert narrow.lower_bound_ == pytest.approx(exact.lower_bound_, rel=1e-12)
