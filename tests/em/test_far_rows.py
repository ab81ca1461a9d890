"""A few rows far away hide nothing of the others: starts, notes and frames see what the bulk of the rows is."""

import numpy as np
import pytest
from cases import parameters

from tgmm import GaussianMixture, fit_many

N, D = 150, 3
SKEWED = np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.5], [0.0, 0.0, 1.0]])


def rows(far, features=slice(None), n_far=1):
    """Two clusters, some rows of which are far away in some features, and the first without these."""
    rng = np.random.default_rng(0)
    clusters = np.concatenate([rng.normal(size=(N, D)), rng.normal(size=(N, D)) @ SKEWED + 5])
    X = clusters.copy()
    X[:n_far, features] = far * np.arange(1, n_far + 1)[:, None]
    return X, clusters


def truth(clusters, structure="full"):
    """A start from the clusters themselves."""
    parts = clusters[:N], clusters[N:]
    matrices = np.stack([np.cov(part.T) for part in parts])
    return {
        "init_weights": [0.5, 0.5],
        "init_means": np.stack([part.mean(0) for part in parts]),
        "init_covariances": matrices if structure == "full" else np.diagonal(matrices, axis1=1, axis2=2),
    }


@pytest.mark.parametrize("far", [1e6, 1e8, 1e12])
@pytest.mark.parametrize(("features", "n_far"), [(slice(None), 1), ([1], 1), ([0, 2], 6)], ids=str)
@pytest.mark.parametrize("structure", ["full", "diag"])
def test_noise_takes_them_and_leaves_the_clusters_as_they_are(structure, features, n_far, far):
    X, clusters = rows(far, features, n_far)
    settings = {"n_components": 2, "covariance_type": structure, "noise": True}
    for stored in (X, X.astype(np.float32)):
        best = GaussianMixture(**settings, **truth(clusters, structure)).fit(stored.astype(float))
        found = GaussianMixture(**settings, random_state=0).fit(stored)
        assert found.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-4)
        assert (found.predict(stored)[:n_far] == -1).all()


@pytest.mark.parametrize("far", [1e5, 1e7, 1e12])
def test_a_component_of_one_such_row_is_named_and_nothing_else_is(far):
    X, _ = rows(far)
    with pytest.warns(UserWarning) as caught:
        model = GaussianMixture(3, random_state=0).fit(X)
    (note,) = (str(each.message) for each in caught)
    assert "component 0 is degenerate" in note
    assert "linear functions" not in note
    np.testing.assert_allclose(np.sort(model.weights_), [1 / 300, 149 / 300, 0.5], atol=2e-3)


def test_in_batches():
    X, _ = rows(1e8)
    settings = {"n_components": 2, "noise": True, "random_state": 0}
    memory, batches = (GaussianMixture(**settings).fit(data) for data in (X, np.array_split(X, 5)))
    for one, same in zip(parameters(memory), parameters(batches), strict=True):
        np.testing.assert_allclose(one, same, rtol=1e-6, atol=1e-6)


def test_missing_values_beside_them():
    X, clusters = rows(1e8)
    X[np.random.default_rng(1).random(X.shape) < 0.15] = np.nan
    settings = {"n_components": 2, "noise": True, "missing": "em"}
    best = GaussianMixture(**settings, **truth(clusters)).fit(X)
    found = GaussianMixture(**settings, random_state=0).fit(X)
    assert found.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-3)


@pytest.mark.filterwarnings("ignore:.*degenerate")
@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_many_mixtures_are_those_of_each_alone(start):
    (X, clusters), settings = rows(1e8), {"n_components": 3, "init_means": start, "random_state": 0}
    many = fit_many(np.stack([X, clusters]), **settings)
    for found, each in zip(many, (X, clusters), strict=True):
        alone = GaussianMixture(**settings).fit(each)
        assert found.lower_bound_ == pytest.approx(alone.lower_bound_, abs=1e-8)
