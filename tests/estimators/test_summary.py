"""Summaries, by what they say: numbers against what the model and independent formulas give."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from structures import SPECS

from tgmm import (
    GaussianMixture,
    Mixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    Summary,
    fit_many,
    select,
)

NAMES = ["height", "weight", "age"]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(7)
    centres = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [-3.0, 4.0, 2.0]])
    return pd.DataFrame(np.repeat(centres, 50, axis=0) + rng.standard_normal((150, 3)), columns=NAMES)


def fact(text, name):
    """What a summary says under a name."""
    return re.search(rf"{name} +(\S+)", text)[1]


def test_everything_a_statistician_expects(frame):
    gmm = GaussianMixture(3, random_state=0).fit(frame)
    summary = gmm.summary(frame)
    text = str(summary)
    assert isinstance(summary, Summary) and text == repr(summary)
    expected = {
        "Components": "3",
        "Features": "3",
        "Covariance type": "full",
        "Free parameters": str(gmm.mixture_.n_parameters),
        "Rows": "150",
        "Log-likelihood": f"{150 * gmm.score(frame):.2f}",
        "BIC": f"{gmm.bic(frame):.2f}",
        "AIC": f"{gmm.aic(frame):.2f}",
        "ICL": f"{gmm.icl(frame):.2f}",
        "Converged": "yes,",
    }
    assert {name: fact(text, name) for name in expected} == expected
    probabilities, labels = gmm.predict_proba(frame), gmm.predict(frame)
    for k in range(3):
        own = probabilities[labels == k, k]
        line = re.search(rf"^{k} +{gmm.weights_[k]:.4f} +{len(own)} +{own.mean():.4f} .*", text, re.M)[0]
        for mean, variance in zip(gmm.means_[k], np.diag(gmm.covariances_[k]), strict=True):
            assert f" {mean:.3f} ({np.sqrt(variance):.3f})" in line or f" {mean:.2f} ({np.sqrt(variance):.2f})" in line


def test_a_fit_knows_its_likelihood_without_the_data(frame, tmp_path):
    weights = np.repeat([1.0, 2.0], 75)
    gmm = GaussianMixture(2, random_state=0).fit(frame, sample_weight=weights)
    gmm.save(tmp_path / "gmm.pth")
    for model in (gmm, GaussianMixture.load(tmp_path / "gmm.pth")):
        text = str(model.summary())
        assert fact(text, "Rows") == "225" and fact(text, "BIC") == f"{gmm.bic(frame, sample_weight=weights):.2f}"
        assert "ICL and the sizes of the clusters, pass the data" in text
    whole = gmm.summary(frame, sample_weight=weights)
    assert fact(str(whole), "BIC") == fact(text, "BIC")
    labels = gmm.predict(frame)
    assert whole.to_frame()["size"].tolist() == [weights[labels == k].sum() for k in range(2)]


def test_what_is_learnt_from_batches_claims_no_likelihood(frame):
    gmm = GaussianMixture(2, random_state=0).partial_fit(frame[::2]).partial_fit(frame[1::2])
    assert "BIC  " not in str(gmm.summary())
    assert fact(str(gmm.summary(frame)), "BIC") == f"{gmm.bic(frame):.2f}"


@pytest.mark.parametrize("covariance_type", SPECS)
def test_differences_are_those_from_the_rest_in_standard_deviations(covariance_type):
    spec, weights = SPECS[covariance_type], np.array([0.2, 0.3, 0.5])
    means = np.array([[0.0, 5.0], [1.0, -1.0], [1e3, 0.0]])
    matrices = spec.member(3, 3, 2)
    frame = Mixture(weights, means, spec.public(matrices), covariance_type).summary().to_frame()
    for k in range(3):
        rest = [j for j in range(3) if j != k]
        others = Mixture(weights[rest] / weights[rest].sum(), means[rest], matrices[rest])
        spread = (np.diag(matrices[k]) + np.diag(others.covariance())) / 2
        np.testing.assert_allclose(frame["difference"].loc[k], (means[k] - others.mean()) / np.sqrt(spread), rtol=1e-9)
        np.testing.assert_allclose(frame["sd"].loc[k], np.sqrt(np.diag(matrices[k])), rtol=1e-12)
    np.testing.assert_array_equal(frame["mean"], means)
    np.testing.assert_allclose(frame["weight"], weights)


def test_what_sets_a_component_apart_comes_first():
    mixture = Mixture([0.5, 0.5], [[0.0, 0.0, 0.0], [1.0, 8.0, 0.01]], [1.0, 1.0], "spherical")
    assert "0  feature 1 -8.0, feature 0 -1.0\n1  feature 1 +8.0, feature 0 +1.0\n" in str(mixture.summary())
    same = Mixture([0.5, 0.5], [[0.0], [0.0]], [1.0, 9.0], "spherical")
    assert "0  no mean differs by 0.2 or more" in str(same.summary())


def test_one_component_and_one_without_others():
    alone = str(Mixture([1.0], [[1.0]], [4.0], "spherical").summary([[0.0], [2.0]]))
    assert "apart" not in alone and re.search(r"^0 +1\.0000 +2 +1\.0000 +1\.00 \(2\.00\)$", alone, re.M)
    assert "no mean differs" in str(Mixture([1.0, 0.0], [[1.0], [2.0]], [4.0, 1.0], "spherical").summary())


def test_many_features_stay_readable():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(12, 40)) * 0.1
    means[:, [3, 17]] += 5 * rng.normal(size=(12, 2))
    mixture = Mixture(np.full(12, 1 / 12), means, np.ones(40), "tied_diag")
    text = str(mixture.summary(max_features=2))
    assert "feature 3 " in text and "feature 17" in text and "2 of 40 features are shown" in text
    assert max(map(len, text.splitlines())) <= 100 and len(text.splitlines()) < 60
    whole = str(mixture.summary(max_features=None))
    assert "features are shown" not in whole and all(f"feature {j}" in whole for j in range(40))
    assert max(map(len, whole.splitlines())) <= 100
    assert mixture.summary().to_frame()["mean"].shape == (12, 40)


@pytest.mark.parametrize(
    ("max_features", "error"), [(0, "max_features"), ("all", "max_features"), (2.5, "max_features")]
)
def test_a_wrong_number_of_features_is_refused(max_features, error):
    with pytest.raises(ValueError, match=error):
        Mixture([1.0], [[1.0]], [4.0], "spherical").summary(max_features=max_features)


def test_digits_follow_the_spread():
    means, variances = [[1e6, 1e-9, 123.0]], [[1e-4, 1e-22, 1e6]]
    text = str(Mixture([1.0], means, variances, "diag").summary())
    assert "1000000.0000 (0.0100)" in text and "1e-09 (1e-11)" in text and "123 (1000)" in text


def test_noise_and_fixed_parameters(frame):
    gmm = GaussianMixture(2, noise=True, fixed="means", init_means=frame.to_numpy()[[0, 60]]).fit(frame)
    text = str(gmm.summary(frame))
    n_noise = int((gmm.predict(frame) == -1).sum())
    assert re.search(rf"^noise +{gmm.noise_weight_:.4f} +{n_noise} +", text, re.M)
    assert fact(text, "Fixed") == "means" and fact(text, "ICL") == f"{gmm.icl(frame):.2f}"
    assert gmm.summary(frame).to_frame()["size"].sum() == 150 - n_noise


def test_rows_that_lack_values(frame):
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    gmm = GaussianMixture(2, missing="em", random_state=0).fit(gaps)
    text = str(gmm.summary(gaps))
    assert fact(text, "BIC") == f"{gmm.bic(gaps):.2f}" == fact(str(gmm.summary()), "BIC")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors(frame, dtype):
    X = torch.tensor(frame.to_numpy(), dtype=dtype)
    gmm = GaussianMixture(2, random_state=0).fit(X)
    assert gmm.summary(X).to_frame()["size"].sum() == 150 and "feature 2" in str(gmm.summary())


def test_a_print_shows_the_essentials(frame):
    gmm = GaussianMixture(n_components=2, random_state=0)
    assert str(gmm) == repr(gmm) == "GaussianMixture(n_components=2, random_state=0)"
    gmm.fit(frame)
    first, *rest = str(gmm).splitlines()
    assert first == repr(gmm) == "GaussianMixture(n_components=2, random_state=0)"
    assert "2 components" in rest[0] and f"BIC {gmm.bic(frame):.2f}" in rest[1] and "Converged: yes" in rest[1]
    assert str(clone(gmm)) == repr(gmm)
    assert str(GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])).endswith(
        "Fitted: 1 component, weights 1.000."
    )


def test_notebooks_show_it_beside_the_diagram(frame):
    gmm = GaussianMixture(n_components=2, random_state=0)
    before = gmm._repr_html_()
    assert "certainty" not in before and "sk-" in before
    gmm.fit(frame.rename(columns={"age": "<age>"}))
    for html in (gmm._repr_html_(), gmm._repr_mimebundle_()["text/html"]):
        assert "sk-" in html and "&lt;age&gt;" in html and "<age>" not in html and "Log-likelihood" in html
    assert gmm._repr_mimebundle_()["text/plain"] == repr(gmm)
    assert "Log-likelihood" not in make_pipeline(StandardScaler(), gmm)._repr_html_()
    with config_context(display="text"):
        assert not hasattr(gmm, "_repr_html_") and "text/html" not in gmm._repr_mimebundle_()
    assert "<table>" in gmm.mixture_._repr_html_()


def test_a_selection(frame):
    selection = select(frame, [1, 3], ["diag", "spherical"], random_state=0)
    text = str(selection.summary(frame))
    best = selection.best_cell
    assert text.startswith(f"Selection by BIC: {best.covariance_type}, {best.n_components} component")
    cells = [line.split()[:2] for line in text.splitlines()[5:9]]
    assert cells[0] == [best.covariance_type, str(best.n_components)] and len(cells) == 4
    assert fact(text, "Log-likelihood") == f"{best.log_likelihood:.2f}" and fact(text, "Rows") == "150"
    assert selection.summary().to_frame().shape[0] == best.n_components
    assert selection._repr_html_().count("<table>") == 4


@pytest.mark.filterwarnings("ignore:1 of 3 problems")
@pytest.mark.parametrize("together", [True, False])
def test_one_of_many(frame, together):
    groups = np.repeat([0, 1, 2], 50)
    settings = {"init_means": "kmeans"} if together else {}
    mixtures = fit_many(frame, groups, n_components=2, random_state=0, **settings)
    text = str(mixtures[1].summary())
    assert fact(text, "Rows") == "50" and fact(text, "BIC") == f"{mixtures[1].bic(frame[50:100]):.2f}"


def test_iterations_that_are_few_because_of_trials_are_explained(frame):
    said = "The search for a start already ran EM"
    assert said in str(GaussianMixture(3, random_state=0).fit(frame).summary()).replace("\n", " ")
    assert said not in str(GaussianMixture(3, init_means="kmeans", random_state=0).fit(frame).summary())


def test_a_detector_says_what_an_outlier_is(frame):
    detector = MixtureOutlierDetector(0.1, n_components=3, random_state=0)
    assert str(detector) == repr(detector)
    detector.fit(frame)
    text = str(detector.summary(frame))
    assert text.startswith("Outlier detection") and fact(text, "Threshold") == f"{detector.offset_:.2f}"
    assert fact(text, "Outliers") == str((detector.predict(frame) == -1).sum()) == "15"
    assert fact(text, "BIC") == f"{detector.estimator_.bic(frame):.2f}" and "height" in text
    assert f"log-density below {detector.offset_:.6g}" in str(detector)
    assert "Outliers  " not in str(detector.summary()) and "Threshold" in detector._repr_html_()


def test_an_imputer_explains_its_mixture(frame):
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    imputer = MixtureImputer().fit(gaps)
    text = str(imputer.summary(gaps))
    assert text.startswith("Imputation") and fact(text, "BIC") == f"{imputer.estimator_.bic(gaps):.2f}"
    assert "A missing value is replaced by its expected value" in text and "3 components" in str(imputer)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied_full"])
def test_a_regressor_shows_the_linear_function_of_each_component(frame, covariance_type):
    estimator = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    regressor = MixtureRegressor(estimator).fit(frame[["height", "weight"]], frame["age"])
    found = regressor.summary()
    _, header, *rows = next(table for table in found.tables if table.title.startswith("target")).text().splitlines()
    assert header.split()[:4] == ["component", "intercept", "height", "weight"]
    joint = regressor.estimator_
    for k, row in enumerate(rows):  # what one component alone predicts
        covariance = joint.mixture_.parameters.covariances.dense.expand(2, -1, -1)[k]
        alone = Mixture([1.0], joint.means_[k : k + 1], covariance[None].numpy())
        at, deviation = alone.regress(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), dims=[0, 1])
        expected = [at[0, 0], at[1, 0] - at[0, 0], at[2, 0] - at[0, 0], deviation[0, 0]]
        np.testing.assert_allclose([float(cell) for cell in row.split()[1:]], expected, rtol=2e-3, atol=1e-9)
    assert found.facts["Features"] == 2
    whole = regressor.summary(frame[["height", "weight"]], frame["age"])
    assert fact(str(whole), r"R\^2") == f"{regressor.score(frame[['height', 'weight']], frame['age']):.2f}"
    with pytest.raises(ValueError, match="give X and y, or neither"):
        regressor.summary(frame[["height", "weight"]])
    assert "2 components" in str(regressor)


def test_a_classifier_says_what_sets_its_classes_apart(frame):
    y = np.repeat(["short", "tall", "tall"], 50)
    classifier = MixtureClassifier({"short": GaussianMixture(1), "tall": GaussianMixture(2, random_state=0)}).fit(
        frame, y
    )
    found = classifier.summary(frame, y)
    text = str(found)
    assert fact(text, "Accuracy") == f"{classifier.score(frame, y):.4f}" and fact(text, "Rows") == "150"
    model = classifier.estimators_[1]
    line = re.search(r"^tall +2 +full +100 +(\S+) +(\S+)$", text, re.M)
    assert line.groups() == (f"{100 * model.score(frame[50:]):.2f}", f"{model.bic(frame[50:]):.2f}")
    table = found.to_frame()
    assert table.index.tolist() == ["short", "tall"] and table.index.name == "class"
    means, deviations = (
        np.stack([getattr(frame[y == name], of)(**how) for name in table.index])
        for of, how in (("mean", {}), ("std", {"ddof": 0}))
    )
    np.testing.assert_allclose(table["mean"], means, rtol=1e-4)  # a fit keeps the moments of its rows
    np.testing.assert_allclose(table["sd"], deviations, rtol=1e-3)
    pooled = np.sqrt(np.square(deviations).mean(0))
    np.testing.assert_allclose(table["difference"].loc["tall"], (means[1] - means[0]) / pooled, rtol=1e-3)
    assert str(classifier).endswith(
        "Fitted: 2 classes, 'short' (prior 0.333, 1 component), 'tall' (prior 0.667, 2 components)."
    )


def test_names_with_breaks_and_tabs_stay_in_their_line():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    frame = pd.DataFrame(rows, columns=["width\r\n(cm)", "a\tb"])
    found = GaussianMixture(2, random_state=0).fit(frame).summary()
    plain = GaussianMixture(2, random_state=0).fit(frame.set_axis(["width (cm)", "a b"], axis=1)).summary()
    assert str(found) == str(plain)
    assert ("mean", "a\tb") in found.to_frame().columns
