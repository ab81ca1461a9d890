"""The fitted mixture as an object of other libraries: they give its predictions, and their own methods work."""

import importlib
import math
import re
import warnings
from inspect import signature

import numpy as np
import pytest
import sklearn.mixture
import torch
from cases import random_covariances
from sklearn.exceptions import NotFittedError
from structures import SPECS
from support import COVARIANCE_TYPES, reference_score

from tgmm import GaussianMixture
from tgmm.mixture.module import MixtureModule

SHARED_TYPES = {"full": "full", "diag": "diag", "spherical": "spherical", "tied_full": "tied"}
SKLEARN_TYPES = SHARED_TYPES | {"tied_diag": "diag", "tied_spherical": "spherical"}
N_COMPONENTS, N_FEATURES = 3, 4


def random_mixture(covariance_type, dtype=np.float64, offset=0.0, weights=(0.5, 0.3, 0.2)):
    rng = np.random.default_rng(4)
    means = offset + 2 * rng.standard_normal((N_COMPONENTS, N_FEATURES))
    covariances = random_covariances(rng, covariance_type, N_COMPONENTS, N_FEATURES)
    return GaussianMixture.from_parameters(weights, means.astype(dtype), covariances, covariance_type)


@pytest.fixture(params=COVARIANCE_TYPES)
def gmm(request):
    return random_mixture(request.param)


@pytest.fixture
def X():
    return 3 * np.random.default_rng(5).standard_normal((60, N_FEATURES))


# --- scikit-learn -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_to_sklearn_predicts_the_same(blobs, covariance_type):
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, random_state=0).fit(blobs)
    other = gmm.to_sklearn()
    assert type(other) is sklearn.mixture.GaussianMixture
    assert other.covariance_type == SKLEARN_TYPES[covariance_type]
    np.testing.assert_allclose(other.score_samples(blobs), gmm.score_samples(blobs), rtol=0, atol=1e-10)
    np.testing.assert_allclose(other.predict_proba(blobs), gmm.predict_proba(blobs), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(other.predict(blobs), gmm.predict(blobs))
    assert other.score(blobs) == pytest.approx(gmm.score(blobs), rel=0, abs=1e-10)
    if covariance_type in SHARED_TYPES:
        assert other.bic(blobs) == pytest.approx(gmm.bic(blobs), rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_to_sklearn_is_what_scikit_learn_s_own_fit_leaves(blobs, covariance_type):
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, random_state=0).fit(blobs)
    other = gmm.to_sklearn()
    fitted = sklearn.mixture.GaussianMixture(3, covariance_type=SKLEARN_TYPES[covariance_type], random_state=0)
    fitted.fit(blobs)
    for name, expected in vars(fitted).items():
        actual = getattr(other, name)
        kinds = (float, np.floating) if isinstance(expected, float | np.floating) else type(expected)
        assert isinstance(actual, kinds), name
        if isinstance(expected, np.ndarray):
            assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), name
            assert actual.flags.writeable, name
    assert len(other.lower_bounds_) == other.n_iter_ == gmm.n_iter_
    assert other.lower_bounds_[-1] == other.lower_bound_ == gmm.lower_bound_


def test_to_sklearn_has_scikit_learn_s_own_precisions(gmm):
    from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

    other = gmm.to_sklearn()
    expected = _compute_precision_cholesky(other.covariances_, other.covariance_type)
    np.testing.assert_allclose(other.precisions_cholesky_, expected, rtol=1e-12, atol=1e-14)
    if SPECS[gmm.covariance_type].n_axes == 2:
        np.testing.assert_allclose(other.precisions_ @ other.covariances_ - np.eye(N_FEATURES), 0, atol=1e-12)
    else:
        np.testing.assert_allclose(other.precisions_ * other.covariances_, 1, rtol=1e-14)


def test_to_sklearn_samples_and_fits_again(gmm, blobs):
    other = gmm.to_sklearn()
    rows, labels = other.sample(200)
    assert rows.shape == (200, N_FEATURES)
    assert labels.shape == (200,)
    assert other.fit(blobs).means_.shape == (3, 3)


def test_to_sklearn_shares_no_memory(gmm):
    before = gmm.means_, gmm.covariances_
    other = gmm.to_sklearn()
    other.means_[:] = 0
    other.covariances_[...] = 0
    assert np.array_equal(gmm.means_, before[0])
    assert np.array_equal(gmm.covariances_, before[1])


def test_to_sklearn_takes_settings_and_names_along(blobs):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs, columns=["a", "b", "c"])
    gmm = GaussianMixture(n_components=2, tol=1e-3, max_iter=77, n_init=2, random_state=5).fit(frame)
    other = gmm.to_sklearn()
    assert (other.tol, other.max_iter, other.n_init, other.random_state) == (1e-3, 77, 2, 5)
    assert other.n_features_in_ == 3
    assert list(other.feature_names_in_) == ["a", "b", "c"]
    back = GaussianMixture.from_sklearn(other)
    assert (back.tol, back.max_iter, back.n_init, back.random_state) == (1e-3, 77, 2, 5)
    assert list(back.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("generator", [torch.Generator(), np.random.default_rng(0)], ids=["torch", "numpy"])
def test_to_sklearn_leaves_generators_out_that_it_does_not_take(generator):
    gmm = random_mixture("diag").set_params(random_state=generator)
    assert gmm.to_sklearn().random_state is None


@pytest.mark.parametrize("covariance_type", SHARED_TYPES)
def test_from_sklearn_predicts_the_same(blobs, covariance_type):
    other = sklearn.mixture.GaussianMixture(3, covariance_type=SHARED_TYPES[covariance_type], random_state=0)
    other.fit(blobs)
    gmm = GaussianMixture.from_sklearn(other)
    assert gmm.covariance_type == covariance_type
    np.testing.assert_allclose(gmm.score_samples(blobs), other.score_samples(blobs), rtol=0, atol=1e-10)
    np.testing.assert_allclose(gmm.predict_proba(blobs), other.predict_proba(blobs), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(gmm.predict(blobs), other.predict(blobs))


def test_a_round_trip_through_scikit_learn_is_exact(gmm):
    back = GaussianMixture.from_sklearn(gmm.to_sklearn())
    assert np.array_equal(back.weights_, gmm.weights_)
    assert np.array_equal(back.means_, gmm.means_)
    assert np.array_equal(back.covariances_, np.broadcast_to(gmm.covariances_, back.covariances_.shape))


@pytest.mark.parametrize("other", [sklearn.mixture.BayesianGaussianMixture(), None, "full"])
def test_from_sklearn_refuses_other_objects(other):
    with pytest.raises(ValueError, match=r"^model must be a fitted sklearn.mixture.GaussianMixture"):
        GaussianMixture.from_sklearn(other)


def test_from_sklearn_refuses_an_unfitted_model():
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture())


@pytest.mark.parametrize("name", ["to_sklearn", "to_distribution", "to_module"])
def test_conversions_need_a_fit(name):
    with pytest.raises(NotFittedError):
        getattr(GaussianMixture(), name)()


# --- torch.distributions ----------------------------------------------------------------------------------------


def test_distribution_has_the_log_density(gmm, X):
    actual = gmm.to_distribution().log_prob(torch.tensor(X))
    np.testing.assert_allclose(actual, gmm.score_samples(X), rtol=0, atol=1e-10)


def test_distribution_is_differentiable(gmm, X):
    x = torch.tensor(X[:5], requires_grad=True)
    assert torch.autograd.gradcheck(gmm.to_distribution().log_prob, x)


def test_distribution_samples(gmm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        distribution = gmm.to_distribution()
        rows = distribution.sample((20000,))
    error = (rows.mean(0) - distribution.mean) / (distribution.variance / 20000).sqrt()
    assert error.abs().max() < 4


def test_distribution_has_the_float_type_of_the_fit():
    distribution = random_mixture("full", np.float32).to_distribution()
    assert distribution.mean.dtype == torch.float32


def test_distribution_gives_a_component_of_weight_zero_nothing():
    gmm = GaussianMixture.from_parameters([1.0, 0.0], [[0.0], [100.0]], [1.0, 1.0], "spherical")
    distribution = gmm.to_distribution()
    assert distribution.log_prob(torch.tensor([100.0])).item() == pytest.approx(float(gmm.score_samples([[100.0]])[0]))


# --- log_prob ---------------------------------------------------------------------------------------------------


def test_log_prob_is_the_log_density(gmm, X):
    x = torch.tensor(X)
    np.testing.assert_allclose(gmm.log_prob(x), gmm.score_samples(X), rtol=0, atol=1e-10)
    assert gmm.log_prob(x).mean() == pytest.approx(reference_score(gmm, X), abs=1e-10)


def test_log_prob_is_differentiable_twice(gmm, X):
    x = torch.tensor(X[:4], requires_grad=True)
    assert torch.autograd.gradcheck(gmm.log_prob, x)
    assert torch.autograd.gradgradcheck(gmm.log_prob, x)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (0,), (3, 0, 2)])
def test_log_prob_takes_any_batch_shape(gmm, shape):
    x = torch.randn(*shape, N_FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    density = gmm.log_prob(x)
    assert density.shape == shape
    rows = x.reshape(-1, N_FEATURES)
    if len(rows):
        torch.testing.assert_close(density.reshape(-1), gmm.score_samples(rows), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_log_prob_of_narrow_types(dtype):
    gmm = random_mixture("full", np.float32, offset=100.0)
    x = torch.tensor(gmm.means_ + 0.3).to(dtype).requires_grad_()
    density = gmm.log_prob(x)
    assert density.dtype == torch.float32
    torch.testing.assert_close(density, gmm.score_samples(x), rtol=0, atol=1e-5)
    density.sum().backward()
    assert x.grad.dtype == dtype
    assert torch.isfinite(x.grad).all()


def test_log_prob_climbs_to_a_mode():
    gmm = GaussianMixture.from_parameters([0.7, 0.3], [[0.0, 0.0], [9.0, 9.0]], [1.0, 2.0], "spherical")
    x = torch.tensor([7.0, 8.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=1.0)
    for _ in range(50):
        optimizer.zero_grad()
        (-gmm.log_prob(x)).backward()
        optimizer.step()
    torch.testing.assert_close(x.detach(), torch.tensor([9.0, 9.0], dtype=torch.float64), rtol=0, atol=1e-6)


def test_log_prob_memory_does_not_hold_a_matrix_a_row_and_component():
    n, n_components, d = 500, 8, 64
    gmm = GaussianMixture.from_parameters(
        np.full(n_components, 1 / n_components), np.zeros((n_components, d)), np.eye(d), "full"
    )
    saved = []

    def record(tensor):
        saved.append(tensor.numel())
        return tensor

    x = torch.zeros(n, d, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        gmm.log_prob(x)
    assert max(saved) <= n * n_components * d


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4)), "x must be a tensor of a float type; got ndarray"),
        (torch.zeros(2, 4, dtype=torch.int64), "x must be a tensor of a float type; got torch.int64"),
        (torch.zeros(2, 4, dtype=torch.complex64), "x must be a tensor of a float type; got torch.complex64"),
        (torch.zeros(2, 3), r"x must have shape \(..., n_features\) = \(..., 4\); got shape \(2, 3\)"),
        (torch.zeros(()), r"x must have shape .* got shape \(\)"),
        (torch.full((2, 4), torch.nan), "x must be finite"),
    ],
)
def test_log_prob_says_what_is_wrong(x, message):
    with pytest.raises(ValueError, match=message):
        random_mixture("full").log_prob(x)


def test_log_prob_needs_a_fit():
    with pytest.raises(NotFittedError):
        GaussianMixture().log_prob(torch.zeros(2, 4))


# --- modules ----------------------------------------------------------------------------------------------------


def assert_predicts(outputs, gmm, X, tolerance=1e-10):
    log_density, probabilities = (
        np.asarray(output.detach() if hasattr(output, "detach") else output) for output in outputs
    )
    np.testing.assert_allclose(log_density, gmm.score_samples(X), rtol=0, atol=tolerance)
    np.testing.assert_allclose(probabilities, gmm.predict_proba(X), rtol=0, atol=tolerance)


def test_module_predicts_the_same(gmm, X):
    assert_predicts(gmm.to_module()(torch.tensor(X)), gmm, X)


@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (3, 1, 2), (0,)])
def test_module_takes_rows_in_any_shape(gmm, X, shape):
    rows = torch.tensor(X[: math.prod(shape)])
    module = gmm.to_module()
    density, probabilities = module(rows.reshape(*shape, N_FEATURES))
    assert density.shape == shape
    assert probabilities.shape == module.log_joint(rows.reshape(*shape, N_FEATURES)).shape == (*shape, N_COMPONENTS)
    if len(rows):
        assert_predicts((density.reshape(-1), probabilities.reshape(len(rows), -1)), gmm, X[: len(rows)])


@pytest.mark.parametrize("shape", [(), (1,), (5, 1), (N_FEATURES, 2), (5, N_FEATURES + 1)])
def test_module_refuses_another_number_of_features(shape):
    with pytest.raises(ValueError, match=re.escape(f"(..., {N_FEATURES}); got shape {shape}")):
        random_mixture("full").to_module()(torch.zeros(shape))


def test_module_s_buffers_are_the_parameters(gmm):
    module = gmm.to_module()
    buffers = dict(module.named_buffers())
    for name in ("weights", "means", "covariances"):
        assert np.array_equal(buffers[name], getattr(gmm, f"{name}_"))
    assert not list(module.parameters())
    assert not module.training
    module.means.zero_()
    assert np.abs(gmm.means_).max() > 0


def test_module_state_dict_carries_the_mixture(gmm, X, tmp_path):
    torch.save(gmm.to_module().state_dict(), tmp_path / "module.pt")
    rng = np.random.default_rng(9)
    name = gmm.covariance_type
    fresh = GaussianMixture.from_parameters(
        np.full(3, 1 / 3), rng.standard_normal((3, 4)), random_covariances(rng, name, 3, 4), name
    ).to_module()
    fresh.load_state_dict(torch.load(tmp_path / "module.pt"))
    assert_predicts(fresh(torch.tensor(X)), gmm, X)


def test_module_moves():
    module = random_mixture("full").to_module().to("meta")
    log_density, probabilities = module(torch.zeros(5, N_FEATURES, device="meta"))
    assert log_density.device.type == "meta"
    assert probabilities.shape == (5, N_COMPONENTS)


@pytest.mark.gpu
def test_module_on_the_accelerator(gmm, X):
    outputs = gmm.to_module().to("cuda")(torch.tensor(X, device="cuda"))
    assert_predicts([output.cpu() for output in outputs], gmm.set_params(device="cpu"), X)
    x = torch.tensor(X, device="cuda", requires_grad=True)
    density = gmm.log_prob(x)
    density.sum().backward()
    assert density.device == x.grad.device == x.device


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_module_in_float32_is_precise_far_from_the_origin(covariance_type, offset):
    gmm = random_mixture(covariance_type, np.float32)
    parameters = gmm.mixture_.parameters
    far = GaussianMixture.from_parameters(
        parameters.weights, parameters.means + offset, parameters.covariances.public, covariance_type
    )
    x = (far.means_ + 0.5).float()
    module = MixtureModule(far.mixture_.parameters, torch.float32)
    expected = far.score_samples(x.double())
    torch.testing.assert_close(module(x)[0].double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("covariance_type", ["full", "tied_full", "low_rank", "factor"])
def test_module_in_float32_is_precise_in_directions_in_which_rows_hardly_vary(covariance_type):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 6)) + 1e-4 * rng.standard_normal((400, 6))
    rows = rows.astype(np.float32)
    gmm = GaussianMixture(covariance_type=covariance_type).fit(rows)
    density = gmm.to_module()(torch.tensor(rows))[0]
    np.testing.assert_allclose(density, gmm.score_samples(rows), rtol=0, atol=2e-5)


def test_module_of_far_rows_has_the_weights_for_probabilities(gmm):
    log_density, probabilities = gmm.to_module()(torch.full((1, N_FEATURES), 1e200, dtype=torch.float64))
    assert log_density.item() == -torch.inf
    np.testing.assert_allclose(probabilities[0], gmm.weights_, rtol=1e-7)


def test_module_passes_nan_on():
    outputs = random_mixture("full").to_module()(torch.full((1, N_FEATURES), torch.nan, dtype=torch.float64))
    assert all(output.isnan().all() for output in outputs)


def test_module_works_with_vmap_and_hessian():
    gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[2.0, 0.5], [0.5, 1.0]]])
    module = gmm.to_module()
    points = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hessians = torch.func.vmap(torch.func.hessian(lambda x: module(x[None])[0][0]))(points)
    torch.testing.assert_close(hessians, -torch.linalg.inv(torch.tensor(gmm.covariances_)).expand(3, 2, 2))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_module_compiles_without_a_graph_break(gmm, X, backend):
    torch.compiler.reset()
    if backend == "inductor":
        if gmm.covariance_type != "full":
            pytest.skip("one structure is enough for the slow backend")
        requires_cpp_compiler()
    compiled = torch.compile(gmm.to_module(), fullgraph=True, backend=backend)
    assert_predicts(compiled(torch.tensor(X)), gmm, X)
    assert_predicts(compiled(torch.tensor(X[:7])), gmm, X[:7])


def requires_cpp_compiler():
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("no C++ compiler")


def test_module_exports(gmm, X, tmp_path):
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(gmm.to_module(), (torch.tensor(X),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "mixture.pt2")
    loaded = torch.export.load(tmp_path / "mixture.pt2").module()
    assert_predicts(loaded(torch.tensor(X[:11])), gmm, X[:11])


def onnx_session(module, X, path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own libraries
        torch.onnx.export(
            module,
            (torch.tensor(X),),
            path,
            dynamic_shapes=({0: "n"},),
            dynamo=True,
            verbose=False,
            input_names=["x"],
            output_names=["log_density", "probabilities"],
        )
    return onnxruntime.InferenceSession(path)


def test_module_runs_in_onnxruntime(gmm, X, tmp_path):
    session = onnx_session(gmm.to_module(), X, tmp_path / "mixture.onnx")
    assert [output.name for output in session.get_outputs()] == ["log_density", "probabilities"]
    assert_predicts(session.run(None, {"x": X[:7]}), gmm, X[:7])


def test_onnx_in_float32_with_a_component_of_weight_zero(X, tmp_path):
    gmm = random_mixture("full", np.float32, weights=(0.6, 0.4, 0.0))
    X = X.astype(np.float32)
    outputs = onnx_session(gmm.to_module(), X, tmp_path / "mixture.onnx").run(None, {"x": X})
    assert outputs[0].dtype == np.float32
    assert (outputs[1][:, 2] == 0).all()
    assert_predicts(outputs, gmm, X, tolerance=2e-4)


# --- arrays of other libraries ----------------------------------------------------------------------------------


class Exported:
    """An array that knows DLPack and nothing else, as a column of a GPU data frame does."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


LIBRARIES = {
    "array_api_strict": lambda: importlib.import_module("array_api_strict").asarray,
    "jax": lambda: importlib.import_module("jax.numpy").asarray,
}


@pytest.fixture(params=LIBRARIES)
def asarray(request):
    pytest.importorskip(request.param)
    return LIBRARIES[request.param]()


def test_arrays_of_other_libraries_are_answered_in_kind(asarray, blobs):
    X = asarray(blobs.astype(np.float32))
    weights = asarray(np.linspace(0.5, 2.0, len(blobs)).astype(np.float32))
    gmm = GaussianMixture(n_components=3, random_state=0).fit(X, sample_weight=weights)
    plain = GaussianMixture(n_components=3, random_state=0).fit(
        blobs.astype(np.float32), sample_weight=np.linspace(0.5, 2.0, len(blobs)).astype(np.float32)
    )
    assert np.array_equal(gmm.means_, plain.means_)
    assert gmm.mixture_.dtype == torch.float32
    for name in ("predict", "predict_proba", "score_samples"):
        actual, expected = getattr(gmm, name)(X), getattr(plain, name)(blobs.astype(np.float32))
        assert type(actual) is type(X)
        np.testing.assert_array_equal(np.asarray(actual), expected)
    assert gmm.score(X) == plain.score(blobs.astype(np.float32))
    assert type(gmm.fit_predict(X)) is type(X)
    assert type(gmm.predict(blobs)) is np.ndarray


def test_parameters_may_be_arrays_of_other_libraries(asarray, blobs):
    given = {"init_weights": np.full(2, 0.5), "init_means": blobs[[0, 60]], "init_covariances": np.ones((2, 3))}
    plain = GaussianMixture(2, covariance_type="diag", **given).fit(blobs)
    foreign = {name: asarray(value.astype(np.float32)) for name, value in given.items()}
    gmm = GaussianMixture(2, covariance_type="diag", tol=0, max_iter=500, **foreign)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gmm.fit(blobs)
    torch.testing.assert_close(gmm.means_, plain.means_, rtol=0, atol=0.05)
    labels = asarray(plain.predict(blobs).astype(np.int32))
    gmm = GaussianMixture(2).fit(blobs, init_responsibilities=labels)
    assert np.array_equal(gmm.means_, GaussianMixture(2).fit(blobs, init_responsibilities=np.asarray(labels)).means_)
    gmm = GaussianMixture.from_parameters(
        asarray([0.5, 0.5]), asarray([[0.0], [4.0]]), asarray([1.0, 1.0]), "spherical"
    )
    assert gmm.predict([[0.0], [4.0]]).tolist() == [0, 1]


def test_dlpack_copies_nothing(blobs):
    from tgmm.data.columns import Columns
    from tgmm.data.validation import check_rows

    rows, _ = check_rows(Exported(blobs), Columns(None))
    assert rows.tensor.data_ptr() == blobs.ctypes.data


def test_jax_memory_is_shared(blobs):
    jax = pytest.importorskip("jax")
    from tgmm.data.columns import Columns
    from tgmm.data.validation import check_rows

    X = jax.numpy.asarray(blobs)
    rows, _ = check_rows(X, Columns(None))
    assert rows.tensor.data_ptr() == X.unsafe_buffer_pointer()


def test_arrays_without_a_namespace_are_answered_by_numpy(blobs):
    gmm = GaussianMixture(n_components=2, random_state=0).fit(Exported(blobs))
    assert type(gmm.predict_proba(Exported(blobs))) is np.ndarray
    plain = GaussianMixture(n_components=2, random_state=0).fit(blobs)
    np.testing.assert_array_equal(gmm.predict_proba(Exported(blobs)), plain.predict_proba(blobs))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_integers_of_other_libraries_are_computed_in_float64(dtype):
    strict = pytest.importorskip("array_api_strict")
    X = np.random.default_rng(0).integers(0, 9, (40, 2)).astype(dtype)
    gmm = GaussianMixture().fit(strict.asarray(X))
    assert gmm.mixture_.dtype == torch.float64
    np.testing.assert_allclose(gmm.means_[0], X.mean(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), "Expected 2D array"),
        (np.zeros((0, 3)), r"Found array with 0 sample\(s\)"),
        (np.array([[0.0], [np.nan]]), "NaN at row 1, column 0"),
        (np.zeros((3, 2), dtype=complex), "Complex data not supported"),
    ],
)
def test_bad_arrays_of_other_libraries(values, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture().fit(Exported(values))


def test_wrong_number_of_features_of_another_library(blobs):
    gmm = GaussianMixture().fit(blobs)
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3 features"):
        gmm.predict(Exported(blobs[:, :2]))


class Unexportable:
    def __dlpack__(self, **keywords):
        raise BufferError("it is on another planet")

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("name", ["X", "sample_weight"])
def test_an_export_that_fails_names_the_argument(blobs, name):
    arguments = {"X": blobs, name: Unexportable()}
    with pytest.raises(
        ValueError, match=f"^{name}, a .*Unexportable, cannot be read by DLPack: it is on another planet"
    ):
        GaussianMixture().fit(**arguments)


@pytest.mark.parametrize("namespace", ["torch", "array_api_strict"])
def test_scikit_learn_s_array_api_checks_pass_though_the_tag_is_unset(namespace):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    check = getattr(checks, "check_array_api_input_and_values", None)
    if check is None or "check_sample_weight" not in signature(check).parameters:
        pytest.skip("this scikit-learn has no such checks")
    pytest.importorskip(namespace)
    assert not GaussianMixture().__sklearn_tags__().array_api_support
    estimator = GaussianMixture(n_components=2)
    for dtype_name in ("float32", "float64"):
        check("GaussianMixture", estimator, namespace, dtype_name=dtype_name, check_sample_weight=True)


# --- rounding that others switch on, and rows that are far -------------------------------------------------------


@pytest.fixture
def narrow():
    """Float32 rows of two features that differ by 1/200 of their spread, and the model of them."""
    rng = np.random.default_rng(0)
    a = 1000 + 100 * rng.standard_normal((5000, 1))
    rows = torch.from_numpy(np.hstack([a, a + 0.5 * rng.standard_normal((5000, 1))])).float()
    return rows, GaussianMixture(1).fit(rows)


def density_and_gradient(gmm, rows):
    rows = rows.clone().requires_grad_()
    density, _ = gmm.to_module()(rows)
    density.sum().backward()
    return density.detach(), rows.grad


@pytest.mark.parametrize("shortened", ["autocast", "high", "medium"])
def test_module_is_as_precise_where_short_products_are_allowed(narrow, shortened):
    rows, gmm = narrow
    density, gradient = density_and_gradient(gmm, rows)
    np.testing.assert_allclose(density, gmm.score_samples(rows), atol=0.01)
    try:
        if shortened != "autocast":
            torch.set_float32_matmul_precision(shortened)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=shortened == "autocast"):
            again, other_gradient = density_and_gradient(gmm, rows)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, density)
    torch.testing.assert_close(other_gradient, gradient)


@pytest.mark.parametrize("name", ["to_module", "log_prob"])
@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e20), (np.float32, 1e37), (np.float64, 1e20), (np.float64, 1e200)]
)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_gradient_at_a_far_row_is_that_of_the_nearest_component(covariance_type, dtype, size, name):
    gmm = random_mixture(covariance_type, dtype)
    direction = torch.tensor([1.0, -0.5, 0.25, 2.0], dtype=torch.float64)
    x = (size * direction).to(torch.from_numpy(np.zeros(1, dtype)).dtype)[None].requires_grad_()
    density = gmm.to_module()(x)[0] if name == "to_module" else gmm.log_prob(x)
    density.sum().backward()
    covariances = gmm.mixture_.covariances
    dense = [np.linalg.inv(matrix) for matrix in dense_of(covariance_type, covariances)]
    slopes = [-matrix @ direction.numpy() for matrix in dense]
    nearest = min(slopes, key=lambda slope: -slope @ direction.numpy())
    np.testing.assert_allclose(x.grad[0].double().numpy() / size, nearest, rtol=1e-4)


def dense_of(covariance_type, covariances):
    values = np.asarray(covariances, dtype=np.float64)
    spec = SPECS[covariance_type]
    values = np.stack([values] * N_COMPONENTS) if spec.tied else values
    return [np.eye(N_FEATURES) * value if spec.n_axes < 2 else value for value in values]


def test_log_prob_works_under_vmap(gmm, X):
    x = torch.from_numpy(X)
    torch.testing.assert_close(torch.vmap(gmm.log_prob)(x), gmm.log_prob(x))
