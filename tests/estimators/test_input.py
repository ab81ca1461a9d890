"""What goes in, what is refused with which words, and what type and device come out."""

import datetime
import random
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError
from structures import SPECS
from support import COVARIANCE_TYPES, FULL_TYPES, STARTS, assert_same_fit, covariance_shape, warnings_of

from tgmm import GaussianMixture, fit_many, select

PREDICTIONS = ["predict", "predict_proba", "score_samples"]
ON_ROWS = [*PREDICTIONS, "score", "aic", "bic", "icl"]


def mixture(**parameters):
    return GaussianMixture(**{"n_components": 3, "random_state": 0, **parameters})


# --- containers -------------------------------------------------------------------------------------------------


def as_pandas(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=["a", "b", "c"])


def as_polars(X):
    return pytest.importorskip("polars").DataFrame(X, schema=["a", "b", "c"])


def as_read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def as_strided(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


def as_memmap(X, path):
    path = path / "rows.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


CONTAINERS = {
    "list": lambda X: X.tolist(),
    "list of arrays": list,
    "tuple": lambda X: tuple(map(tuple, X.tolist())),
    "pandas": as_pandas,
    "polars": as_polars,
    "read-only": as_read_only,
    "fortran order": np.asfortranarray,
    "strided": as_strided,
    "reversed": lambda X: X[::-1].copy()[::-1],
    "big-endian": lambda X: X.astype(">f8"),
    "object": lambda X: X.astype(object),
    "long double": lambda X: X.astype(np.longdouble),
    "ndarray subclass": lambda X: X.view(type("Rows", (np.ndarray,), {})),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_give_numpy_out(blobs, container):
    X = CONTAINERS[container](blobs)
    plain = mixture().fit(blobs)
    gmm = mixture().fit(X)
    assert_same_fit(gmm, plain, rtol=1e-12)
    assert gmm.mixture_.dtype == torch.float64
    for method in PREDICTIONS:
        result = getattr(gmm, method)(X)
        assert type(result) is np.ndarray
        np.testing.assert_allclose(result, getattr(plain, method)(blobs), rtol=1e-10, atol=1e-12)
    assert gmm.score(X) == pytest.approx(plain.score(blobs), rel=1e-12)


def test_memory_map(blobs, tmp_path):
    X = as_memmap(blobs, tmp_path)
    gmm = mixture().fit(X)
    assert_same_fit(gmm, mixture().fit(blobs))
    assert type(gmm.predict_proba(X)) is np.ndarray


TENSORS = {
    "contiguous": lambda X: X,
    "transposed": lambda X: X.T.contiguous().T,
    "strided": lambda X: X.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, ::3],
    "requires_grad": lambda X: X.clone().requires_grad_(),
    "non-leaf": lambda X: X.clone().requires_grad_() * 1.0,
    "parameter": lambda X: torch.nn.Parameter(X.clone()),
}


@pytest.mark.parametrize("layout", TENSORS)
def test_tensors_give_tensors_out(blobs, layout):
    X = TENSORS[layout](torch.as_tensor(blobs))
    gmm = mixture().fit(X)
    assert_same_fit(gmm, mixture().fit(blobs), rtol=1e-12)
    for method in PREDICTIONS:
        result = getattr(gmm, method)(X)
        assert type(result) is torch.Tensor
        assert result.device == X.device
        np.testing.assert_allclose(result.numpy(), getattr(gmm, method)(blobs), rtol=1e-10, atol=1e-12)
    assert type(gmm.fit_predict(X)) is torch.Tensor
    assert isinstance(gmm.score(X), float)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_results_carry_no_graph(blobs, requires_grad):
    X = torch.tensor(blobs, requires_grad=requires_grad)
    weights = torch.ones(len(X), dtype=torch.float64, requires_grad=requires_grad)
    gmm = mixture().fit(X, sample_weight=weights)
    parameters = [gmm.weights_, gmm.means_, gmm.covariances_, gmm.reg_covar_]
    for tensor in parameters + [getattr(gmm, method)(X) for method in PREDICTIONS]:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
    assert X.requires_grad == weights.requires_grad == requires_grad
    assert X.grad is None
    assert weights.grad is None


def test_results_are_ordinary_tensors_that_autograd_may_use(blobs):
    gmm = mixture().fit(torch.as_tensor(blobs))
    offset = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gmm.means_ + offset).sum().backward()
    np.testing.assert_array_equal(offset.grad.numpy(), [3.0, 3.0, 3.0])


@pytest.mark.parametrize("no_grad", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_gradient_modes_change_nothing(blobs, no_grad):
    X = torch.as_tensor(blobs)
    with no_grad():
        gmm = mixture().fit(X)
        probabilities = gmm.predict_proba(X)
    plain = mixture().fit(X)
    assert_same_fit(gmm, plain)
    np.testing.assert_array_equal(probabilities.numpy(), plain.predict_proba(X).numpy())


def test_fit_on_one_kind_predict_on_the_other(blobs):
    X = torch.as_tensor(blobs)
    from_array, from_tensor = mixture().fit(blobs), mixture().fit(X)
    assert type(from_array.predict(X)) is torch.Tensor
    assert type(from_tensor.predict(blobs)) is np.ndarray
    np.testing.assert_array_equal(from_array.predict(X).numpy(), from_tensor.predict(blobs))


@pytest.mark.parametrize("fitted_on", [np.asarray, torch.as_tensor], ids=["ndarray", "tensor"])
def test_parameters_are_of_the_kind_of_the_data(blobs, fitted_on):
    rows = fitted_on(blobs)
    gmm = mixture().fit(rows)
    for name in ("weights_", "means_", "covariances_", "reg_covar_"):
        assert type(getattr(gmm, name)) is type(rows), name
    assert isinstance(gmm.lower_bound_, float)
    assert isinstance(gmm.converged_, bool)
    assert isinstance(gmm.n_iter_, int)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_parameter_shapes(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type).fit(blobs)
    assert gmm.weights_.shape == (3,)
    assert gmm.means_.shape == (3, 3)
    assert gmm.covariances_.shape == covariance_shape(covariance_type, 3, 3)
    assert gmm.reg_covar_.shape == (() if SPECS[covariance_type].knows_units else (3,))


# --- float types ------------------------------------------------------------------------------------------------


def assert_float_type(gmm, X, dtype):
    for name in ("weights_", "means_", "covariances_"):
        assert torch.as_tensor(getattr(gmm, name)).dtype == dtype, name
    for method in ("predict_proba", "score_samples"):
        result = getattr(gmm, method)(X)
        assert torch.as_tensor(result).dtype == dtype, method
    assert torch.as_tensor(gmm.predict(X)).dtype == torch.int64


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_arrays_of_integers_are_computed_in_float64(blobs, dtype):
    X = (blobs > 0 if dtype == "bool" else np.abs(np.round(4 * blobs))).astype(dtype)
    gmm = mixture(n_components=2).fit(X)
    assert_float_type(gmm, X, torch.float64)
    assert_same_fit(gmm, mixture(n_components=2).fit(X.astype(float)))


@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool], ids=str)
def test_tensors_of_integers_are_computed_in_float64(blobs, dtype, default):
    rounded = torch.as_tensor(blobs > 0 if dtype == torch.bool else np.abs(np.round(4 * blobs)))
    X = rounded.to(dtype)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        gmm = mixture(n_components=2).fit(X)
        assert_float_type(gmm, X, torch.float64)
    finally:
        torch.set_default_dtype(previous)
    assert_same_fit(gmm, mixture(n_components=2).fit(rounded.double()))


HALVES = {
    "float16 array": lambda X: X.astype(np.float16),
    "float16 pandas": lambda X: as_pandas(X.astype(np.float16)),
    "float16 tensor": lambda X: torch.as_tensor(X).half(),
    "bfloat16 tensor": lambda X: torch.as_tensor(X).bfloat16(),
}


@pytest.mark.parametrize("kind", HALVES)
def test_halves_are_computed_in_float32(blobs, kind):
    X = HALVES[kind](blobs)
    widened = X.float() if isinstance(X, torch.Tensor) else X.astype(np.float32)
    gmm = mixture().fit(X)
    assert_float_type(gmm, X, torch.float32)
    assert_same_fit(gmm, mixture().fit(widened))
    np.testing.assert_array_equal(np.asarray(gmm.score_samples(X)), np.asarray(gmm.score_samples(widened)))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_floats_keep_their_type(blobs, dtype, kind):
    X = kind(blobs.astype(dtype))
    assert_float_type(mixture().fit(X), X, {np.float32: torch.float32, np.float64: torch.float64}[dtype])


@pytest.mark.parametrize("kind", [as_pandas, as_polars, list], ids=["pandas", "polars", "list of arrays"])
def test_frames_and_lists_of_float32_keep_their_type(blobs, kind):
    X = kind(blobs.astype(np.float32))
    assert_float_type(mixture().fit(X), X, torch.float32)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["fit in float32", "fit in float64"])
def test_predictions_have_the_fit_s_type_whatever_the_rows_have(blobs, dtype, kind):
    gmm = mixture().fit(kind(blobs.astype(dtype)))
    expected = {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    for other in (np.float16, np.float32, np.float64, np.int64):
        assert_float_type(gmm, kind(np.round(blobs).astype(other)), expected)


def test_float64_fit_does_not_depend_on_torch_s_default(blobs):
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        gmm = mixture().fit(blobs)
    finally:
        torch.set_default_dtype(previous)
    assert_same_fit(gmm, mixture().fit(blobs))


# --- refused ----------------------------------------------------------------------------------------------------


@pytest.fixture
def fitted(blobs):
    return mixture().fit(blobs)


def place(X, row, column, value):
    X = X.clone() if isinstance(X, torch.Tensor) else X.copy()
    X[row, column] = value
    return X


def assert_not_finite(model, method, rows, word):
    with pytest.raises(ValueError, match=f"(?i){word}") as error:
        getattr(model, method)(rows)
    assert re.search(r"(?i)\brows?\b\D*17\b", str(error.value)), error.value
    assert re.search(r"(?i)\b(column|feature)s?\b\D*1\b", str(error.value)), error.value


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")], ids=["nan", "inf", "-inf"]
)
def test_rows_that_are_not_finite(fitted, blobs, value, word, dtype, kind):
    rows = place(kind(blobs.astype(dtype)), 17, 1, value)
    assert_not_finite(mixture(), "fit", rows, word)
    assert_not_finite(fitted, "predict", rows, word)


@pytest.mark.parametrize("method", ["fit_predict", *ON_ROWS])
def test_rows_that_are_not_finite_are_refused_by_every_method(fitted, blobs, method):
    assert_not_finite(mixture() if method == "fit_predict" else fitted, method, place(blobs, 17, 1, np.nan), "nan")


def test_not_finite_in_a_late_row_of_many():
    X = np.zeros((200_000, 2))
    X[:, 0] = np.arange(len(X))
    X[:, 1] = np.arange(len(X)) % 7
    X[199_999, 0] = np.nan
    with pytest.raises(ValueError, match="199999"):
        GaussianMixture().fit(X)


@pytest.mark.parametrize("missing", [None, float("nan")], ids=["None", "nan"])
def test_missing_values_of_pandas(blobs, missing):
    frame = as_pandas(blobs).astype(object)
    frame.iloc[3, 2] = missing
    with pytest.raises((ValueError, TypeError), match="(?i)nan|none"):
        mixture().fit(frame)


REFUSED = {
    "complex array": lambda X: X.astype(complex),
    "complex tensor": lambda X: torch.as_tensor(X).to(torch.complex64),
    "strings": lambda X: X.astype(str),
    "objects that are no numbers": lambda X: np.full(X.shape, "red", dtype=object),
    "list of strings": lambda X: [["a", "b", "c"]] * len(X),
    "objects that are strings that read as numbers": lambda X: X.astype(str).astype(object),
    "pandas with a column of strings that read as numbers": lambda X: as_pandas(X).assign(b=X[:, 1].astype(str)),
    "polars with a column of strings that read as numbers": lambda X: as_polars(X).cast({"b": str}),
    "pandas with a column of words": lambda X: as_pandas(X).assign(b="red"),
    "strings that read as numbers": lambda X: X.astype(str).tolist(),
    "dates": lambda X: np.full(X.shape, "2020-01-01", dtype="datetime64[D]"),
    "sparse matrix": scipy.sparse.csr_matrix,
    "sparse array": scipy.sparse.coo_array,
    "sparse tensor": lambda X: torch.as_tensor(X).to_sparse(),
    "compressed sparse tensor": lambda X: torch.as_tensor(X).to_sparse_csr(),
    "3-D array": lambda X: X[None],
    "3-D tensor": lambda X: torch.as_tensor(X)[None],
    "1-D array": lambda X: X[:, 0],
    "1-D tensor": lambda X: torch.as_tensor(X)[:, 0],
    "1-D list": lambda X: X[:, 0].tolist(),
    "scalar": lambda X: 1.0,
    "scalar tensor": lambda X: torch.tensor(1.0),
    "None": lambda X: None,
    "zero rows": lambda X: X[:0],
    "zero rows of a tensor": lambda X: torch.as_tensor(X)[:0],
    "empty list": lambda X: [],
    "zero features": lambda X: X[:, :0],
    "zero features of a tensor": lambda X: torch.as_tensor(X)[:, :0],
    "ragged list": lambda X: [[1.0, 2.0, 3.0], [4.0]],
}
REFUSED_WORDS = {
    "complex array": "Complex data not supported: X has values of type complex128",
    "complex tensor": "Complex data not supported: X has values of type torch.complex64",
    "strings": "X must hold numbers; got string values, dtype <U",
    "objects that are no numbers": "X must hold numbers; got 'red' at row 0, column 0",
    "list of strings": "X must hold numbers; got string values, dtype <U1",
    "objects that are strings that read as numbers": "X must hold numbers; got '",
    "pandas with a column of strings that read as numbers": "at row 0, column 1 ('b'). Leave such columns out",
    "polars with a column of strings that read as numbers": "at row 0, column 1 ('b'). Leave such columns out",
    "pandas with a column of words": "got 'red' at row 0, column 1 ('b'). Leave such columns out",
    "strings that read as numbers": "X must hold numbers; got string values, dtype <U",
    "dates": "X must hold numbers; got columns or values of type datetime64",
    "sparse matrix": "Sparse data was passed: X is a csr_matrix of shape (150, 3). Use X.toarray()",
    "sparse array": "Sparse data was passed: X is a coo_array of shape (150, 3). Use X.toarray()",
    "sparse tensor": "X is a sparse tensor (torch.sparse_coo), but dense rows are required: use X.to_dense()",
    "compressed sparse tensor": "X is a sparse tensor (torch.sparse_csr), but dense rows are required",
    "3-D array": "got a 3D array of shape (1, 150, 3) instead",
    "3-D tensor": "got a 3D tensor of shape (1, 150, 3) instead",
    "1-D array": "got a 1D array of shape (150,) instead",
    "1-D tensor": "got a 1D tensor of shape (150,) instead",
    "1-D list": "got a 1D array of shape (150,) instead",
    "scalar": "Expected 2D array, got scalar array instead",
    "scalar tensor": "got a 0D tensor of shape () instead",
    "None": "X is None: pass rows of shape (n_samples, n_features)",
    "zero rows": "Found array with 0 sample(s) (shape=(0, 3))",
    "zero rows of a tensor": "Found array with 0 sample(s) (shape=(0, 3))",
    "empty list": "got a 1D array of shape (0,) instead",
    "zero features": "Found array with 0 feature(s) (shape=(150, 0))",
    "zero features of a tensor": "Found array with 0 feature(s) (shape=(150, 0))",
    "ragged list": "X must have rows of one length; row 0 has 3 values, and row 1 has 1",
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("what", REFUSED)
def test_refused(fitted, blobs, what):
    for verb in (mixture().fit, fitted.predict):
        with pytest.raises(TypeError if "sparse" in what else ValueError, match=re.escape(REFUSED_WORDS[what])):
            verb(REFUSED[what](blobs))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_more_components_than_rows(blobs, kind):
    with pytest.raises(ValueError, match="n_components") as error:
        mixture(n_components=6).fit(kind(blobs[:5]))
    assert "5" in str(error.value)
    assert "6" in str(error.value)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_other_number_of_features_than_the_fit_s(fitted, blobs, kind):
    for method in ON_ROWS:
        with pytest.raises(ValueError, match="2 features.* 3 features"):
            getattr(fitted, method)(kind(blobs[:, :2]))


def test_other_number_of_features_than_n_features(blobs):
    with pytest.raises(ValueError, match="n_features") as error:
        mixture(n_features=2).fit(blobs)
    assert "2" in str(error.value)
    assert "3" in str(error.value)


def test_order_of_pandas_columns(blobs):
    frame = as_pandas(blobs)
    gmm = mixture().fit(frame)
    for method in ON_ROWS:
        with pytest.raises(ValueError, match="order"):
            getattr(gmm, method)(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="(?i)feature names"):
        gmm.predict(frame.rename(columns={"a": "z"}))
    for wrong, remedy in (
        (frame[["b", "a", "c"]], "['b', 'a', 'c'], and the fit had ['a', 'b', 'c']. Choose"),
        (frame.assign(z=1.0), "'z'], and the fit had ['a', 'b', 'c']. Choose"),
        (frame[["c", "a"]], "['c', 'a'], and the fit had ['a', 'b', 'c']. Rename"),
    ):
        with pytest.raises(ValueError, match=re.escape(remedy)):
            gmm.predict(wrong)
    with pytest.raises(ValueError, match=re.escape("as input. The fit had ['a', 'b', 'c'].")):
        gmm.predict(torch.as_tensor(blobs[:, :2]))


@pytest.mark.filterwarnings("ignore:The fit has not converged")
def test_order_of_the_features_of_parameters(blobs):
    frame = as_pandas(blobs)
    parameters = {
        "init_means": frame[:3],
        "init_covariances": frame.cov(),
        "mean_prior": frame.mean(),
        "covariance_prior": frame.cov(),
    }
    settings = {"covariance_type": "tied", "degrees_of_freedom_prior": 5, "mean_precision_prior": 1, "max_iter": 1}
    settings |= parameters
    gmm = mixture(**settings).fit(frame)
    unnamed = mixture(**settings | {name: value.to_numpy() for name, value in parameters.items()}).fit(frame)
    np.testing.assert_array_equal(gmm.means_, unnamed.means_)
    order = ["b", "a", "c"]
    for name, value in parameters.items():
        turned = value[order] if value.ndim == 1 or name == "init_means" else value.loc[order, order]
        message = re.escape(f"{name} has the features in the order {order}, and X in the order ['a', 'b', 'c']")
        with pytest.raises(ValueError, match=message):
            mixture(**settings | {name: turned}).fit(frame)
        mixture(**settings | {name: turned}).fit(blobs)
    for fit in (partial(select, n_components=3), partial(fit_many, groups=np.zeros(len(frame)), n_components=3)):
        with pytest.raises(ValueError, match="init_means has the features in the order"):
            fit(frame, init_means=frame[order][:3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda X: X[:, 0], "X, got a 1D array of shape (150,) instead. Reshape your data: X.reshape(-1, 1)"),
        (lambda X: as_pandas(X)["a"], "X, got a 1D array of shape (150,) instead. Reshape your data: X.to_frame()"),
        (lambda X: X[None], "X, got a 3D array of shape (1, 150, 3) instead. Reshape your data: X.reshape(len(X), -1)"),
        (lambda X: X * 1j, "X has values of type complex128"),
        (lambda X: torch.as_tensor(X * 1j), "X has values of type torch.complex128"),
        (scipy.sparse.csr_matrix, "X is a csr_matrix of shape (150, 3). Use X.toarray()"),
    ],
)
def test_what_is_wrong_with_x_is_said_in_a_line(blobs, rows, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as raised:
        mixture().fit(rows(blobs))
    assert len(str(raised.value)) < 250


WEIGHTS = {
    "negative": (lambda n: np.r_[-1.0, np.ones(n - 1)], "(?i)negative|>= 0"),
    "all zero": (np.zeros, "(?i)zero"),
    "nan": (lambda n: np.r_[np.nan, np.ones(n - 1)], "(?i)nan"),
    "infinite": (lambda n: np.r_[np.inf, np.ones(n - 1)], "(?i)inf"),
    "too short": (lambda n: np.ones(n - 1), "149"),
    "too long": (lambda n: np.ones(n + 1), "151"),
    "2-D": (lambda n: np.ones((n, 2)), "(?i)1d|1-d|shape"),
    "strings": (lambda n: np.full(n, "a"), "weight"),
    "numbers in strings": (lambda n: np.array(["1"] * n, dtype=object), "must hold numbers; got '1' at position 0"),
    "one date": (lambda n: np.array([1.0] * (n - 1) + [datetime.date(2026, 1, 1)], dtype=object), "must hold numbers"),
    "complex": (lambda n: np.ones(n, dtype=complex), "(?i)complex"),
}


def assert_weights_refused(verb, rows, weights, words):
    with pytest.raises(ValueError, match=words) as error:
        verb(rows, sample_weight=weights)
    assert re.search("(?i)sample.?weight", str(error.value)), error.value


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_refused(fitted, blobs, what):
    make, words = WEIGHTS[what]
    for verb in (mixture().fit, fitted.score):
        assert_weights_refused(verb, blobs, make(len(blobs)), words)
    if what not in ("strings", "numbers in strings", "one date"):
        weights = torch.as_tensor(make(len(blobs)))
        assert_weights_refused(mixture().fit, torch.as_tensor(blobs), weights, words)


@pytest.mark.parametrize("method", ["fit_predict", "aic", "bic", "icl"])
def test_weights_refused_by_every_method(fitted, blobs, method):
    verb = getattr(mixture() if method == "fit_predict" else fitted, method)
    assert_weights_refused(verb, blobs, -np.ones(len(blobs)), "(?i)negative|>= 0")


@pytest.mark.parametrize(
    "container",
    [
        list,
        np.float32,
        torch.as_tensor,
        lambda w: torch.as_tensor(w).int(),
        as_read_only,
        lambda w: w[::-1].copy()[::-1],
    ],
    ids=["list", "float32", "tensor", "int tensor", "read-only", "reversed"],
)
def test_weights_of_every_kind(blobs, container):
    weights = np.random.default_rng(0).integers(0, 4, len(blobs)).astype(float)
    gmm = mixture().fit(blobs, sample_weight=container(weights))
    assert_same_fit(gmm, mixture().fit(blobs, sample_weight=weights))
    assert gmm.score(blobs, sample_weight=container(weights)) == gmm.score(blobs, sample_weight=weights)


@pytest.mark.parametrize("start", STARTS)
def test_a_weight_is_as_many_copies_of_the_row_from_every_start(blobs, start):
    weights = np.random.default_rng(0).integers(0, 4, len(blobs))
    weighted = mixture(init_means=start).fit(blobs, sample_weight=weights)
    repeated = mixture(init_means=start).fit(np.repeat(blobs, weights, axis=0))
    assert weighted.n_iter_ == repeated.n_iter_
    assert_same_fit(weighted, repeated, rtol=1e-9, atol=1e-10)


def test_weights_of_pandas(blobs):
    pandas = pytest.importorskip("pandas")
    weights = np.random.default_rng(0).uniform(0, 4, len(blobs))
    series = pandas.Series(weights, index=np.arange(len(weights))[::-1])
    assert_same_fit(mixture().fit(blobs, sample_weight=series), mixture().fit(blobs, sample_weight=weights))


def test_y_is_ignored(blobs):
    assert_same_fit(mixture().fit(blobs, np.arange(len(blobs))), mixture().fit(blobs))
    assert_same_fit(mixture().fit(blobs, y=["a"] * len(blobs)), mixture().fit(blobs))


def test_failed_fit_leaves_the_fitted_model(blobs):
    gmm = mixture().fit(blobs)
    expected = gmm.predict_proba(blobs)
    with pytest.raises(ValueError, match="(?i)nan"):
        gmm.fit(place(blobs, 0, 0, np.nan))
    np.testing.assert_array_equal(gmm.predict_proba(blobs), expected)


# --- unfitted ---------------------------------------------------------------------------------------------------


UNFITTED = {
    **{method: lambda gmm, path, method=method: getattr(gmm, method)(np.zeros((4, 2))) for method in ON_ROWS},
    "sample": lambda gmm, path: gmm.sample(3),
    "save": lambda gmm, path: gmm.save(path / "model.pth"),
    "save_state_dict": lambda gmm, path: gmm.save_state_dict(),
}


@pytest.mark.parametrize("method", UNFITTED)
def test_unfitted(method, tmp_path):
    with pytest.raises(NotFittedError, match="GaussianMixture"):
        UNFITTED[method](GaussianMixture(), tmp_path)
    assert not list(tmp_path.iterdir())


# --- nothing is written, nothing global is touched --------------------------------------------------------------


def test_inputs_are_never_written_to(blobs):
    pandas = pytest.importorskip("pandas")
    weights = np.random.default_rng(0).uniform(0, 2, len(blobs))
    start = blobs[[0, 60, 120]].copy()
    responsibilities = np.random.default_rng(1).dirichlet(np.ones(3), len(blobs))
    inputs = {
        "X": blobs.copy(),
        "X32": blobs.astype(np.float32),
        "tensor": torch.tensor(blobs),
        "frame": pandas.DataFrame(blobs, columns=["a", "b", "c"]),
        "weights": weights.copy(),
        "start": start.copy(),
        "covariances": np.stack([np.eye(3)] * 3),
        "mixing": np.array([0.2, 0.3, 0.5]),
        "responsibilities": responsibilities.copy(),
        "prior_mean": np.zeros(3),
        "prior_covariance": np.eye(3),
        "alpha": np.array([1.0, 2.0, 3.0]),
    }
    before = {name: np.asarray(value).copy() for name, value in inputs.items()}
    gmm = mixture(
        init_means=inputs["start"],
        init_covariances=inputs["covariances"],
        init_weights=inputs["mixing"],
        mean_prior=inputs["prior_mean"],
        mean_precision_prior=0.5,
        covariance_prior=inputs["prior_covariance"],
        degrees_of_freedom_prior=5.0,
        weight_concentration_prior=inputs["alpha"],
    )
    for name in ("X", "X32", "tensor", "frame"):
        X = inputs[name]
        gmm.fit(X, sample_weight=inputs["weights"])
        gmm.fit(X, init_responsibilities=inputs["responsibilities"])
        for method in ON_ROWS:
            getattr(gmm, method)(X)
        gmm.score(X, sample_weight=inputs["weights"])
    for name, value in inputs.items():
        np.testing.assert_array_equal(np.asarray(value), before[name], err_msg=name)


def test_results_share_no_memory_with_the_parameters_given(blobs):
    means, mixing = torch.tensor(blobs[[0, 60, 120]]), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    gmm, _ = warnings_of(mixture(init_means=means, init_weights=mixing, max_iter=1).fit, torch.tensor(blobs))
    expected = gmm.means_.clone()
    means.fill_(0)
    mixing.fill_(0)
    assert torch.equal(gmm.means_, expected)
    assert float(gmm.weights_.sum()) == pytest.approx(1)


def global_states():
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def assert_states_equal(before, after):
    assert torch.equal(before[0], after[0])
    for left, right in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(left, right)
    assert before[2] == after[2]


@pytest.mark.parametrize("random_state", [None, 3], ids=["None", "int"])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("start", STARTS)
def test_global_generators_are_untouched(blobs, start, kind, random_state):
    X = kind(blobs)
    before = global_states()
    gmm = GaussianMixture(n_components=3, init_means=start, n_init=2, random_state=random_state).fit(X)
    for method in ON_ROWS:
        getattr(gmm, method)(X)
    assert_states_equal(before, global_states())


@pytest.mark.parametrize("random_state", [None, 3], ids=["None", "int"])
def test_global_generators_are_untouched_by_samples(blobs, random_state):
    gmm = GaussianMixture(n_components=3, random_state=random_state).fit(blobs)
    before = global_states()
    gmm.sample(5)
    gmm.sample(5, component=1, random_state=1)
    gmm.sample(5, confidence=0.5)
    gmm.sample(5, std_range=(1, 2))
    assert_states_equal(before, global_states())


def test_global_generators_are_untouched_where_components_are_seeded_again(blobs):
    before = global_states()
    start = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [1e7, 1e7, 1e7]])
    warnings_of(GaussianMixture(n_components=3, init_means=start).fit, blobs)
    assert_states_equal(before, global_states())


def test_global_seed_does_not_decide(blobs):
    torch.manual_seed(0)
    np.random.seed(0)
    first = GaussianMixture(n_components=3, init_means="random", max_iter=1, tol=0)
    second = GaussianMixture(n_components=3, init_means="random", max_iter=1, tol=0)
    warnings_of(first.fit, blobs)
    torch.manual_seed(0)
    np.random.seed(0)
    warnings_of(second.fit, blobs)
    assert not np.array_equal(first.means_, second.means_)


GENERATORS = {
    "int": lambda: 5,
    "numpy integer": lambda: np.int64(5),
    "RandomState": lambda: np.random.RandomState(5),
    "numpy.random.Generator": lambda: np.random.default_rng(5),
    "torch.Generator": lambda: torch.Generator().manual_seed(5),
}


@pytest.mark.parametrize("random_state", GENERATORS)
@pytest.mark.parametrize("start", STARTS)
def test_same_seed_same_result_bit_for_bit(blobs, start, random_state):
    fits = [mixture(init_means=start, n_init=3, random_state=GENERATORS[random_state]()).fit(blobs) for _ in range(2)]
    assert_same_fit(*fits)
    assert fits[0].lower_bound_ == fits[1].lower_bound_
    np.testing.assert_array_equal(fits[0].objective_history_, fits[1].objective_history_)


@pytest.mark.parametrize("random_state", ["RandomState", "numpy.random.Generator", "torch.Generator"])
def test_a_generator_moves_on(blobs, random_state):
    gmm = mixture(init_means="random", max_iter=1, random_state=GENERATORS[random_state]())
    first, _ = warnings_of(lambda: gmm.fit(blobs).means_)
    second, _ = warnings_of(lambda: gmm.fit(blobs).means_)
    assert not np.array_equal(first, second)


def test_an_integer_seed_starts_over(blobs):
    gmm = mixture(init_means="random", max_iter=1, random_state=5)
    first, _ = warnings_of(lambda: gmm.fit(blobs).means_)
    second, _ = warnings_of(lambda: gmm.fit(blobs).means_)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("frame", [as_pandas, as_polars])
def test_a_column_that_holds_no_numbers_is_named(blobs, frame):
    fitted = mixture().fit(frame(blobs))
    pandas = pytest.importorskip("pandas")
    text, times = ["x"] * len(blobs), pandas.date_range("2026-01-01", periods=len(blobs))
    for column, kind in ((text, "got 'x' at row 0, column 1"), (times, "of type datetime")):
        values = {"a": blobs[:, 0], "b": column, "c": blobs[:, 2], "d": blobs[:, 1]}
        other = type(frame(blobs))(values)
        for call, remedy in (
            (mixture().fit, "Leave such columns out"),
            (fitted.predict, "Choose the columns of the fit"),
        ):
            with pytest.raises(ValueError, match=kind) as caught:
                call(other)
            assert "'b'" in str(caught.value)
            assert remedy in str(caught.value)


# --- devices ----------------------------------------------------------------------------------------------------


def test_cpu_tensors_stay_there(blobs):
    gmm = mixture().fit(torch.as_tensor(blobs))
    assert gmm.mixture_.parameters.means.device.type == "cpu"
    assert gmm.predict(torch.as_tensor(blobs)).device.type == "cpu"


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")], ids=["str", "torch.device"])
def test_device_given(blobs, device):
    gmm = mixture(device=device).fit(blobs)
    assert gmm.mixture_.parameters.means.device.type == "cpu"
    assert type(gmm.predict(blobs)) is np.ndarray


@pytest.mark.gpu
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fit_on_cuda_agrees_with_the_cpu(blobs, covariance_type):
    labels = np.repeat([0, 1, 2], 50)
    on_cpu = mixture(covariance_type=covariance_type, device="cpu").fit(blobs, init_responsibilities=labels)
    on_cuda = mixture(covariance_type=covariance_type).fit(torch.tensor(blobs).cuda(), init_responsibilities=labels)
    assert on_cuda.mixture_.parameters.means.device.type == "cuda"
    assert_same_fit(on_cuda, on_cpu, rtol=1e-6, atol=1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"noise": True}, {"covariance_type": "diag"}])
def test_rows_that_lack_values_on_cuda(blobs, settings):
    X = np.where(np.random.default_rng(0).random(blobs.shape) < 0.1, np.nan, blobs)
    labels = np.repeat([0, 1, 2], 50)
    on_cpu = mixture(missing="em", device="cpu", **settings).fit(X, init_responsibilities=labels)
    on_cuda = mixture(missing="em", **settings).fit(torch.tensor(X).cuda(), init_responsibilities=labels)
    assert_same_fit(on_cuda, on_cpu, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(on_cuda.impute(torch.tensor(X).cuda()).cpu(), on_cpu.impute(X), rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("start", STARTS)
def test_starts_on_cuda(far_blobs, start):
    X = far_blobs[0]
    rows = torch.tensor(X).cuda()
    before = (*global_states(), torch.cuda.get_rng_state())
    fits = [mixture(n_components=4, init_means=start, n_init=5).fit(rows) for _ in range(2)]
    assert_states_equal(before, global_states())
    assert torch.equal(before[3], torch.cuda.get_rng_state())
    assert_same_fit(*fits)
    assert torch.unique(fits[0].predict(rows)).numel() > 1


@pytest.mark.gpu
def test_devices_of_results(blobs):
    rows = torch.tensor(blobs)
    gmm = mixture().fit(blobs)
    assert gmm.mixture_.parameters.means.device.type == "cuda"
    assert type(gmm.predict(blobs)) is np.ndarray
    assert gmm.predict(rows).device.type == "cpu"
    assert gmm.predict(rows.cuda()).device.type == "cuda"
    moved = mixture(device="cpu").fit(rows.cuda(), sample_weight=torch.ones(150).cuda())
    assert moved.mixture_.parameters.means.device.type == "cpu"
    assert moved.predict_proba(rows.cuda()).device.type == "cuda"
    assert mixture(device="cuda").fit(rows).mixture_.parameters.means.device.type == "cuda"
    assert mixture().fit(rows).mixture_.parameters.means.device.type == "cpu"


def test_an_unknown_device_is_refused(blobs):
    with pytest.raises(ValueError, match="device.*abacus"):
        mixture(device="abacus").fit(blobs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused(blobs):
    with pytest.raises(ValueError, match="device.*cuda"):
        mixture(device="cuda").fit(blobs)


@pytest.mark.parametrize("covariance_type", FULL_TYPES)
def test_one_feature_and_one_component(covariance_type):
    X = np.arange(10.0)[:, None]
    gmm = GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(X)
    assert float(gmm.means_[0, 0]) == pytest.approx(4.5)
    assert gmm.covariances_.flatten().tolist() == pytest.approx([8.25])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame(), r"X has no columns: its shape is \(0, 0\)"),
        ([[1, 2], [3]], r"X must have rows of one length; row 0 has 2 values, and row 1 has 1"),
        ([np.zeros(2), np.array(0.0)], "row 1 has 0"),
        ([[[1, 2]], [[3]]], "X must be a table of numbers"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": pd.interval_range(0, 2)}), r"column 'b' of type interval"),
    ],
)
def test_what_is_no_table_of_numbers_is_named(X, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture().fit(X)
