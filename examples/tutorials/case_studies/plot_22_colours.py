"""
Segmenting an image by colour
=============================

Which regions does a photograph have? A pixel is a row of three numbers, red, green and blue, and regions of one colour
are clusters of such rows. The photograph of the Summer Palace in Beijing comes with scikit-learn.
"""

# sphinx_gallery_thumbnail_number = 2
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from tgmm import GaussianMixture, select

image = load_sample_image("china.jpg") / 255
X = image.reshape(-1, 3)
figure, ax = plt.subplots(figsize=(6.4, 4.3), layout="constrained")
ax.imshow(image)
ax.set_axis_off()
print(f"{len(X)} pixels")

# %%
# How many colours?
# -----------------
#
# BIC does not help here. With hundreds of thousands of rows it has enough evidence to describe every shade, and it
# keeps falling as components are added:

rng = np.random.default_rng(0)
sample = rng.choice(X, 20_000, replace=False)
selection = select(sample, [2, 4, 6, 8, 10], "full", n_init=1, random_state=0)
for cell in selection.cells:
    print(f"{cell.n_components:>2} components: BIC {cell.bic:.0f}")

# %%
# That is a correct answer to a question that we did not ask. The number of regions that are useful is a matter of the
# task, so we choose it: six.

start = time.perf_counter()
gmm = GaussianMixture(6, random_state=0).fit(X)
print(f"fitted to {len(X)} pixels in {time.perf_counter() - start:.1f} s, {gmm.n_iter_} iterations over all pixels")

# %%
# Every pixel gets the mean colour of its component. On the right is the result of k-means with as many colours.


def painted(labels):
    """Return the image with the mean colour of each label."""
    colours = np.array([X[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    return colours[labels].reshape(image.shape)


labels = gmm.predict(X)
kmeans = KMeans(6, n_init=1, random_state=0).fit(sample).predict(X)
figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
for ax, found, title in zip(axes, (labels, kmeans), ("mixture", "k-means"), strict=True):
    ax.imshow(painted(found))
    ax.set(title=title)
    ax.set_axis_off()

# %%
# K-means divides the colours into pieces of similar width. The components of a mixture have their own widths and
# directions: the sky is a narrow ridge of colours, and foliage and shadows are wide clouds. So one component can cover
# dark colours of every hue, while two others tell neighbouring shades of the sky apart. Neither is right or wrong. Use
# k-means to reduce the number of colours of an image, and a mixture where materials differ in how much their colour
# varies.

for k in np.argsort(-gmm.weights_):
    deviations = 255 * np.sqrt(np.linalg.eigvalsh(gmm.covariances_[k])[::-1])
    colour = (255 * gmm.means_[k]).round().astype(int).tolist()
    print(
        f"{gmm.weights_[k]:.0%} of the pixels: mean colour {colour}, spread {deviations.round(0).astype(int).tolist()}"
    )

# %%
# Where is the boundary uncertain?
# --------------------------------
#
# Each pixel has a probability for each component. Bright pixels below could belong to two components; they follow the
# edges of regions and the gradient of the sky.

uncertainty = 1 - gmm.predict_proba(X).max(axis=1)
figure, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
shown = ax.imshow(uncertainty.reshape(image.shape[:2]), cmap="magma", vmin=0, vmax=0.6)
ax.set_axis_off()
figure.colorbar(shown, ax=ax, label="uncertainty")

# %%
# Pixels that belong together
# ---------------------------
#
# The model knows nothing of where a pixel is, so regions have ragged edges. Adding the coordinates as two more features
# makes regions compact, at the price of splitting the sky into left and right. Smoothing the probabilities keeps the
# colours and repairs the edges:

from scipy.ndimage import uniform_filter

probabilities = gmm.predict_proba(X).reshape(*image.shape[:2], 6)
smooth = np.stack([uniform_filter(probabilities[..., k], 9) for k in range(6)], axis=-1).argmax(axis=-1)
changed = np.mean(smooth.ravel() != labels)
figure, ax = plt.subplots(figsize=(6.4, 4.3), layout="constrained")
ax.imshow(painted(smooth.ravel()))
ax.set_axis_off()
print(f"{changed:.1%} of the pixels changed their region")
