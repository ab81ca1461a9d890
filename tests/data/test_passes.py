"""How often a source is read: each pass may be an hour."""

import warnings

import numpy as np
import pytest
from cases import mixture
from structures import SPECS

from tgmm import GaussianMixture, select
from tgmm.covariance import COMMON
from tgmm.data import Source

X, LABELS = mixture(3, n=400, d=3, n_components=3, separation=4.0)


class Counted(Source):
    """Rows that count how often they are read from the first on, and whether they are read to the end."""

    def __init__(self, *, known):
        self.passes, self.n_rows = 0, len(X) if known else None

    def __iter__(self):
        self.passes += 1
        yield from np.array_split(X, 9)


@pytest.fixture(params=[True, False], ids=["of known length", "of unknown length"])
def rows(request):
    return Counted(known=request.param)


@pytest.fixture(autouse=True)
def quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in SPECS),
        *(("full", settings) for settings in ({"cem": True}, {"init_means": X[:3]}, {"init_means": "random"})),
    ],
)
def test_a_fit_reads_once_to_look_once_to_start_and_once_an_expectation(rows, name, settings):
    GaussianMixture(3, covariance_type=name, max_iter=1, random_state=0, **settings).fit(rows)
    assert rows.passes <= 4  # a first look, the start's M-step, and the expectations before and after one iteration
    for max_iter in (2, 5):
        rows.passes = 0
        model = GaussianMixture(3, covariance_type=name, max_iter=max_iter, tol=0, random_state=0, **settings).fit(rows)
        assert rows.passes <= 3 + model.n_iter_


@pytest.mark.parametrize("name", COMMON)  # whose M-steps do not depend on where they start
def test_iterations_that_change_nothing_read_nothing(rows, name):
    model = GaussianMixture(1, covariance_type=name, max_iter=20, tol=0, random_state=0).fit(rows)
    assert rows.passes <= 4
    reference = GaussianMixture(1, covariance_type=name, max_iter=1, random_state=0).fit(X)
    assert model.lower_bound_ == pytest.approx(reference.lower_bound_, rel=1e-12)


def test_given_responsibilities_and_weights_cost_no_pass_of_their_own(rows):
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    GaussianMixture(3, max_iter=1).fit(rows, sample_weight=weights, init_responsibilities=LABELS)
    assert rows.passes <= 4


def test_every_further_start_reads_twice_and_once_an_expectation(rows):
    GaussianMixture(3, n_init=3, init_means="random", max_iter=1, random_state=0).fit(rows)
    assert rows.passes <= 1 + 3 * 3


@pytest.mark.parametrize(("verb", "passes"), [("score", 1), ("bic", 1), ("aic", 1), ("icl", 1), ("predict", 1)])
def test_verbs_read_once(rows, verb, passes):
    model = GaussianMixture(3, random_state=0).fit(X)
    getattr(model, verb)(rows)
    assert rows.passes == passes


@pytest.mark.parametrize("name", ["full", "tied_diag", "VEI"])
@pytest.mark.parametrize("n_init", [1, 5])
def test_a_cell_of_a_selection(rows, name, n_init):
    best = select(rows, [3], name, n_init=n_init, max_iter=1, random_state=0).best_
    assert rows.passes <= 8
    assert best.n_iter_ == 1


def test_cells_share_the_first_look(rows):
    select(rows, [1], ["full", "diag", "tied_full"], random_state=0)
    assert rows.passes == 1 + 3 * 3  # a start, an expectation and the criteria of each
