"""The M-step of every structure under every prior: no member of the structure is better by the documented posterior.

The oracle is autograd's gradient of what SPEC's section 3 says an M-step maximises, written from dense matrices, in the
coordinates that `structures.SPECS` has around the covariances that were found.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import PRIORS, prior_keywords
from naive_em import log_prior
from structures import SPECS, slope

from tgmm.covariance import STRUCTURES
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import SUMS, Statistics
from tgmm.model.update import Update

K, D, N = 3, 3, 60
OF_PRIOR = {
    "weight_concentration_prior": "concentration",
    "mean_prior": "mean",
    "mean_precision_prior": "mean_precision",
    "degrees_of_freedom_prior": "degrees_of_freedom",
}
CASES = [
    (name, kind)
    for name, spec in SPECS.items()
    for kind in PRIORS
    if spec.has_prior or "covariance_prior" not in prior_keywords(kind, spec.free, K, D)
]
every_case = pytest.mark.parametrize(("name", "kind"), CASES)
every_structure = pytest.mark.parametrize("name", SPECS)


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))


def keywords_of(name, kind):
    """The prior as users give it: for a structure without a covariance prior of its own, as for that of its form."""
    return prior_keywords(kind, name if SPECS[name].has_prior else SPECS[name].free, K, D)


def priors_of(name, keywords):
    """The prior as the library holds it."""
    fields = {OF_PRIOR[key]: tensor(value) for key, value in keywords.items() if key in OF_PRIOR}
    if "covariance_prior" in keywords:
        fields["covariance"] = STRUCTURES[name].from_public(tensor(keywords["covariance_prior"]), K, D)
        nu, has_means = fields["degrees_of_freedom"].reshape(-1), "mean_prior" in keywords
        fields["degrees_of_freedom"] = STRUCTURES[name].degrees_of_each(nu, D, beside_means=has_means)
    return Priors(**fields)


def problem(seed=0):
    """Rows, and the mass of each in each component, none of them the other's multiple."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)) @ (np.eye(D) + 0.4 * rng.standard_normal((D, D))) + [0.5, -1.0, 2.0]
    return X, rng.uniform(0.2, 2, (N, 1)) * rng.dirichlet([0.5, 1.0, 2.0], N)


def statistics_of(name, X, R, centre=None):
    """The sums about a centre (K, d) or (1, d), as a kernel would hand them in."""
    centre = np.zeros((1, D)) if centre is None else centre
    deviations = X[:, None] - np.broadcast_to(centre, (R.shape[1], D))
    second = np.einsum("nk,nki,nkj->kij", R, deviations, deviations)
    first = np.einsum("nk,nki->ki", R, deviations)
    zero = torch.zeros(()).double()
    return Statistics(
        tensor(R.sum(0)),
        tensor(first),
        tensor(SPECS[name].moments(second)),
        zero,
        zero,
        tensor(R.sum()),
        tensor(centre),
    )


def dense(parameters):
    return parameters.covariances.dense.expand(*parameters.means.shape, -1).numpy()


def exponents(name, R, keywords):
    """How many rows' powers of |Sigma_k| the posterior has, (K,): the denominators of SPEC's table, for one variance d
    times; what is shared is counted once, with the first component."""
    spec, counts = SPECS[name], R.sum(0) + ("mean_prior" in keywords)
    counts = np.r_[counts.sum(), np.zeros(K - 1)] if spec.tied else counts
    if "covariance_prior" in keywords:
        of_prior = np.broadcast_to(keywords["degrees_of_freedom_prior"], K) + (D + 1 if spec.n_axes == 2 else 2)
        of_prior = of_prior / (D if spec.n_axes == 0 else 1)
        if spec.prior_rows is not None:
            has_means = "mean_prior" in keywords
            of_prior = spec.prior_rows(keywords["degrees_of_freedom_prior"], K, D, has_means) - has_means
        counts = counts + (np.r_[of_prior[0], np.zeros(K - 1)] if spec.tied else of_prior)
    return counts


def psi_of(name, keywords):
    """Psi as matrices (K, d, d), what is shared in the first alone."""
    if "covariance_prior" not in keywords:
        return np.zeros((K, D, D))
    spec = SPECS[name]
    psi = np.array(spec.dense(np.broadcast_to(keywords["covariance_prior"], spec.shape(K, D)), K, D))
    psi = psi / (D if spec.n_axes == 0 else 1)  # the one-dimensional form once, and traces have d terms
    if spec.tied:
        psi[1:] = 0
    return psi


def expected_posterior(name, X, R, keywords, weights, means, matrices, regularisation):
    """What an M-step maximises, of tensors: the expected log-likelihood of rows of known components, and the prior.

    Regularisation is part of the scatter, as if every row had been spread by so much.
    """
    mass, rows = tensor(R), tensor(X)
    log_det, counts = torch.logdet(matrices), tensor(exponents(name, R, keywords))
    deviations = rows[:, None] - means
    distances = torch.einsum("nki,kij,nkj->nk", deviations, torch.linalg.inv(matrices), deviations)
    total = (mass * (weights.log() - 0.5 * distances)).sum() - 0.5 * counts @ log_det
    scatter = tensor(psi_of(name, keywords)) + counts[:, None, None] * torch.diag(regularisation)
    total = total - 0.5 * torch.linalg.solve(matrices, scatter).diagonal(dim1=1, dim2=2).sum()
    if "weight_concentration_prior" in keywords:
        total = total + (tensor(keywords["weight_concentration_prior"]) - 1) @ weights.log()
    if "mean_prior" in keywords:
        gap, kappa = means - tensor(keywords["mean_prior"]), tensor(keywords["mean_precision_prior"])
        total = total - 0.5 * kappa @ torch.einsum("ki,kij,kj->k", gap, torch.linalg.inv(matrices), gap)
    return total


def assert_mode(name, X, R, keywords, parameters, regularisation):
    """The gradient is zero in the logits of the weights, in the means and in the structure's coordinates."""
    matrices, size = dense(parameters), 1e-9 * (R.sum() + 50)
    assert STRUCTURES[name].contains(parameters.covariances)

    def posterior(weights, means, matrices):
        return expected_posterior(name, X, R, keywords, weights, means, matrices, regularisation)

    logits, means = parameters.weights.log().requires_grad_(), parameters.means.clone().requires_grad_()
    posterior(logits.softmax(0), means, tensor(matrices)).backward()
    assert logits.grad.abs().max() < size
    deviations = np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
    assert np.abs(means.grad.numpy() * deviations).max() < size
    # Those structures that have to iterate do so to the root of rounding.
    loose = 1e2 if SPECS[name].restricted else 1
    gradient = slope(lambda matrices: posterior(parameters.weights, parameters.means, matrices), name, matrices)
    assert np.abs(gradient).max() < loose * size


@every_case
@pytest.mark.parametrize("amount", [None, 0.3])
def test_no_parameters_of_the_structure_are_better(name, kind, amount):
    keywords = keywords_of(name, kind)
    spread = torch.full((D,), amount or 0.0).double()
    if amount and not STRUCTURES[name].one_scale:
        spread = spread * tensor([1.0, 0.0, 4.0])
    given = None if amount is None else spread[0] if STRUCTURES[name].one_scale else spread
    for seed in range(3):
        X, R = problem(seed)
        update = Update(STRUCTURES[name], priors_of(name, keywords)).regularised(given)
        assert_mode(name, X, R, keywords, update(statistics_of(name, X, R)), spread)


@every_structure
def test_a_component_without_rows_does_not_matter_for_the_others(name):
    X, R = problem()
    R[:, 1] = 0
    found, others = Update(STRUCTURES[name], Priors())(statistics_of(name, X, R)), [0, 2]
    expected = Update(STRUCTURES[name], Priors())(statistics_of(name, X, R[:, others]))
    torch.testing.assert_close(found.weights[others], expected.weights, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.means[others], expected.means, rtol=1e-12, atol=0)
    np.testing.assert_allclose(dense(found)[others], dense(expected), rtol=1e-9, atol=1e-12)
    assert found.weights[1] == 0


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.has_prior and name != "VEV"])
def test_a_component_without_rows_has_the_mode_of_a_proper_prior(name):
    X, R = problem()
    R[:, 1] = 0
    keywords = keywords_of(name, "all")
    update = Update(STRUCTURES[name], priors_of(name, keywords))
    assert update.priors.proper
    assert_mode(name, X, R, keywords, update(statistics_of(name, X, R)), torch.zeros(D).double())


def test_a_prior_that_is_worth_no_rows_is_not_proper():
    """Without rows there is nothing then that bounds a volume."""
    assert not priors_of("VEV", keywords_of("VEV", "all")).proper


@every_structure
def test_what_a_dirichlet_prior_takes_away_is_gone(name):
    X, R = problem()
    concentration = tensor([1.0, 1.0, 1.0]) - tensor([0.0, R[:, 1].sum() + 0.5, 3.0])
    weights = Update(STRUCTURES[name], Priors(concentration))(statistics_of(name, X, R)).weights
    expected = np.array([R[:, 0].sum(), 0.0, R[:, 2].sum() - 3])
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-12)
    with pytest.raises(ValueError, match="weight_concentration_prior sets every weight to 0"):
        Update(STRUCTURES[name], Priors(concentration - 1e3))(statistics_of(name, X, R))


def slack_of(name):
    """How far covariances may differ: noise of ``factor`` about its least, 1e-6, is below the objective's digits."""
    return 1e-6 if name == "factor" else 1e-11


# --- statistics -------------------------------------------------------------------------------------------------


@every_case
def test_neither_parts_nor_the_centre_of_statistics_matter(name, kind):
    X, R = problem()
    update = Update(STRUCTURES[name], priors_of(name, keywords_of(name, kind)))
    expected = update(statistics_of(name, X, R))
    centres = np.random.default_rng(1).standard_normal((K, D))
    first, *others = (statistics_of(name, X[part], R[part], centres) for part in np.split(np.arange(N), [0, 7, 8]))
    for centre in (centres, centres[:1]):
        forms = [statistics_of(name, X, R, centre), sum(others, first)]
        forms += [form.about(tensor(centre), STRUCTURES[name].moment) for form in forms]
        for form in [*forms, forms[0].unpacked(forms[0].packed())]:
            found = update(form)
            torch.testing.assert_close(found.weights, expected.weights, rtol=1e-12, atol=0)
            torch.testing.assert_close(found.means, expected.means, rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(dense(found), dense(expected), rtol=1e-9, atol=slack_of(name))


@every_structure
def test_statistics_are_scaled_and_packed_whole(name):
    X, R = problem()
    statistics = statistics_of(name, X, R, np.ones((K, D)))
    statistics = replace(statistics, log_likelihood=tensor(-3.0), objective=tensor(-4.0))
    thrice = statistics.scale(3.0)
    for sums in SUMS:
        torch.testing.assert_close(getattr(thrice, sums), 3 * getattr(statistics, sums), rtol=1e-15, atol=0)
    torch.testing.assert_close(thrice.packed(), (statistics + statistics + statistics).packed(), rtol=1e-15, atol=0)
    assert torch.equal(thrice.centre, statistics.centre)
    again = thrice.unpacked(statistics.packed())
    assert all(torch.equal(getattr(again, sums), getattr(statistics, sums)) for sums in SUMS)
    d, spec = D, SPECS[name]
    n_second = (1 if spec.tied else K) * (1, d, d * (d + 1) // 2)[spec.n_axes]
    assert statistics.packed().shape == (K + K * d + n_second + 3,)


# --- the log prior ----------------------------------------------------------------------------------------------


def members(name, n=4):
    """Parameters drawn at random, as arrays (weights, means, matrices)."""
    for seed in range(n):
        rng = np.random.default_rng(seed)
        yield rng.dirichlet(np.full(K, 3.0)), rng.standard_normal((K, D)), SPECS[name].member(seed, K, D)


def as_parameters(name, weights, means, matrices):
    covariances = STRUCTURES[name].from_public(tensor(SPECS[name].public(matrices)), K, D)
    return Parameters(tensor(weights), tensor(means), covariances)


@every_case
def test_the_log_prior_is_the_documented_one_up_to_a_constant(name, kind):
    keywords = keywords_of(name, kind)
    update = Update(STRUCTURES[name], priors_of(name, keywords))
    gaps = []
    for weights, means, matrices in members(name):
        found = update.log_prior(as_parameters(name, weights, means, matrices))
        gaps.append(float(found) - log_prior(weights, means, SPECS[name].public(matrices), name, keywords))
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-11)


@every_case
def test_a_prior_in_a_frame_is_the_one_outside(name, kind):
    """The same modes, and the same density but for the volumes that it counts."""
    scale = np.full(D, 2.5) if STRUCTURES[name].one_scale else np.array([0.5, 20.0, 3.0])
    frame = Frame(tensor([3.0, -1.0, 0.2]), tensor(scale))
    outside = priors_of(name, keywords_of(name, kind))
    inside = outside.in_frame(frame)
    for draw in members(name):
        parameters = as_parameters(name, *draw)
        found = float(torch.as_tensor(inside.log_density(frame.parameters_in(parameters))))
        expected = float(torch.as_tensor(outside.log_density(parameters)))
        assert expected == pytest.approx(found - inside.n_volumes(K) * np.log(scale).sum(), rel=1e-11, abs=1e-11)
    X, R = problem()
    found = Update(STRUCTURES[name], inside)(statistics_of(name, (X - frame.shift.numpy()) / scale, R))
    found = frame.parameters_out(found)
    expected = Update(STRUCTURES[name], outside)(statistics_of(name, X, R))
    torch.testing.assert_close(found.weights, expected.weights, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.means, expected.means, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dense(found), dense(expected), rtol=1e-9, atol=slack_of(name))
