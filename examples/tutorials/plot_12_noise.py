"""
Outliers as noise
=================

Some rows belong to no cluster: false alarms, measurement errors, or a background of stars. :doc:`plot_4_outliers`
finds single unusual rows. If there are many of them, they distort the clusters unless the model has a component for
them.
"""

import matplotlib.pyplot as plt
import numpy as np

from tgmm import GaussianMixture, Mixture, select
from tgmm.plotting import plot_components

rng = np.random.default_rng(3)
along = rng.uniform(-1, 1, 300)
faults = np.concatenate(
    [
        np.column_stack([6 * along[:150] - 4, 2 * along[:150] + 4]) + 0.25 * rng.normal(size=(150, 2)),
        np.column_stack([4 * along[150:] + 4, -3 * along[150:] - 1]) + 0.25 * rng.normal(size=(150, 2)),
    ]
)
X = np.concatenate([faults, rng.uniform([-12, -8], [12, 8], size=(150, 2))])
is_background = np.arange(450) >= 300


def draw(gmm, ax, title):
    """Draw components in colour, and rows of the noise in grey."""
    labels = gmm.predict(X)
    components = Mixture(gmm.weights_ / gmm.weights_.sum(), gmm.means_, gmm.covariances_)
    plot_components(components, X[labels >= 0], ax=ax)
    ax.scatter(*X[labels < 0].T, s=12, color="0.5", marker="x", linewidths=0.8)
    ax.get_legend().remove()
    ax.set(title=title, xlabel="", ylabel="")


# %%
# These data resemble epicentres of earthquakes: most lie along two faults, and a third of the rows are background.
# Without noise, one component finds a fault, and the other has to cover the second fault together with the background.
# With ``noise=True``, both are as narrow as the faults.

plain = GaussianMixture(2, random_state=0).fit(X)
gmm = GaussianMixture(2, noise=True, random_state=0).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharex=True, sharey=True)
draw(plain, axes[0], "noise=False")
draw(gmm, axes[1], "noise=True")

# %%
# The label of noise is -1, and the last column of `predict_proba` is its probability.

found = gmm.predict(X) == -1
print(f"share of noise: {gmm.noise_weight_:.1%}, in a volume of {gmm.noise_volume_:.0f}")
print(f"{found[is_background].sum()} of 150 rows of the background, and {found[~is_background].sum()} of 300 others")
print("probabilities of a row on a fault, beside it, and far away:")
print(gmm.predict_proba([[-4.0, 4.0], [-4.0, 5.0], [8.0, 6.0]]).round(3))

# %%
# Is there noise at all?
# ----------------------
#
# BIC can tell, because noise is one additional parameter. It also chooses the number of clusters:

for noise in (False, True):
    selection = select(X, range(1, 6), "full", noise=noise, n_init=2, random_state=0)
    print(f"noise={noise!s:<6} {selection.best_.n_components} components, BIC {selection.best_cell.bic:.1f}")

# %%
# Choosing the volume
# -------------------
#
# The density of the noise is one divided by the volume of a box around all rows. A single absurd value makes this box
# huge and the noise thin, so that only the absurd row still counts as noise:

absurd = np.concatenate([X, [[9999.0, 9999.0]]])
default = GaussianMixture(2, noise=True, random_state=0).fit(absurd)
given = GaussianMixture(2, noise=True, noise_volume=24 * 16, random_state=0).fit(absurd)
for name, model in [("default", default), ("24 x 16", given)]:
    widths = np.sqrt(np.linalg.eigvalsh(model.covariances_)[:, 0])
    print(f"{name:<8} volume {model.noise_volume_:8.0f}, noise {model.noise_weight_:.1%}, widths {widths.round(2)}")

# %%
# Check the range of each feature first. If you know the region in which rows can lie, set its volume.
# :doc:`/guide/noise` has a table with the effect of other volumes.
