"""Saved models come back bit for bit, from either format and from files of every format version there was."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from cases import PRIORS, fit_quietly, mixture, prior_keywords
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, ORACLES, covariance_shape, messages, warnings_of

from tgmm import GaussianMixture, ModelFileError

DATA = pathlib.Path(__file__).parent / "data"
SUFFIXES = [".pth", ".safetensors"]
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


def fitted(covariance_type="full", dtype=np.float64, **settings):
    X, _ = mixture(3)
    settings = {"random_state": 0, "tol": 1e-6, **settings}
    model = GaussianMixture(3, covariance_type=covariance_type, **settings)
    return fit_quietly(model, X.astype(dtype)), X.astype(dtype)


def saved_and_loaded(model, folder, suffix=".pth", **keywords):
    path = folder / f"model{suffix}"
    model.save(path)
    return GaussianMixture.load(path, **keywords)


def assert_same_bits(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()


def assert_same_model(loaded, model, X):
    """Every fitted attribute and every prediction has the same bits."""
    for name in ("weights_", "means_", "covariances_", "reg_covar_"):
        assert type(getattr(loaded, name)) is type(getattr(model, name)), name
        assert_same_bits(np.asarray(getattr(loaded, name)), np.asarray(getattr(model, name)))
    for name in ("converged_", "n_iter_", "objective_history_", "runs_", "n_features_in_", "fitted_"):
        value = getattr(loaded, name)
        assert (type(value), value) == (type(getattr(model, name)), getattr(model, name)), name
    assert np.array_equal(loaded.lower_bound_, model.lower_bound_, equal_nan=True)
    for method in ("predict", "predict_proba", "score_samples"):
        assert_same_bits(getattr(loaded, method)(X), getattr(model, method)(X))


@every_suffix
@every_type
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_loaded_model_is_the_saved_one(covariance_type, dtype, suffix, tmp_path):
    model, X = fitted(covariance_type, dtype)
    loaded = saved_and_loaded(model, tmp_path, suffix)
    assert_same_model(loaded, model, X)
    assert loaded.get_params() == model.get_params()


@every_type
def test_parameters_keep_more_than_the_float_type_shows(covariance_type, tmp_path):
    """The same model in float32 and as stored differ in bits that predictions depend on."""
    model, _ = fitted(covariance_type, np.float32)
    state = model.save_state_dict()
    assert state["means_"].dtype == torch.float64
    assert not np.array_equal(state["means_"], model.means_)
    assert np.array_equal(state["means_"].float(), model.means_)


@every_suffix
@pytest.mark.parametrize("priors", PRIORS)
def test_priors_are_kept(priors, suffix, tmp_path):
    keywords = prior_keywords(priors, "full", 3, 3)
    model, X = fitted(**keywords)
    loaded = saved_and_loaded(model, tmp_path, suffix)
    assert_same_model(loaded, model, X)
    for name, value in keywords.items():
        np.testing.assert_array_equal(np.asarray(getattr(loaded, name)), value)
    refitted = fit_quietly(clone(loaded), X)
    assert refitted.lower_bound_ == model.lower_bound_
    assert np.array_equal(refitted.means_, model.means_)


@pytest.mark.parametrize("kind", [list, np.float32, torch.tensor])
def test_arrays_of_any_kind_come_back_as_float64_tensors(kind, tmp_path):
    means = [[0.25, 1.0], [2.0, 3.5]]
    given = kind(means) if kind is not np.float32 else np.array(means, dtype=np.float32)
    model = GaussianMixture.from_parameters([0.5, 0.5], means, [1.0, 1.0], "spherical").set_params(init_means=given)
    loaded = saved_and_loaded(model, tmp_path)
    assert torch.equal(loaded.init_means, torch.tensor(means, dtype=torch.float64))


def test_settings_are_kept_with_their_types(tmp_path):
    settings = {
        "n_features": np.int64(3),
        "max_iter": 77,
        "tol": np.float32(0.5),
        "reg_covar": 0,
        "n_init": 2,
        "init_means": "kpp",
        "random_state": 12345678901234567890,
        "warm_start": True,
        "cem": np.bool_(True),
        "weight_concentration_prior": 2,
        "verbose_interval": 3,
    }
    model, _ = fitted(**settings)
    loaded = saved_and_loaded(model, tmp_path)
    for name, value in settings.items():
        value = value.item() if isinstance(value, np.generic) else value
        assert (type(getattr(loaded, name)), getattr(loaded, name)) == (type(value), value), name


@every_suffix
def test_names_of_features_are_kept(suffix, tmp_path):
    X, _ = mixture(3)
    frame = pd.DataFrame(X, columns=["length", "größe 😀", 'quote"d'])
    model = fit_quietly(GaussianMixture(3, random_state=0), frame)
    loaded = saved_and_loaded(model, tmp_path, suffix)
    assert loaded.feature_names_in_.dtype == object
    assert list(loaded.feature_names_in_) == list(frame.columns)
    assert_same_bits(loaded.score_samples(frame), model.score_samples(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[frame.columns[::-1]])


@every_suffix
@every_type
def test_a_mixture_of_given_parameters_is_kept(covariance_type, suffix, tmp_path):
    shape = covariance_shape(covariance_type, 2, 3)
    covariances = np.broadcast_to(np.eye(3), shape) if shape[-2:] == (3, 3) else np.ones(shape)
    model = GaussianMixture.from_parameters([0.25, 0.75], [[0, 0, 0], [1.5, 2, 3]], covariances, covariance_type)
    assert_same_model(saved_and_loaded(model, tmp_path, suffix), model, np.eye(3))


def test_a_component_of_weight_zero_is_kept(tmp_path):
    model = GaussianMixture.from_parameters([1.0, 0.0], [[0.0], [9.0]], [1.0, 1.0], "spherical")
    assert_same_model(saved_and_loaded(model, tmp_path), model, np.array([[0.5], [9.0]]))


def test_memory_is_that_of_the_parameters_however_many_features(tmp_path):
    """A covariance matrix of so many features would need 320 GB."""
    model = GaussianMixture.from_parameters([1.0], np.zeros((1, 200_000)), [2.0], "spherical")
    loaded = saved_and_loaded(model, tmp_path)
    assert np.array_equal(loaded.means_, model.means_)


def test_a_setting_changed_after_the_fit_is_for_the_next_one(tmp_path):
    model, X = fitted("full")
    model.set_params(n_components=5, covariance_type="diag", weight_concentration_prior=np.ones(5))
    loaded = saved_and_loaded(model, tmp_path)
    assert_same_model(loaded, model, X)
    assert (loaded.n_components, loaded.covariance_type) == (5, "diag")


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model, _ = fitted()
    model.set_params(weight_concentration_prior=np.ones(5))
    with pytest.raises(ValueError, match="weight_concentration_prior must be a scalar or have shape"):
        model.save(tmp_path / "model.pth")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- settings that are left out


def test_settings_that_are_not_plain_data_are_left_out_with_one_warning(tmp_path):
    X, _ = mixture(3)
    start = lambda rows, n_components, generator: rows[:n_components]  # noqa: E731
    model = fit_quietly(GaussianMixture(3, init_means=start, random_state=torch.Generator().manual_seed(1)), X)
    for write in (lambda: model.save(tmp_path / "model.pth"), lambda: model.save_state_dict()):
        _, caught = warnings_of(write)
        assert len(caught) == 1, messages(caught)
        assert caught[0].category is UserWarning
        assert caught[0].filename == __file__
        assert "init_means, random_state" in str(caught[0].message)
    loaded = GaussianMixture.load(tmp_path / "model.pth")
    assert loaded.init_means == "auto"
    assert loaded.random_state is None
    assert_same_model(loaded, model, X)


def test_a_numpy_generator_is_left_out(tmp_path):
    model, _ = fitted(random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="random_state"):
        assert saved_and_loaded(model, tmp_path).random_state is None


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    model, _ = fitted(device="cpu")
    _, caught = warnings_of(saved_and_loaded, model, tmp_path)
    assert not caught, messages(caught)


# ----------------------------------------------------------------------------------------------------------- the device


def test_the_device_is_chosen_at_load(tmp_path):
    model, _ = fitted(device="cpu")
    assert saved_and_loaded(model, tmp_path).device is None
    assert saved_and_loaded(model, tmp_path, device="cpu").device == "cpu"


def test_an_unusable_device_is_an_error_in_the_argument(tmp_path):
    model, _ = fitted()
    with pytest.raises(ValueError, match="device='nonsense'") as caught:
        saved_and_loaded(model, tmp_path, device="nonsense")
    assert not isinstance(caught.value, ModelFileError)


@pytest.mark.gpu
@every_suffix
def test_models_move_between_devices(suffix, tmp_path):
    X, _ = mixture(3)
    model = fit_quietly(GaussianMixture(3, random_state=0), torch.tensor(X, device="cuda"))
    loaded = saved_and_loaded(model, tmp_path, suffix)
    assert loaded.means_.device.type == "cuda"
    assert torch.equal(loaded.means_, model.means_)
    on_cpu = saved_and_loaded(model, tmp_path, suffix, device="cpu")
    assert on_cpu.means_.device.type == "cpu"
    assert torch.equal(on_cpu.means_, model.means_.cpu())
    np.testing.assert_allclose(on_cpu.score_samples(X), model.score_samples(X), rtol=1e-10)


# ---------------------------------------------------------------------------------------------------------- state dicts


def test_a_state_dict_is_flat_and_survives_torch_save(tmp_path):
    model, X = fitted(**prior_keywords("all", "full", 3, 3))
    state = model.save_state_dict()
    assert all(isinstance(value, torch.Tensor | str | float | int | bool | None) for value in state.values())
    torch.save(state, tmp_path / "state.pt")
    loaded = GaussianMixture().load_state_dict(torch.load(tmp_path / "state.pt"))
    assert_same_model(loaded, model, X)


def test_a_pth_file_is_the_state_dict(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    state = model.save_state_dict()
    assert content.keys() == state.keys()
    assert content["checksum"] == state["checksum"]
    assert content["format_version"] == 1


def test_both_formats_hold_the_same_state(tmp_path):
    model, _ = fitted()
    states = [saved_and_loaded(model, tmp_path, suffix).save_state_dict() for suffix in SUFFIXES]
    assert states[0]["checksum"] == states[1]["checksum"] == model.save_state_dict()["checksum"]


def test_state_dicts_share_no_memory_with_models():
    model, X = fitted("diag")
    before = model.score_samples(X)
    state = model.save_state_dict()
    loaded = GaussianMixture().load_state_dict(state)
    for value in state.values():
        if isinstance(value, torch.Tensor):
            value.fill_(-1)
    assert_same_bits(model.score_samples(X), before)
    assert_same_bits(loaded.score_samples(X), before)


def test_load_state_dict_restores_in_place():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    other = fit_quietly(GaussianMixture(2, covariance_type="tied_diag", random_state=4, device="cpu"), frame)
    model, X = fitted()
    assert other.load_state_dict(model.save_state_dict()) is other
    assert_same_model(other, model, X)
    assert other.device == "cpu"
    assert other.random_state == 0
    assert not hasattr(other, "feature_names_in_")


def test_load_state_dict_keeps_settings_that_were_left_out():
    model, _ = fitted(random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="random_state"):
        state = model.save_state_dict()
    assert GaussianMixture(random_state=7).load_state_dict(state).random_state == 7


def test_load_state_dict_refuses_and_changes_nothing():
    model, X = fitted("full")
    other, _ = fitted("diag", np.float32, random_state=1)
    before, attributes = model.score_samples(X), dict(vars(model))
    state = other.save_state_dict()
    for name in state:
        lacking = {key: value for key, value in state.items() if key != name}
        with pytest.raises(ModelFileError):
            model.load_state_dict(lacking)
        with pytest.raises(ModelFileError):
            model.load_state_dict(state | {name: "changed"})
    assert vars(model) == attributes
    assert_same_bits(model.score_samples(X), before)


# ------------------------------------------------------------------------------------------------------- wrong requests


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        GaussianMixture().save(tmp_path / "model.pth")
    with pytest.raises(NotFittedError):
        GaussianMixture().save_state_dict()
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(tmp_path):
    model, _ = fitted()
    for name in ("model.pkl", "model"):
        with pytest.raises(ValueError, match=r"path must end in .pth or .safetensors"):
            model.save(tmp_path / name)
        with pytest.raises(ValueError, match=r"path must end in .pth or .safetensors"):
            GaussianMixture.load(tmp_path / name)
    with pytest.raises(ModelFileError, match="'rows.csv' is not a model that save wrote.*To read rows"):
        GaussianMixture.load("rows.csv")


@every_suffix
def test_a_missing_file_is_just_that(suffix, tmp_path):
    with pytest.raises(FileNotFoundError):
        GaussianMixture.load(tmp_path / f"model{suffix}")


def test_without_safetensors_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    model, _ = fitted()
    model.save(tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r"pip install safetensors"):
        model.save(tmp_path / "other.safetensors")
    with pytest.raises(ImportError, match=r"pip install safetensors"):
        GaussianMixture.load(tmp_path / "model.safetensors")


def test_string_paths_and_subclasses(tmp_path):
    class Named(GaussianMixture):
        pass

    model, X = fitted()
    model.save(str(tmp_path / "model.PTH"))
    loaded = Named.load(str(tmp_path / "model.PTH"))
    assert type(loaded) is Named
    assert_same_model(loaded, model, X)


# -------------------------------------------------------------------------------------- other processes, other versions


def test_another_process_predicts_the_same_bits(tmp_path):
    model, X = fitted("full", np.float32)
    model.save(tmp_path / "model.pth")
    np.save(tmp_path / "X.npy", X)
    program = (
        "import sys, numpy as np; from tgmm import GaussianMixture\n"
        "X = np.load(sys.argv[1] + '/X.npy')\n"
        "model = GaussianMixture.load(sys.argv[1] + '/model.pth', device='cpu')\n"
        "np.save(sys.argv[1] + '/scores.npy', model.score_samples(X))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    assert_same_bits(np.load(tmp_path / "scores.npy"), model.score_samples(X))


STORED = json.loads((DATA / "models.json").read_text())


@pytest.mark.parametrize("name", sorted(STORED))
def test_files_of_every_format_version_load(name):
    expected = STORED[name]
    model = GaussianMixture.load(DATA / name)
    X = np.loadtxt(ORACLES / "faithful.csv", delimiter=",", skiprows=1).astype(expected["float_type"])
    if "feature_names" in expected:
        assert list(model.feature_names_in_) == expected["feature_names"]
        X = pd.DataFrame(X, columns=expected["feature_names"])
    assert model.covariance_type == expected["covariance_type"]
    assert model.weights_.tolist() == expected["weights"]
    assert model.means_.tolist() == expected["means"]
    assert model.covariances_.tolist() == expected["covariances"]
    assert model.converged_ is True
    tolerance = 1e-12 if expected["float_type"] == "float64" else 1e-6
    assert model.score(X) == pytest.approx(model.lower_bound_, rel=tolerance)
    assert model.objective_history_[-1] == pytest.approx(expected["objective"], rel=1e-12)


def test_a_file_of_every_format_version_is_there():
    from tgmm.mixture.saving import FORMAT_VERSION

    assert {entry["format_version"] for entry in STORED.values()} == set(range(1, FORMAT_VERSION + 1))


def test_settings_from_pandas_are_kept_as_their_numbers(tmp_path):
    X, _ = mixture(3)
    frame = pd.DataFrame(X)
    frame.columns = [f"x{j}" for j in range(X.shape[1])]
    settings = {"mean_prior": frame.mean(), "mean_precision_prior": 0.01, "init_means": frame.iloc[[0, 1]]}
    model = GaussianMixture(2, checkpoint=tmp_path / "fit.pth", **settings).fit(frame)
    model.save(tmp_path / "model.pth")
    loaded = GaussianMixture.load(tmp_path / "model.pth")
    np.testing.assert_array_equal(loaded.mean_prior, frame.mean())
    np.testing.assert_array_equal(loaded.init_means, frame.iloc[[0, 1]])
