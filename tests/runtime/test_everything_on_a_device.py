"""All that is fitted and asked, on a simulated or real device: nothing mixes devices, and the results are the CPU's."""

import copy
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from cases import as_numpy, mixture, prior_keywords
from simulated_card import CARD, SimulatedCard
from structures import SPECS
from support import STARTS

from tgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    Mixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    Mixtures,
    fit_many,
    select,
)
from tgmm.runtime import devices

pytestmark = pytest.mark.filterwarnings("ignore")  # of fits that are cut short
K, D = 3, 3
X, COMPONENTS = mixture(0, n=60, d=D, n_components=K)
LACKING = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 2, len(X))
LABELS = np.where(np.arange(len(X)) % 5 == 0, COMPONENTS, -1)
PRIORS = prior_keywords("all", "full", K, D)
WIDE = mixture(1, n=50, d=40, n_components=2)[0]
BRIEF = {"init_means": "kpp", "random_state": 0, "max_iter": 2}


def taken(value, there):
    """A setting or an argument as tensors on the device, those in dicts too."""
    if isinstance(value, dict):
        return {name: taken(each, there) for name, each in value.items()}
    return torch.from_numpy(value).to(there) if isinstance(value, np.ndarray) else value


def found_on(there, task, *arguments):
    """What task(*arguments), with all arrays as tensors on the device, returns, as NumPy's arrays."""
    results = task(*(taken(value, there) for value in arguments))
    results = results if isinstance(results, (list, tuple)) else [results]
    for result in results:
        assert not isinstance(result, torch.Tensor) or result.device == there
    return [as_numpy(result) for result in results]


@pytest.fixture(params=[SimulatedCard, pytest.param(nullcontext, marks=pytest.mark.gpu)])
def on_card(request):
    """The context in which there is a card."""
    return request.param


@pytest.fixture
def assert_same_on_device(on_card):
    return partial(assert_same, on_card)


def assert_same(on_card, task, *arguments, tolerance=1e-7):
    """The results of a task on the device are there, and those of the CPU."""
    with on_card():
        found = found_on(CARD, task, *arguments)
    for one, other in zip(found, found_on(torch.device("cpu"), task, *arguments), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def parameters(model):
    return [model.weights_, model.means_, model.covariances_]


@pytest.mark.parametrize("structure", SPECS)
def test_every_structure_with_missing_values_and_together(structure, monkeypatch, assert_same_on_device):
    monkeypatch.setattr(devices, "HOST_NUMBERS", 0)
    settings = {**BRIEF, "n_components": 2, "covariance_type": structure}

    def task(rows, incomplete):
        alone = GaussianMixture(missing="em", **settings).fit(incomplete)
        together = fit_many(rows.reshape(2, -1, D), **settings)
        return [*parameters(alone), alone.predict_proba(incomplete), *parameters(together), together[0].predict(rows)]

    assert_same_on_device(task, X, X if SPECS[structure].restricted else LACKING)  # gaps know no restriction


@pytest.mark.parametrize("structure", ["low_rank", "factor"])
def test_sums_over_rows_and_factors(structure, assert_same_on_device):
    def task(rows):
        model = GaussianMixture(2, covariance_type=structure, n_factors=1, **BRIEF).fit(rows)
        return [*parameters(model), model.factor_loadings_, model.noise_variances_, model.score_samples(rows)]

    assert_same_on_device(task, WIDE, tolerance=1e-6)


SPECIAL = {
    "weights of rows": (X, {}, {"sample_weight": WEIGHTS}),
    "labels": (X, {}, {"labels": LABELS}),
    "priors of rows": (X, {}, {"labels": np.where(LABELS[:, None] < 0, 1.0, np.eye(K)[COMPONENTS])}),
    "responsibilities": (X, {}, {"init_responsibilities": COMPONENTS}),
    "noise": (X, {"noise": True}, {}),
    "noise that is known": (X, {"noise": True, "noise_init": np.arange(len(X)) % 9 == 0}, {}),
    "default start": (X, {"init_means": "auto"}, {}),
    "default start, noise": (X, {"init_means": "auto", "noise": True}, {}),
    "start": (X, {"init_means": X[:K], "init_covariances": np.eye(D), "init_weights": np.ones(K) / K}, {}),
    "fixed": (X, {"fixed": {"means": [True, False, False]}, "init_means": X[:K]}, {}),
    "priors": (X, PRIORS, {}),
    "classification": (X, {"cem": True}, {}),
    "all": (
        LACKING,
        {
            "missing": "em",
            "noise": True,
            "fixed": {"weights": [True, False, False]},
            "init_weights": np.array([0.3, 0.35, 0.35]),
        },
        {"labels": LABELS, "sample_weight": WEIGHTS},
    ),
}


@pytest.mark.parametrize(
    ("case", "most_on_the_host"),
    [*((case, devices.HOST_NUMBERS) for case in SPECIAL), ("all", 0), ("priors", 0), ("default start, noise", 0)],
)
def test_what_belongs_to_rows_and_to_the_model(case, most_on_the_host, monkeypatch, assert_same_on_device):
    monkeypatch.setattr(devices, "HOST_NUMBERS", most_on_the_host)

    def task(rows, settings, fit):
        model = GaussianMixture(K, **BRIEF | settings).fit(rows, **fit)
        return [*parameters(model), model.predict_proba(rows), model.score_samples(rows), model.bic(rows)]

    assert_same_on_device(task, *SPECIAL[case])


@pytest.mark.parametrize("case", ["weights of rows", "labels", "responsibilities", "noise", "priors", "fixed", "all"])
def test_many_problems_with_what_belongs_to_their_rows(case, assert_same_on_device):
    rows, settings, fit = SPECIAL[case]
    fit = {name: value.reshape(3, -1) for name, value in fit.items()}

    def task(rows, settings, fit):
        return parameters(fit_many(rows, n_components=K, **BRIEF | settings, **fit))

    assert_same_on_device(task, rows.reshape(3, -1, D), settings, fit)


@pytest.mark.parametrize("start", [*STARTS, "auto"])
def test_starts_of_many_problems(start, assert_same_on_device):
    def task(rows, groups):
        models = fit_many(rows, groups, n_components=2, init_means=start, random_state=0, max_iter=2)
        return [*parameters(models), models.predict(rows, groups), models.score_samples(rows, groups)]

    assert_same_on_device(task, X, np.arange(len(X)) % 3, tolerance=1e-6)


def variational(rows):
    model = BayesianGaussianMixture(4, random_state=0, max_iter=5).fit(rows, sample_weight=rows[:, 0].abs())
    priors = [*model.weight_concentration_, model.mean_precision_, model.degrees_of_freedom_, model.covariance_prior_]
    return [*parameters(model), *priors, model.predict_proba(rows), model.score(rows)]


def outliers(rows):
    model = MixtureOutlierDetector(0.1, n_components=2, **BRIEF).fit(rows)
    return [model.predict(rows), model.decision_function(rows)]


def imputed(rows):
    lacking = torch.from_numpy(LACKING).to(rows.device)
    return MixtureImputer(GaussianMixture(2, missing="em", **BRIEF)).fit(lacking).transform(lacking)


def classified(rows):
    lacking, classes = torch.from_numpy(LACKING[:, :2]).to(rows.device), COMPONENTS == 0
    template = GaussianMixture(1, missing="em", noise=True, covariance_type="diag", **BRIEF)
    model = MixtureClassifier(template, priors=[0.3, 0.7]).fit(lacking, torch.from_numpy(classes).to(rows.device))
    return [model.predict(lacking), model.predict_proba(lacking)]


def regressed(rows):
    lacking = torch.from_numpy(LACKING[:, :2]).to(rows.device)
    model = MixtureRegressor(GaussianMixture(2, missing="em", **BRIEF)).fit(lacking, X[:, 2])
    return [model.predict(lacking), *model.predict(rows[:, :2], return_std=True), model.score(lacking, rows[:, 2])]


def selected(rows):
    found = select(rows, [1, 2], ["full", "EVI"], n_init=1, random_state=0, max_iter=5)
    return parameters(found.best_)


def validated(rows):
    found = select(rows, 2, "diag", "held_out", cv=2, n_init=1, random_state=0, max_iter=5)
    return parameters(found.best_)


def of_batches(rows):
    batches = [X[:50], X[50:]]
    model = GaussianMixture(2, device=rows.device.type, noise=True, **BRIEF).fit(batches, labels=LABELS.clip(max=1))
    return model.predict_proba(batches)


def of_arrays(rows):
    settings = {"device": rows.device.type, "missing": "em", **BRIEF}
    model = GaussianMixture(K, **settings).fit(LACKING, sample_weight=WEIGHTS, labels=LABELS)
    together = fit_many(X.reshape(2, -1, D), n_components=2, device=rows.device.type, **BRIEF)
    return [*parameters(model), model.predict_proba(LACKING), *parameters(together)]


@pytest.mark.parametrize(
    "task", [of_arrays, variational, outliers, imputed, classified, regressed, selected, validated, of_batches]
)
def test_other_estimators(task, assert_same_on_device):
    assert_same_on_device(task, X, tolerance=1e-6)


@pytest.mark.parametrize("structure", ["full", "tied_diag", "low_rank"])
def test_what_a_mixture_is_asked(structure, tmp_path, assert_same_on_device):
    def task(rows):
        model = GaussianMixture(K, covariance_type=structure, **BRIEF).fit(rows)
        other, mixed = model.reorder([2, 0, 1]), model.mixture_
        conditional = model.condition(rows[:4, :1], [0])
        model.entropy(), model.kl_divergence(other)  # from draws, which no device shares with another
        model.summary(rows), model.to_distribution(), model.to_sklearn(), copy.deepcopy(model)
        path = tmp_path / "model.safetensors"
        model.save(path)
        loaded = GaussianMixture.load(path, device=rows.device.type)
        own = Mixture(model.weights_, model.means_, model.covariances_, structure)
        return [
            model.mean(), model.covariance(), own.weights, model.marginal([0, 2]).score_samples(rows[:, [0, 2]]),
            conditional.mean(), conditional.covariance(), *model.regress(rows[:, 1:], [1, 2]),
            model.kl_upper_bound(other), model.mahalanobis(rows), model.log_prob(rows),
            *model.to_module().to(rows.device.type)(rows), loaded.predict_proba(rows), own.score_samples(rows),
            mixed.impute(torch.from_numpy(LACKING).to(rows.device)), model.to(rows.device.type).predict(rows),
        ]  # fmt: skip

    assert_same_on_device(task, X)


def test_draws_are_made_on_the_device(on_card):
    rows = torch.from_numpy(X)
    with on_card():
        model = GaussianMixture(2, noise=True, **BRIEF).fit(rows.to(CARD))
        drawn, component = model.sample(50, random_state=torch.Generator("cuda"))
        within, _ = model.sample(5, confidence=0.9, random_state=0)
        assert drawn.device == component.device == within.device == CARD
        assert drawn.isfinite().all() and set(component.tolist()) <= {-1, 0, 1}


def test_many_models_are_saved_and_loaded_on_the_device(tmp_path, assert_same_on_device):
    path = tmp_path / "many.safetensors"

    def task(rows):
        fit_many(rows.reshape(2, -1, D), n_components=2, **BRIEF).save(path)
        models = Mixtures.load(path, device=rows.device.type)
        return [*parameters(models), models[1].predict_proba(rows)]

    assert_same_on_device(task, X)


def test_a_checkpoint_is_continued_on_the_device(tmp_path, assert_same_on_device):
    def task(rows):
        settings = {**BRIEF, "missing": "em", "noise": True, "tol": 0, "max_iter": 1}
        model = GaussianMixture(K, checkpoint=tmp_path / f"{rows.device.type}.pth", **settings).fit(rows)
        return parameters(model.set_params(max_iter=2).fit(rows, resume=True))

    assert_same_on_device(task, LACKING)


@pytest.mark.parametrize(
    "case", ["float32", "weights", "missing", "noise", "default start", "factors", "many", "variational"]
)
def test_a_device_without_float64(case):
    tasks = {
        "weights": lambda rows: (
            GaussianMixture(K, **BRIEF).fit(rows, sample_weight=WEIGHTS, labels=LABELS).predict_proba(rows)
        ),
        "float32": lambda rows: GaussianMixture(2, covariance_type="VEV", **BRIEF).fit(rows).predict_proba(rows),
        "missing": imputed_in_float32,
        "noise": lambda rows: GaussianMixture(2, noise=True, **BRIEF).fit(rows).predict_proba(rows),
        "default start": lambda rows: GaussianMixture(2, random_state=0, max_iter=5).fit(rows).score_samples(rows),
        "factors": lambda rows: (
            GaussianMixture(2, covariance_type="factor", n_factors=1, **BRIEF).fit(rows).predict(rows)
        ),
        "many": lambda rows: fit_many(rows.reshape(2, -1, rows.shape[1]), n_components=2, **BRIEF)[0].predict_proba(
            rows
        ),
        "variational": lambda rows: (
            BayesianGaussianMixture(3, random_state=0, max_iter=5).fit(rows).predict_proba(rows)
        ),
    }
    rows = torch.from_numpy((WIDE if case == "factors" else X).astype(np.float32))
    with SimulatedCard("mps") as card:
        found = tasks[case](rows.to("mps"))
        assert found.device == card.device
        found = found.cpu()
    torch.testing.assert_close(found, tasks[case](rows), rtol=1e-3, atol=1e-3)


def imputed_in_float32(rows):
    lacking = torch.from_numpy(LACKING.astype(np.float32)).to(rows.device)
    return GaussianMixture(2, missing="em", **BRIEF).fit(lacking).mixture_.impute(lacking)


WAITS = {
    "mixture": (1, X, {}),
    "noise": (2, X, {"noise": True}),
    "factors": (1, WIDE, {"covariance_type": "low_rank", "n_factors": 1}),
    "missing": (8, LACKING, {"missing": "em"}),
    "many": (17, X.reshape(3, -1, D), {}),
}


@pytest.mark.parametrize("case", WAITS)
def test_an_iteration_waits_no_more_often(case):
    allowed, rows, settings = WAITS[case]

    def waits(max_iter):
        with SimulatedCard() as card:
            given, chosen = torch.from_numpy(rows).to(CARD), {**BRIEF, "tol": 0, "accelerate": None, **settings}
            chosen |= {"n_components": 2, "max_iter": max_iter}
            fit_many(given, **chosen) if rows.ndim == 3 else GaussianMixture(**chosen).fit(given)
        return card.waits.total()

    assert waits(4) - waits(2) <= 2 * allowed


def test_the_device_tells_generators_scalars_and_copies_apart():
    with SimulatedCard("mps") as card:
        there, here = torch.ones(2, device="mps"), torch.ones(2)
        assert (there * torch.tensor(2.0)).device == there[torch.tensor([0])].device == card.device
        for mixing in (
            lambda: torch.stack([there[0], here[0]]),
            lambda: there.clamp(min=here[0]),
            lambda: here.add_(there[0]),
            lambda: there.index_put((torch.tensor([0]),), here[:1]),
            lambda: torch.rand(2, device="mps", generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="device|generator"):
                mixing()
        for asked in (there.numpy, there.double, lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="mps|MPS"):
                asked()
