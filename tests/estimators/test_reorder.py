"""Components in another order: everything that is fitted follows, and whatever goes on from it."""

import numpy as np
import pytest
import torch
from structures import SPECS
from support import assert_same_fit

from tgmm import GaussianMixture, Mixture

ORDER = [2, 0, 1]


def fitted(X, **settings):
    return GaussianMixture(3, random_state=0, **settings).fit(X)


@pytest.mark.parametrize("covariance_type", SPECS)
def test_everything_follows_the_order(blobs, covariance_type):
    gmm, spec = fitted(blobs, covariance_type=covariance_type, max_iter=5), SPECS[covariance_type]
    weights, means, dense = gmm.weights_, gmm.means_, spec.dense(gmm.covariances_, 3, 3)
    probabilities, labels, densities = gmm.predict_proba(blobs), gmm.predict(blobs), gmm.score_samples(blobs)
    assert gmm.reorder(ORDER) is gmm
    np.testing.assert_array_equal(gmm.weights_, weights[ORDER])
    np.testing.assert_array_equal(gmm.means_, means[ORDER])
    np.testing.assert_array_equal(spec.dense(gmm.covariances_, 3, 3), np.asarray(dense)[ORDER])
    np.testing.assert_allclose(gmm.predict_proba(blobs), probabilities[:, ORDER], rtol=1e-10)
    np.testing.assert_array_equal(np.array(ORDER)[gmm.predict(blobs)], labels)
    np.testing.assert_allclose(gmm.score_samples(blobs), densities, rtol=1e-12)
    assert gmm.score(blobs) == pytest.approx(gmm.lower_bound_, rel=1e-12)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_files_keep_the_order(blobs, tmp_path, kind):
    gmm = fitted(blobs).reorder(ORDER)
    gmm.save(tmp_path / f"gmm.{kind}")
    assert_same_fit(GaussianMixture.load(tmp_path / f"gmm.{kind}"), gmm)


@pytest.mark.filterwarnings("ignore:The fit has not converged")
def test_a_warm_start_and_its_checkpoints_keep_the_order(blobs, tmp_path):
    gmm = fitted(blobs, warm_start=True, checkpoint=tmp_path / "fit.pth", accelerate=None, max_iter=2, tol=0.0)
    state = gmm.reorder(ORDER).save_state_dict()
    before, whole = gmm.means_, GaussianMixture(3).load_state_dict(state).set_params(max_iter=6).fit(blobs)
    gmm.fit(blobs)  # which is stopped after two steps
    np.testing.assert_allclose(gmm.means_, before, atol=0.3)
    resumed = GaussianMixture(3, checkpoint=gmm.checkpoint).load_state_dict(state)
    resumed.set_params(max_iter=6).fit(blobs, resume=True)
    assert_same_fit(resumed, whole)


@pytest.mark.parametrize("covariance_type", ["full", "tied_diag"])
def test_learning_goes_on_in_the_new_order(blobs, covariance_type):
    batches = np.random.default_rng(0).permutation(blobs).reshape(3, 50, 3)
    gmm, other = (GaussianMixture(3, covariance_type=covariance_type, random_state=0) for _ in range(2))
    gmm.partial_fit(batches[0]).partial_fit(batches[1]).reorder(ORDER).partial_fit(batches[2])
    other.partial_fit(batches[0]).partial_fit(batches[1]).partial_fit(batches[2]).reorder(ORDER)
    assert_same_fit(gmm, other, rtol=1e-9, atol=1e-9)


def test_settings_of_each_component_follow(blobs):
    means, kappa = blobs[[0, 60, 120]], [1.0, 2.0, 3.0]
    psi, nu = np.stack([np.eye(3) * (k + 1) for k in range(3)]), torch.tensor([5.0, 6.0, 7.0])
    settings = {
        "mean_prior": means,
        "mean_precision_prior": kappa,
        "covariance_prior": psi,
        "degrees_of_freedom_prior": nu,
        "weight_concentration_prior": 2.0,
        "fixed": {"weights": [True, False, False]},
        "init_weights": [0.2, 0.3, 0.5],
        "init_means": means,
    }
    gmm = fitted(blobs, warm_start=True, **settings).reorder(ORDER)
    np.testing.assert_array_equal(gmm.mean_prior, means[ORDER])
    np.testing.assert_array_equal(gmm.init_means, means[ORDER])
    np.testing.assert_array_equal(gmm.covariance_prior, psi[ORDER])
    assert gmm.mean_precision_prior == [3.0, 1.0, 2.0]
    assert gmm.init_weights == [0.5, 0.2, 0.3]
    assert gmm.degrees_of_freedom_prior.tolist() == [7.0, 5.0, 6.0]
    assert gmm.fixed == {"weights": [False, True, False]}
    assert gmm.weight_concentration_prior == 2.0
    before = gmm.means_
    assert gmm.fit(blobs).weights_[1] == pytest.approx(0.2)  # the objective is that of the settings: nothing moves
    np.testing.assert_allclose(gmm.means_, before, atol=1e-2)


@pytest.mark.filterwarnings("ignore:The fit has not converged")
def test_settings_that_serve_all_components_stay(blobs):
    prior = blobs.mean(0)
    gmm = fitted(blobs, mean_prior=prior, mean_precision_prior=0.1, fixed="means", init_means=blobs[:3], max_iter=2)
    assert gmm.reorder(ORDER).mean_prior is prior and gmm.fixed == "means"
    gmm = fitted(blobs, fixed={"means": True}, init_means=blobs[:3], max_iter=2)
    assert gmm.reorder(ORDER).fixed == {"means": True}


def test_the_heaviest_first_or_the_smallest_mean():
    mixture = Mixture([0.2, 0.5, 0.3], [[1.0, 5.0], [1.0, 4.0], [0.0, 9.0]], [1.0, 2.0, 3.0], "spherical")
    assert mixture.reorder().weights.tolist() == [0.5, 0.3, 0.2]
    assert mixture.reorder("weight").covariances.tolist() == [2.0, 3.0, 1.0]
    assert mixture.reorder("mean").means.tolist() == [[0.0, 9.0], [1.0, 4.0], [1.0, 5.0]]
    assert mixture.reorder(mixture.means[:, 1].argsort()).means[:, 1].tolist() == [4.0, 5.0, 9.0]
    assert mixture.weights.tolist() == [0.2, 0.5, 0.3]


def test_tensors_and_noise(blobs):
    gmm = fitted(torch.from_numpy(blobs), noise=True)
    noise, probabilities = gmm.noise_weight_, gmm.predict_proba(blobs)
    gmm.reorder(torch.tensor(ORDER))
    assert isinstance(gmm.means_, torch.Tensor) and gmm.noise_weight_ == pytest.approx(noise)
    np.testing.assert_allclose(gmm.predict_proba(blobs), probabilities[:, [*ORDER, 3]], rtol=1e-9)


@pytest.mark.parametrize(
    "by", ["size", None, [0, 1], [0, 1, 1], [1, 2, 3], [0.0, 1.0, 2.0], [[0, 1, 2]], [True, False, True]]
)
def test_what_is_no_order_is_refused(blobs, by):
    gmm = fitted(blobs, max_iter=0)
    before = gmm.means_
    with pytest.raises(ValueError, match="by must"):
        gmm.reorder(by)
    np.testing.assert_array_equal(gmm.means_, before)
