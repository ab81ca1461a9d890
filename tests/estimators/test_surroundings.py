"""What surrounds a fit does not change it: torch's global switches, threads, and unusual carriers of rows."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from cases import mixture
from sklearn.exceptions import ConvergenceWarning

from tgmm import GaussianMixture, Mixture, MixtureOutlierDetector, select
from tgmm.covariance import structure_named
from tgmm.covariance.full import Full
from tgmm.covariance.moments import doubled, symmetric_places, upper_places, upper_triangle
from tgmm.data.data import TensorData
from tgmm.kernels.centred import Centred
from tgmm.kernels.choose import kernels_for
from tgmm.kernels.products import Products
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.plotting import plot_components


@pytest.fixture
def rows():
    return torch.from_numpy(mixture(1, n=400, d=2, n_components=3)[0]).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_default_float_type_does_not_matter(rows, dtype, tmp_path):
    expected = GaussianMixture(3, random_state=0, tol=1e5).fit(rows)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = GaussianMixture(3, random_state=0, tol=1e5).fit(rows)
        model.save(tmp_path / "model.pth")
        loaded = GaussianMixture.load(tmp_path / "model.pth")
    finally:
        torch.set_default_dtype(before)
    assert np.array_equal(model.means_, expected.means_)
    assert torch.equal(loaded.score_samples(rows), expected.score_samples(rows))


def test_the_default_device_does_not_matter(rows):
    expected = GaussianMixture(3, random_state=0).fit(rows)
    torch.set_default_device("meta")
    try:
        model = GaussianMixture(3, random_state=0).fit(rows)
        labels = model.predict(rows.numpy())
    finally:
        torch.set_default_device(None)
    assert np.array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(labels, expected.predict(rows.numpy()))


def save_and_load(model, rows, path):
    model.save(path / "model.pth")
    return GaussianMixture.load(path / "model.pth").score_samples(rows)


def save_from_parameters(model, rows, path):
    GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical").save(path / "model.pth")
    return Mixture.load(path / "model.pth").predict([[0.0], [4.0]])


def go_on_from_a_checkpoint(model, rows, path):
    settings = {"n_components": 3, "random_state": 0, "checkpoint": path / "checkpoint.pth"}
    GaussianMixture(**settings, max_iter=2, tol=0).fit(rows)
    return GaussianMixture(**settings, max_iter=4, tol=0).fit(rows, resume=True).score_samples(rows)


def draw(model, rows, path):
    axes = plot_components(model, rows)
    return np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])


UNDER_A_DEFAULT_DEVICE = {
    "save and load": save_and_load,
    "save a model from parameters": save_from_parameters,
    "a state dict": lambda model, rows, _: GaussianMixture().load_state_dict(model.save_state_dict()).predict(rows),
    "a checkpoint": go_on_from_a_checkpoint,
    "select": lambda model, rows, _: select(rows, [2, 3], "full", random_state=0).best_.score_samples(rows),
    "the detector": lambda model, rows, _: MixtureOutlierDetector(n_components=3, random_state=0).fit_predict(rows),
    "plots": draw,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use", UNDER_A_DEFAULT_DEVICE.values(), ids=UNDER_A_DEFAULT_DEVICE)
def test_the_default_device_does_not_matter_to_what_is_done_with_a_model(use, rows, tmp_path):
    rows = rows.numpy()
    model = GaussianMixture(3, random_state=0).fit(rows)
    expected = use(model, rows, tmp_path)
    torch.set_default_device("meta")
    try:
        found = use(model, rows, tmp_path)
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("covariance_type", ["full", "tied_diag"])
def test_autocast_does_not_matter(rows, covariance_type):
    expected = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
        density = model.score_samples(rows)
    assert np.array_equal(model.means_, expected.means_)
    assert torch.equal(density, expected.score_samples(rows))


def test_fits_in_threads_leave_the_filters_of_warnings_alone(rows):
    X = rows.numpy().copy()
    X.flags.writeable = False
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda seed: GaussianMixture(3, random_state=seed).fit(X), range(12)))
    assert list(warnings.filters) == filters
    alone = GaussianMixture(3, random_state=5).fit(X)
    assert np.array_equal(models[5].means_, alone.means_)
    with pytest.warns(ConvergenceWarning):
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)


def test_more_rows_than_float32_can_count():
    rows = torch.zeros(1, 1).expand(2**24 + 5, 1)
    summary = TensorData(rows).survey(100, seed=0).summary
    assert summary.n_rows == 2**24 + 5
    assert bool(summary.constant.all())


def test_masked_values_are_missing():
    masked = np.ma.masked_array([[1.0, 2], [3, 4], [1e6, 5], [2, 2]], mask=[[0, 0], [0, 0], [1, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"masked values.*row 2, column 0:"):
        GaussianMixture().fit(masked)
    unmasked = np.ma.masked_array([[1.0, 2], [3, 4], [5, 5], [2, 2]])
    assert GaussianMixture().fit(unmasked).means_.shape == (1, 2)


def test_a_series_has_one_dimension():
    with pytest.raises(ValueError, match="2-?[dD]"):
        GaussianMixture().fit(pd.Series([1.0, 2.0, 3.0]))


def test_a_frame_with_times_is_refused():
    frame = pd.DataFrame({"when": pd.date_range("2020", periods=4), "value": [1.0, 2, 3, 5]})
    with pytest.raises(ValueError, match="numbers"):
        GaussianMixture().fit(frame)


@pytest.mark.parametrize("weight", [1e308, 5e-324])
def test_weights_whose_sum_leaves_float64(rows, weight):
    weights = np.full(len(rows), weight)
    with pytest.raises(ValueError, match="sample_weight.*common factor"):
        GaussianMixture().fit(rows, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight.*common factor"):
        GaussianMixture().fit(rows).score(rows, sample_weight=weights)


def test_a_subclass_of_tensor_gives_plain_parameters(rows):
    model = GaussianMixture(2, random_state=0).fit(torch.nn.Parameter(rows))
    assert type(model.means_) is torch.Tensor
    assert not model.predict_proba(torch.nn.Parameter(rows)).requires_grad


def test_verbose_takes_a_level(rows, caplog):
    with caplog.at_level("INFO", logger="tgmm"):
        GaussianMixture(2, verbose=2, verbose_interval=1, random_state=0).fit(rows)
    assert "iteration 1" in caplog.text


@pytest.mark.parametrize(
    ("covariance_type", "d", "n_components", "in_float32", "in_float64"),
    [
        ("full", 16, 1, Products, Products),
        ("full", 24, 1, Centred, Centred),
        ("full", 24, 2, Products, Products),
        ("full", 48, 4, Centred, Centred),
        ("full", 64, 7, Centred, Centred),
        ("full", 64, 32, Products, Products),
        ("full", 128, 8, Centred, Centred),
        ("full", 128, 16, Centred, Products),
        ("full", 400, 64, Centred, Centred),
        ("tied_full", 400, 2, Products, Products),
        ("diag", 400, 2, Products, Products),
    ],
)
def test_the_form_suits_the_shape(covariance_type, d, n_components, in_float32, in_float64):
    frame = Frame(torch.zeros(d, dtype=torch.float64), torch.ones(d, dtype=torch.float64))
    structure = structure_named(covariance_type)
    for dtype, form in ((torch.float32, in_float32), (torch.float64, in_float64)):
        chosen = kernels_for(structure.moment, frame, n_components, dtype, torch.device("cpu"))
        assert type(chosen[0]) is form
        assert chosen[0].dtype == dtype
        assert chosen[-1].dtype == torch.float64
        assert type(chosen[-1]) is Centred


@pytest.mark.parametrize("covariance_type", ["full", "tied_full"])
def test_jumps_need_no_common_centre(covariance_type):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 64)) + np.repeat([[0.0], [0.35]], 300, axis=0)
    labels = (X.mean(axis=1) + 0.1 * rng.standard_normal(600) > 0.175).astype(int)
    settings = {"covariance_type": covariance_type, "tol": 1e-9, "max_iter": 3000}
    plain = GaussianMixture(2, **settings).fit(X, init_responsibilities=labels)
    fast = GaussianMixture(2, accelerate="squarem", **settings).fit(X, init_responsibilities=labels)
    assert (np.diff(fast.objective_history_) >= -1e-10).all()
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-6
    assert fast.n_iter_ <= plain.n_iter_


@pytest.mark.parametrize("covariance_type", ["full", "tied_full", "diag"])
def test_what_a_fit_leaves_behind_serves_where_gradients_are_computed(covariance_type):
    """Trials of starts run without autograd; neither what they found nor what they kept for later is tied to that."""
    for kept in (upper_places, symmetric_places, doubled, upper_triangle):
        kept.cache_clear()
    X = torch.from_numpy(mixture(2, n=200, d=3, n_components=2)[0])
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    module = model.to_module()
    assert not any(tensor.is_inference() for tensor in (model.weights_, model.means_, model.covariances_))
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.requires_grad_()
    module(X)[0].sum().backward()
    root = torch.eye(3, dtype=torch.float64, requires_grad=True)
    parameters = Parameters(torch.ones(1).double(), X[:1].double(), Full((root @ root.T)[None], 3))
    parameters.natural.sum().backward()
    assert torch.isfinite(root.grad).all()
