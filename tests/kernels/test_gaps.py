"""What a fit finds out about missing values once: it changes no result, and is never that of other rows."""

from copy import copy

import numpy as np
import pytest
import torch
from cases import mixture

from tgmm import GaussianMixture, select
from tgmm.kernels import gaps
from tgmm.kernels.arrangement import Arrangement
from tgmm.kernels.incomplete import Dependent

pytestmark = pytest.mark.filterwarnings("ignore")  # of fits that are cut short
K, D, N = 2, 4, 400
SETTINGS = {"missing": "em", "init_means": "kpp", "random_state": 0, "tol": 0, "max_iter": 4}
WHOLE = mixture(3, n=N, d=D, n_components=K)[0]


def with_gaps(seed, share=0.3):
    """Rows of which some lack nothing, many a pattern that others have, some one of their own, and one everything."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random(WHOLE.shape) < share, np.nan, WHOLE + rng.normal(size=D))
    X[: N // 4] = WHOLE[: N // 4]
    X[N // 4 : N // 2, 1] = np.nan
    X[-1] = np.nan
    return X


def fitted(X, structure="full", **settings):
    return GaussianMixture(K, covariance_type=structure, **SETTINGS | settings).fit(X)


def assert_same(model, other, tolerance=0.0):
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), rtol=tolerance, atol=tolerance)


@pytest.fixture
def found(monkeypatch):
    """The shapes of rows whose arrangement was found."""
    shapes, of = [], Arrangement.of

    def counted(rows, *others):
        shapes.append(tuple(rows.shape))
        return of(rows, *others)

    monkeypatch.setattr(gaps.Arrangement, "of", counted)
    return shapes


def test_rows_that_stay_are_arranged_once_a_fit(found):
    X = with_gaps(0)
    fitted(X)
    assert found == [X.shape]


@pytest.mark.parametrize("n_rows", [64, N])  # complete rows of many chunks, and of one, which are kept
@pytest.mark.parametrize("settings", [{}, {"noise": True}, {"shift": 1e7}, {"labels": True}], ids=str)
@pytest.mark.parametrize("structure", ["full", "diag"])
def test_kept_or_found_again_in_each_batch(structure, settings, n_rows, monkeypatch):
    monkeypatch.setattr("tgmm.kernels.chunking.ROWS_MAX", n_rows)
    monkeypatch.setattr(gaps, "WAITING", 100 * D)
    X = with_gaps(1) + settings.get("shift", 0.0)
    start = {"init_means": WHOLE[[0, 7]] + settings.get("shift", 0.0), "noise": settings.get("noise", False)}
    model = GaussianMixture(K, covariance_type=structure, **SETTINGS | start)
    weights = np.random.default_rng(2).uniform(0.5, 2, N)
    labels = np.where(np.arange(N) % 9 == 0, np.arange(N) % 2, -1) if "labels" in settings else None
    kept = copy(model).fit(X, sample_weight=weights, labels=labels)
    again = model.fit([X[:90], X[90:91], X[91:]], sample_weight=weights, labels=labels)
    assert_same(kept, again, 1e-10)


def test_rows_that_were_changed_in_place_are_found_again():
    X, other = torch.from_numpy(with_gaps(0)), torch.from_numpy(with_gaps(5))
    model = fitted(X)
    X.copy_(other)
    assert_same(model.fit(X), fitted(other))


def test_a_warm_start_on_rows_with_other_gaps():
    X, other = with_gaps(0), with_gaps(5)
    warm = fitted(X, warm_start=True)
    again = fitted(X, warm_start=True)
    X[:] = other
    assert_same(warm.fit(X), again.fit(other.copy()))


def test_cells_that_share_rows_find_what_single_fits_do():
    X = with_gaps(0)
    settings = {"missing": "em", "n_init": 1, "random_state": 0, "max_iter": 4}
    together = select(X, [1, 2], ["full", "diag"], **settings)
    alone = [select(X, k, s, **settings).best_.bic(X) for s in ("full", "diag") for k in (1, 2)]
    assert together.best_.bic(X) == min(alone)


def test_what_is_kept_is_a_small_part_of_the_rows():
    """Each row that lacks something is in one group, once or twice; complete rows are kept where they are one chunk."""
    X = torch.from_numpy(with_gaps(2))
    components = Dependent(fitted(X).mixture_.parameters, torch.zeros(D, dtype=torch.float64), centred=False)
    few, many = (Arrangement.of(X, components, n_rows) for n_rows in (N, 10))
    assert few.whole_rows is not None and many.whole_rows is None
    grouped = torch.cat([group.index[group.counts] for group in many.groups])
    assert torch.equal(grouped.sort().values, many.lacking)
    assert sum(group.index.numel() for group in many.groups) <= 2 * len(many.lacking)
