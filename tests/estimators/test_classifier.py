"""The classifier: against other discriminant analyses, and what it takes, gives, refuses, saves."""

import json
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support import ORACLES
from torch.utils.data import DataLoader, TensorDataset

from tgmm import GaussianMixture, MixtureClassifier, ModelFileError, select

pytestmark = pytest.mark.filterwarnings("ignore:.*degenerate")
DISCRIMINANT = json.loads((ORACLES / "mclust_discriminant.json").read_text())
EVERY_FIT = [(name, fit) for name, found in DISCRIMINANT.items() for fit in found["fits"]]
SUFFIXES = [".pth", ".safetensors"]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def stripes():
    """Two classes of two clusters each, in turns on a line, so that no quadratic boundary parts them."""
    rng = np.random.default_rng(3)
    centres = np.array([[-15.0, 0.0], [5.0, 0.0], [-5.0, 0.0], [15.0, 0.0]])
    X = np.concatenate([centre + rng.standard_normal((60, 2)) for centre in centres])
    return X, np.repeat(["same", "other"], 120)


def data_of(name):
    X = np.loadtxt(ORACLES / f"{name}.csv", delimiter=",", skiprows=1)
    return X, np.array(DISCRIMINANT[name]["classes"])


def brier(probabilities, y, classes):
    return ((probabilities - (y[:, None] == classes)) ** 2).sum(1).mean() / 2


# --- oracles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [150, 130], ids=["equal shares", "unequal shares"])
def test_one_full_component_is_quadratic_discriminant_analysis(iris, n_rows):
    """scikit-learn divides the scatter by n - 1, or by n since 1.8: its covariances are brought to n."""
    X, y = iris[0][:n_rows], iris[1][:n_rows]
    found = MixtureClassifier().fit(X, y)
    other = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    np.testing.assert_allclose(found.class_prior_, other.priors_)
    for c, model in enumerate(found.estimators_):
        n = (y == c).sum()
        ratio = np.var(X[y == c, 0]) / other.covariance_[c][0, 0]
        assert min(abs(ratio - 1), abs(ratio - (n - 1) / n)) < 1e-12
        np.testing.assert_allclose(model.means_[0], other.means_[c], rtol=1e-12)
        np.testing.assert_allclose(model.covariances_[0], other.covariance_[c] * ratio, rtol=1e-9)
        other.scalings_[c] = other.scalings_[c] * ratio
    np.testing.assert_allclose(found.predict_proba(X), other.predict_proba(X), rtol=1e-8, atol=1e-14)
    np.testing.assert_array_equal(found.predict(X), other.predict(X))


def test_one_diagonal_component_is_gaussian_naive_bayes(iris):
    X, y = iris
    found = MixtureClassifier(GaussianMixture(covariance_type="diag")).fit(X, y)
    other = GaussianNB(var_smoothing=0).fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), other.predict_proba(X), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(found.predict_log_proba(X), other.predict_log_proba(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "fit"), EVERY_FIT, ids=[f"{name}-{fit['type']}" for name, fit in EVERY_FIT])
def test_with_the_parameters_of_mclust_it_says_what_mclust_says(name, fit):
    X, y = data_of(name)
    estimators = {
        c: GaussianMixture(
            model["G"],
            init_weights=model["pro"],
            init_means=model["mean"],
            init_covariances=model["sigma"],
            max_iter=0,
            reg_covar=0,
        )
        for c, model in fit["models"].items()
    }
    found = MixtureClassifier(estimators).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), fit["predicted"])
    assert 1 - found.score(X, y) == pytest.approx(fit["training_error"], abs=1e-9)
    assert brier(found.predict_proba(X), y, found.classes_) == pytest.approx(fit["brier"], rel=1e-5)
    joint = np.stack([model.score_samples(X) for model in found.estimators_], 1) + np.log(found.class_prior_)
    assert logsumexp(joint, axis=1).sum() == pytest.approx(fit["loglik"], rel=1e-8)


def test_a_fit_of_a_mixture_a_class_reaches_the_likelihood_of_mclust():
    X, y = data_of("iris")
    fit = DISCRIMINANT["iris"]["fits"][0]
    two = GaussianMixture(2, covariance_type="tied_full", random_state=0, tol=1e-9, max_iter=1000)
    assert {c: (model["model"], model["G"]) for c, model in fit["models"].items()} == {
        "setosa": ("EEE", 2),
        "versicolor": ("XXX", 1),
        "virginica": ("XXX", 1),
    }
    found = MixtureClassifier([two, GaussianMixture(), GaussianMixture()]).fit(X, y)
    for c, model in zip(found.classes_, found.estimators_, strict=True):
        assert model.score(X[y == c]) * (y == c).sum() > fit["models"][c]["loglik"] - 1e-6
    np.testing.assert_array_equal(found.predict(X), fit["predicted"])


def test_diagonal_discriminant_analysis_of_thyroid_is_that_of_mclust():
    X, y = data_of("thyroid")
    fit = DISCRIMINANT["thyroid"]["fits"][1]
    assert {(model["model"], model["G"]) for model in fit["models"].values()} == {("VVI", 1)}
    diagonal = MixtureClassifier(GaussianMixture(covariance_type="diag"))
    found = clone(diagonal).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), fit["predicted"])
    assert brier(found.predict_proba(X), y, found.classes_) == pytest.approx(fit["brier"], rel=1e-8)
    held_out = 1 - clone(diagonal).fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    assert held_out == pytest.approx(fit["odd_rows_train_even_rows_test_error"], abs=1e-9)


def test_probabilities_are_bayes_theorem_on_the_densities_of_the_classes(stripes):
    X, y = stripes
    found = MixtureClassifier(GaussianMixture(2, random_state=0), priors=[0.9, 0.1]).fit(X, y)
    joint = np.stack([model.score_samples(X) for model in found.estimators_], 1) + np.log([0.9, 0.1])
    expected = joint - logsumexp(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(found.predict_log_proba(X), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.predict_proba(X), np.exp(expected), rtol=1e-12, atol=1e-300)
    assert found.score(X, y) == 1.0
    assert MixtureClassifier().fit(X, y).score(X, y) < 0.8


# --- settings -----------------------------------------------------------------------------------------------------


def test_each_class_has_its_own_mixture_by_list_or_by_dict(stripes):
    X, y = stripes
    one, two = GaussianMixture(1, covariance_type="diag"), GaussianMixture(2, random_state=0)
    listed = MixtureClassifier([two, one]).fit(X, y)
    named = MixtureClassifier({"same": one, "other": two}).fit(X, y)
    assert listed.classes_.tolist() == ["other", "same"]
    for found in (listed, named):
        assert [model.n_components for model in found.estimators_] == [2, 1]
        assert [model.covariance_type for model in found.estimators_] == ["full", "diag"]
    np.testing.assert_array_equal(listed.predict_proba(X), named.predict_proba(X))
    assert not hasattr(one, "fitted_")


def test_the_number_of_components_of_each_class_by_bic(stripes):
    X, y = stripes
    rows = y == "same"
    search = partial(select, n_components=range(1, 4), covariance_types="full", random_state=0)
    found = MixtureClassifier(search).fit(X, np.where(rows, y, X[:, 0].round().astype(int) < 0))
    assert found.classes_.tolist() == ["False", "True", "same"]
    assert [model.n_components for model in found.estimators_] == [1, 1, 2]


@pytest.mark.parametrize(
    ("y", "kind"),
    [(["b", "a", "b"], "U"), ([3, 1, 3], "i"), ([True, False, True], "b"), (np.array(["b", "a", "b"], object), "O")],
)
def test_classes_of_text_numbers_and_flags(y, kind):
    X, y = np.arange(12.0)[:, None], np.repeat(y, 4)
    found = MixtureClassifier().fit(X, y)
    assert found.classes_.dtype.kind == kind
    assert found.classes_.tolist() == sorted(set(y.tolist()))
    assert found.predict(X).dtype == y.dtype
    assert set(found.predict(X).tolist()) <= set(y.tolist())


def test_settings_of_the_mixture_are_settings_of_the_classifier(iris):
    X, y = iris
    names = {f"estimator__{name}" for name in GaussianMixture().get_params()}
    assert MixtureClassifier().get_params().keys() == {"estimator", "priors", *names}
    assert MixtureClassifier().get_params(deep=False) == {"estimator": None, "priors": None}
    found = MixtureClassifier().set_params(estimator__n_components=2, estimator__random_state=0)
    assert found.estimator.n_components == 2
    assert [model.n_components for model in clone(found).fit(X, y).estimators_] == [2, 2, 2]
    with pytest.raises(ValueError, match="n_component"):
        found.set_params(estimator__n_component=3)


def test_it_is_scikit_learn_s(stripes):
    X, y = stripes
    assert is_classifier(MixtureClassifier())
    pipeline = make_pipeline(StandardScaler(), MixtureClassifier())
    assert cross_val_score(pipeline.set_params(mixtureclassifier__estimator__n_components=2), X, y).mean() == 1.0
    grid = {"estimator__n_components": [1, 2], "estimator__covariance_type": ["full", "spherical"]}
    search = GridSearchCV(MixtureClassifier(), grid, error_score="raise").fit(X, y)
    assert search.best_params_["estimator__n_components"] == 2
    frame = pd.DataFrame(X, columns=["a", "b"])
    found = MixtureClassifier().fit(frame, pd.Series(y))
    assert (found.n_features_in_, found.feature_names_in_.tolist()) == (2, ["a", "b"])
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame[["b", "a"]])
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(frame), found.predict_proba(frame))
    assert not hasattr(MixtureClassifier(), "n_features_in_")
    assert not hasattr(MixtureClassifier().fit(X, y), "feature_names_in_")


def test_priors_replace_the_shares_of_the_classes(iris):
    X, y = iris
    np.testing.assert_allclose(MixtureClassifier().fit(X[:110], y[:110]).class_prior_, [5 / 11, 5 / 11, 1 / 11])
    found = MixtureClassifier(priors=[0.0, 0.5, 0.5]).fit(X, y)
    np.testing.assert_array_equal(found.class_prior_, [0.0, 0.5, 0.5])
    assert found.predict_proba(X)[:, 0].max() == 0.0
    assert np.isfinite(found.predict_proba(X)).all()


# --- weights ------------------------------------------------------------------------------------------------------


def test_a_series_of_priors_is_by_class_unless_its_index_only_counts(iris):
    X, y = iris
    names = np.array(["a", "b", "c"])[y]
    by_class = pd.Series({"c": 0.5, "a": 0.2, "b": 0.3})
    assert MixtureClassifier(priors=by_class).fit(X, names).class_prior_.tolist() == [0.2, 0.3, 0.5]
    assert MixtureClassifier(priors=pd.Series([0.2, 0.3, 0.5])).fit(X, names).class_prior_.tolist() == [0.2, 0.3, 0.5]
    with pytest.raises(ValueError, match="priors must have one for each of the classes"):
        MixtureClassifier(priors=by_class.rename({"c": "d"})).fit(X, names)


def test_bfloat16_labels_and_weights_that_are_differentiated(iris):
    X, y = iris
    found = MixtureClassifier().fit(X, torch.from_numpy(y).bfloat16())
    weights = torch.ones(len(X), requires_grad=True)
    assert found.score(X, torch.from_numpy(y).bfloat16(), sample_weight=weights) == found.score(X, y) > 0.9
    assert found.score(X, y, sample_weight=2.0) == found.score(X, y)


def test_classes_that_no_file_holds_are_named(iris, tmp_path):
    X, y = iris
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[D]")[y]
    with pytest.raises(ValueError, match=r"classes_ have the type datetime64\[D\].*y.astype\(str\)"):
        MixtureClassifier().fit(X, days).save(tmp_path / "days.pth")
    assert not list(tmp_path.iterdir())


def test_a_weight_of_two_is_the_row_twice_and_of_zero_not_there(stripes):
    X, y = stripes
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    model = MixtureClassifier(GaussianMixture(2, random_state=0))
    weighted = clone(model).fit(X, y, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.class_prior_, repeated.class_prior_, rtol=1e-12)
    np.testing.assert_allclose(weighted.predict_log_proba(X), repeated.predict_log_proba(X), rtol=1e-7, atol=1e-12)


def test_a_class_of_no_weight_is_no_class(iris):
    X, y = iris
    found = MixtureClassifier().fit(X, y, sample_weight=y != 1)
    assert found.classes_.tolist() == [0, 2]
    assert found.predict_proba(X).shape == (150, 2)


def test_a_mixture_of_a_class_is_that_of_its_rows(stripes):
    X, y = stripes
    found = MixtureClassifier(GaussianMixture(2, random_state=0)).fit(X, y)
    for c, model in zip(found.classes_, found.estimators_, strict=True):
        alone = GaussianMixture(2, random_state=0).fit(X[y == c])
        np.testing.assert_allclose(model.means_, alone.means_, rtol=1e-8)
        np.testing.assert_allclose(model.covariances_, alone.covariances_, rtol=1e-7)


# --- input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(iris, dtype):
    X, y = torch.as_tensor(iris[0], dtype=dtype), torch.as_tensor(iris[1])
    found = MixtureClassifier().fit(X, y)
    assert isinstance(found.estimators_[0].means_, torch.Tensor)
    for result in (found.predict_proba(X), found.predict_log_proba(X)):
        assert isinstance(result, torch.Tensor)
        assert result.dtype == dtype
    labels = found.predict(X)
    assert isinstance(labels, torch.Tensor)
    assert labels.dtype == torch.int64
    assert found.score(X, y) == pytest.approx(0.98)
    names = np.array(["setosa", "versicolor", "virginica"])
    np.testing.assert_array_equal(MixtureClassifier().fit(X, names[iris[1]]).predict(X), names[labels.numpy()])


SOURCES = {
    "a list of batches": lambda X: [X[:40], X[40:]],
    "a loader": lambda X: DataLoader(TensorDataset(torch.as_tensor(X)), 32),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_is_read_for_each_class(iris, source):
    X, y = iris
    found = MixtureClassifier().fit(source(X), y)
    in_memory = MixtureClassifier().fit(X, y)
    np.testing.assert_allclose(found.predict_proba(source(X)), in_memory.predict_proba(X), rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(found.predict(source(X)), in_memory.predict(X))


def test_a_file_is_read_for_each_class(iris, tmp_path):
    X, y = iris
    np.save(tmp_path / "X.npy", X)
    found = MixtureClassifier().fit(tmp_path / "X.npy", y)
    np.testing.assert_array_equal(found.predict(tmp_path / "X.npy"), MixtureClassifier().fit(X, y).predict(X))
    with pytest.raises(ValueError, match=r"y must have one class per row: X has 150 rows, y has 149"):
        MixtureClassifier().fit(tmp_path / "X.npy", y[1:])


def test_a_source_without_an_order_has_no_labels(iris):
    X, y = iris
    loader = DataLoader(TensorDataset(torch.as_tensor(X)), 32, shuffle=True)
    with pytest.raises(ValueError, match="y is given row by row"):
        MixtureClassifier().fit(loader, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("types", [("full", "full"), ("diag", "tied_full"), ("spherical", "tied_spherical")])
def test_rows_far_away_belong_to_the_class_that_is_widest_there(dtype, types):
    """The density that falls slowest decides: that of the larger variance, along the row."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 100)
    X = (np.array([[1.0, 3.0], [3.0, 1.0]])[y] * rng.standard_normal((200, 2))).astype(dtype)
    if "spherical" in types:
        X = (np.array([1.0, 3.0])[y][:, None] * rng.standard_normal((200, 2))).astype(dtype)
    models = [GaussianMixture(2, covariance_type=name, random_state=0) for name in types]
    found = MixtureClassifier(models).fit(X, y)
    for size in (1e4, 1e12, 1e30, 1e200)[: 3 if dtype is np.float32 else 4]:
        rows = size * np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=dtype)
        probabilities = found.predict_proba(rows)
        assert np.isfinite(probabilities).all()
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
        expected = [1, 1, 1] if "spherical" in types else [1, 0, 0]
        assert found.predict(rows).tolist() == expected
        assert probabilities.argmax(1).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", [[100, 100, 3], [-15, 15, 130], [1e7, 1e7, 3]])
def test_logarithms_of_probabilities_that_underflow_are_accurate(dtype, row):
    """One component a class: the difference of two quadratic forms, here in long doubles."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(100, 3)), rng.normal([0, 0, 4], 1, size=(100, 3))]).astype(dtype)
    found = MixtureClassifier().fit(X, np.repeat([0, 1], 100))
    joint = []
    for model in found.estimators_:
        parameters = model.mixture_.parameters
        precision = np.linalg.inv(parameters.covariances.dense[0].numpy()).astype(np.longdouble)
        gap = np.asarray(row, dtype).astype(np.longdouble) - parameters.means[0].numpy()
        joint.append(0.5 * (np.linalg.slogdet(precision.astype(float))[1] - gap @ precision @ gap))
    expected = min(0.0, joint[0] - joint[1]), min(0.0, joint[1] - joint[0])
    np.testing.assert_allclose(found.predict_log_proba(np.array([row], dtype))[0], expected, rtol=1e-6)


# --- errors and warnings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"priors": [0.5, 0.4, 0.2]}, r"priors must be >= 0 and sum to 1; got \[0.5, 0.4, 0.2\], with the sum 1.1"),
        ({"priors": [1.5, -0.5, 0.0]}, "priors must be >= 0"),
        ({"priors": [0.5, 0.5]}, r"priors must have shape \(n_classes,\) = \(3,\)"),
        ({"priors": {0: 0.5, 1: 0.5}}, r"priors must have one for each of the classes \[0, 1, 2\]; has \[0, 1\]"),
        ({"priors": "equal"}, "priors must be an array of real numbers"),
        ({"priors": [float("nan"), 0.5, 0.5]}, "priors must be >= 0 and sum to 1"),
        ({"estimator": [GaussianMixture()] * 2}, r"list of 2, but there are 3 classes, \[0, 1, 2\]"),
        ({"estimator": {0: GaussianMixture(), 1: GaussianMixture()}}, r"each of the classes \[0, 1, 2\]; has \[0, 1\]"),
        ({"estimator": "full"}, "estimator must be a tgmm.GaussianMixture or a function that fits one; got 'full'"),
        ({"estimator": 2}, r"^estimator must be .*; got 2. For 2 components, give GaussianMixture\(2\)"),
        ({"estimator": GaussianMixture}, r"Give an object, such as GaussianMixture\(\)"),
        ({"estimator": lambda X, sample_weight: 3}, "must return a fitted tgmm.GaussianMixture"),
        ({"estimator": GaussianMixture(distributed=True)}, "leave distributed of its estimator out"),
        ({"estimator": GaussianMixture(checkpoint="a.pth")}, "leave checkpoint of its estimator out"),
    ],
)
def test_bad_settings_are_named(iris, settings, message):
    with pytest.raises(ValueError, match=message):
        MixtureClassifier(**settings).fit(*iris)


def test_a_class_with_too_few_rows_is_named(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    with pytest.raises(ValueError, match=r"class 'virginica' cannot be fitted: n_components=4 .* there are 3"):
        MixtureClassifier(GaussianMixture(4)).fit(X[:103], names[:103])


def test_warnings_of_a_fit_name_the_class(iris):
    with pytest.warns(ConvergenceWarning, match="The mixture of class 0: The fit has not converged") as caught:
        MixtureClassifier(GaussianMixture(3, max_iter=1, random_state=0)).fit(*iris)
    assert {note.filename for note in caught} == {__file__}


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (np.zeros(149), "inconsistent numbers of samples"),
        (np.zeros((150, 2)), "y should be a 1d array"),
        (np.linspace(0, 1, 150), "Unknown label type"),
        (["a", "b", np.nan] * 50, "y has no label for row 2: drop such rows"),
        (np.array(["a", "b", None] * 50), "y has no label for row 2"),
        (np.array([0.0, np.nan, 1.0] * 50), "y has no label for row 1"),
        ([1, "a", 2] * 50, "y must be labels of one kind.*got 1 for row 0, and 'a' for row 1"),
    ],
)
def test_bad_labels_are_refused(iris, y, message):
    with pytest.raises(ValueError, match=message):
        MixtureClassifier().fit(iris[0], y)


def test_an_unfitted_classifier_says_so(iris, tmp_path):
    for verb in (lambda c: c.predict(iris[0]), lambda c: c.save(tmp_path / "c.pth")):
        with pytest.raises(NotFittedError):
            verb(MixtureClassifier())


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["U", "i", "b", "O"])
def test_a_loaded_classifier_is_the_saved_one(stripes, suffix, dtype, kind, tmp_path):
    X, y = stripes
    frame = pd.DataFrame(X.astype(dtype), columns=["a", "b"])
    y = {"U": y, "i": (y == "same").astype(np.int32) + 5, "b": y == "same", "O": y.astype(object)}[kind]
    first, second = np.unique(y).tolist()
    model = MixtureClassifier(GaussianMixture(2, random_state=0), priors={second: 0.7, first: 0.3}).fit(frame, y)
    model.save(tmp_path / f"c{suffix}")
    loaded = MixtureClassifier.load(tmp_path / f"c{suffix}")
    for verb in ("predict", "predict_proba", "predict_log_proba"):
        before, after = getattr(model, verb)(frame), getattr(loaded, verb)(frame)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.class_prior_, model.class_prior_)
    assert loaded.feature_names_in_.tolist() == ["a", "b"]
    assert loaded.estimator.get_params() == model.estimator.get_params()
    assert np.asarray(loaded.priors).tolist() == [0.3, 0.7]
    assert [one.lower_bound_ for one in loaded.estimators_] == [one.lower_bound_ for one in model.estimators_]
    np.testing.assert_array_equal(clone(loaded).fit(frame, y).predict_proba(frame), model.predict_proba(frame))


ARRANGEMENTS = {
    "default": None,
    "list": [GaussianMixture(1), GaussianMixture(2, random_state=0, mean_prior=[0.0, 1.0], mean_precision_prior=0.1)],
    "dict": {"same": GaussianMixture(1, covariance_type="diag"), "other": GaussianMixture(2, random_state=0)},
}


@pytest.mark.parametrize("estimator", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_arrangements_of_mixtures_come_back(stripes, estimator, tmp_path):
    X, y = stripes
    model = MixtureClassifier(estimator).fit(X, y)
    model.save(tmp_path / "c.pth")
    loaded = MixtureClassifier.load(tmp_path / "c.pth")
    assert type(loaded.estimator) is type(estimator)
    assert torch.load(tmp_path / "c.pth", weights_only=True)["kind"] == "MixtureClassifier"
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    if isinstance(estimator, dict):
        assert loaded.estimator.keys() == estimator.keys()
    np.testing.assert_array_equal(clone(loaded).fit(X, y).predict_proba(X), model.predict_proba(X))


def test_what_is_no_data_is_left_out_of_the_file_with_one_warning(stripes, tmp_path):
    X, y = stripes
    start = GaussianMixture(2, init_means=lambda X, K, generator: X[:K])
    for estimator, name in ((start, "estimator__init_means"), (partial(select, n_components=[2]), "estimator")):
        model = MixtureClassifier(estimator).fit(X, y)
        with pytest.warns(UserWarning, match=f"Not saved, because they are not plain data: {name}\\.") as caught:
            model.save(tmp_path / "c.pth")
        assert len(caught) == 1
        loaded = MixtureClassifier.load(tmp_path / "c.pth")
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_another_model_s_file_is_refused(stripes, tmp_path):
    X, y = stripes
    MixtureClassifier().fit(X, y).save(tmp_path / "c.pth")
    GaussianMixture().fit(X).save(tmp_path / "g.pth")
    with pytest.raises(ModelFileError):
        MixtureClassifier.load(tmp_path / "g.pth")
    with pytest.raises(ModelFileError):
        GaussianMixture.load(tmp_path / "c.pth")
    with pytest.raises(FileNotFoundError):
        MixtureClassifier.load(tmp_path / "none.pth")


# --- noise, and rows that lack values -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unequal():
    """A narrow class and a wide one, some rows of each anywhere."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 0.2, (190, 2)), rng.uniform(-1, 1, (10, 2)), rng.normal(20, 5, (190, 2))])
    X = np.concatenate([X, rng.uniform(-40, 60, (10, 2))])
    return X, np.repeat([0, 1], 200)


@pytest.mark.parametrize("source", [False, True])
def test_noise_has_one_volume_in_all_classes(unequal, source):
    """That of all rows: by volumes of their own, the narrow class would have all rows that are far from both."""
    X, y = unequal
    found = MixtureClassifier(GaussianMixture(noise=True)).fit(np.array_split(X, 3) if source else X, y)
    whole = GaussianMixture(noise=True).fit(X).noise_volume_
    assert [model.noise_volume_ for model in found.estimators_] == pytest.approx([whole, whole])
    shares = [model.noise_weight_ for model in found.estimators_]
    far = found.predict_proba([[-300.0, 500.0]])[0]
    np.testing.assert_allclose(far, np.array(shares) / sum(shares), rtol=1e-6)
    assert found.score(X, y) > 0.97
    assert found.get_params()["estimator__noise_volume"] == "hypervolume"


def test_noises_of_different_volumes_are_refused(unequal):
    X, y = unequal
    estimators = [GaussianMixture(noise=True, noise_volume=volume) for volume in (100.0, 1e4)]
    functions = partial(select, n_components=[1], covariance_types="full", noise=True)
    for estimator in (estimators, functions):
        with pytest.raises(ValueError, match="classes have different volumes.*same number as noise_vol"):
            MixtureClassifier(estimator).fit(X, y)
    same = partial(functions, noise_volume=1e4)
    assert MixtureClassifier(same).fit(X, y).score(X, y) > 0.97


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame, torch.tensor], ids=["numpy", "pandas", "torch"])
def test_rows_may_lack_values_where_those_of_their_class_may(stripes, kind):
    X, y = stripes[0].copy(), (stripes[1] == "same").astype(int)
    X[np.flatnonzero(y == 1)[:10], 1] = np.nan
    may = [GaussianMixture(2, random_state=0), GaussianMixture(2, missing="em", random_state=0)]
    found = MixtureClassifier(may).fit(kind(X), y)
    assert (np.asarray(found.predict(kind(X))) == y).all()
    assert found.__sklearn_tags__().input_tags.allow_nan
    for model, template, label in zip(found.estimators_, may, (0, 1), strict=True):
        np.testing.assert_allclose(model.means_, clone(template).fit(X[y == label]).means_)
    with pytest.raises(ValueError, match="The mixture of class 1 cannot be fitted: .*NaN"):
        MixtureClassifier(may[::-1]).fit(kind(X), y)
