"""
Embeddings: clusters in 384 dimensions
======================================

Neural networks turn texts and images into vectors of hundreds of numbers. Which groups do these vectors form? In 384
dimensions, a full covariance has 73,920 parameters for each component, and a diagonal covariance ignores all
correlations. A mixture of factor analysers (``covariance_type="factor"``) lies between the two.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score

from tgmm import GaussianMixture

# %%
# The simulated rows resemble the embeddings of a language model. There are four topics. Within each topic, the texts
# vary along a few directions that belong to this topic. This variation is far larger than the differences between the
# means of the topics.

rng = np.random.default_rng(0)
d, q, topics = 384, 5, rng.integers(4, size=2400)
means = 0.12 * rng.normal(size=(4, d))
loadings = rng.normal(size=(4, q, d)) * np.geomspace(1.0, 0.3, q)[:, None]
noise = rng.uniform(0.3, 0.9, size=(4, d))
X = means[topics] + np.einsum("nq,nqd->nd", rng.normal(size=(2400, q)), loadings[topics])
X = (X + noise[topics] * rng.normal(size=X.shape)).astype(np.float32)
train, held_out = X[:1200], X[1200:]

# %%
# We fit three structures to half of the rows, and evaluate them on the other half. Each component has about 300 rows
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
# ``full`` overfits: it says nothing about new rows. ``diag`` mistakes the variation within topics for topics.
# ``factor`` finds the topics, because its form is that of the data.
#
# How many factors?
# -----------------
#
# With too few factors, correlations remain unexplained. With too many, the model overfits. Held-out rows show the best
# number. ``select(X, 4, "factor", n_factors=[1, 2, 4, 8], criterion="held_out")`` finds it by cross-validation.

numbers = [1, 2, 3, 4, 5, 6, 8, 12]
scores = [
    GaussianMixture(4, covariance_type="factor", n_factors=q, random_state=0, tol=1e-2).fit(train).score(held_out)
    for q in numbers
]
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(numbers, scores, marker="o")
ax.set(xlabel="factors", ylabel="held-out log-likelihood per row")

# %%
# Each column of the loadings is a direction in the space of embeddings, and the strongest comes first. In the
# simulation, each topic varies most along one direction. The first column of the loadings recovers it:

gmm = fits["factor"]
order = [np.bincount(topics[:1200][gmm.predict(train) == k], minlength=4).argmax() for k in range(4)]
for k, topic in enumerate(order):
    first, true = gmm.factor_loadings_[k, :, 0], loadings[topic, 0]
    print(
        f"component {k}: |cosine| with the truth {abs(first @ true) / np.linalg.norm(first) / np.linalg.norm(true):.2f}"
    )

# %%
# Factors are useful here because each topic varies along directions of its own. If the same few directions serve for
# all rows, a principal component analysis before the mixture is simpler. :doc:`case_studies/plot_23_named_clusters`
# shows this, and :doc:`/guide/high_dimension` helps to choose.
