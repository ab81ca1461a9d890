"""Use an installed wheel the way its first user will, with the core dependencies and nothing more."""

import math
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from sklearn.mixture import GaussianMixture as Reference

import tgmm

OPTIONAL = ("matplotlib", "pandas", "polars", "pyarrow", "safetensors", "tqdm")


def check_installation() -> None:
    present = [name for name in OPTIONAL if find_spec(name)]
    assert not present, f"this environment was to have the core dependencies alone, and has {present}"
    package = Path(tgmm.__file__).parent
    assert "site-packages" in package.parts, f"imported from {package}, not from the wheel"
    assert (package / "py.typed").is_file(), "py.typed is missing from the wheel"


def two_clusters() -> np.ndarray:
    rng = np.random.default_rng(0)
    left = rng.normal([0.0, 0.0], [1.0, 2.0], size=(400, 2))
    right = rng.normal([8.0, 5.0], [0.5, 1.0], size=(600, 2))
    return np.concatenate([left, right])


def check_numbers(X: np.ndarray) -> tgmm.GaussianMixture:
    start = np.array([[1.0, 1.0], [7.0, 4.0]])
    common = {"n_components": 2, "reg_covar": 0.0, "tol": 1e-10, "max_iter": 500}
    ours = tgmm.GaussianMixture(**common, init_means=start).fit(X)
    theirs = Reference(**common, means_init=start).fit(X)
    assert ours.converged_
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=1e-4)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-3, atol=1e-4)
    assert math.isclose(ours.score(X), theirs.score(X), rel_tol=1e-7)
    assert math.isclose(ours.bic(X), theirs.bic(X), rel_tol=1e-7)
    return ours


def check_predictions(model: tgmm.GaussianMixture, X: np.ndarray) -> None:
    labels, probabilities = model.predict(X), model.predict_proba(X)
    assert isinstance(labels, np.ndarray) and labels.shape == (1000,)
    assert (labels == probabilities.argmax(axis=1)).all()
    assert len(set(labels[:400].tolist())) == len(set(labels[400:].tolist())) == 1
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert isinstance(model.predict(torch.as_tensor(X)), torch.Tensor)


def check_sampling(model: tgmm.GaussianMixture) -> None:
    X, component = model.sample(2000, random_state=0)
    assert X.shape == (2000, 2) and component.shape == (2000,)
    np.testing.assert_allclose(X.mean(0), model.weights_ @ model.means_, atol=0.5)


def check_saving(model: tgmm.GaussianMixture, X: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        model.save(path)
        loaded = tgmm.GaussianMixture.load(path, device="cpu")
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


def main() -> None:
    check_installation()
    X = two_clusters()
    model = check_numbers(X)
    check_predictions(model, X)
    check_sampling(model)
    check_saving(model, X)
    print(f"tgmm {tgmm.__version__} works with torch {torch.__version__}, numpy {np.__version__} and nothing optional")


if __name__ == "__main__":
    main()
