"""One fit by many processes: the single-process fit, the same bits on every rank, errors on all, never a hang."""

import time

import numpy as np
import pytest
import ranks
import torch.distributed as dist
from ranks import assert_same_bits, overlapping
from structures import SPECS
from support import COVARIANCE_TYPES, STARTS

from tgmm import GaussianMixture, MixtureOutlierDetector, select
from tgmm.covariance import STRUCTURES, LowRank

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]


def assert_close(outcome, gmm, tolerance=1e-10):
    alone = ranks.fitted(gmm)
    assert outcome["n_iter_"] == alone["n_iter_"]
    for name, value in alone.items():
        np.testing.assert_allclose(outcome[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


SPLITS = {
    "two": [300],
    "three, one of them empty": [450, 450],
    "four, one of a single row": [1, 2, 500],
}
FACTORS = [name for name, structure in STRUCTURES.items() if structure.form is LowRank]
EACH = [("full", split) for split in SPLITS] + [(name, "four, one of a single row") for name in COVARIANCE_TYPES[1:]]


@pytest.mark.parametrize(("covariance_type", "split"), EACH)
def test_the_single_process_fit_on_every_rank(covariance_type, split):
    X = overlapping()
    settings = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0, "tol": 1e-7, "max_iter": 25}
    parts = np.split(X, SPLITS[split])
    outcomes = ranks.results(ranks.fit, len(parts), settings, parts)
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X))


@pytest.mark.parametrize("name", FACTORS)
def test_sums_over_factors_of_streams_on_every_rank_are_those_of_one_process(name):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    X = rng.normal(size=(2, 2, 130))[labels] * rng.normal(size=(400, 2, 1))
    X = X.sum(1) + labels[:, None] + rng.normal(size=(400, 130))
    settings = {"n_components": 2, "covariance_type": name, "n_factors": 2, "max_iter": 5, "tol": 0.0}
    settings |= {"random_state": 0, "init_means": "kmeans"}
    streams = [np.array_split(part, 2) for part in np.split(X, [50, 250])]
    outcomes = ranks.results(ranks.fit, 3, settings, streams)
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X), 1e-9)


SETTINGS = {
    "several starts": {"n_init": 4, "random_state": 5, "init_means": "random"},
    "hard assignments": {"cem": True},
    "acceleration": {"accelerate": "squarem", "tol": 1e-9, "max_iter": 100},
    "priors": {
        "weight_concentration_prior": 3.0,
        "mean_prior": [0.0, 1.0, 2.0],
        "mean_precision_prior": 2.0,
        "covariance_prior": np.eye(3),
        "degrees_of_freedom_prior": 5.0,
    },
    "given parameters": {"init_means": [[0.0, 0, 0], [2, -1, 1], [5, -2, 1]], "init_weights": [0.2, 0.3, 0.5]},
    # Two of the first rows are neighbours: what regularises damps the rounding of sums in another order.
    "a function": {"init_means": ranks.first_rows, "reg_covar": 1e-6},
    **{f"start {name}": {"init_means": name} for name in STARTS},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_setting(settings):
    X = overlapping()
    settings = {"n_components": 3, "random_state": 0, "max_iter": 25, **settings}
    outcomes = ranks.results(ranks.fit, 2, settings, np.split(X, [250]))
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X), 1e-8 if "accelerate" in settings else 1e-10)


def test_weights_count_over_all_ranks():
    X = overlapping()
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    weights[:200] = 0  # the first rank has rows, but none that count
    settings = {"n_components": 3, "random_state": 0}
    outcomes = ranks.results(ranks.fit, 3, settings, np.split(X, [200, 400]), np.split(weights, [200, 400]))
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X, sample_weight=weights))


def test_a_rank_without_weights_counts_its_rows_once():
    X = overlapping()
    weights = np.r_[np.full(300, 5.0), np.ones(300)]
    settings = {"n_components": 3, "random_state": 0}
    outcomes = ranks.results(ranks.fit, 2, settings, np.split(X, 2), [weights[:300], None])
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X, sample_weight=weights))


@pytest.mark.parametrize("kind", ["labels", "probabilities"])
def test_responsibilities_are_those_of_the_own_rows(kind):
    X = overlapping()
    labels = np.random.default_rng(0).integers(0, 3, len(X))
    given = labels if kind == "labels" else 0.1 + 0.7 * np.eye(3)[labels]
    keywords = {"init_responsibilities": np.split(given, [100])}
    settings = {"n_components": 3, "max_iter": 10}
    outcomes = ranks.results(ranks.fit, 2, settings, np.split(X, [100]), None, keywords)
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X, init_responsibilities=given))


def test_float32_far_from_the_origin():
    """Kernels are changed in mid-fit, by all ranks at once; one rank without rows has another float type."""
    X = (overlapping() + 3000).astype(np.float32)
    settings = {"n_components": 3, "random_state": 0, "tol": 1e-6}
    shards = [X[:200], np.empty((0, 3)), X[200:]]
    outcomes = ranks.results(ranks.fit, 3, settings, shards)
    assert_same_bits(outcomes)
    alone = GaussianMixture(**settings).fit(X)
    assert outcomes[0]["means_"].dtype == np.float32
    np.testing.assert_allclose(outcomes[0]["means_"], alone.means_, atol=1e-3)


def test_the_widest_float_type_serves_all():
    X = overlapping().astype(np.float32)
    settings = {"n_components": 3, "random_state": 0}
    outcomes = ranks.results(ranks.fit, 2, settings, [X[:300], X[300:].astype(np.float64)])
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X.astype(np.float64)))


def test_more_rows_than_starts_look_at():
    X = overlapping(40_000, 2)
    settings = {"n_components": 3, "random_state": 0, "max_iter": 3}
    outcomes = ranks.results(ranks.fit, 2, settings, np.split(X, [10_000]))
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X))


def test_lost_components_go_to_the_worst_rows_of_all_ranks():
    X = overlapping(200, 2)
    X[150] = [60.0, 60.0]
    settings = {"n_components": 3, "init_means": [[0.0, 0.0], [3.0, -1.0], [1e4, 1e4]], "max_iter": 5}
    outcomes = ranks.results(ranks.fit, 2, settings, np.split(X, 2))
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X))
    assert np.any(np.all(np.isclose(outcomes[0]["means_"], 60.0), axis=1))


def test_degenerate_data_is_told_on_every_rank():
    X = np.repeat([[0.0, 1.0], [2.0, 1.0]], 10, axis=0)
    for notes in ranks.results(ranks.warnings_of_a_fit, 2, {"n_components": 2}, np.split(X, 2)):
        assert any("feature 1 is constant" in note for note in notes)
    X[:, 1] = X[:, 0]
    for notes in ranks.results(ranks.warnings_of_a_fit, 2, {"n_components": 3}, np.split(X, 2)):
        assert any("fewer different rows" in note for note in notes)


def test_all_ranks_draw_what_rank_0_draws():
    X = overlapping()
    settings = {"n_components": 3, "init_means": "random", "max_iter": 5}
    assert_same_bits(ranks.results(ranks.fit, 2, settings, np.split(X, 2)))
    assert_same_bits(ranks.results(ranks.fit_with_own_seed, 2, settings, np.split(X, 2)))


def test_sources():
    X = overlapping()
    batches = [list(np.split(X[:350], 7)), [X[350:]], ranks.NoRows()]
    settings = {"n_components": 3, "random_state": 0}
    outcomes = ranks.results(ranks.fit, 3, settings, batches)
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X))


def test_the_last_solution():
    X = overlapping()
    settings = {"n_components": 3, "random_state": 0, "max_iter": 3, "warm_start": True}
    outcomes = ranks.results(ranks.fit_twice, 2, settings, np.split(X, 2))
    assert_same_bits(outcomes)
    assert_close(outcomes[0], GaussianMixture(**settings).fit(X).fit(X))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_an_iteration_is_one_all_reduce(covariance_type):
    """And of as many bytes as docs/scaling.md says."""
    X, K, d = overlapping(), 3, 3
    settings = {"n_components": K, "covariance_type": covariance_type, "random_state": 0, "tol": 0.0}
    settings |= {"init_means": "random"}  # far from where steps fall by rounding, and are taken again
    moment = [1, d, d * (d + 1) // 2][SPECS[covariance_type].n_axes]
    size = K + K * d + (1 if SPECS[covariance_type].tied else K) * moment + 6
    short, long = (ranks.results(ranks.reductions, 2, {**settings, "max_iter": m}, np.split(X, 2)) for m in (4, 9))
    for rank in range(2):
        assert long[rank][len(short[rank]) :] == [size] * 5


class TestErrors:
    """An error on any rank ends all with it, naming the rank, within seconds."""

    def assert_all_raise(self, n_ranks, message, shards, settings=None, kind=ValueError, task=ranks.fit, **keywords):
        start = time.monotonic()
        outcomes = ranks.run(task, n_ranks, settings or {"n_components": 2}, shards, **keywords)
        assert time.monotonic() - start < 20
        for outcome in outcomes:
            assert isinstance(outcome, kind), outcome
            assert message in str(outcome)

    def test_not_a_number(self):
        shards = np.split(overlapping(), 3)
        shards[1][7, 2] = np.nan
        self.assert_all_raise(3, "On rank 1 of 3: Input X contains NaN at row 7, column 2", shards)

    def test_another_number_of_features(self):
        X = overlapping()
        self.assert_all_raise(2, "X has 2 features on rank 1, but 3 on rank 0", [X, X[:, :2]])
        self.assert_all_raise(2, "X has 2 features on rank 1, but 3 on rank 0", [X, np.empty((0, 2))])

    def test_other_names_of_features(self):
        pandas = pytest.importorskip("pandas")
        frames = [pandas.DataFrame(overlapping(), columns=list(names)) for names in ("abc", "acb")]
        self.assert_all_raise(2, "all ranks must have the same features in the same order", frames)

    def test_a_source_that_fails_in_mid_fit(self):
        X = overlapping()
        failing, settings = ranks.Fails(X[300:], passes=6), {"n_components": 2, "tol": 0}
        self.assert_all_raise(2, "On rank 1 of 2: the disk is gone", [[X[:300]], failing], settings, kind=OSError)

    def test_a_source_with_other_values_in_mid_fit(self):
        X = overlapping()
        spoiling, settings = ranks.Spoils(X[300:], passes=6), {"n_components": 2, "tol": 0}
        self.assert_all_raise(2, "On rank 1 of 2: Input X contains NaN", [[X[:300]], spoiling], settings)

    def test_too_few_rows_in_all(self):
        self.assert_all_raise(
            2, "n_components=5 needs at least as many rows, but X has n_samples=4", [np.eye(2)] * 2, {"n_components": 5}
        )

    def test_no_rows_at_all(self):
        self.assert_all_raise(2, "Found array with 0 sample(s) on every rank", [np.empty((0, 3))] * 2)

    @pytest.mark.parametrize(
        "name, values", [("n_components", [2, 3]), ("init_means", ["random", [[0.0] * 3, [1.0] * 3]])]
    )
    def test_other_settings(self, name, values):
        X = overlapping()
        shards = np.split(X, 2)
        message = f"{name} must be the same on every rank"
        self.assert_all_raise(2, message, shards, {name: values}, task=ranks.fit_with_own_settings)

    @pytest.mark.parametrize("task", [ranks.fit_with_own_settings, ranks.learn_with_own_settings])
    @pytest.mark.parametrize("name, values", [("random_state", [7, "7"]), ("verbose_interval", [10, 0])])
    def test_settings_of_a_rank_that_are_wrong(self, name, values, task):
        message = f"On rank 1 of 2: {name}"
        self.assert_all_raise(2, message, np.split(overlapping(), 2), {name: values}, task=task)

    @pytest.mark.parametrize("settings", [{"n_components": [2, 3]}, {"step": [None, 7]}, {"step": [0.1, 0.9]}])
    def test_other_settings_of_a_batch(self, settings):
        name = next(iter(settings))
        message = f"{name} must be the same on every rank"
        self.assert_all_raise(2, message, np.split(overlapping(), 2), settings, task=ranks.learn_with_own_settings)

    def test_a_batch_of_a_model_that_one_rank_has_fitted(self):
        message = "the solution to continue from must be the same on every rank"
        self.assert_all_raise(
            2, message, np.split(overlapping(), 2), {"fitted": [True, False]}, task=ranks.learn_with_own_settings
        )

    @pytest.mark.parametrize("weighted", [False, True])
    def test_noise_beside_a_rank_without_rows(self, weighted):
        """Rows of weight 0 are none."""
        X = overlapping()
        shards, weights = ([X, X[:50]], [np.ones(len(X)), np.zeros(50)]) if weighted else ([X, X[:0]], None)
        settings = {"n_components": 2, "noise": True, "random_state": 0}
        alone = ranks.fitted(GaussianMixture(**settings).fit(X))
        for outcome in ranks.results(ranks.fit, 2, settings, shards, weights):
            np.testing.assert_allclose(outcome["means_"], alone["means_"], rtol=1e-6)

    def test_bad_settings(self):
        self.assert_all_raise(2, "tol must be a finite number", np.split(overlapping(), 2), {"tol": -1.0})

    @pytest.mark.parametrize(
        "labels, message",
        [
            (None, "init_responsibilities must be the same on every rank"),
            (np.full(300, 7), "On rank 1 of 2: init_responsibilities as labels must be integers"),
        ],
    )
    def test_responsibilities_of_one_rank(self, labels, message):
        keywords = {"init_responsibilities": [np.zeros(300, dtype=int), labels]}
        for outcome in ranks.run(ranks.fit, 2, {"n_components": 2}, np.split(overlapping(), 2), None, keywords):
            assert isinstance(outcome, ValueError) and message in str(outcome)

    def test_a_start_that_fails_on_one_rank(self):
        self.assert_all_raise(
            2,
            "On rank 1 of 2: no start here",
            np.split(overlapping(), 2),
            {"n_components": 2, "init_means": ranks.fails_on_rank_1},
            kind=RuntimeError,
        )

    def test_a_collapse(self):
        X = overlapping()
        X[:, 1] = X[:, 0]
        self.assert_all_raise(2, "collapsed", np.split(X, 2), {"reg_covar": 0.0, "n_components": 2})

    def test_a_checkpoint_that_cannot_be_written(self, tmp_path):
        settings = {"n_components": 2, "checkpoint": str(tmp_path / "nowhere" / "fit.pth")}
        self.assert_all_raise(2, "On rank 0 of 2: checkpoint=", np.split(overlapping(), 2), settings, kind=OSError)

    def test_parameters_that_come_apart(self):
        """As other processors or numbers of threads could make them: by one bit."""
        message = "no longer the same on all ranks"
        shards = np.split(overlapping(), 3)
        self.assert_all_raise(3, message, shards, kind=RuntimeError, task=ranks.fit_with_another_bit)

    def test_no_group(self):
        assert not dist.is_initialized()
        with pytest.raises(ValueError, match="needs a process group.*torchrun.*init_process_group"):
            GaussianMixture(distributed=True).fit(overlapping())

    def test_what_is_for_one_process(self, tmp_path):
        for settings in ({"distributed": True}, {"checkpoint": tmp_path / "fit.pth"}):
            with pytest.raises(ValueError, match="select compares many fits in one process; got"):
                select(overlapping(), n_components=2, **settings)
        with pytest.raises(ValueError, match="distributed=True is not supported: offset_ would come from"):
            MixtureOutlierDetector(distributed=True).fit(overlapping())

    def test_not_a_flag(self):
        with pytest.raises(ValueError, match="distributed must be True or False; got 'yes'"):
            GaussianMixture(distributed="yes").fit(overlapping())


class TestDeath:
    """A dead rank ends the others by the group's time-out, a lost connection at once."""

    def test_a_killed_rank(self):
        X = overlapping()
        outcomes = ranks.run(ranks.fit, 2, {"n_components": 3, "tol": 0.0}, [[X[:300]], ranks.Kills(X[300:], passes=6)])
        assert isinstance(outcomes[0], RuntimeError)
        assert isinstance(outcomes[1], ranks.Died)

    def test_a_rank_that_hangs(self):
        X = overlapping()
        start = time.monotonic()
        shards = [[X[:300]], ranks.Hangs(X[300:], passes=6)]
        outcomes = ranks.run(ranks.fit, 2, {"n_components": 3, "tol": 0.0}, shards, seconds=10, group_seconds=3)
        assert isinstance(outcomes[0], RuntimeError)
        assert time.monotonic() - start < 15


def test_without_the_flag_nothing_is_communicated():
    X = overlapping()
    outcomes = ranks.results(ranks.fit_on_rank_0_alone, 2, {"n_components": 3, "random_state": 0}, X)
    assert_close(outcomes[0], GaussianMixture(3, random_state=0).fit(X), 0)


def test_the_model_predicts_and_saves_on_its_own(tmp_path):
    X = overlapping()
    outcomes = ranks.results(ranks.score_and_save, 2, np.split(X, 2), str(tmp_path))
    alone = GaussianMixture(3, random_state=0).fit(X)
    for rank, part in enumerate(np.split(X, 2)):
        assert outcomes[rank] == pytest.approx(alone.score(part), rel=1e-10)
    loaded = GaussianMixture.load(tmp_path / "model.pth")
    assert loaded.distributed is False and loaded.checkpoint is None
    np.testing.assert_allclose(loaded.means_, alone.means_, rtol=1e-10)


def test_batches_that_are_seen_once():
    """Each rank's batches, blended into what all ranks remember."""
    X = overlapping(900)
    outcomes = ranks.results(ranks.learn, 2, [X[:300:2], X[300:500], X[600:700]], [X[1:300:2], X[500:600], X[700:]])
    assert_same_bits(outcomes)
    alone = GaussianMixture(3, random_state=0)
    for batch in (np.r_[X[:300:2], X[1:300:2]], X[300:600], X[600:]):
        alone.partial_fit(batch)
    assert_close(outcomes[0], alone)
