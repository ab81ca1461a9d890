"""Every structure of the registry: its values, its estimate, and all that the library does with it.

A new structure's test is its entry in `structures.SPECS`.
"""

import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from structures import SPECS, log_likelihood, scatter_objective, slope
from support import assert_valid, n_parameters, weighted_log_densities

from tgmm import GaussianMixture, Mixture, select
from tgmm.covariance import STRUCTURES, CovarianceCollapse, structure_named, volumes
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update

K, D = 3, 4
every_structure = pytest.mark.parametrize("name", STRUCTURES)


def test_every_structure_has_its_entry():
    assert list(STRUCTURES) == list(SPECS)


def member(name, seed=0, n_components=K, d=D):
    """A random member as matrices (K, d, d), and as the library's value."""
    value = value_of(name, SPECS[name].member(seed, n_components, d))
    return value.dense.expand(n_components, d, d).numpy(), value


def value_of(name, matrices):
    public = torch.as_tensor(np.array(SPECS[name].public(matrices)))
    return STRUCTURES[name].from_public(public, *matrices.shape[:2])


def problem(seed=0, n=240, d=D, n_components=K, separation=3.0):
    """Rows of correlated clusters of different sizes, and labels that are wrong for some."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_components, n)
    mixing = np.eye(d) + 0.4 * rng.standard_normal((n_components, d, d))
    sizes = rng.uniform(0.5, 2, n_components)[:, None, None]
    X = np.einsum("kij,nj->nki", sizes * mixing, rng.standard_normal((n, d)))[np.arange(n), labels]
    X += separation * rng.standard_normal((n_components, d))[labels]
    return X, np.where(rng.random(n) < 0.1, rng.integers(0, n_components, n), labels)


def fitted(name, X, labels, **settings):
    settings = {"tol": 1e-13, "max_iter": 5000, "reg_covar": 0.0} | settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(K, covariance_type=name, **settings).fit(X, init_responsibilities=labels)


def matrices_of(model):
    """The covariances of a model as matrices."""
    return np.stack(
        SPECS[model.covariance_type].dense(np.asarray(model.covariances_, dtype=np.float64), *model.means_.shape)
    )


def is_member(name, matrices):
    """Whether matrices are a member: what the public array keeps of them is all of them."""
    kept, value = (
        SPECS[name].dense(np.array(SPECS[name].public(matrices)), *matrices.shape[:2]),
        value_of(name, matrices),
    )
    same = np.allclose(np.stack(kept), matrices, rtol=1e-9) and np.allclose(
        value.dense, matrices, rtol=1e-6, atol=1e-6 * np.abs(matrices).max()
    )
    return same and STRUCTURES[name].contains(value)


# --- values -----------------------------------------------------------------------------------------------------


@every_structure
def test_shapes_and_counts_are_the_contracts(name):
    spec, structure = SPECS[name], STRUCTURES[name]
    for k, d in ((1, 1), (1, 5), (3, 1), (3, 5)):
        assert structure.shape(k, d) == spec.shape(k, d)
        assert structure.n_parameters(k, d) == spec.n_free(k, d)
    assert structure_named(name) is structure
    assert pickle.loads(pickle.dumps(structure)) is structure


@every_structure
def test_a_value_is_its_matrices(name):
    matrices, value = SPECS[name].member(0, K, D), member(name)[1]
    dense = value.dense.expand(K, D, D).numpy()
    np.testing.assert_allclose(dense, matrices, rtol=1e-9, atol=1e-10)
    matrices = dense
    np.testing.assert_allclose(value.variances.expand(K, D), np.diagonal(matrices, axis1=1, axis2=2), rtol=1e-12)
    np.testing.assert_allclose(value.public, SPECS[name].public(matrices), rtol=1e-12)
    again = type(value).from_packed(value.packed, D, shared=value.shared)
    np.testing.assert_allclose(again.dense, value.dense, rtol=1e-12, atol=1e-14)
    amount = torch.tensor(0.25) if value.one_scale else torch.full((D,), 0.25)
    np.testing.assert_allclose(value.plus(amount.double()).dense.expand(K, D, D), matrices + 0.25 * np.eye(D))
    np.testing.assert_allclose(value.over(torch.full((value.values.shape[0],), 2.0)).dense.expand(K, D, D), dense / 2)


@every_structure
def test_a_factor_is_an_inverse_root(name):
    matrices, value = member(name)
    rows, factor = torch.randn(K, 7, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), value.factor
    inverse = np.linalg.inv(matrices)
    expected = np.einsum("kni,kij,knj->kn", rows, inverse, rows)
    np.testing.assert_allclose(factor.log_det.expand(K), np.linalg.slogdet(matrices)[1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(factor.distances(rows), expected, rtol=1e-9)
    np.testing.assert_allclose(factor.whiten(rows).square().sum(-1), expected, rtol=1e-9)
    np.testing.assert_allclose(factor.colour(factor.whiten(rows)), rows, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(factor.times(rows[:, 0]), np.einsum("kij,kj->ki", inverse, rows[:, 0]), rtol=1e-9)
    quadratic = (factor.coefficients()[:, None] * value.own_moment.of(rows)).sum(-1)
    np.testing.assert_allclose(quadratic, expected, rtol=1e-8)
    second = rows.square().mean(1)
    scaled = second.sqrt().numpy()
    bound = (scaled[:, :, None] * np.abs(inverse) * scaled[:, None, :]).sum(-1).max(-1)
    np.testing.assert_allclose(factor.amplification(second), bound, rtol=1e-9)
    assert (bound <= factor.amplified_at_most(second) * (1 + 1e-9)).all()
    one = value.take(slice(1, 2))
    np.testing.assert_allclose(one.factor.distances(rows[1:2]), expected[1:2], rtol=1e-9)
    assert "factor" in vars(one)  # that of all, not made again


@every_structure
def test_natural_parameters_give_log_densities(name):
    matrices, value = member(name)
    generator = torch.Generator().manual_seed(0)
    rows, means = (torch.randn(size, D, dtype=torch.float64, generator=generator) for size in (7, K))
    constants = torch.arange(K, dtype=torch.float64)
    apart = value.apart(K)
    features = torch.cat([torch.ones(7, 1), rows, apart.own_moment.of(rows)], 1)
    gaps = (rows - means[:, None]).numpy()
    expected = constants[:, None].numpy() - 0.5 * np.einsum("kni,kij,knj->kn", gaps, np.linalg.inv(matrices), gaps)
    natural = apart.factor.natural(means, constants)
    np.testing.assert_allclose((natural @ features.T).numpy(), expected, rtol=1e-8, atol=1e-10)


def test_distances_and_moments_by_blocks_are_those_of_whole_matrices():
    matrices = SPECS["full"].member(0, 2, 300)
    value = STRUCTURES["full"].from_public(torch.tensor(matrices), 2, 300)
    rows = torch.randn(2, 7, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(value.factor.distances(rows), value.factor.whiten(rows).square().sum(-1))
    weights = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = (weights[:, None] * value.own_moment.of(rows[0])).sum(0)
    torch.testing.assert_close(value.own_moment.weighted_sum(rows[0], weights), expected)


@every_structure
def test_features_are_chosen_rescaled_and_conditioned_on(name):
    matrices, value = member(name)
    dims = torch.tensor([3, 0])
    restricted = matrices[:, [3, 0]][:, :, [3, 0]]
    np.testing.assert_allclose(value.restrict(dims).dense.expand(K, 2, 2), restricted, rtol=1e-12)
    scale = torch.full((D,), 3.0).double() if value.one_scale else torch.tensor([2.0, 0.5, 3.0, 1e3]).double()
    rescaled = matrices * scale.numpy()[:, None] * scale.numpy()
    np.testing.assert_allclose(value.rescale(scale).dense.expand(K, D, D), rescaled, rtol=1e-12)
    observed, rest = torch.tensor([2, 0]), torch.tensor([1, 3])
    slopes, left = value.regression(observed, rest)
    for k in range(K):
        block, across = matrices[k][np.ix_([2, 0], [2, 0])], matrices[k][np.ix_([1, 3], [2, 0])]
        slope_k = across @ np.linalg.inv(block)
        np.testing.assert_allclose(slopes.expand(K, 2, 2)[k], slope_k, rtol=1e-9, atol=1e-12)
        expected = matrices[k][np.ix_([1, 3], [1, 3])] - slope_k @ across.T
        np.testing.assert_allclose(left.dense.expand(K, 2, 2)[k], expected, rtol=1e-9, atol=1e-12)


@every_structure
def test_a_singular_covariance_collapses_and_says_whose(name):
    _, value = member(name)
    for bad in (0.0, -1.0, float("nan")):
        values = value.values.clone()
        values[-1] = bad
        broken = type(value)(values, D, value.shared)
        with pytest.raises(CovarianceCollapse) as caught:
            _ = broken.factor
        assert caught.value.component == (None if SPECS[name].tied else K - 1)


# --- the estimate -----------------------------------------------------------------------------------------------


def scatters(seed, n_components=K, d=D, n=30):
    rows = np.random.default_rng(seed).standard_normal((n_components, n, d)) * [1.0, 0.3, 2.0, 5.0, 0.7][:d]
    mixing = np.eye(d) + 0.5 * np.random.default_rng(seed + 1).standard_normal((n_components, d, d))
    rows = np.einsum("kij,knj->kni", mixing, rows)
    return np.einsum("kni,knj->kij", rows, rows)


def estimated(name, S, counts):
    """The structure's estimate from scatter matrices S (K, d, d) and counts (K,), as matrices."""
    structure, (n_components, d) = STRUCTURES[name], S.shape[:2]
    scatter = structure.scatter(torch.as_tensor(SPECS[name].moments(S)), d)
    counts = torch.as_tensor(counts.sum(keepdims=True) if SPECS[name].tied else counts)
    return structure.estimate(scatter, counts).dense.expand(n_components, d, d).numpy()


@every_structure
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_components", "d"), [(1, 3), (3, 1), (3, 4), (5, 2)])
def test_the_estimate_is_stationary_in_every_coordinate(name, seed, n_components, d):
    S, counts = scatters(seed, n_components, d), np.random.default_rng(seed).uniform(1, 40, n_components)
    found, objective = estimated(name, S, counts), scatter_objective(S, counts)
    assert is_member(name, found)
    assert np.abs(slope(objective, name, found)).max() < 1e-7 * counts.sum() * d
    value = float(objective(torch.as_tensor(found)))
    rng = np.random.default_rng(seed)
    for size in (1e-3, 1e-1, 1.0):  # and no member near or far is better
        for _ in range(20):
            theta = torch.as_tensor(size * rng.standard_normal(SPECS[name].n_free(n_components, d)))
            assert float(objective(SPECS[name].moved(torch.as_tensor(found.copy()), theta))) > value - 1e-9 * abs(value)


@every_structure
def test_a_component_without_rows_does_not_matter_for_the_others(name):
    S, counts = scatters(4), np.array([20.0, 0.0, 7.0])
    S[1] = 0.0
    others = [0, 2]
    expected = estimated(name, S[others], counts[others])
    np.testing.assert_allclose(estimated(name, S, counts)[others], expected, rtol=1e-9, atol=1e-12)


@every_structure
def test_projections_are_members_and_leave_members_alone(name):
    structure, weights = STRUCTURES[name], torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    _, value = member(name)
    np.testing.assert_allclose(structure.project(value, weights).values, value.values, rtol=1e-9, atol=1e-12)
    _, rough = member(SPECS[name].free, 5)
    if not SPECS[name].tied:  # of the form, not of the structure
        projected = structure.project(rough, weights)
        assert is_member(name, projected.dense.numpy())
        assert (torch.linalg.eigvalsh(projected.dense) > 0).all()  # that of weight 0 too


@every_structure
@pytest.mark.parametrize("mean_prior", [False, True])
def test_regularisation_never_leaves_the_structure(name, mean_prior):
    X, labels = problem()
    structure, R = STRUCTURES[name], torch.nn.functional.one_hot(torch.as_tensor(labels)).double()
    rows = torch.as_tensor(X)
    second = structure.moment.pooled(R.T @ structure.moment.of(rows))
    zero = torch.zeros((), dtype=torch.float64)
    statistics = Statistics(R.sum(0), R.T @ rows, second, zero, zero, R.sum(), torch.zeros(1, D, dtype=torch.float64))
    amount = torch.tensor(0.3) if structure.one_scale else torch.tensor([0.1, 2.0, 0.0, 0.5])
    priors = Priors(mean=torch.zeros(K, D).double(), mean_precision=torch.ones(K).double()) if mean_prior else Priors()
    plain = Update(structure, priors)
    found = plain.regularised(amount.double())(statistics).covariances
    assert is_member(name, found.dense.expand(K, D, D).numpy())
    # As if every row had been spread by so much: the same as that much more scatter.
    N = R.sum(0).numpy() + mean_prior
    means = (R.T @ rows).numpy() / (R.sum(0).numpy() + mean_prior)[:, None]
    S = np.einsum("nk,ni,nj->kij", R, X, X) - np.einsum("k,ki,kj->kij", N, means, means)
    spread = np.diag(np.broadcast_to(amount.double().numpy(), (D,)))
    np.testing.assert_allclose(
        found.dense.expand(K, D, D), estimated(name, S + N[:, None, None] * spread, N), rtol=1e-8, atol=1e-10
    )


# --- fits -------------------------------------------------------------------------------------------------------


@every_structure
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_a_fit_climbs_to_where_the_likelihood_is_flat(name, accelerate):
    X, labels = problem()
    model = fitted(name, X, labels, accelerate=accelerate)
    assert (np.diff(model.objective_history_) >= -1e-10).all()
    matrices = matrices_of(model)
    assert is_member(name, matrices)
    assert model.mixture_.n_parameters == n_parameters(name, K, D)

    likelihood = log_likelihood(X, model.weights_, model.means_)
    assert float(likelihood(torch.as_tensor(matrices))) == pytest.approx(model.score(X) * len(X), rel=1e-10)
    assert np.abs(slope(likelihood, name, matrices)).max() < 1e-3  # of a sum over 240 rows
    means = torch.tensor(model.means_, requires_grad=True)
    log_likelihood(X, model.weights_, means)(torch.as_tensor(matrices)).backward()
    assert means.grad.abs().max() < 1e-3


@every_structure
def test_one_component_is_one_step(name):
    X, _ = problem()
    model = GaussianMixture(covariance_type=name, reg_covar=0.0).fit(X)
    centred = X - X.mean(0)
    np.testing.assert_allclose(
        matrices_of(model),
        estimated(name, (centred.T @ centred)[None], np.array([float(len(X))])),
        rtol=1e-9,
        atol=1e-12,
    )


@every_structure
@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_offset_and_a_common_unit_change_nothing(name, scale):
    X, labels = problem()
    plain, moved = fitted(name, X, labels), fitted(name, scale * X + 1e3 * scale, labels)
    np.testing.assert_allclose(matrices_of(moved), scale**2 * matrices_of(plain), rtol=1e-5, atol=1e-7 * scale**2)


@every_structure
def test_units_of_their_own_change_nothing_but_for_those_that_know_units(name):
    X, labels = problem()
    units = np.array([1e3, 1.0, 1e-3, 7.0])
    plain, moved = (fitted(name, Y, labels, max_iter=50, tol=0.0) for Y in (X, X * units))
    same = np.allclose(matrices_of(moved), matrices_of(plain) * units[:, None] * units, rtol=1e-6)
    assert same != SPECS[name].knows_units


@every_structure
def test_linear_maps_change_nothing_where_the_structure_allows_them(name):
    """All of them, or rotations, or none but units."""
    X, labels = problem()
    rng, spec = np.random.default_rng(1), SPECS[name]
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    linear = rotation if spec.knows_units else rotation @ np.diag([5.0, 1.0, 0.3, 2.0]) @ rotation[::-1]
    settings = {"max_iter": 20, "tol": 0.0, "accelerate": None}
    plain, moved = (fitted(name, Y, labels, **settings) for Y in (X, X @ linear.T))
    same = np.allclose(matrices_of(moved), linear @ matrices_of(plain) @ linear.T, rtol=1e-5, atol=1e-5)
    assert same != (spec.n_axes == 1 or name == "factor")


@every_structure
def test_a_lost_component_and_regularisation_stay_in_the_structure(name):
    X, _ = problem()
    means = np.concatenate([X[:2], [[1e4] * D]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(K, covariance_type=name, init_means=means, reg_covar=0.1, max_iter=4).fit(X)
    assert_valid(model, X)
    assert is_member(name, matrices_of(model))


@every_structure
def test_components_that_a_prior_drops_stay_in_the_structure(name):
    X, _ = problem()
    model = GaussianMixture(
        K, covariance_type=name, init_means=[[0.0] * D, [1.0] * D, [99.0] * D], weight_concentration_prior=0.5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    assert_valid(model, X)
    assert is_member(name, matrices_of(model))


@every_structure
def test_starts_select_streams_and_weights(name, tmp_path):
    X, _ = problem()
    found = select(X, [2, 3], name, n_init=1, random_state=0)
    assert [cell.status for cell in found.cells] == ["converged"] * 2
    assert found.best_cell.n_parameters == n_parameters(name, found.best_.n_components, D)
    settings = {"covariance_type": name, "random_state": 0, "max_iter": 3, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        in_memory = GaussianMixture(K, **settings).fit(X)
        streamed = GaussianMixture(K, **settings).fit(np.array_split(X, 5))
        weights = np.random.default_rng(0).integers(0, 3, len(X))
        weighted = GaussianMixture(K, **settings).fit(X, sample_weight=weights)
        repeated = GaussianMixture(K, **settings).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(matrices_of(streamed), matrices_of(in_memory), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(matrices_of(weighted), matrices_of(repeated), rtol=1e-8, atol=1e-10)
    online = GaussianMixture(K, covariance_type=name, random_state=0)
    for part in np.array_split(X, 4):
        online.partial_fit(part)
    assert_valid(online, X)
    assert is_member(name, matrices_of(online))


@every_structure
def test_a_fixed_point_of_em_is_one_of_online_learning(name):
    X, labels = problem()
    model = fitted(name, X, labels)
    before = matrices_of(model)
    np.testing.assert_allclose(matrices_of(model.partial_fit(X)), before, rtol=1e-5, atol=1e-7)


@every_structure
def test_a_given_start_is_a_member_or_refused(name):
    X, _ = problem()
    weights, means = np.full(K, 1 / K), X[:K]
    given = SPECS[name].public(SPECS[name].member(1, K, D))
    start = {"init_weights": weights, "init_means": means, "init_covariances": given}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianMixture(K, covariance_type=name, max_iter=1, **start).fit(X)
    assert is_member(name, matrices_of(model))
    others = SPECS[SPECS[name].free].member(2, K, D)
    if not SPECS[name].tied and not is_member(name, others):
        start["init_covariances"] = SPECS[name].public(others)
        with pytest.raises(ValueError, match=f"init_covariances must have the structure of covariance_type='{name}'"):
            GaussianMixture(K, covariance_type=name, **start).fit(X)


@every_structure
def test_a_covariance_prior_where_it_is_defined(name):
    X, _ = problem()
    psi = SPECS[name].public(SPECS[name].member(3, K, D))
    model = GaussianMixture(K, covariance_type=name, covariance_prior=psi, degrees_of_freedom_prior=D + 3.0)
    if SPECS[name].has_prior:
        assert is_member(name, matrices_of(model.fit(X)))
    else:
        with pytest.raises(ValueError, match=f"covariance_prior is not defined for covariance_type='{name}'"):
            model.fit(X)


# --- the mixture ------------------------------------------------------------------------------------------------


def made(name, seed=0):
    matrices, rng = SPECS[name].member(seed, K, D), np.random.default_rng(seed)
    weights, means = rng.dirichlet(np.full(K, 5.0)), 3 * rng.standard_normal((K, D))
    return Mixture(weights, means, SPECS[name].public(matrices), name), weights, means, matrices


def log_density(X, weights, means, matrices):
    return logsumexp(weighted_log_densities(X, weights, means, matrices), axis=1)


@every_structure
def test_a_mixture_has_its_densities_in_every_guise(name, tmp_path):
    model, weights, means, matrices = made(name)
    X = np.random.default_rng(1).standard_normal((20, D))
    expected = log_density(X, weights, means, matrices)
    x = torch.tensor(X)
    model.save(tmp_path / "mixture.pth")
    values = {
        "score_samples": model.score_samples(X),
        "log_prob": model.log_prob(x),
        "to_module": model.to_module()(x)[0],
        "to_distribution": model.to_distribution().log_prob(x),
        "to_sklearn": model.to_sklearn().score_samples(X),
        "from_sklearn": Mixture.from_sklearn(model.to_sklearn()).score_samples(X),
        "load": Mixture.load(tmp_path / "mixture.pth").score_samples(X),
        "pickle": pickle.loads(pickle.dumps(model)).score_samples(X),
    }
    for guise, value in values.items():
        np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=guise)
    assert Mixture.load(tmp_path / "mixture.pth").covariance_type == name


@every_structure
@pytest.mark.parametrize("unit", [1e-151, 1e150])
def test_members_in_units_whose_squares_just_fit_are_recognised(name, unit):
    covariances = SPECS[name].public(SPECS[name].member(1, K, D)) * unit**2
    model = Mixture(np.full(K, 1 / K), np.zeros((K, D)), covariances, name)
    np.testing.assert_allclose(model.covariances / unit**2, covariances / unit**2, rtol=1e-9, atol=1e-9)


@every_structure
def test_marginals_and_conditionals_are_right_mixtures(name):
    model, weights, means, matrices = made(name)
    X, dims, rest = np.random.default_rng(1).standard_normal((20, D)), [2, 0], [1, 3]
    marginal = model.marginal(dims)
    expected = log_density(X[:, dims], weights, means[:, dims], matrices[:, dims][:, :, dims])
    np.testing.assert_allclose(marginal.score_samples(X[:, dims]), expected, rtol=1e-9)
    assert marginal.covariance_type == (SPECS[name].marginal or name)
    kept = marginal.covariances
    assert is_member(marginal.covariance_type, np.stack(SPECS[marginal.covariance_type].dense(kept, K, 2)))
    assert Mixture(marginal.weights, marginal.means, kept, marginal.covariance_type).covariance_type
    joint, conditional = log_density(X, weights, means, matrices), model.condition(X[:, dims], dims)
    np.testing.assert_allclose(conditional.log_prob(X[:, rest]), joint - expected, rtol=1e-8, atol=1e-10)


@every_structure
def test_samples_have_the_moments(name):
    model, weights, means, matrices = made(name)
    X, components = model.sample(200_000, random_state=0)
    for k in range(K):
        rows = X[components == k]
        spread = np.sqrt(np.diagonal(matrices[k]))
        slack = 5 / np.sqrt(len(rows))
        np.testing.assert_allclose(rows.mean(0), means[k], atol=slack * spread.max())
        error = (np.cov(rows, rowvar=False) - matrices[k]) / np.outer(spread, spread)
        assert np.abs(error).max() < 2 * slack
    centred = means - weights @ means
    total = np.einsum("k,kij->ij", weights, matrices) + (weights[:, None] * centred).T @ centred
    np.testing.assert_allclose(model.covariance(), total, rtol=1e-10)
    assert model.kl_upper_bound(model) == pytest.approx(0, abs=1e-9)


@every_structure
def test_parameters_carry_a_leading_batch(name):
    """Shapes count from the right: what is computed for one mixture is computed for a batch of them."""
    values = [member(name, seed)[1] for seed in range(2)]
    batch = type(values[0])(torch.stack([value.values for value in values]), D, values[0].shared)
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, K, D, dtype=torch.float64, generator=generator)
    weights = torch.full((2, K), 1 / K, dtype=torch.float64)
    deviations = torch.randn(2, K, 5, D, dtype=torch.float64, generator=generator)
    both = Parameters(weights, means, batch)
    for i, value in enumerate(values):
        one = Parameters(weights[i], means[i], value)
        for name_ in ("natural", "log_constants"):
            torch.testing.assert_close(getattr(both, name_)[i], getattr(one, name_), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(both.log_joint(deviations)[i], one.log_joint(deviations[i]), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(batch.packed[i], value.packed)
        torch.testing.assert_close(batch.variances[i], value.variances)
        torch.testing.assert_close(batch.dense[i], value.dense)
        torch.testing.assert_close(batch.public[i], value.public)


def test_volumes_near_singular_covariances_settle_though_rounding_moves_them_for_ever(monkeypatch):
    rng = np.random.default_rng(0)
    celsius = rng.normal(20, 5, size=(300, 1))
    rows = np.hstack([celsius, 1.8 * celsius + 32 + 1e-5 * rng.normal(size=(300, 1)), rng.normal(size=(300, 1))])
    n_steps, step = [], volumes._step
    monkeypatch.setattr(volumes, "_step", lambda *args: n_steps.append(1) or step(*args))
    fit = GaussianMixture(2, covariance_type="VEE", init_means="kmeans", random_state=0).fit(rows)
    assert len(n_steps) < 50 * (fit.n_iter_ + 2)
