"""What a GPU is given to do, on one that is simulated: nothing mixes devices, and iterations hardly wait."""

import warnings

import numpy as np
import pytest
import torch
from cases import mixture, prior_keywords, soft_responsibilities
from simulated_card import CARD, OnCard, SimulatedCard
from support import COVARIANCE_TYPES, STARTS

from tgmm import GaussianMixture, MixtureClassifier, MixtureRegressor
from tgmm.kernels.products import Products
from tgmm.runtime import devices

X, LABELS = mixture(0)
DEGENERATE = {
    "offset": X + 1e7,
    "identical rows": np.ones_like(X),
    "lost component": np.concatenate([X, X + 1e4]),
}


@pytest.fixture(params=["parameters on the host", "parameters on the card"])
def place(request, monkeypatch):
    """Both places where parameters can live."""
    if request.param == "parameters on the card":
        monkeypatch.setattr(devices, "HOST_NUMBERS", 0)


def fitted(rows, device, *, covariance_type="full", fit=None, **keywords):
    """A model fitted to float64 rows that are on the device."""
    keywords = {"init_means": "kpp", "random_state": 0, "max_iter": 8} | keywords
    model = GaussianMixture(3, covariance_type=covariance_type, **keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(torch.from_numpy(rows).to(device), **(fit or {}))


def assert_same_on_card(rows, **keywords):
    """A fit on the card is on the card, and the one on the CPU."""
    with SimulatedCard():
        model = fitted(rows, CARD, **keywords)
        assert model.means_.device == model.covariances_.device == CARD
        values = [model.weights_.cpu(), model.means_.cpu(), model.covariances_.cpu()]
    reference = fitted(rows, "cpu", **keywords)
    for value, expected in zip(values, (reference.weights_, reference.means_, reference.covariances_), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prior", ["none", "all"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_are_those_of_the_cpu(covariance_type, prior, place):
    assert_same_on_card(X, covariance_type=covariance_type, **prior_keywords(prior, covariance_type, 3, 3))


@pytest.mark.parametrize("data", DEGENERATE)
@pytest.mark.parametrize("covariance_type", ["full", "tied_diag", "spherical"])
def test_degenerate_fits_are_those_of_the_cpu(covariance_type, data, place):
    means = [*X[:2], X[0] + 1e9] if data == "lost component" else "random"
    assert_same_on_card(DEGENERATE[data], covariance_type=covariance_type, init_means=means)


@pytest.mark.parametrize(
    ("settings", "fit"),
    [
        ({"cem": True}, {}),
        ({"accelerate": "squarem", "max_iter": 20}, {}),
        ({"n_init": 3}, {}),
        ({}, {"sample_weight": np.linspace(0, 2, len(X))}),
        ({}, {"init_responsibilities": LABELS}),
        ({}, {"init_responsibilities": soft_responsibilities(0, LABELS, 3)}),
        ({"init_means": X[:3], "init_weights": [0.2, 0.3, 0.5], "init_covariances": np.eye(3)}, {}),
        ({"init_means": lambda rows, n_components, generator: rows[:n_components]}, {}),
    ],
)
def test_settings_serve_the_card_too(settings, fit, place):
    assert_same_on_card(X, fit=fit, **settings)


@pytest.mark.parametrize("start", STARTS)
def test_starts_are_found_on_the_card(start, place):
    assert_same_on_card(X, init_means=start)


def test_a_solution_is_continued_on_the_card(place):
    with SimulatedCard():
        model = fitted(X, CARD, warm_start=True, max_iter=2, tol=0)
        before = model.lower_bound_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert model.fit(torch.from_numpy(X).to(CARD)).lower_bound_ >= before


def on_both(make, rows, targets, *methods):
    """Pairs of results of a fit on the card and on the CPU, all on the CPU, the first having been on the card."""
    reference, pairs = make().fit(rows, targets), []
    with SimulatedCard():
        model = make().fit(rows.to(CARD), targets.to(CARD))
        for method in methods:
            found = getattr(model, method)(rows.to(CARD))
            assert isinstance(found, OnCard)
            pairs.append((found.cpu(), getattr(reference, method)(rows)))
        score = model.score(rows[:-1].to(CARD), targets[:-1].to(CARD))
        pairs.append((score, reference.score(rows[:-1], targets[:-1])))
    return pairs


@pytest.mark.parametrize("types", [("full", "full", "full"), ("full", "tied_diag", "spherical")])
def test_classes_are_told_on_the_card(types, place):
    rows, labels = torch.from_numpy(np.concatenate([X, [[1e200, 0, 0]]])), torch.from_numpy(np.append(LABELS, 0))

    def make():
        return MixtureClassifier(
            [GaussianMixture(2, covariance_type=name, init_means="kpp", random_state=0) for name in types]
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixtures = make().fit(rows[:-1], labels[:-1])
    assert mixtures.predict(rows).shape == (len(X) + 1,)
    for found, expected in on_both(make, rows[:-1], labels[:-1], "predict", "predict_proba", "predict_log_proba"):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    with SimulatedCard():
        far = make().fit(rows[:-1].to(CARD), labels[:-1].to(CARD)).predict_proba(rows[-1:].to(CARD)).cpu()
    torch.testing.assert_close(far, mixtures.predict_proba(rows[-1:]))


def test_regressions_are_computed_on_the_card(place):
    rows = torch.from_numpy(X)

    def make():
        return MixtureRegressor(GaussianMixture(2, init_means="kpp", random_state=0))

    for found, expected in on_both(make, rows[:, :1], rows[:, 1:], "predict"):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_predictions_are_made_on_the_card(covariance_type):
    rows = torch.from_numpy(np.concatenate([X, [[1e200, 0, 0]]]))  # one of them far away
    reference = fitted(X, "cpu", covariance_type=covariance_type)
    with SimulatedCard():
        model = fitted(X, CARD, covariance_type=covariance_type)
        for method in ("predict", "predict_proba", "score_samples"):
            values = getattr(model, method)(rows.to(CARD))
            assert isinstance(values, OnCard)
            torch.testing.assert_close(values.cpu(), getattr(reference, method)(rows), rtol=1e-7, atol=1e-9)
        for method in ("score", "aic", "bic", "icl"):
            assert getattr(model, method)(rows[:-1].to(CARD)) == pytest.approx(getattr(reference, method)(rows[:-1]))
        drawn, component = model.sample(10, random_state=0)
        assert drawn.device == component.device == CARD


@pytest.mark.parametrize(("prior", "accelerate"), [("none", None), ("all", None), ("none", "squarem")])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_an_iteration_waits_once_for_each_pass_over_the_data(covariance_type, prior, accelerate, monkeypatch):
    passes, gather = [], Products.gather

    def counted(*args, **keywords):
        passes.append(None)
        return gather(*args, **keywords)

    monkeypatch.setattr(Products, "gather", counted)
    keywords = {"tol": 0, "accelerate": accelerate, **prior_keywords(prior, covariance_type, 3, 3)}

    def cost(max_iter):
        passes.clear()
        with SimulatedCard() as card:
            fitted(X, CARD, covariance_type=covariance_type, max_iter=max_iter, **keywords)
        return len(passes), card.waits.total()

    # Once no component has few rows, which are looked at.
    (few_passes, few_waits), (many_passes, many_waits) = cost(8), cost(18)
    assert many_passes - few_passes >= 8
    assert many_waits - few_waits == many_passes - few_passes


def test_the_card_tells_devices_apart():
    with SimulatedCard() as card:
        there, here = torch.ones(2, device="cuda"), torch.ones(2)
        assert (there + 1).device == torch.zeros_like(there).device == there.new_zeros(2).device == CARD
        assert here.device == there.cpu().device == torch.zeros(2).device == torch.device("cpu")
        with pytest.raises(RuntimeError, match="add"):
            there + here
        with pytest.raises(RuntimeError, match="index"):
            here[there > 0]
        card.waits.clear()
        float(there.sum()), bool(there[0] > 0), there.tolist(), there[there > 0]
        assert card.waits.total() == 4


@pytest.mark.parametrize("prior", ["none", "all"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_batches_on_the_card_are_learnt_from(covariance_type, prior, place):
    keywords = {"covariance_type": covariance_type, "init_means": X[:3], **prior_keywords(prior, covariance_type, 3, 3)}
    with SimulatedCard():
        model = GaussianMixture(3, **keywords)
        for part in np.array_split(X, 2):
            model.partial_fit(torch.from_numpy(part).to(CARD))
        assert model.means_.device == CARD
        means = model.means_.cpu()
    model = GaussianMixture(3, **keywords)
    for part in np.array_split(X, 2):
        model.partial_fit(torch.from_numpy(part))
    torch.testing.assert_close(means, model.means_, rtol=1e-9, atol=1e-12)
