"""
Embeddings: clusters in 384 dimensions
======================================

Texts and images become vectors of hundreds of numbers, and one wants to know what kinds of them there are. Full
covariances have 73,920 parameters a component there, and diagonal ones know nothing of how the numbers hang together.
Mixtures of factor analysers (``covariance_type="factor"``) lie between.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score

from tgmm import GaussianMixture

# %%
# Rows like those of a language model: four topics, whose texts differ from each other along a few directions of their
# own, far more than the topics differ in their means.

rng = np.random.default_rng(0)
d, q, topics = 384, 5, rng.integers(4, size=2400)
means = 0.12 * rng.normal(size=(4, d))
loadings = rng.normal(size=(4, q, d)) * np.geomspace(1.0, 0.3, q)[:, None]
noise = rng.uniform(0.3, 0.9, size=(4, d))
X = means[topics] + np.einsum("nq,nqd->nd", rng.normal(size=(2400, q)), loadings[topics])
X = (X + noise[topics] * rng.normal(size=X.shape)).astype(np.float32)
train, held_out = X[:1200], X[1200:]

# %%
# What the structures make of half of the rows, and what that is worth for the other half. Each component has 300 rows
# for its 384 features.

fits = {}
for name, settings in [
    ("full", {"covariance_type": "full", "reg_covar": 0.01}),
    ("diag", {"covariance_type": "diag"}),
    ("factor", {"covariance_type": "factor", "n_factors": 5}),
]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # full has fewer rows than features, and says so
        gmm = GaussianMixture(4, init_means="kmeans", random_state=0, max_iter=100, **settings).fit(train)
    fits[name] = gmm
    agreement = adjusted_rand_score(topics[1200:], gmm.predict(held_out))
    print(f"{name:<7} held-out log-likelihood {gmm.score(held_out):8.1f}, agreement with the topics {agreement:.2f}")

# %%
# ``full`` learns the rows by heart: what it says of others is worth nothing. ``diag`` takes the directions along which
# texts of one topic differ for topics. Factors are what there is.
#
# How many factors?
# -----------------
#
# Too few leave structure in the noise, too many learn the rows by heart. Held-out rows decide; so would
# ``select(X, 4, "factor", n_factors=[1, 2, 4, 8], criterion="held_out")``, by cross-validation.

numbers = [1, 2, 3, 4, 5, 6, 8, 12]
scores = [
    GaussianMixture(4, covariance_type="factor", n_factors=q, random_state=0, tol=1e-2).fit(train).score(held_out)
    for q in numbers
]
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(numbers, scores, marker="o")
ax.set(xlabel="factors", ylabel="held-out log-likelihood a row")

# %%
# Loadings are directions in the space of embeddings, strongest first. The first one of each topic is the direction
# along which the simulation has it vary most:

gmm = fits["factor"]
order = [np.bincount(topics[:1200][gmm.predict(train) == k], minlength=4).argmax() for k in range(4)]
for k, topic in enumerate(order):
    first, true = gmm.factor_loadings_[k, :, 0], loadings[topic, 0]
    print(
        f"component {k}: |cosine| with the truth {abs(first @ true) / np.linalg.norm(first) / np.linalg.norm(true):.2f}"
    )

# %%
# Here each topic varies along directions of its own, which is what factors are for. Where a few directions serve for
# all rows, a principal component analysis before the mixture is simpler: :doc:`case_studies/plot_23_named_clusters` does that, and
# :doc:`/guide/high_dimension` helps to choose.
