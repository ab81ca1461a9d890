"""
Classification by mixtures
==========================

Is a handwritten digit odd or even? Each of these classes consists of five digits, so a single Gaussian describes it
badly. A mixture for each class finds its parts without being told about them.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from tgmm import GaussianMixture, MixtureClassifier

images, digits = load_digits(return_X_y=True)
y = np.where(digits % 2 == 1, "odd", "even")
train = np.arange(len(y)) % 3 > 0  # every third image is held out

# %%
# With one component, the classifier is quadratic discriminant analysis. More components follow the shapes of the
# classes. A pipeline first projects the images on eight principal components.

shares = []
for n_components in (1, 2, 4, 8):
    mixture = GaussianMixture(n_components, random_state=0)
    model = make_pipeline(PCA(8, random_state=0), MixtureClassifier(mixture)).fit(images[train], y[train])
    shares.append(1 - model.score(images[~train], y[~train]))
    print(f"n_components={n_components}: {shares[-1]:.1%} of the held-out images are misclassified")

# %%
# The means of the eight components of each class, drawn as images, show what they have found: mostly single digits, in
# different handwriting styles.

pca, classifier = model
figure, axes = plt.subplots(2, 8, figsize=(8, 2.4), layout="constrained")
for row, name, mixture in zip(axes, classifier.classes_, classifier.estimators_, strict=True):
    for ax, mean in zip(row, pca.inverse_transform(mixture.means_), strict=True):
        ax.imshow(mean.reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)

# %%
# Probabilities
# -------------
#
# `predict_proba` shows how certain a prediction is. Most errors are among the held-out images with the least certain
# predictions:

probabilities = model.predict_proba(images[~train])
certainty = probabilities.max(axis=1)
wrong = model.predict(images[~train]) != y[~train]
for low, high in ((0.5, 0.9), (0.9, 0.999), (0.999, 1.0)):
    chosen = (certainty >= low) & (certainty <= high)
    print(f"certainty {low} to {high}: {chosen.sum():3d} images, {wrong[chosen].mean():.1%} wrong")

# %%
# Neither class
# -------------
#
# A probability near 1 means only that the other class is even less probable, not that the image is a digit. The
# classifier is just as certain about negatives of the images. But the densities recognise most of them: below a
# threshold that only 2 % of the held-out digits fail to reach, neither class is likely.


def density(rows):
    return np.max([mixture.score_samples(pca.transform(rows)) for mixture in classifier.estimators_], axis=0)


negatives = 16 - images[~train]
threshold = np.quantile(density(images[~train]), 0.02)
print(f"average certainty about negatives: {classifier.predict_proba(pca.transform(negatives)).max(axis=1).mean():.0%}")
print(f"negatives that are refused: {np.mean(density(negatives) < threshold):.0%}")

# %%
# Different class shares
# ----------------------
#
# If odd digits are rare, set `priors`. Doubtful images are then classified as even more often. The mixtures stay the
# same.

rare = model.set_params(mixtureclassifier__priors=[0.99, 0.01]).fit(images[train], y[train])
before = np.mean(classifier.classes_[probabilities.argmax(axis=1)] == "odd")
after = np.mean(rare.predict(images[~train]) == "odd")
print(f"taken for odd: {before:.1%} with equal shares, {after:.1%} where one in a hundred is")
