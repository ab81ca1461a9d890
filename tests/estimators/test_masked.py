"""NumPy's masked arrays: masked values stand for nothing, in every argument."""

import numpy as np
import pytest

from tgmm import BayesianGaussianMixture, GaussianMixture, MixtureClassifier, MixtureRegressor, fit_many

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(0, 1, (80, 3)), RNG.normal(6, 1, (70, 3))])
Y = np.repeat([0, 1], [80, 70])
LATE = np.arange(150) >= 100
WEIGHTS = np.ma.masked_array(np.where(LATE, 1e6, 1.0), mask=LATE)
MEANS = np.ma.masked_array(X[:2], mask=np.eye(2, 3, dtype=bool))


def test_masked_labels_are_unknown():
    odd = np.arange(150) % 2 == 1
    labels = np.ma.masked_array(np.where(odd, Y, 1 - Y), mask=~odd)  # wrong values under the mask alone
    found, expected = (GaussianMixture(2, random_state=0).fit(X, labels=each) for each in (labels, labels.filled(-1)))
    np.testing.assert_array_equal(found.means_, expected.means_)


REFUSED = {
    "X": lambda: GaussianMixture(2).fit(np.ma.masked_array(X, mask=X > 5)),
    "sample_weight": lambda: GaussianMixture(2).fit(X, sample_weight=WEIGHTS),
    "sample_weight of score": lambda: GaussianMixture(2, random_state=0).fit(X).bic(X, WEIGHTS),
    "init_means": lambda: GaussianMixture(2, init_means=MEANS).fit(X),
    "mean_prior": lambda: GaussianMixture(2, mean_prior=MEANS[0], mean_precision_prior=1.0).fit(X),
    "init_responsibilities": lambda: GaussianMixture(2).fit(X, init_responsibilities=np.ma.masked_array(Y, mask=LATE)),
    "noise_init": lambda: GaussianMixture(2, noise=True, noise_init=np.ma.masked_array(Y == 0, mask=LATE)).fit(X),
    "groups": lambda: fit_many(X, groups=np.ma.masked_array(Y, mask=LATE), n_components=1),
    "y of classes": lambda: MixtureClassifier().fit(X, np.ma.masked_array(Y, mask=LATE)),
    "y of targets": lambda: MixtureRegressor().fit(X[:, 1:], np.ma.masked_array(X[:, 0], mask=LATE)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_masked_values_are_refused(name):
    with pytest.raises(ValueError, match=f"^{name.partition(' ')[0]} has masked values, the first at row "):
        REFUSED[name]()


def test_arrays_that_can_be_masked_and_are_not_are_taken():
    plain = GaussianMixture(2, random_state=0).fit(X, sample_weight=np.ones(150))
    found = GaussianMixture(2, random_state=0).fit(np.ma.asarray(X), sample_weight=np.ma.ones(150))
    np.testing.assert_array_equal(found.means_, plain.means_)


@pytest.mark.parametrize("kind", [">f4", "<f4", ">f2", "<f2"])
def test_bytes_in_another_order_do_not_matter_for_the_float_type(kind):
    assert GaussianMixture(2, random_state=0).fit(X.astype(kind)).means_.dtype == np.float32


def test_a_hint_names_an_estimator_that_has_what_it_names():
    rows = X.copy()
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="fit a GaussianMixture with missing='em'"):
        BayesianGaussianMixture(2).fit(rows)
