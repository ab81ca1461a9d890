"""The outlier detector: what it finds, its share, weights, and scikit-learn's interface."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chi2, multivariate_normal
from sklearn.base import clone, is_outlier_detector
from sklearn.covariance import EmpiricalCovariance
from sklearn.exceptions import NotFittedError
from torch.utils.data import DataLoader, TensorDataset

from tgmm import GaussianMixture, MixtureOutlierDetector
from tgmm.data import FrameSource

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def contaminated(blobs):
    """Three clusters, and ten rows far from all of them at the end."""
    directions = np.random.default_rng(0).standard_normal((10, 3))
    return np.concatenate([blobs, 40 * directions / np.linalg.norm(directions, axis=1, keepdims=True)])


def test_it_finds_the_rows_that_belong_to_no_cluster(contaminated):
    labels = MixtureOutlierDetector(10 / 160, n_components=3, n_init=5, random_state=0).fit_predict(contaminated)
    assert labels.tolist() == [1] * 150 + [-1] * 10
    assert labels.dtype.kind == "i"


@pytest.mark.parametrize("contamination", [1e-4, 0.01, 0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("n", [10, 150])
def test_the_share_of_outliers_in_the_training_data(blobs, n, contamination):
    detector = MixtureOutlierDetector(contamination, covariance_type="diag").fit(blobs[:n])
    assert (detector.predict(blobs[:n]) == -1).sum() == int(contamination * n + 1e-9)


def test_one_gaussian_ranks_by_mahalanobis_distance(blobs):
    detector = MixtureOutlierDetector(0.1, reg_covar=0).fit(blobs)
    farthest_last = EmpiricalCovariance().fit(blobs).mahalanobis(blobs).argsort()
    np.testing.assert_array_equal(detector.score_samples(blobs).argsort(), farthest_last[::-1])
    assert set(np.flatnonzero(detector.predict(blobs) == -1)) == set(farthest_last[-15:])


def test_decision_is_score_minus_offset(blobs):
    detector = MixtureOutlierDetector(n_components=2, random_state=0).fit(blobs)
    mixture = GaussianMixture(n_components=2, random_state=0).fit(blobs)
    np.testing.assert_array_equal(detector.score_samples(blobs), mixture.score_samples(blobs))
    decision = detector.decision_function(blobs)
    np.testing.assert_array_equal(decision, detector.score_samples(blobs) - detector.offset_)
    np.testing.assert_array_equal(detector.predict(blobs), np.where(decision < 0, -1, 1))


def with_gaps(X, share=0.3):
    return np.where(np.random.default_rng(1).random(X.shape) < share, np.nan, X)


def test_a_row_that_lacks_values_is_as_normal_as_a_complete_one_of_the_same_tail_probability(blobs):
    rows = with_gaps(blobs)
    detector = MixtureOutlierDetector(0.1, missing="em").fit(rows)
    mean, covariance = detector.estimator_.means_[0], detector.estimator_.covariances_[0]
    expected = np.empty(len(rows))
    for i, row in enumerate(rows):
        has = ~np.isnan(row)
        gap, block = (row - mean)[has], covariance[np.ix_(has, has)]
        tail = chi2.sf(gap @ np.linalg.solve(block, gap), has.sum()) if has.any() else 1.0
        expected[i] = multivariate_normal(mean, covariance).logpdf(mean) - chi2.isf(tail, 3) / 2
    np.testing.assert_allclose(detector.score_samples(rows), expected, rtol=1e-9)
    assert detector.predict(np.full((1, 3), np.nan)).tolist() == [1]
    assert np.isneginf(detector.score_samples([[1e200, np.nan, 0.0]])).all()


def test_units_of_features_decide_nothing_about_rows_that_lack_values(blobs):
    units = np.array([1e3, 1.0, 1e-2])
    rows = with_gaps(np.concatenate([blobs, np.random.default_rng(0).uniform(-30, 30, (8, 3))]))
    settings = {"n_components": 3, "missing": "em", "noise": True, "random_state": 0, "noise_volume": 60.0**3}
    found = MixtureOutlierDetector(0.05, **settings).fit(rows)
    settings["noise_volume"] *= units.prod()
    other = MixtureOutlierDetector(0.05, **settings).fit(rows * units)
    np.testing.assert_array_equal(found.predict(rows), other.predict(rows * units))
    in_parts = found.score_samples(FrameSource(pd.DataFrame(rows)))
    np.testing.assert_allclose(in_parts, found.score_samples(torch.from_numpy(rows)), rtol=1e-12)


def test_as_many_rows_of_every_kind_are_outliers_whatever_they_lack():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 4)) * [1, 100, 0.01, 1] + rng.integers(0, 2, (4000, 1)) * [9, 900, 0.09, 9]
    rows = with_gaps(rows)
    outliers = MixtureOutlierDetector(0.05, n_components=2, missing="em", random_state=0).fit(rows).predict(rows) == -1
    n_values = (~np.isnan(rows)).sum(1)
    assert all(abs(outliers[n_values == n].mean() - 0.05) < 0.02 for n in (1, 2, 3, 4))


def test_a_weight_of_two_is_the_row_twice_and_of_zero_not_there(blobs):
    weights = np.random.default_rng(0).integers(0, 4, len(blobs))
    weighted = MixtureOutlierDetector(0.1).fit(blobs, sample_weight=weights)
    repeated = MixtureOutlierDetector(0.1).fit(np.repeat(blobs, weights, axis=0))
    assert weighted.offset_ == pytest.approx(repeated.offset_, rel=1e-9)
    share = weights[weighted.predict(blobs) == -1].sum() / weights.sum()
    assert 0.1 - weights.max() / weights.sum() < share <= 0.1


def test_tensors_in_tensors_out(blobs):
    X = torch.from_numpy(blobs).float()
    detector = MixtureOutlierDetector(random_state=0).fit(X)
    assert detector.decision_function(X).dtype == torch.float32
    labels = detector.predict(X)
    assert isinstance(labels, torch.Tensor)
    assert set(labels.tolist()) == {1, -1}


def test_parameters_are_the_mixture_s_and_contamination():
    parameters = MixtureOutlierDetector().get_params()
    assert parameters == {"contamination": 0.05, **GaussianMixture().get_params()}
    names = list(inspect.signature(MixtureOutlierDetector).parameters)
    assert names == ["contamination", *inspect.signature(GaussianMixture).parameters]
    assert repr(MixtureOutlierDetector(n_components=3)) == "MixtureOutlierDetector(n_components=3)"
    with pytest.raises(TypeError, match="n_component"):
        MixtureOutlierDetector(n_component=3)


def test_it_is_scikit_learn_s(blobs):
    detector = MixtureOutlierDetector(n_components=2, random_state=0)
    assert is_outlier_detector(detector)
    fitted = clone(detector).set_params(contamination=0.2, n_components=3).fit(pd.DataFrame(blobs, columns=list("abc")))
    assert fitted.estimator_.n_components == 3
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.n_iter_ == fitted.estimator_.n_iter_
    again = pickle.loads(pickle.dumps(fitted))
    assert again.offset_ == fitted.offset_
    assert not hasattr(detector, "n_features_in_")


def test_warm_start_goes_on_from_the_last_mixture(blobs):
    detector = MixtureOutlierDetector(n_components=3, random_state=0, max_iter=2, warm_start=True).fit(blobs)
    first = detector.estimator_.lower_bound_
    history = detector.fit(blobs).estimator_.objective_history_
    assert history[0] == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize("contamination", [0, -0.1, 0.6, float("nan"), "auto", None, True])
def test_a_contamination_that_is_no_share_is_named(blobs, contamination):
    with pytest.raises(ValueError, match=r"contamination must be a share in \(0, 0\.5\]; got"):
        MixtureOutlierDetector(contamination).fit(blobs)


@pytest.mark.parametrize("method", ["predict", "score_samples", "summary"])
def test_rows_of_another_width_are_not_what_the_detector_expects(method):
    detector = MixtureOutlierDetector(random_state=0).fit(np.arange(60.0).reshape(30, 2) % 7)
    with pytest.raises(ValueError, match="3 features, but MixtureOutlierDetector is expecting 2"):
        getattr(detector, method)(np.zeros((4, 3)))


def test_an_unfitted_detector_says_so(blobs):
    with pytest.raises(NotFittedError):
        MixtureOutlierDetector().predict(blobs)


WEIGHTED = {
    "pairs": lambda X, w: [(X[:40], w[:40]), (X[40:], w[40:])],
    "a loader": lambda X, w: DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(w)), 32),
    "a loader that shuffles": lambda X, w: DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(w)), 32, True),
    "a frame": lambda X, w: FrameSource(pd.DataFrame(X, columns=list("abc")).assign(w=w), weight_column="w"),
}


@pytest.mark.parametrize("source", WEIGHTED.values(), ids=WEIGHTED)
def test_the_threshold_counts_the_weights_that_come_with_a_source(source, blobs):
    weights = np.where(np.arange(len(blobs)) < 100, 1.0, 20.0)
    streamed = MixtureOutlierDetector(0.3, random_state=0).fit(source(blobs, weights))
    in_memory = MixtureOutlierDetector(0.3, random_state=0).fit(blobs, sample_weight=weights)
    assert streamed.offset_ == pytest.approx(in_memory.offset_, rel=1e-9)
    assert streamed.offset_ != pytest.approx(MixtureOutlierDetector(0.3, random_state=0).fit(blobs).offset_, rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_copies_of_a_row_are_on_one_side_of_the_threshold(seed):
    X = np.round(np.random.default_rng(seed).normal(size=(400, 2)) * 1.5)
    detector = MixtureOutlierDetector(n_components=2, random_state=0).fit(X)
    assert np.abs(detector.decision_function(X)).min() > 1e-6
    assert (detector.predict(X) == -1).mean() <= 0.05
    rows, counts = np.unique(X, axis=0, return_counts=True)
    weighted = MixtureOutlierDetector(n_components=2, random_state=0).fit(rows, sample_weight=counts)
    assert weighted.offset_ == pytest.approx(detector.offset_, rel=1e-6)
