"""Every start of the registry: K centres among the rows, whoever asks, and first parameters of every structure.

A new start's test is its line in the registry.
"""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import chi2
from sklearn.cluster import KMeans
from structures import SPECS, scatter_objective, slope
from support import STARTS as PROMISED

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES
from tgmm.data.chunk import Chunk
from tgmm.data.columns import Columns
from tgmm.data.data import TensorData
from tgmm.data.reservoir import Sampling
from tgmm.data.training import Training
from tgmm.em.problem import Problem
from tgmm.em.start import Origin, started
from tgmm.model.frame import Frame
from tgmm.model.priors import Priors
from tgmm.model.update import Update
from tgmm.start import STARTS
from tgmm.start.kmeans import lloyd
from tgmm.start.sample import start_rows
from tgmm.start.seeding import draw

N, D = 60, 3
every_start = pytest.mark.parametrize("name", STARTS)
every_structure = pytest.mark.parametrize("structure", SPECS)


def test_the_promised_starts_are_there():
    assert set(PROMISED) <= set(STARTS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clusters(n=N, d=D, seed=0):
    """Overlapping clusters of different sizes on a grid of 1/256, all rows different, in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    X = 2.5 * rng.standard_normal((4, d))[labels] + rng.uniform(0.5, 1.5, (n, 1)) * rng.standard_normal((n, d))
    return np.round(X * 256) / 256


def weights_of(n=N, seed=1):
    return np.random.default_rng(seed).uniform(0.2, 3.0, n)


def centres_of(name, X, weights=None, n_components=3, seed=0, dtype=torch.float64):
    rows = torch.tensor(X, dtype=dtype)
    weights = torch.ones_like(rows[:, 0]) if weights is None else torch.tensor(weights, dtype=dtype)
    return STARTS[name](rows, weights, n_components, generator(seed))


def assert_start(centres, X, n_components):
    """They are K different places inside the range of the rows, each the nearest of some row."""
    assert centres.shape == (n_components, X.shape[1])
    values = centres.double().numpy()
    slack = 1e-6 * np.ptp(X, axis=0)
    assert (values >= X.min(0) - slack).all()
    assert (values <= X.max(0) + slack).all()
    assert set(cdist(X, values).argmin(1)) == set(range(n_components))


@every_start
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centres_are_among_the_rows_and_no_component_is_empty(name, dtype):
    X, weights = clusters(), weights_of()
    for seed in range(5):
        for n_components in (1, 2, 5, 20):
            centres = centres_of(name, X, weights, n_components, seed, dtype)
            assert centres.dtype == dtype
            assert_start(centres, X, n_components)


@every_start
def test_every_order_of_rows_gives_a_start(name):
    X, weights = clusters(), weights_of()
    by_size = np.argsort(np.abs(X).sum(1))
    for order in (by_size, by_size[::-1], np.random.default_rng(2).permutation(N)):
        assert_start(centres_of(name, X[order], weights[order], 4), X, 4)


@every_start
def test_one_component_begins_at_the_mode_of_all_rows(name):
    X, weights = clusters(120), weights_of(120)
    fitted = GaussianMixture(1, init_means=name, random_state=0).fit(X, sample_weight=weights)
    assert fitted.n_iter_ == 1
    np.testing.assert_allclose(fitted.means_[0], np.average(X, axis=0, weights=weights), rtol=1e-12)
    np.testing.assert_allclose(fitted.covariances_[0], np.cov(X.T, ddof=0, aweights=weights), rtol=1e-5)


@every_start
def test_as_many_components_as_rows_get_a_row_each(name):
    for X in (clusters(7), clusters(7, 1), np.array([[0.0], [1.0], [10.0], [11.0]]), np.eye(5)):
        for seed in range(3):
            centres = centres_of(name, X, n_components=len(X), seed=seed).numpy()
            distances = cdist(centres, X)
            assert sorted(distances.argmin(1)) == list(range(len(X)))
            assert distances.min(1).max() < 1e-12


@every_start
def test_the_generator_alone_decides(name):
    X, weights = clusters(), weights_of()
    rows, row_weights = torch.tensor(X), torch.tensor(weights)
    np.random.seed(5)
    torch.manual_seed(5)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = STARTS[name](rows, row_weights, 4, generator(3))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(6)
    torch.manual_seed(6)
    assert torch.equal(STARTS[name](rows, row_weights, 4, generator(3)), first)
    assert any(not torch.equal(STARTS[name](rows, row_weights, 4, generator(seed)), first) for seed in range(9))
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(row_weights, weights)


# --- the rows that starts look at -------------------------------------------------------------------------------


def rows_looked_at(X, counts=None, *, one_scale=False, frame=None):
    """The frame of data, and the rows in it that starts look at, with their weights."""
    data = TensorData.of(torch.tensor(X), None if counts is None else torch.tensor(counts, dtype=torch.float64))
    survey = data.survey(1000, 0)
    if frame is None:
        summary = survey.summary
        frame = Frame.of(summary.origin, summary.variance, torch.float64, one_scale=one_scale)
    return frame, *start_rows(survey.sample, frame, torch.float64)


@every_start
def test_a_weight_is_a_repetition_in_any_order(name):
    X, rng = clusters(), np.random.default_rng(3)
    counts = rng.integers(0, 4, N)
    repeated = np.repeat(X, counts, axis=0)
    frame, *expected = rows_looked_at(X, counts)
    assert len(expected[0]) == (counts > 0).sum()
    centres = STARTS[name](*expected, 4, generator())
    for order in (np.arange(len(repeated)), rng.permutation(len(repeated))):
        _, *found = rows_looked_at(repeated[order], frame=frame)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert torch.equal(STARTS[name](*found, 4, generator()), centres)


def test_equal_rows_are_merged_in_any_order_on_a_grid_too():
    """A factorial design: many different rows have the same sum of sqrt(j) x_j, with sqrt(4) twice sqrt(1)."""
    X = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 4), -1).reshape(-1, 4)
    rng = np.random.default_rng(4)
    found = [rows_looked_at(np.repeat(X, 2, axis=0)[rng.permutation(162)])[1:] for _ in range(2)]
    assert [len(rows) for rows, _ in found] == [81, 81]
    assert torch.equal(found[0][0], found[1][0])


@every_start
@pytest.mark.parametrize("one_scale", [False, True])
def test_neither_offset_nor_units_matter(name, one_scale):
    X, counts = clusters(), np.random.default_rng(5).integers(1, 4, N)
    units = 2.0 ** np.array([7, 7, 7] if one_scale else [-9, 20, 3])
    found = []
    for rows in (X, (X + 1024) * units):
        frame, *looked_at = rows_looked_at(rows, counts, one_scale=one_scale)
        found.append(frame.rows_out(STARTS[name](*looked_at, 4, generator())).numpy())
    np.testing.assert_allclose(found[1] / units - 1024, found[0], atol=1e-9)


# --- first parameters -------------------------------------------------------------------------------------------


@every_structure
@every_start
def test_first_parameters_are_the_structures_mode_of_the_rows_nearest_to_each_centre(name, structure):
    X, weights = clusters(120), weights_of(120)
    sampling = Sampling(lambda _: 1000, 0)
    training = Training.of(X, weights, Columns(None), sampling, device="cpu")
    problem = Problem.of(training, Update(STRUCTURES[structure], Priors()), 2, 0.0)
    found = started(problem, Origin(start=STARTS[name]), 1)
    assert found.notes == ()
    assert (found.regularisation == 0).all()
    z, w = problem.frame.rows_in(torch.tensor(X)).numpy(), weights / weights.mean()
    centres = STARTS[name](*problem.start_rows, 2, torch.Generator().manual_seed(1)).numpy()
    R = w[:, None] * np.eye(2)[cdist(z, centres).argmin(1)]
    counts, parameters = R.sum(0), found.parameters
    np.testing.assert_allclose(parameters.weights, counts / counts.sum(), rtol=1e-12)
    means = R.T @ z / counts[:, None]
    np.testing.assert_allclose(parameters.means, means, rtol=1e-10, atol=1e-12)
    deviations = z[:, None] - means
    objective = scatter_objective(np.einsum("nk,nki,nkj->kij", R, deviations, deviations), counts)
    matrices = parameters.covariances.dense.expand(2, D, D).numpy()
    assert STRUCTURES[structure].contains(parameters.covariances)
    # Noise at its least, 1e-6 of a variance, amplifies what rounding leaves of the other slopes a million times.
    level = 1e-8 if structure == "factor" else 1e-9
    assert np.abs(slope(objective, structure, matrices)).max() < level * counts.sum()


# --- their parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replacement", [False, True])
def test_draws_are_in_proportion_to_weights(replacement):
    weights = torch.tensor([1.0, 0.5, 1e-9, 4.0, 2.5])
    one, n_draws = generator(), 4000
    drawn = torch.cat([draw(weights, 1, one, replacement=replacement) for _ in range(n_draws)])
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == 0
    kept = np.array([0, 1, 3, 4])
    expected = (weights.numpy() / weights.sum().item() * n_draws)[kept]
    assert chi2.sf(((counts[kept] - expected) ** 2 / expected).sum(), 3) > 1e-4
    assert len(set(draw(weights, 5, one, replacement=False).tolist())) == 5


def test_k_means_on_the_rows_device_is_scikit_learns():
    X, weights = clusters(200), weights_of(200)
    seeds = X[[3, 50, 90, 120]]
    found = lloyd(torch.tensor(X), torch.tensor(weights), torch.tensor(seeds)).numpy()
    expected = KMeans(4, init=seeds, n_init=1, tol=0, max_iter=1000).fit(X, sample_weight=weights).cluster_centers_
    np.testing.assert_allclose(found, expected, atol=1e-9)
    labels = cdist(X, found).argmin(1)  # and each is the mean of its rows
    means = [np.average(X[labels == k], axis=0, weights=weights[labels == k]) for k in range(4)]
    np.testing.assert_allclose(found, means, atol=1e-9)
    far = np.concatenate([seeds[:3], [[1e6] * D]])
    assert lloyd(torch.tensor(X), torch.tensor(weights), torch.tensor(far))[3].tolist() == [1e6] * D


def test_a_sample_without_weights_is_one_of_weights_1():
    X = clusters()
    frame = Frame(torch.zeros(D).double(), torch.ones(D).double())
    one, other = (
        start_rows(Chunk(torch.tensor(X), weights, 0), frame, torch.float32)
        for weights in (None, torch.ones(N).double())
    )
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[0].dtype == one[1].dtype == torch.float32
