"""Attributes follow the kind of array that the data came in, and are copies."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from support import COVARIANCE_TYPES
from torch.utils.data import DataLoader

from tgmm import GaussianMixture, Mixture, MixtureOutlierDetector, select
from tgmm.data import Source

X = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), np.random.default_rng(1).normal(8, 1, (40, 2))])
FITTED = ("weights_", "means_", "covariances_", "reg_covar_")


class Batches(Source):
    """Batches of whatever kind, of a user's own source."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def file_of_rows(folder):
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


TENSOR = torch.tensor(X)
DATA = {
    "array": (lambda folder: X, np.ndarray),
    "float32 array": (lambda folder: X.astype(np.float32), np.ndarray),
    "list": (lambda folder: X.tolist(), np.ndarray),
    "frame": (lambda folder: pd.DataFrame(X, columns=["a", "b"]), np.ndarray),
    "file": (file_of_rows, np.ndarray),
    "list of arrays": (lambda folder: [X[:30], X[30:]], np.ndarray),
    "source of arrays": (lambda folder: Batches(X[:30], X[30:]), np.ndarray),
    "arrays and tensors": (lambda folder: [X[:30], TENSOR[30:]], np.ndarray),
    "tensor": (lambda folder: TENSOR, torch.Tensor),
    "float32 tensor": (lambda folder: TENSOR.float(), torch.Tensor),
    "list of tensors": (lambda folder: [TENSOR[:30], TENSOR[30:]], torch.Tensor),
    "loader": (lambda folder: DataLoader(TENSOR, batch_size=30), torch.Tensor),
    "source of weighted tensors": (lambda folder: Batches((TENSOR, torch.ones(80))), torch.Tensor),
}


@pytest.fixture(params=DATA)
def data(request, tmp_path):
    make, kind = DATA[request.param]
    return make(tmp_path), kind


def own_values(model):
    """All arrays that a model tells of itself."""
    names = FITTED if hasattr(model, "means_") else ("weights", "means", "covariances")
    return [*(getattr(model, name) for name in names), model.mean(), model.covariance()]


def assert_kind(model, kind, dtype=None):
    for values in own_values(model):
        assert type(values) is kind
        assert dtype is None or values.dtype == dtype


def test_a_fit_tells_of_itself_in_the_kind_of_its_data(data, tmp_path):
    rows, kind = data
    gmm = GaussianMixture(2, random_state=0).fit(rows)
    assert_kind(gmm, kind)
    for other in (copy.deepcopy(gmm), pickle.loads(pickle.dumps(gmm)), gmm.marginal([1]), gmm.mixture_):
        assert_kind(other, kind)
    gmm.save(tmp_path / "model.pth")
    assert_kind(GaussianMixture.load(tmp_path / "model.pth"), kind)
    assert_kind(Mixture.load(tmp_path / "model.pth"), kind)
    assert_kind(GaussianMixture().load_state_dict(gmm.save_state_dict()), kind)


def test_a_selection_and_a_detector_too(data):
    rows, kind = data
    assert_kind(select(rows, [1, 2], "diag", random_state=0).best_, kind)
    if type(rows) is kind:
        assert_kind(MixtureOutlierDetector(n_components=2, random_state=0).fit(rows).estimator_, kind)


def test_online_learning_keeps_the_kind_of_its_first_batch():
    gmm = GaussianMixture(2, random_state=0)
    assert_kind(gmm.partial_fit(X), np.ndarray)
    assert_kind(gmm.partial_fit(TENSOR), np.ndarray)
    assert_kind(gmm.fit(TENSOR), torch.Tensor)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_float_type_is_that_of_the_fit(dtype):
    assert_kind(GaussianMixture(2, random_state=0).fit(X.astype(dtype)), np.ndarray, np.dtype(dtype))
    tensor = TENSOR.to(getattr(torch, dtype))
    assert_kind(GaussianMixture(2, random_state=0).fit(tensor), torch.Tensor, tensor.dtype)


@pytest.mark.parametrize("given", [np.asarray, list, torch.tensor], ids=["array", "list", "tensor"])
def test_parameters_that_are_given_tell_the_kind(given):
    arguments = [0.5, 0.5], given([[0.0], [4.0]]), [1.0, 1.0], "spherical"
    kind = torch.Tensor if given is torch.tensor else np.ndarray
    assert_kind(GaussianMixture.from_parameters(*arguments), kind)
    assert_kind(Mixture(*arguments), kind)


def test_what_users_write_with_numpy_works():
    gmm = GaussianMixture(2, random_state=0).fit(X)
    assert (X[:, None] - gmm.means_).shape == (80, 2, 2)
    assert (X - gmm.means_[gmm.predict(X)]).std() < 1.2
    assert (np.eye(2) * gmm.covariances_[0]).shape == (2, 2)
    assert gmm.weights_[gmm.weights_.argsort()[::-1]].copy().sum() == pytest.approx(1)
    assert (np.linalg.inv(gmm.covariances_) @ gmm.covariances_).round(9).tolist() == [[[1, 0], [0, 1]]] * 2


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_changing_what_a_model_hands_out_changes_no_model(covariance_type, kind):
    gmm = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(kind(X))
    before, expected = own_values(gmm), gmm.predict_proba(X)
    for values in own_values(gmm) + own_values(gmm.mixture_):
        np.asarray(values)[...] = 0
    conditional = gmm.condition(kind([0.0]), [0])
    means = conditional.means_ + 0
    np.asarray(conditional.means_)[...] = 0
    components = gmm.to_distribution().component_distribution
    getattr(components, "base_dist", components).loc.zero_()
    gmm.to_module().means.zero_()
    np.testing.assert_array_equal(conditional.means_, means)
    np.testing.assert_array_equal(gmm.predict_proba(X), expected)
    for value, original in zip(own_values(gmm), before, strict=True):
        np.testing.assert_array_equal(value, original)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("make", [GaussianMixture.from_parameters, Mixture])
def test_a_model_of_parameters_does_not_share_their_memory(make, kind, covariance_type):
    fitted = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    given = [kind(values) for values in (fitted.weights_, fitted.means_, fitted.covariances_)]
    model = make(*given, covariance_type)
    expected = model.score_samples(X)
    for values in given:
        values += 100
    model = pickle.loads(pickle.dumps(model))  # what was computed and kept is gone
    np.testing.assert_array_equal(model.score_samples(X), expected)


def test_adding_to_an_attribute_fails_and_moves_nothing():
    gmm = GaussianMixture(2, random_state=0).fit(X)
    before = gmm.means_
    with pytest.raises(AttributeError, match="from_parameters"):
        gmm.means_ += 1.0
    np.testing.assert_array_equal(gmm.means_, before)
