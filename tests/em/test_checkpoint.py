"""Checkpoints: a fit that was killed goes on to the bits of one that was not; other files are refused."""

import os
import warnings

import numpy as np
import pytest
import ranks
import torch
from ranks import assert_same_bits, overlapping
from support import COVARIANCE_TYPES

from tgmm import GaussianMixture, ModelFileError

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]

FITS = {
    **{covariance_type: {"covariance_type": covariance_type} for covariance_type in COVARIANCE_TYPES},
    "several starts": {"n_init": 3, "init_means": "random", "random_state": 8},
    "hard assignments": {"cem": True, "init_means": "random", "n_init": 3},
    "acceleration": {"accelerate": "squarem"},
    "accelerated starts": {"accelerate": "squarem", "n_init": 3, "init_means": "random"},
    "priors": {"weight_concentration_prior": 2.0, "mean_prior": [0.0] * 3, "mean_precision_prior": 1.0},
    "a lost component": {"init_means": [[0.0, 0.0, 0.0], [3.0, -1.0, 1.0], [1e4, 1e4, 1e4]]},
}


def assert_goes_on(tmp_path, settings, n_ranks, shards, killed, passes):
    """Kill a rank after so many passes over its rows, start again, and compare with a fit that was left alone."""
    settings = {"n_components": 3, "random_state": 0, "tol": 0.0, "max_iter": 60, **settings}
    undisturbed = ranks.results(ranks.fit, n_ranks, settings, [[X] for X in shards])
    path = tmp_path / "fit.pth"
    settings |= {"checkpoint": str(path)}
    sources = [[X] for X in shards]
    sources[killed] = ranks.Kills(shards[killed], passes)
    outcomes = ranks.run(ranks.fit, n_ranks, settings, sources)
    assert isinstance(outcomes[killed], ranks.Died)
    assert path.exists()
    before = torch.load(path, weights_only=True)
    steps = ranks.results(ranks.resume, n_ranks, settings, [[X] for X in shards])
    assert_same_bits([undisturbed[0], *(outcome for outcome, _ in steps)])
    assert steps[0][1] < undisturbed[0]["n_iter_"] * settings.get("n_init", 1)  # did not begin anew
    assert before["n_runs"] >= 1
    assert os.listdir(tmp_path) == ["fit.pth"]


@pytest.mark.parametrize(("name", "passes"), [*((name, 25) for name in FITS), ("full", 48)])
def test_a_killed_process_goes_on(name, passes, tmp_path):
    assert_goes_on(tmp_path, FITS[name], 1, [overlapping(400)], 0, passes)


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("settings", [{}, {"accelerate": "squarem", "n_init": 2, "init_means": "random"}])
def test_a_killed_rank_goes_on(settings, killed, tmp_path):
    assert_goes_on(tmp_path, settings, 3, np.split(overlapping(400), [150, 150]), killed if killed == 0 else 2, 30)


def test_rows_that_lack_values_among_noise_go_on(tmp_path):
    rng = np.random.default_rng(0)
    X = np.concatenate([overlapping(400), rng.uniform(-15, 15, (40, 3))])[rng.permutation(440)]
    X[rng.random(X.shape) < 0.15] = np.nan
    settings = {"missing": "em", "noise": True, "init_means": "random"}
    assert_goes_on(tmp_path, settings, 3, np.array_split(X, 3), 2, 30)


def test_float32_goes_on_with_the_kernel_that_it_had(tmp_path):
    assert_goes_on(
        tmp_path,
        {"tol": 1e-9, "init_means": "random", "accelerate": None},
        1,
        [(overlapping(400) + 100).astype(np.float32)],
        0,
        35,
    )


def fit(path, X=None, *, resume=False, **settings):
    settings = {"n_components": 3, "random_state": 0, "tol": 0.0, "max_iter": 20, **settings}
    return GaussianMixture(**settings, checkpoint=path).fit(overlapping() if X is None else X, resume=resume)


@pytest.mark.parametrize("name", ["fit.pth", "fit.safetensors"])
def test_a_fit_that_ended_ends_again_at_once(name, tmp_path):
    gmm, again = fit(tmp_path / name), fit(tmp_path / name, resume=True)
    assert_same_bits([ranks.fitted(gmm), ranks.fitted(again)])
    assert os.listdir(tmp_path) == [name]


def test_a_fit_may_go_on_for_longer(tmp_path):
    short = fit(tmp_path / "fit.pth")
    longer = fit(tmp_path / "fit.pth", resume=True, max_iter=30)
    assert longer.n_iter_ == 30
    assert longer.objective_history_[:21] == short.objective_history_
    assert_same_bits([ranks.fitted(longer), ranks.fitted(fit(None, max_iter=30))])


@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_a_fit_that_converged_may_go_on_to_a_smaller_tol(accelerate, tmp_path):
    settings = {"init_means": "random", "accelerate": accelerate, "max_iter": 400}
    loose = fit(tmp_path / "fit.pth", tol=1e-3, **settings)
    close = fit(tmp_path / "fit.pth", tol=1e-9, resume=True, **settings)
    assert loose.converged_
    assert close.n_iter_ > loose.n_iter_ + 5
    assert_same_bits([ranks.fitted(close), ranks.fitted(fit(None, tol=1e-9, **settings))])


def test_without_a_file_a_fit_begins(tmp_path):
    assert_same_bits([ranks.fitted(fit(tmp_path / "fit.pth", resume=True)), ranks.fitted(fit(None))])


def test_without_resume_a_fit_begins(tmp_path):
    fit(tmp_path / "fit.pth", random_state=1, init_means="random")
    assert_same_bits([ranks.fitted(fit(tmp_path / "fit.pth")), ranks.fitted(fit(None))])
    fit(tmp_path / "fit.pth", resume=True)  # the file is that of the last fit


def test_another_layout_goes_on_to_the_same_fit(tmp_path):
    X = overlapping()
    alone = fit(tmp_path / "fit.pth", X, max_iter=20)
    settings = {
        "n_components": 3,
        "random_state": 0,
        "tol": 0.0,
        "max_iter": 40,
        "checkpoint": str(tmp_path / "fit.pth"),
    }
    outcomes = [outcome for outcome, _ in ranks.results(ranks.resume, 2, settings, np.split(X, 2))]
    assert_same_bits(outcomes)
    np.testing.assert_allclose(outcomes[0]["objective_history_"][:21], alone.objective_history_, rtol=1e-12)
    np.testing.assert_allclose(outcomes[0]["means_"], fit(None, X, max_iter=40).means_, rtol=1e-10)


def test_the_users_generator_goes_on_too(tmp_path):
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    whole = fit(tmp_path / "fit.pth", random_state=generators[0], n_init=2, init_means="random")
    again = fit(tmp_path / "fit.pth", random_state=generators[1], n_init=2, init_means="random", resume=True)
    assert_same_bits([ranks.fitted(whole), ranks.fitted(again)])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


class TestRefusals:
    @pytest.fixture
    def path(self, tmp_path):
        fit(tmp_path / "fit.pth")
        return tmp_path / "fit.pth"

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
    def test_a_truncated_file(self, path, share):
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ModelFileError, match=r"The checkpoint '.*fit\.pth' cannot be loaded"):
            fit(path, resume=True)
        assert path.read_bytes() == data[: int(share * len(data))]

    def test_a_changed_number(self, path):
        state = torch.load(path, weights_only=True)
        state["runs.0.moments.0.parameters.means"][0, 0] += 1e-9
        torch.save(state, path)
        with pytest.raises(ModelFileError, match="checksum does not match"):
            fit(path, resume=True)

    def test_a_model(self, path):
        GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical").save(path)
        with pytest.raises(ModelFileError, match="it is not a checkpoint"):
            fit(path, resume=True)

    def test_a_checkpoint_is_not_a_model(self, path):
        with pytest.raises(ModelFileError, match="cannot be loaded"):
            GaussianMixture.load(path)

    def test_something_else(self, path):
        path.write_bytes(b"something else")
        with pytest.raises(ModelFileError, match="cannot be loaded"):
            fit(path, resume=True)

    def test_a_newer_version(self, path):
        state = torch.load(path, weights_only=True)
        state["checkpoint_version"] = 99
        torch.save(state, path)
        with pytest.raises(ModelFileError, match="its version is 99.*upgrade"):
            fit(path, resume=True)

    @pytest.mark.parametrize(
        "name, value",
        [("n_components", 2), ("covariance_type", "diag"), ("reg_covar", 1e-3), ("init_means", np.eye(3))],
    )
    def test_other_settings(self, name, value, path):
        with pytest.raises(ModelFileError, match=f"{name} was .* in the fit that wrote it, and is now"):
            fit(path, resume=True, **{name: value})

    def test_other_data(self, path):
        for X in (overlapping(599), overlapping(600, 2), 2 * overlapping()):
            with pytest.raises(ValueError, match="written in a fit to other data: 600 rows of 3 features"):
                fit(path, X, resume=True)

    def test_no_checkpoint(self):
        with pytest.raises(ValueError, match="resume=True continues from a checkpoint: give its file"):
            fit(None, resume=True)

    def test_not_a_flag(self, path):
        with pytest.raises(ValueError, match="resume must be True or False; got 'yes'"):
            fit(path, resume="yes")

    @pytest.mark.parametrize("name", ["fit", "fit.txt", 5])
    def test_a_name_that_is_none(self, name):
        with pytest.raises(ValueError, match="must (end in|be a path)"):
            fit(name)

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            fit(tmp_path / "nowhere" / "fit.pth")


def test_a_failed_write_ends_the_fit_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "fit.pth"
    fit(path)
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fit(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["fit.pth"]


def test_a_checkpoint_changes_nothing(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gmm = fit(tmp_path / "fit.pth", n_init=2, init_means="random")
    assert all("not converged" in str(warning.message) for warning in caught)
    assert_same_bits([ranks.fitted(gmm), ranks.fitted(fit(None, n_init=2, init_means="random"))])
