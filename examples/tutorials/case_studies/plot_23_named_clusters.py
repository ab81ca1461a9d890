"""
From images to named clusters
=============================

A collection of images has no labels yet, and somebody has to assign them. With clusters, it is enough to name about ten
clusters instead of thousands of images. We project the images to a few dimensions, cluster them, look at one image of
each cluster, and find the images that fit nowhere. The images are the 1797 handwritten digits of scikit-learn, with
eight by eight pixels each. The digits are known, so we can check what we find.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from tgmm import GaussianMixture, select

digits = load_digits()
images, truth = digits.data, digits.target
print(images.shape)

# %%
# Fewer dimensions first
# ----------------------
#
# A full covariance in 64 dimensions has 2080 parameters, more than there are images. Some pixels are constant. A
# principal component analysis keeps the directions in which the images differ most, and a full covariance in these is
# affordable. How many directions should we keep? The number of rows for each parameter falls fast:

pca = PCA(random_state=0).fit(images)
rows = []
for d in (2, 5, 10, 20):
    Z = pca.transform(images)[:, :d]
    gmm = GaussianMixture(10, random_state=0).fit(Z)
    agreement = adjusted_rand_score(truth, gmm.predict(Z))
    variance = pca.explained_variance_ratio_[:d].sum()
    rows.append([d, f"{variance:.0%}", 10 * d * (d + 1) // 2, round(agreement, 2)])
pd.DataFrame(rows, columns=["dimensions", "variance kept", "covariance parameters", "agreement with the digits"])

# %%
# The last column uses the labels, which we would not have in practice. A rule that needs no labels uses the column
# before it: keep the number of covariance parameters well below the number of values, here 1797 rows times d. Ten
# dimensions keep most of what distinguishes the digits. You do not need to divide the components by their standard
# deviations (`whiten=True`): the covariances of the mixture undo it.

Z = pca.transform(images)[:, :10]
sizes = [5, 8, 10, 12, 15]
selection = select(Z, sizes, ["full", "diag", "tied_full"], n_init=1, random_state=0)
figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for structure, style in [("full", "o-"), ("diag", "s--"), ("tied_full", "^:")]:
    cells = [cell for cell in selection.cells if cell.covariance_type == structure]
    ax.plot(sizes, [cell.bic for cell in cells], style, label=structure)
ax.set(xlabel="components", ylabel="BIC", xticks=sizes)
ax.legend(frameon=False)

# %%
# Full covariances describe these clusters far better than diagonal ones: the coordinates are uncorrelated over all
# images, which is what a principal component analysis does, but they are correlated within each digit.

gmm = selection.best_
labels = gmm.predict(Z)
print(f"{gmm.n_components} components, {gmm.covariance_type!r}")
print(f"adjusted Rand index {adjusted_rand_score(truth, labels):.2f}")
pd.crosstab(truth, labels, rownames=["digit"], colnames=["component"])

# %%
# What is in a component?
# -----------------------
#
# The mean of a component, taken back to pixels, shows its typical image. Beside each mean are three images drawn from
# the component: a mixture is a generative model, and draws show what it has understood of the shapes.


def pixels(points):
    """Return the images of points of the principal components."""
    return (points @ pca.components_[:10] + pca.mean_).reshape(-1, 8, 8)


figure, axes = plt.subplots(4, gmm.n_components, figsize=(0.85 * gmm.n_components, 3.8), layout="constrained")
for k, column in enumerate(axes.T):
    drawn, _ = gmm.sample(3, component=k, random_state=k)
    for ax, image in zip(column, pixels(np.vstack([gmm.means_[k], drawn])), strict=True):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
    column[0].set_title(k, fontsize=8)
figure.suptitle("means (first row) and draws", fontsize=9)

# %%
# Images that fit nowhere
# -----------------------
#
# Low density finds images that are unlike all others, often because they are badly written or cut off.

strange = np.argsort(gmm.score_samples(Z))[:8]
figure, axes = plt.subplots(1, 8, figsize=(8, 1.4), layout="constrained")
for ax, i in zip(axes, strange, strict=True):
    ax.imshow(images[i].reshape(8, 8), cmap="gray_r")
    ax.set(title=f"a {truth[i]}")
    ax.set_axis_off()

# %%
# A name for each component
# -------------------------
#
# To use the components as labels, somebody has to name them, and looking at one image each is enough: the one whose
# log-density within its component is highest. How many images get the right digit that way?

typical = [np.flatnonzero(labels == k)[np.argmax(gmm.score_samples(Z)[labels == k])] for k in range(gmm.n_components)]
names = truth[typical]
print(f"names: {names.tolist()}")
print(f"{gmm.n_components} labels, {np.mean(names[labels] == truth):.1%} of all images right")

# %%
# :doc:`/tutorials/plot_11_a_few_labels` goes further with a few labels. :doc:`/tutorials/plot_15_embeddings` clusters
# hundreds of dimensions without a projection, and :doc:`/guide/high_dimension` says when to do which.
