"""`BayesianGaussianMixture` as an estimator: its data, its settings, its files, and what it says."""

import warnings

import numpy as np
import pytest
import ranks
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from structures import SPECS
from support import COVARIANCE_TYPES

from tgmm import BayesianGaussianMixture, Mixture, ModelFileError
from tgmm.estimators import bayesian
from tgmm.files.store import signed

PROCESS, DISTRIBUTION = "dirichlet_process", "dirichlet_distribution"
KINDS = dict(zip(COVARIANCE_TYPES, [PROCESS, DISTRIBUTION] * 3, strict=True))
FITTED = ["weights_", "means_", "covariances_", "mean_precision_", "degrees_of_freedom_", "lower_bound_"]
SETTINGS = {"n_components": 5, "random_state": 0, "tol": 1e-8, "max_iter": 2000}
every_structure = pytest.mark.parametrize("name", COVARIANCE_TYPES)


def model_of(name, **settings):
    settings = {**SETTINGS, "covariance_type": name, "weight_concentration_prior_type": KINDS[name], **settings}
    return BayesianGaussianMixture(**settings)


def assert_close(one, other, rtol=1e-7, names=FITTED):
    for name in names:
        values = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(*values, rtol=rtol, atol=rtol * np.abs(values[1]).max(), err_msg=name)


# --- data -------------------------------------------------------------------------------------------------------


@every_structure
def test_weights_equal_repetition(blobs, name):
    counts = np.random.default_rng(0).integers(0, 4, len(blobs))
    means = blobs[[0, 60, 70, 110, 140]]
    weighted = model_of(name, init_means=means).fit(blobs, sample_weight=counts)
    repeated = model_of(name, init_means=means).fit(np.repeat(blobs, counts, axis=0))
    assert_close(weighted, repeated)


@every_structure
def test_rows_of_a_file_and_in_batches(blobs, name, tmp_path):
    np.save(tmp_path / "rows.npy", blobs)
    whole = model_of(name).fit(blobs)
    assert_close(model_of(name).fit(str(tmp_path / "rows.npy")), whole)
    assert_close(model_of(name).fit(np.array_split(blobs, 7)), whole)
    found = whole.score_samples(str(tmp_path / "rows.npy"))
    np.testing.assert_array_equal(found, whole.score_samples(blobs))


@every_structure
def test_offset_and_units_do_not_matter(blobs, name):
    scale = np.full(3, 1e-3) if SPECS[name].knows_units else np.array([1e-3, 1.0, 1e4])
    here = model_of(name).fit(blobs)
    there = model_of(name).fit(blobs * scale + 1e5 * scale)
    assert there.lower_bound_ == pytest.approx(here.lower_bound_ - np.log(scale).sum(), rel=1e-6)
    np.testing.assert_allclose(there.weights_, here.weights_, atol=1e-6)
    np.testing.assert_allclose(there.means_, here.means_ * scale + 1e5 * scale, rtol=1e-6)


def test_float32_rows_are_fitted_as_well(blobs):
    wide, narrow = (model_of("full").fit(rows) for rows in (blobs.astype(np.float32).astype(float), np.float32(blobs)))
    assert narrow.means_.dtype == np.float32
    assert narrow.lower_bound_ == pytest.approx(wide.lower_bound_, abs=1e-6)


def fit_rank(rank, settings, parts):
    warnings.simplefilter("ignore")
    model = BayesianGaussianMixture(**settings, distributed=True).fit(parts[rank])
    return {name: getattr(model, name) for name in FITTED}


@pytest.mark.timeout(120)
def test_every_rank_has_the_fit_to_all_rows(blobs):
    rows = np.random.default_rng(0).permutation(blobs)
    model = model_of("full", tol=1e-6)
    settings = {name: value for name, value in model.get_params().items() if name != "distributed"}
    outcomes = ranks.results(fit_rank, 2, settings, [rows[:40], rows[40:]])
    alone = model.fit(rows)
    for name in FITTED:
        np.testing.assert_array_equal(outcomes[0][name], outcomes[1][name])
        np.testing.assert_allclose(outcomes[0][name], getattr(alone, name), rtol=1e-8, atol=1e-8)


def test_tensors_in_tensors_out(blobs):
    model = model_of("diag").fit(torch.tensor(blobs))
    found = [model.weights_, model.mean_precision_, model.degrees_of_freedom_, model.mean_prior_]
    found += [model.score_samples(torch.tensor(blobs)), model.predict_proba(torch.tensor(blobs))]
    assert all(isinstance(each, torch.Tensor) for each in found)


def test_global_generators_are_not_touched(blobs):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = model_of("full", random_state=None).fit(blobs)
    model.sample(5)
    model.sample(5, posterior=True)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_the_same_seed_gives_the_same_bits(blobs):
    one, other = (model_of("full", init_means="random").fit(blobs) for _ in range(2))
    np.testing.assert_array_equal(one.means_, other.means_)
    assert one.objective_history_ == other.objective_history_


# --- what it finds ----------------------------------------------------------------------------------------------


def test_components_in_use_make_the_mixture(blobs):
    model = model_of("full", n_components=10).fit(blobs)
    assert model.n_components_ == 3
    assert type(model.mixture_) is Mixture
    assert model.mixture_.n_components == 3
    assert model.weights_.shape == (10,)
    assert model.predict_proba(blobs).shape == (150, 10)
    np.testing.assert_allclose(model.predict_proba(blobs).sum(1), 1)
    assert model.bic(blobs) == pytest.approx(model.mixture_.bic(blobs))
    first, second = model.weight_concentration_
    assert first.shape == second.shape == (10,)


@every_structure
def test_components_in_use_have_the_first_numbers_where_all_can_change_places(blobs, name, monkeypatch):
    settings = {"weight_concentration_prior_type": DISTRIBUTION, "init_means": "random", "n_components": 7, "tol": 1e-4}
    found = [model_of(name, random_state=seed, **settings).fit(blobs) for seed in range(4)]
    assert all(each.predict(blobs).max() < each.n_components_ < 7 for each in found)
    given = {"init_means": blobs[::20][:7]}, {"weight_concentration_prior": [3.0, *[0.1] * 6]}
    found += [model_of(name, **settings | each).fit(blobs) for each in given]
    monkeypatch.setattr(bayesian, "in_use_first", lambda solution: solution)
    moved = []
    for ordered in found:
        plain = clone(ordered).fit(blobs)
        order = (plain.mean_precision_ - plain.mean_precision_prior_ <= 1).argsort(kind="stable")
        moved.append(not (plain.means_ == ordered.means_).all())
        order = order if moved[-1] else np.arange(7)
        for each in ("weights_", "means_", "weight_concentration_", "mean_precision_"):
            np.testing.assert_array_equal(getattr(ordered, each), getattr(plain, each)[order], err_msg=each)
        np.testing.assert_allclose(ordered.predict_proba(blobs), plain.predict_proba(blobs)[:, order], rtol=1e-9)
        np.testing.assert_allclose(ordered.score_samples(blobs), plain.score_samples(blobs), rtol=1e-9)
    assert any(moved[:4]) and moved[4:] == [False, False]


def test_several_starts(blobs):
    model = model_of("full", init_means="random", n_init=4).fit(blobs)
    objectives = [run.objective for run in model.runs_]
    assert objectives == sorted(objectives, reverse=True)
    assert model.lower_bound_ == objectives[0]


def test_a_warm_start_goes_on(blobs):
    model = model_of("tied_diag", warm_start=True).fit(blobs)
    before = model.lower_bound_
    model.fit(blobs)
    assert model.objective_history_[0] == pytest.approx(before, rel=1e-12)
    assert model.n_iter_ < 10


def test_constant_features_and_few_rows():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    rows[:, 1] = 4.0
    with pytest.warns(UserWarning, match="constant: variances are determined by covariance_prior"):
        model = model_of("full").fit(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    few = model_of("full", n_components=2).fit(np.random.default_rng(1).normal(size=(3, 6)))
    assert np.isfinite(few.lower_bound_)


# --- online learning --------------------------------------------------------------------------------------------


@every_structure
def test_one_batch_is_one_step(blobs, name):
    start = np.random.default_rng(0).integers(5, size=150)
    means = np.stack([blobs[start == k].mean(0) for k in range(5)])
    learnt = model_of(name, init_means=means).partial_fit(blobs)
    stepped = model_of(name, init_means=means, moves=False, accelerate=None, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        stepped.fit(blobs)
    assert_close(learnt, stepped, names=["weights_", "means_", "covariances_", "degrees_of_freedom_"])


def test_batches_of_any_size_lead_to_the_fit_to_all_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20000, 2)) + 8.0 * rng.integers(2, size=(20000, 1))
    cuts = np.cumsum(rng.integers(50, 400, 60))
    settings = {"n_components": 4, "covariance_type": "diag", "random_state": 0}
    model = BayesianGaussianMixture(**settings)
    for batch in np.split(rows, cuts[cuts < len(rows)]):
        model.partial_fit(batch)
    assert model.mean_precision_.sum() == pytest.approx(len(rows) + 4)
    whole = BayesianGaussianMixture(**settings, tol=1e-6, max_iter=1000).fit(rows)
    assert model.score(rows) == pytest.approx(whole.score(rows), abs=0.02)


def test_weights_of_a_batch_equal_repetition(blobs):
    models = [model_of("full", init_means=blobs[[0, 1, 60, 80, 120]]).partial_fit(blobs) for _ in range(2)]
    models[0].partial_fit(blobs[:40], sample_weight=np.full(40, 2.0))
    models[1].partial_fit(np.repeat(blobs[:40], 2, axis=0))
    assert_close(*models, names=["means_", "mean_precision_", "covariances_"])


def test_default_priors_are_those_of_the_first_batch(blobs):
    model = model_of("full").partial_fit(blobs)
    before = model.mean_prior_.copy()
    model.partial_fit(blobs + 100)
    np.testing.assert_array_equal(model.mean_prior_, before)


# --- files ------------------------------------------------------------------------------------------------------


@every_structure
@pytest.mark.filterwarnings("ignore:component")
def test_a_loaded_model_goes_on_with_its_bound(blobs, name, tmp_path):
    model = model_of(name).fit(blobs[::2])
    model.save(tmp_path / "model.pth")
    loaded = BayesianGaussianMixture.load(tmp_path / "model.pth").partial_fit(blobs[1::2])
    model.partial_fit(blobs[1::2])
    assert loaded.lower_bound_ == pytest.approx(model.lower_bound_, rel=1e-12)
    np.testing.assert_allclose(loaded.means_, model.means_, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@every_structure
def test_saved_and_loaded(blobs, name, suffix, tmp_path):
    model = model_of(name, mean_prior=[0.0, 1.0, 2.0]).fit(blobs)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    loaded = BayesianGaussianMixture.load(path)
    for verb in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(loaded, verb)(blobs), getattr(model, verb)(blobs))
    assert_close(loaded, model, 0, [*FITTED, "covariance_prior_", "mean_prior_", "n_components_"])
    assert_close(loaded.partial_fit(blobs[:50]), model.partial_fit(blobs[:50]), 1e-12, ["means_"])


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("sticks_", torch.zeros(2, 5, dtype=torch.float64), "sticks_"),
        ("mean_precision_", -torch.ones(5, dtype=torch.float64), "mean_precision_"),
        ("degrees_of_freedom_", torch.ones(3, dtype=torch.float64), "degrees_of_freedom_"),
        ("scale_of_prior_", torch.zeros(3, 3, dtype=torch.float64), "covariance_prior"),
        ("mean_of_prior_", None, "lacks"),
        ("mean_precision_of_prior_", 1.0, "tensor"),
        ("weight_concentration_prior_type", "something", "weight_concentration_prior_type"),
    ],
)
def test_a_forged_posterior_is_refused(blobs, entry, value, message):
    state = model_of("full").fit(blobs).save_state_dict()
    forged = {name: old for name, old in state.items() if name != "checksum"}
    forged = forged | {entry: value} if value is not None else {n: v for n, v in forged.items() if n != entry}
    with pytest.raises(ModelFileError, match=message):
        BayesianGaussianMixture().load_state_dict(signed(forged))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@every_structure
def test_an_interrupted_fit_goes_on_to_the_same_bits(blobs, name, tmp_path):
    whole = model_of(name).fit(blobs)
    path = tmp_path / "fit.safetensors"
    model_of(name, checkpoint=path, max_iter=7).fit(blobs)
    resumed = model_of(name, checkpoint=path).fit(blobs, resume=True)
    assert resumed.objective_history_ == whole.objective_history_
    np.testing.assert_array_equal(resumed.covariances_, whole.covariances_)
    with pytest.raises(ModelFileError, match="moves was"):
        model_of(name, checkpoint=path, moves=False).fit(blobs, resume=True)


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"covariance_type": "VEI"}, "no conjugate prior.*'tied_spherical'"),
        ({"weight_concentration_prior_type": "dirichlet"}, "weight_concentration_prior_type must be"),
        ({"weight_concentration_prior": 0.0}, "weight_concentration_prior must be"),
        ({"mean_precision_prior": -1}, "mean_precision_prior must be"),
        ({"mean_prior": [0.0]}, "mean_prior must have shape"),
        ({"degrees_of_freedom_prior": 2.0}, "degrees_of_freedom_prior must be finite and > 2"),
        ({"covariance_prior": -np.eye(3)}, "covariance_prior must be positive definite"),
        ({"init_means": "auto"}, "init_means must be one of 'kmeans'"),
        ({"moves": "yes"}, "moves must be"),
        ({"n_components": 151}, "n_components=151 needs at least as many rows"),
    ],
)
def test_unusable_settings_are_named(blobs, settings, message):
    with pytest.raises(ValueError, match=message):
        BayesianGaussianMixture(**settings).fit(blobs)


def test_a_fit_that_has_not_converged_says_so(blobs):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        model_of("full", max_iter=2).fit(blobs)


def test_names_of_scikit_learn_get_a_hint():
    with pytest.raises(TypeError, match="init_means"):
        BayesianGaussianMixture(init_params="kmeans")


def test_moves_are_tried_at_whichever_iteration_a_run_converges():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(6, 1, (60, 2))]).round(3)
    fits = [BayesianGaussianMixture(5, random_state=seed).fit(X) for seed in range(4)]  # one converged at step 20
    assert np.ptp([model.lower_bound_ for model in fits]) < 1e-3
    assert all((model.weights_ > 0.01).sum() == 2 for model in fits)
    for max_iter in (17, 18, 20, 21):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            assert BayesianGaussianMixture(5, random_state=0, max_iter=max_iter).fit(X).n_iter_ <= max_iter


def test_another_number_of_components_for_a_batch_is_named(blobs):
    model = BayesianGaussianMixture(2, random_state=0, init_means="kmeans").fit(blobs)
    with pytest.raises(ValueError, match="partial_fit continues .*n_components"):
        model.set_params(n_components=4).partial_fit(blobs)


def test_values_whose_covariances_leave_the_float_type_are_named(blobs):
    with pytest.raises(ValueError, match="X has values so far apart that their covariances leave float64"):
        BayesianGaussianMixture(2).fit(blobs * 1e200)


def test_the_concentration_is_that_of_the_fit(blobs):
    model = BayesianGaussianMixture(2, random_state=0).fit(blobs)
    first, second = model.weight_concentration_
    model.weight_concentration_prior_type = "dirichlet_distribution"
    np.testing.assert_array_equal(model.weight_concentration_, (first, second))
