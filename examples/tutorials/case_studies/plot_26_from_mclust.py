"""
Replacing mclust's EEE in an omics workflow
===========================================

Many Python workflows for single cells and spatial transcriptomics end in R: an embedding of the cells is handed to
mclust through rpy2, with the model fixed to ``EEE`` and the number of clusters given. That step needs an installation
of R beside Python, and a copy of the data.

mclust's ``EEE`` is the structure `tied_full`: ellipsoids of equal volume, equal shape and equal orientation. This
page replaces the step, and checks the replacement against numbers that mclust itself has computed.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from tgmm import GaussianMixture, select
from tgmm.plotting import plot_components

# %%
# The step
# --------
#
# The R function is ``Mclust(embedding, G = n_clusters, modelNames = "EEE")$classification``. Its labels begin at 1.
# Here is the same step in Python, with the same result type:


def mclust_labels(embedding, n_clusters, random_state=0):
    """Return labels from 1 to n_clusters by a mixture of ellipsoids that are all alike."""
    gmm = GaussianMixture(n_clusters, covariance_type="tied_full", random_state=random_state)
    return gmm.fit_predict(embedding) + 1


# %%
# Any array with one row for each cell will do, so ``adata.obs["domain"] = mclust_labels(adata.obsm["X_pca"], 7)`` is
# all that changes in such a workflow.
#
# The same model?
# ---------------
#
# The tests of this library contain fits by mclust 6.0.0 to several data sets. We use two: four lengths of 150 irises,
# and five laboratory values of 215 patients, among them hormones of the thyroid. First we start from mclust's own
# classification, so that both programs climb the same hill. The log-likelihoods then have to agree.

folder = Path("../../../tests/oracles/data")
stored = json.loads((folder / "mclust_structures.json").read_text())
data = {name: pd.read_csv(folder / f"{name}.csv").select_dtypes("number") for name in ("iris", "thyroid")}
exact = {"covariance_type": "tied_full", "tol": 1e-10, "max_iter": 10_000}
rows = []
for name, X in data.items():
    for cell in stored[name]["cells"]:
        n_clusters = cell["K"]
        if cell["model"] != "EEE" or n_clusters == 1:
            continue
        labels = np.array(stored[name]["start_labels"][str(n_clusters)])
        same_start = GaussianMixture(n_clusters, reg_covar=0, accelerate=None, **exact)
        same_start.fit(X, init_responsibilities=labels - labels.min())
        ours = GaussianMixture(n_clusters, random_state=0, **exact).fit(X)
        found = [cell["loglik"], *(model.score(X) * len(X) for model in (same_start, ours))]
        rows.append([name, n_clusters, *np.round(found, 4)])
pd.DataFrame(rows, columns=["data", "clusters", "mclust", "tgmm, same start", "tgmm, own start"])

# %%
# From the start of mclust, both libraries reach the same log-likelihoods. The last column uses the start of tgmm. Its
# values are never lower. Where they are higher, the hierarchical start of mclust led to a local maximum. Labels may
# therefore differ from those of an old analysis. The model is the same, but its likelihood is higher. To reproduce an
# old result, start from its labels: ``fit(X, init_responsibilities=old_labels - 1)``.
#
# The sign of BIC
# ---------------
#
# The BIC of mclust has the opposite sign, so a larger value is better there.

X = data["iris"]
gmm = GaussianMixture(3, random_state=0, **exact).fit(X)
print(f"BIC in tgmm {gmm.bic(X):.2f}, in mclust {-gmm.bic(X):.2f}")

# %%
# Is EEE the right model?
# -----------------------
#
# With ``EEE``, another cluster costs only a mean and a weight, so you can fit many clusters in many dimensions. But
# ``EEE`` assumes that all clusters have the same shape and size, and you should check this. For the irises, the
# assumption is reasonable:

# sphinx_gallery_thumbnail_number = 1
ax = plot_components(gmm, X)

# %%
# For the patients it is not. The 150 of them whose thyroid is healthy form a tight cluster, and the others are spread
# wide. With one covariance for all, clusters cannot differ in size. BIC over several structures says so:

patients = data["thyroid"]
diagnosis = json.loads((folder / "mclust_discriminant.json").read_text())["thyroid"]["classes"]
selection = select(patients, range(1, 6), ["tied_full", "full", "diag", "VEV"], random_state=0)
table = selection.table().pivot(index="n_components", columns="covariance_type", values="bic")
table.round(0)

# %%
# The diagnosis of each patient is known, and the structure makes the difference:

fits = {
    "EEE, 3 clusters": mclust_labels(patients, 3),
    f"BIC: {selection.best_.covariance_type}, {selection.best_.n_components} clusters": selection.best_.predict(
        patients
    ),
}
for name, labels in fits.items():
    print(f"{name}: agreement with the diagnosis {adjusted_rand_score(diagnosis, labels):.2f}")

# %%
# In two of the five values:

figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
three = GaussianMixture(3, covariance_type="tied_full", random_state=0).fit(patients)
for ax, model in zip(axes, (three, selection.best_), strict=True):
    plot_components(model, patients, features=["T4", "TSH"], ax=ax)
    ax.get_legend().remove()
    ax.set_title(f"{model.covariance_type}, {model.n_components}")

# %%
# More cells than memory or patience
# ----------------------------------
#
# The cells need not be in memory: `fit` takes the path of a file (:doc:`/tutorials/plot_6_larger_than_memory`), a
# tensor on a GPU (:doc:`/tutorials/plot_8_gpu`) or rows on many processes (:doc:`/tutorials/plot_7_distributed`).
# :doc:`/coming_from/mclust` has the names of mclust's other models and functions.
