"""
Classification by mixtures
==========================

Is a handwritten digit odd or even? Each of the two classes is five digits, so that one Gaussian for each describes them
badly. A mixture for each class finds its parts without being told that there are any.
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
# One component a class is quadratic discriminant analysis. More of them follow the classes' shapes; the images are
# projected on eight principal components first, in a pipeline.

shares = []
for n_components in (1, 2, 4, 8):
    mixture = GaussianMixture(n_components, random_state=0)
    model = make_pipeline(PCA(8, random_state=0), MixtureClassifier(mixture)).fit(images[train], y[train])
    shares.append(1 - model.score(images[~train], y[~train]))
    print(f"{n_components} component(s) a class: {shares[-1]:.1%} of the images held out are taken for the other class")

# %%
# What have the eight components of each class found? Their means, as images: mostly single digits, in the styles in
# which they are written.

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
# `predict_proba` says how sure it is. Of the images held out, those about which it is least sure are where its errors
# are:

probabilities = model.predict_proba(images[~train])
certainty = probabilities.max(axis=1)
wrong = model.predict(images[~train]) != y[~train]
for low, high in ((0.5, 0.9), (0.9, 0.999), (0.999, 1.0)):
    chosen = (certainty >= low) & (certainty <= high)
    print(f"certainty {low} to {high}: {chosen.sum():3d} images, {wrong[chosen].mean():.1%} wrong")

# %%
# Neither of the two
# ------------------
#
# A probability near 1 means that the other class is still less probable, not that the image is a digit. Negatives of
# the images are classified with as much certainty. But the densities tell most of them: below the threshold that only
# two in a hundred of the digits held out fall short of, neither class is likely.


def density(rows):
    return np.max([mixture.score_samples(pca.transform(rows)) for mixture in classifier.estimators_], axis=0)


negatives = 16 - images[~train]
threshold = np.quantile(density(images[~train]), 0.02)
print(f"average certainty about negatives: {classifier.predict_proba(pca.transform(negatives)).max(axis=1).mean():.0%}")
print(f"negatives that are refused: {np.mean(density(negatives) < threshold):.0%}")

# %%
# Other shares
# ------------
#
# Where odd digits are rare, `priors` say so, and doubtful images are taken for even ones more often. The mixtures stay
# as they are.

rare = model.set_params(mixtureclassifier__priors=[0.99, 0.01]).fit(images[train], y[train])
before = np.mean(classifier.classes_[probabilities.argmax(axis=1)] == "odd")
after = np.mean(rare.predict(images[~train]) == "odd")
print(f"taken for odd: {before:.1%} with equal shares, {after:.1%} where one in a hundred is")
