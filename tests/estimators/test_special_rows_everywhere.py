"""Missing values, labels, noise and fixed parameters, and their combinations, in all that a mixture is used for."""

import pickle
import re

import numpy as np
import pytest
import ranks
import torch
from cases import mixture, parameters
from sklearn.base import clone
from special_rows import log_likelihood

from tgmm import GaussianMixture, Mixture, MixtureOutlierDetector, ModelFileError, select
from tgmm.data import TextSource

K, D = 3, 3
pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore:The fit has not converged")]
SETTINGS = {
    "missing": {"missing": "em"},
    "noise": {"noise": True},
    "fixed": {"fixed": {"weights": [True, False, False]}, "init_weights": [0.5, 0.25, 0.25]},
    "all": {
        "missing": "em",
        "noise": True,
        "fixed": {"weights": [True, False, False]},
        "init_weights": [0.3, 0.35, 0.35],
    },
}
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
every_structure = pytest.mark.parametrize("structure", ["full", "diag", "tied_full", "tied_spherical", "VEV"])


def rows(settings, n=300, seed=0):
    """Rows with what the settings are for, and labels of some."""
    X, components = mixture(seed, n=n, d=D, n_components=K, separation=6)
    rng = np.random.default_rng(seed)
    X = np.concatenate([X, rng.uniform(-20, 20, (n // 10, D))])
    labels = np.where(rng.random(len(X)) < 0.1, np.append(components, np.full(n // 10, -1)), -1)
    if settings.get("missing") == "em":
        X = np.where(rng.random(X.shape) < 0.1, np.nan, X)
    order = rng.permutation(len(X))
    return X[order], labels[order]


def assert_close(one, other, tolerance=1e-8):
    for a, b in zip(parameters(one), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every_setting
@every_structure
def test_a_source_gives_the_fit_of_memory(settings, structure):
    X, labels = rows(settings)
    given = {"n_components": K, "covariance_type": structure, "random_state": 0, "max_iter": 20, **settings}
    memory = GaussianMixture(**given).fit(X, labels=labels)
    batches = np.array_split(X, 7)
    source = GaussianMixture(**given).fit(batches, labels=labels)
    assert_close(memory, source, 1e-6)
    np.testing.assert_allclose(source.predict_proba(batches), memory.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(source.score(batches), memory.score(X), rtol=1e-6)
    assert source.bic(batches) == pytest.approx(memory.bic(X), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "far"),
    [(SETTINGS["missing"], None), (SETTINGS["all"], None), (SETTINGS["missing"] | SETTINGS["noise"], 1e8)],
    ids=["missing", "all", "missing, noise, one row far away"],
)
def test_ranks_give_the_fit_of_one_process(settings, far):
    X, labels = rows(settings)
    X[:1] = X[:1] if far is None else far
    given = {"n_components": K, "random_state": 0, "tol": 1e-10, "max_iter": 500, **settings}
    alone = GaussianMixture(**given).fit(X, labels=labels)
    parts = [slice(0, 150), slice(150, 200), slice(200, None)]
    outcomes = ranks.results(
        ranks.fit, 3, given, [X[part] for part in parts], None, {"labels": [labels[part] for part in parts]}
    )
    ranks.assert_same_bits(outcomes)
    np.testing.assert_allclose(outcomes[0]["means_"], alone.means_, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("source", [False, True])
@every_setting
def test_rows_of_weight_0_do_not_exist(settings, source):
    """A weight is how often a row is there: the box of the noise, too, is that of the rows that are there."""
    X, labels = rows(settings)
    settings = settings | {"n_components": K, "random_state": 0}
    weights = np.where(np.arange(len(X)) % 7 == 3, 0.0, 1.0)
    nowhere = np.where(weights[:, None] == 0, 1e3 + X, X)
    given = np.array_split(nowhere, 4) if source else nowhere
    found = GaussianMixture(**settings).fit(given, sample_weight=weights, labels=labels)
    there = weights > 0
    without = GaussianMixture(**settings).fit(X[there], labels=labels[there])
    assert_close(found, without, 1e-6 if source else 1e-9)
    assert found.lower_bound_ == pytest.approx(without.lower_bound_, abs=1e-8)
    if settings.get("noise"):
        assert found.noise_volume_ == pytest.approx(without.noise_volume_)
        box = X[there]
        sides = np.nanmax(box, axis=0) - np.nanmin(box, axis=0)
        sides *= (found.noise_volume_ / sides.prod()) ** (1 / D)
        total = log_likelihood(
            box,
            *map(torch.as_tensor, (found.weights_, found.means_, found.covariances_)),
            noise_sides=sides,
            labels=labels[there],
        )
        assert found.lower_bound_ * there.sum() == pytest.approx(float(total), abs=1e-6)


@every_setting
def test_a_fit_goes_on_from_its_checkpoint(settings, tmp_path):
    X, labels = rows(settings)
    given = {"n_components": K, "random_state": 0, "tol": 0.0, **settings}
    whole = GaussianMixture(**given, max_iter=12).fit(X, labels=labels)
    path = tmp_path / "fit.pth"
    GaussianMixture(**given, max_iter=5, checkpoint=path).fit(X, labels=labels)
    again = GaussianMixture(**given, max_iter=12, checkpoint=path).fit(X, labels=labels, resume=True)
    ranks.assert_same_bits([ranks.fitted(whole), ranks.fitted(again)])
    with pytest.raises(ValueError, match="other labels"):
        GaussianMixture(**given, max_iter=12, checkpoint=path).fit(X, labels=np.roll(labels, 1), resume=True)


@every_setting
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_saved_model_predicts_the_same_bits(settings, suffix, tmp_path):
    X, _ = rows(settings)
    model = GaussianMixture(K, random_state=0, **settings).fit(X)
    model.save(tmp_path / f"model{suffix}")
    loaded = GaussianMixture.load(tmp_path / f"model{suffix}")
    mixture_alone = Mixture.load(tmp_path / f"model{suffix}")
    for other in (loaded, mixture_alone, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        assert other.bic(X) == model.bic(X)
    again = clone(loaded).fit(X)
    np.testing.assert_allclose(again.means_, model.means_)
    model.mixture_.save(tmp_path / f"mixture{suffix}")
    np.testing.assert_array_equal(Mixture.load(tmp_path / f"mixture{suffix}").predict(X), model.predict(X))


@every_setting
@pytest.mark.parametrize("dtype", [np.float32, torch.float32, torch.float64], ids=str)
def test_float_types_and_kinds_of_arrays(settings, dtype):
    X, labels = rows(settings)
    given = torch.as_tensor(X).to(dtype) if isinstance(dtype, torch.dtype) else X.astype(dtype)
    model = GaussianMixture(K, random_state=0, **settings).fit(given, labels=labels)
    wide = GaussianMixture(K, random_state=0, **settings).fit(X, labels=labels)
    assert_close(model, wide, 1e-3)
    assert type(model.predict(given)) is type(given)


@pytest.mark.parametrize(
    "settings", [SETTINGS["missing"], {"noise": True}, SETTINGS["missing"] | {"noise": True}], ids=str
)
def test_select_chooses_among_them(settings):
    X, _ = rows(settings)
    found = select(X, range(1, 5), ["full", "tied_diag"], random_state=0, n_init=1, **settings)
    if settings.get("noise"):
        assert found.best_.n_components == K
    assert found.best_.bic(X) == pytest.approx(
        min(cell.bic for cell in found.cells if cell.status == "converged"), rel=1e-9
    )


@every_setting
def test_row_order_units_and_offset_do_not_matter(settings):
    X, labels = rows(settings)
    given = {"n_components": K, "covariance_type": "diag", "random_state": 0, "tol": 1e-10, "max_iter": 500, **settings}
    model = GaussianMixture(**given).fit(X, labels=labels)
    order = np.random.default_rng(1).permutation(len(X))
    assert_close(GaussianMixture(**given).fit(X[order], labels=labels[order]), model, 1e-5)
    scale, shift = np.array([1e-3, 1.0, 1e4]), np.array([5.0, -1e3, 0.0])
    other = GaussianMixture(**given).fit(X * scale + shift, labels=labels)
    np.testing.assert_allclose((other.means_ - shift) / scale, model.means_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.weights_, model.weights_, atol=1e-6)


def test_missing_values_with_many_patterns_and_many_features():
    """Each row has its own pattern; the likelihood is that of a naive sum over rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 12)) @ rng.standard_normal((12, 12)) + 3
    X[rng.random(X.shape) < 0.4] = np.nan
    model = GaussianMixture(1, missing="em", max_iter=30).fit(X)
    total = 0.0
    for row in X:
        there = ~np.isnan(row)
        gap = row[there] - model.means_[0][there]
        covariance = model.covariances_[0][np.ix_(there, there)]
        total -= 0.5 * (gap @ np.linalg.solve(covariance, gap) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert model.score(X) * len(X) == pytest.approx(total, rel=1e-10)


def test_impute_expects_and_draws():
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([1.0, 2.0], [[1.0, 0.8], [0.8, 1.0]], 4000)
    model = GaussianMixture(1).fit(X)
    gaps = X.copy()
    gaps[:2000, 1] = np.nan
    gaps[0] = np.nan
    filled = model.impute(gaps)
    np.testing.assert_array_equal(filled[2000:], X[2000:])
    np.testing.assert_allclose(filled[0], model.means_[0])
    mean, covariance = model.means_[0], model.covariances_[0]
    expected = mean[1] + covariance[0, 1] / covariance[0, 0] * (X[1:2000, 0] - mean[0])
    np.testing.assert_allclose(filled[1:2000, 1], expected, rtol=1e-10)
    drawn = model.impute(gaps, random_state=0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.08)
    np.testing.assert_array_equal(model.impute(gaps, random_state=0), drawn)
    assert not np.array_equal(model.impute(gaps, random_state=1), drawn)


def test_condition_on_what_is_there():
    X, _ = rows(SETTINGS["missing"])
    model = GaussianMixture(K, missing="em", random_state=0).fit(X)
    some = model.condition([1.0, np.nan], dims=[0, 1])
    expected = model.marginal([0, 2]).condition([1.0], dims=[0])
    np.testing.assert_allclose(some.mean(), expected.mean())
    with pytest.raises(ValueError, match="different values in different rows"):
        model.condition([[1.0, np.nan], [np.nan, 1.0]], dims=[0, 1])
    with pytest.raises(ValueError, match="no value at all"):
        model.condition([np.nan], dims=[0])
    with pytest.raises(ValueError, match="impute such rows.$"):
        model.regress([[np.nan, 1.0]], dims=[0, 1])


def test_impute_keeps_the_kind_of_the_data():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.0, 1.0, None, 3.0], "b": [0.0, None, 2.0, 3.0]})
    model = GaussianMixture(1, missing="em").fit(frame)
    assert not np.isnan(model.impute(frame)).any()
    tensor = torch.tensor(frame.to_numpy())
    assert isinstance(model.impute(tensor), torch.Tensor)


def test_pandas_and_masked_arrays_say_what_is_missing():
    pandas = pytest.importorskip("pandas")
    X, _ = rows(SETTINGS["missing"])
    plain = GaussianMixture(K, missing="em", random_state=0).fit(X)
    frame = pandas.DataFrame(X).convert_dtypes()
    masked = np.ma.masked_invalid(X)
    for other in (frame, masked, pandas.DataFrame(X).astype(object).where(~np.isnan(X), pandas.NA)):
        found = GaussianMixture(K, missing="em", random_state=0).fit(other)
        np.testing.assert_allclose(found.means_, plain.means_)


def test_what_marks_a_missing_label_is_an_unknown_one():
    pandas = pytest.importorskip("pandas")
    X, labels = rows(SETTINGS["noise"])
    plain = GaussianMixture(K, random_state=0).fit(X, labels=labels)
    known = labels >= 0
    numbers = np.where(known, labels, np.nan)
    marks = [numbers, pandas.Series(labels, dtype=object).where(known, pandas.NA), pandas.array(numbers, dtype="Int64")]
    for given in [*marks, [None if label < 0 else label for label in labels], torch.tensor(numbers)]:
        np.testing.assert_array_equal(GaussianMixture(K, random_state=0).fit(X, labels=given).means_, plain.means_)


def test_rows_with_different_gaps_are_not_called_identical():
    with pytest.warns(UserWarning, match=r"^features \[0, 1\] are constant"):
        GaussianMixture(1, missing="em").fit([[1.0, np.nan], [np.nan, 2.0]])


@pytest.fixture(scope="module")
def model():
    """Two components among noise."""
    return GaussianMixture(2, noise=True, random_state=0).fit(rows(SETTINGS["noise"])[0])


class TestNoise:
    @pytest.mark.parametrize(
        "verb",
        [
            lambda m: m.marginal([0]),
            lambda m: m.condition([0.0], dims=[0]),
            lambda m: m.regress([[0.0]], dims=[0]),
            lambda m: m.to_distribution(),
            lambda m: m.to_module(),
            lambda m: m.to_sklearn(),
            lambda m: m.entropy(),
            lambda m: m.kl_divergence(m),
            lambda m: m.log_prob(torch.zeros(1, D)),
            lambda m: m.mean(),
        ],
    )
    def test_verbs_that_are_not_defined_say_so(self, model, verb):
        with pytest.raises(ValueError, match="not defined for a mixture with noise"):
            verb(model)

    def test_given_weights_and_solutions_without_noise_leave_it_its_place(self, model):
        X, _ = rows(SETTINGS["noise"])
        given = GaussianMixture(2, noise=True, random_state=0, init_weights=[0.5, 0.5]).fit(X)
        assert given.lower_bound_ == pytest.approx(model.lower_bound_, abs=1e-3)
        warm = GaussianMixture(2, random_state=0, warm_start=True).fit(X).set_params(noise=True).fit(X)
        assert warm.noise_weight_ > 0
        fixed = {"fixed": {"weights": [True, False]}, "init_weights": [0.3, 0.7]}
        some = GaussianMixture(2, noise=True, random_state=0, **fixed).fit(X)
        assert some.weights_[0] == 0.3 and some.noise_weight_ > 0

    @pytest.mark.parametrize("init_means", ["auto", "given"])
    def test_the_weights_of_a_fit_are_a_start_that_leaves_noise_its_own(self, model, init_means):
        X, _ = rows(SETTINGS["noise"])
        start = {"init_weights": model.weights_, "init_covariances": model.covariances_, "noise": True}
        start["init_means"] = model.means_ if init_means == "given" else init_means
        begun = GaussianMixture(2, max_iter=0, random_state=0, **start).fit(X)
        np.testing.assert_array_equal(begun.weights_, model.weights_)
        assert begun.noise_weight_ == pytest.approx(model.noise_weight_, rel=1e-12)
        again = GaussianMixture(2, random_state=0, **start).fit(X)
        assert again.lower_bound_ == pytest.approx(model.lower_bound_, abs=1e-5)

    @pytest.mark.parametrize("which", [[True, False], [True, True]])
    def test_fixed_weights_may_leave_noise_the_rest(self, which):
        X, _ = rows(SETTINGS["noise"])
        weights = [0.4, 0.5]
        fit = GaussianMixture(2, noise=True, fixed={"weights": which}, init_weights=weights, random_state=0).fit(X)
        assert fit.weights_[0] == 0.4
        assert all(which) == (fit.noise_weight_ == pytest.approx(0.1))

    @pytest.mark.parametrize("weights", [[0.6, 0.6], [0.0, 0.0], [-0.1, 0.5], [np.nan, 0.5]])
    def test_weights_beside_noise_are_checked(self, weights):
        X, _ = rows(SETTINGS["noise"])
        with pytest.raises(ValueError, match="init_weights must be >= 0 and sum to 1, or to less, .* noise|finite"):
            GaussianMixture(2, noise=True, init_weights=weights).fit(X)

    def test_far_rows_are_noise(self, model):
        far = np.full((2, D), 1e200)
        assert model.predict(far).tolist() == [-1, -1]
        np.testing.assert_allclose(model.predict_proba(far)[:, -1], 1)
        np.testing.assert_allclose(model.score_samples(far), np.log(model.noise_weight_ / model.noise_volume_))

    @pytest.mark.parametrize("missing", ["error", "em"])
    def test_far_rows_are_of_components_where_no_noise_is_left(self, missing):
        X = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
        found = GaussianMixture(1, noise=True, missing=missing, random_state=0).fit(X)
        assert found.noise_weight_ == 0
        far = np.repeat([[-500.0], [500.0]], 64, axis=1).astype(np.float32)
        alone = Mixture(found.weights_, found.means_, found.covariances_)
        assert found.predict(far).tolist() == alone.predict(far).tolist()
        np.testing.assert_allclose(found.predict_proba(far).sum(1), 1)
        np.testing.assert_allclose(found.score_samples(far), alone.score_samples(far), rtol=1e-5)
        if missing == "em":
            far[:, 3] = np.nan
            assert found.predict(far).tolist() == alone.predict(np.nan_to_num(far)).tolist()
            np.testing.assert_allclose(found.predict_proba(far).sum(1), 1)

    def test_bic_counts_one_parameter_more(self, model):
        X, _ = rows(SETTINGS["noise"])
        plain = GaussianMixture(2, random_state=0).fit(X)
        assert model.mixture_.n_parameters == plain.mixture_.n_parameters + 1

    def test_the_volume_may_be_a_number(self):
        X, _ = rows(SETTINGS["noise"])
        model = GaussianMixture(2, noise=True, noise_volume=1e5, random_state=0).fit(X)
        assert model.noise_volume_ == pytest.approx(1e5)

    @pytest.mark.parametrize(("volume", "message"), [(1e-2, "so small that all rows are"), (1e40, "so large that no")])
    def test_a_volume_that_is_out_of_place_is_named(self, volume, message):
        X, _ = rows(SETTINGS["noise"])
        with pytest.warns(UserWarning, match=f"noise_volume={re.escape(f'{volume:g}')} is {message}"):
            GaussianMixture(2, noise=True, noise_volume=volume, random_state=0).fit(X)

    def test_attributes_say_where_they_are(self):
        model = GaussianMixture(1).fit([[0.0], [1.0]])
        with pytest.raises(AttributeError, match="noise=True"):
            _ = model.noise_weight_

    def test_the_detector_with_missing_values(self):
        X, _ = rows(SETTINGS["missing"])
        detector = MixtureOutlierDetector(0.1, n_components=K, missing="em", random_state=0).fit(X)
        assert (detector.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.02)


X0 = rows(SETTINGS["noise"])[0]
ERRORS = {
    "missing='drop'": (lambda: GaussianMixture(2, missing="drop").fit(X0), "missing must be 'error' or 'em'"),
    "a column without any value": (
        lambda: GaussianMixture(1, missing="em").fit([[0.0, np.nan], [1.0, np.nan]]),
        r"no value in feature 1",
    ),
    "infinity": (lambda: GaussianMixture(1, missing="em").fit([[0.0], [np.inf]]), "infinity"),
    "NaN where it is an error": (lambda: GaussianMixture(1).fit([[0.0], [np.nan]]), "missing='em'"),
    "labels too large": (
        lambda: GaussianMixture(2).fit(X0, labels=np.full(len(X0), 2)),
        "from 0 to n_components - 1 = 1",
    ),
    "labels of no integer": (
        lambda: GaussianMixture(2).fit(X0, labels=np.full(len(X0), 0.5)),
        "labels must be integers",
    ),
    "labels of another length": (lambda: GaussianMixture(2).fit(X0, labels=[0, 1]), "labels must have shape"),
    "impossible rows": (lambda: GaussianMixture(2).fit(X0, labels=np.zeros((len(X0), 2))), "somewhere > 0"),
    "fixed='mean'": (lambda: GaussianMixture(2, fixed="mean").fit(X0), "fixed must be names among"),
    "fixed without a start": (lambda: GaussianMixture(2, fixed="means").fit(X0), "give init_means"),
    "fixed for too many": (
        lambda: GaussianMixture(2, fixed={"weights": [True] * 3}, init_weights=[0.5, 0.5]).fit(X0),
        r"fixed\['weights'\]",
    ),
    "some tied covariances": (
        lambda: GaussianMixture(
            2, covariance_type="tied_full", fixed={"covariances": [True, False]}, init_covariances=np.eye(D)
        ).fit(X0),
        "fix all",
    ),
    "all weights beside noise": (
        lambda: GaussianMixture(2, noise=True, fixed="weights", init_weights=[0.5, 0.5]).fit(X0),
        "fixed weights must sum to less than 1",
    ),
    "noise in a constant feature": (
        lambda: GaussianMixture(2, noise=True).fit(np.column_stack([X0, np.ones(len(X0))])),
        r"feature 3 is constant",
    ),
    "a share above 1": (lambda: GaussianMixture(2, noise=True, noise_init=1.5).fit(X0), "noise_init must be a share"),
    "a negative share": (
        lambda: GaussianMixture(2, noise=True, noise_init=-1).fit(X0),
        r"noise_init must be a share in \(0, 1\), .*; got -1",
    ),
    "a share in words": (lambda: GaussianMixture(2, noise=True, noise_init="x").fit(X0), "noise_init.*; got 'x'.$"),
    "a list of words": (
        lambda: GaussianMixture(2, noise=True, noise_init=["a"] * len(X0)).fit(X0),
        r"noise_init must be an array of real numbers: got string values, \['a', .{,40}$",
    ),
    "labels in words": (lambda: GaussianMixture(2).fit(X0, labels=["a"] * len(X0)), r"^labels .{,90}$"),
    "no noise": (
        lambda: GaussianMixture(2, noise=True, noise_init=np.zeros(len(X0), bool)).fit(X0),
        "marks 0 of",
    ),
    "a negative volume": (
        lambda: GaussianMixture(2, noise=True, noise_volume=-1).fit(X0),
        "noise_volume must be 'hypervolume' or a finite number > 0; got -1",
    ),
    "a volume of nothing": (lambda: GaussianMixture(2, noise=True, noise_volume=0.0).fit(X0), "noise_volume"),
    "partial_fit": (
        lambda: GaussianMixture(2, noise=True).partial_fit(X0),
        "partial_fit cannot be combined with noise",
    ),
}


@pytest.mark.parametrize(("fit", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_name_the_argument(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npy"])
def test_files_may_lack_values(suffix, tmp_path):
    pandas = pytest.importorskip("pandas")
    X, _ = rows(SETTINGS["missing"])
    frame, path = pandas.DataFrame(X, columns=["a", "b", "c"]), tmp_path / f"data.{suffix}"
    if suffix == "npy":
        np.save(path, X)
    else:
        getattr(frame, f"to_{suffix}")(path, index=False)
    settings = {"n_components": K, "missing": "em", "random_state": 0}
    found = GaussianMixture(**settings).fit(path)
    assert_close(found, GaussianMixture(**settings).fit(X), 1e-6)
    np.testing.assert_array_equal(found.predict(path), found.predict(frame if suffix != "npy" else X))


def test_text_sources_may_lack_values(tmp_path):
    X, _ = rows(SETTINGS["missing"])
    path, settings = tmp_path / "data.csv", {"n_components": K, "missing": "em", "random_state": 0}
    fields = [",".join(["name", *("" if np.isnan(value) else repr(float(value)) for value in row)]) for row in X]
    path.write_text("\n".join(["id,a,b,c", *fields]))
    source = TextSource(path, columns=["a", "b", "c"])
    found = GaussianMixture(**settings).fit(source)
    assert_close(found, GaussianMixture(**settings).fit(X), 1e-6)
    np.testing.assert_array_equal(found.predict(source), found.predict(X))
    with pytest.raises(ValueError, match=r"column 'id': 'name' is not a number\. .*TextSource\(path, columns=\["):
        GaussianMixture(**settings).fit(path)


def test_partial_fit_takes_rows_that_lack_values():
    rng = np.random.default_rng(0)
    model = GaussianMixture(2, missing="em", random_state=0)
    for _ in range(30):
        labels = rng.integers(2, size=200)
        X = rng.normal(8.0 * labels[:, None], 1.0, (200, 2))
        X[rng.random(X.shape) < 0.2] = np.nan
        model.partial_fit(X)
    np.testing.assert_allclose(np.sort(model.means_, axis=0), [[0, 0], [8, 8]], atol=0.3)


def test_a_forged_box_is_refused(tmp_path):
    state = GaussianMixture(2, noise=True, random_state=0).fit(X0).save_state_dict()
    for changes in ({"noise_box_": torch.zeros(2, D)}, {"noise_log_volume_": float("inf")}):
        with pytest.raises(ModelFileError):
            GaussianMixture().load_state_dict({**state, **changes})


@pytest.mark.parametrize("start", ["auto", "kpp", "kmeans"])
@pytest.mark.parametrize("settings", [{"noise": True}, {"missing": "em"}])
def test_starts_see_weights_as_repetition(settings, start):
    """They look at neighbours: copies of a row are none of its own."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(150, 2)) + 3 * rng.normal(size=(3, 2))[rng.integers(3, size=150)]
        if "noise" in settings:
            X[:15] = rng.uniform(-12, 12, (15, 2))
        else:
            X[rng.random(X.shape) < 0.2] = np.nan
            X = X[~np.isnan(X).all(1)]
        weights = rng.integers(1, 4, len(X))
        model = GaussianMixture(3, random_state=0, tol=1e-8, max_iter=2000, init_means=start, **settings)
        weighted = clone(model).fit(X, sample_weight=weights)
        repeated = clone(model).fit(np.repeat(X, weights, axis=0))
        assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, abs=1e-6)
