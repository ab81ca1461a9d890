"""Files of estimators that are made of mixtures: damaged and forged ones raise one kind of error."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from tgmm import GaussianMixture, MixtureClassifier, MixtureOutlierDetector, MixtureRegressor, ModelFileError
from tgmm.files.store import checksum

STORED = Path(__file__).parents[1] / "files" / "data"  # files of every version there was


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a classifier of two classes, of a regressor and of a detector, by their classes."""
    folder = tmp_path_factory.mktemp("composites")
    X = np.random.default_rng(0).standard_normal((60, 2))
    MixtureClassifier(GaussianMixture(2, random_state=0)).fit(X, X[:, 0] > 0).save(folder / "c.pth")
    MixtureRegressor(GaussianMixture(2, random_state=0)).fit(X, X[:, 0]).save(folder / "r.pth")
    MixtureOutlierDetector(0.1, n_components=2, random_state=0).fit(X).save(folder / "d.pth")
    return {
        MixtureClassifier: folder / "c.pth",
        MixtureRegressor: folder / "r.pth",
        MixtureOutlierDetector: folder / "d.pth",
    }


ALL = pytest.mark.parametrize("cls", [MixtureClassifier, MixtureRegressor, MixtureOutlierDetector])


@ALL
def test_a_damaged_file_is_refused(cls, saved, tmp_path):
    content, path = saved[cls].read_bytes(), tmp_path / "m.pth"
    state = torch.load(saved[cls], weights_only=True)
    assert all(type(value) in (torch.Tensor, str, int, float, bool, type(None)) for value in state.values())
    n_taken = 0
    for place in np.random.default_rng(0).integers(0, len(content), 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            loaded = cls.load(path)
        except ModelFileError:
            continue
        assert torch.load(path, weights_only=True)["checksum"] == state["checksum"]  # a byte that says nothing
        assert isinstance(loaded, cls)
        n_taken += 1
    assert n_taken < 30  # most bytes of an archive of few numbers are names and padding
    for size in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ModelFileError):
            cls.load(path)


def refused(cls, saved, path, changes, message):
    """Whether a file with some entries changed, and a checksum that is right, is refused with a message."""
    state = torch.load(saved[cls], weights_only=True) | changes
    state = {name: value for name, value in state.items() if value is not ...}
    torch.save(state | {"checksum": checksum(state)}, path)
    with pytest.raises(ModelFileError, match=message):
        cls.load(path)


@ALL
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "GaussianMixture"}, "contains a GaussianMixture, which Mixture"),
        ({"kind": ...}, "which Mixture.* does not read"),
        ({"format_version": 99}, "upgrade tgmm"),
        ({"format_version": ...}, "no format_version"),
        ({"estimator": ...}, "lacks estimator"),
        ({"more": 1}, "unknown entry 'more'"),
        ({"estimator": json.dumps(["list", 10**9])}, "there are 1000000000"),
        ({"estimator": "one"}, "cannot be loaded"),
        ({"estimator.0.checkpoint": "some.pth"}, "unknown settings checkpoint"),
        ({"estimator.0.n_clusters": 3}, "unknown settings n_clusters"),
    ],
)
def test_forged_entries_of_any_are_refused(cls, saved, tmp_path, changes, message):
    refused(cls, saved, tmp_path / "m.pth", changes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_prior_": torch.tensor([0.5, 0.6]).double()}, "sum to 1"),
        ({"class_prior_": torch.tensor([1.0]).double()}, re.escape("(n_classes,) = (2,)")),
        ({"classes_": json.dumps(["<i8", [1, 1]])}, "differ"),
        ({"classes_": json.dumps(["<i8", []])}, "list of numbers"),
        ({"classes_": json.dumps(["|O", [[1], [2]]])}, "list of numbers"),
        ({"classes_": json.dumps(["<i8", [1.5, 2.0]])}, "list of numbers"),
        ({"classes_": json.dumps(["<i8", [0, 1, 2]])}, "no format_version"),
        ({"classes_": json.dumps(["<U999999999999", ["a", "b"]])}, "cannot be loaded"),
        ({"classes_": 3}, "classes_ must be a str"),
        ({"estimators_.0.weights_": torch.tensor([0.5, 0.5]).double()}, "checksum"),
        ({"estimators_.0.means_": ...}, "lacks means_"),
    ],
)
def test_forged_classifiers_are_refused(saved, tmp_path, changes, message):
    refused(MixtureClassifier, saved, tmp_path / "m.pth", changes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_features_in_": 3}, "does not fit a mixture of 3 features"),
        ({"n_features_in_": 1}, "does not fit a mixture of 3 features"),
        ({"n_features_in_": -1, "targets_are_columns": True}, "does not fit a mixture of 3 features"),
        ({"targets_are_columns": 1}, "targets_are_columns must be a bool"),
        ({"feature_names_in_": json.dumps(["a"])}, "list of 2 names"),
        ({"feature_names_in_": json.dumps("ab")}, "list of 2 names"),
        ({"feature_names_in_": json.dumps([1, 2])}, "list of 2 names"),
    ],
)
def test_forged_regressors_are_refused(saved, tmp_path, changes, message):
    refused(MixtureRegressor, saved, tmp_path / "m.pth", changes, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contamination": 0.9}, "contamination must be a share"),
        ({"offset_": float("nan")}, "offset_ must be a number"),
        ({"offset_": 1}, "offset_ must be a float"),
        ({"offset_": ...}, "lacks offset_"),
        ({"estimator": json.dumps(["default", 0])}, "settings of one mixture"),
        ({"mixture_.means_": ...}, "lacks means_"),
    ],
)
def test_forged_detectors_are_refused(saved, tmp_path, changes, message):
    refused(MixtureOutlierDetector, saved, tmp_path / "m.pth", changes, message)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_loaded_detector_is_the_saved_one(suffix, tmp_path):
    X, path = np.random.default_rng(0).standard_normal((60, 2)), tmp_path / f"d{suffix}"
    detector = MixtureOutlierDetector(0.1, n_components=2, random_state=torch.Generator()).fit(X)
    with pytest.warns(UserWarning, match=r"^Not saved, because they are not plain data: random_state\."):
        detector.save(path)
    loaded = MixtureOutlierDetector.load(path)
    np.testing.assert_array_equal(loaded.decision_function(X), detector.decision_function(X))
    assert loaded.get_params() == detector.get_params() | {"random_state": None}
    assert (loaded.n_iter_, loaded.offset_) == (detector.n_iter_, detector.offset_)
    with pytest.raises(ModelFileError, match=r"contains a MixtureOutlierDetector: use MixtureOutlierDetector\.load"):
        GaussianMixture.load(path)
    with pytest.raises(ModelFileError, match="contains a MixtureOutlierDetector, which MixtureClassifier.load"):
        MixtureClassifier.load(path)
    with pytest.raises(NotFittedError):
        MixtureOutlierDetector().save(path)


def test_mixtures_of_other_features_are_no_classes(saved, tmp_path):
    X = np.random.default_rng(0).standard_normal((60, 3))
    MixtureClassifier(GaussianMixture(2, random_state=0)).fit(X, X[:, 0] > 0).save(tmp_path / "c.pth")
    other = torch.load(tmp_path / "c.pth", weights_only=True)
    changes = {name: value for name, value in other.items() if name.startswith("estimators_.1.")}
    refused(MixtureClassifier, saved, tmp_path / "m.pth", changes, "differ in their features")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("version", [1])
def test_files_of_every_version_are_read(version, suffix):
    expected = json.loads((STORED / "composites.json").read_text())
    rows = np.array(expected["rows"])
    classifier = MixtureClassifier.load(STORED / f"classifier_v{version}{suffix}")
    assert classifier.predict(rows).tolist() == expected["classes"]
    np.testing.assert_allclose(classifier.predict_log_proba(rows), expected["log_probabilities"], rtol=1e-9)
    assert np.asarray(classifier.priors).tolist() == [0.6, 0.4]
    regressor = MixtureRegressor.load(STORED / f"regressor_v{version}{suffix}")
    mean, deviation = regressor.predict(rows[:, :1], return_std=True)
    np.testing.assert_allclose(mean, expected["means"], rtol=1e-9)
    np.testing.assert_allclose(deviation, expected["standard_deviations"], rtol=1e-9)
    expected = json.loads((STORED / "detector.json").read_text())
    detector = MixtureOutlierDetector.load(STORED / f"detector_v{version}{suffix}")
    np.testing.assert_allclose(detector.decision_function(expected["rows"]), expected["decisions"], rtol=1e-9)
    assert (detector.contamination, detector.get_params()["n_components"]) == (0.1, 2)
