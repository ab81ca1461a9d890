"""
Organising a collection, and searching it
=========================================

A collection of documents has no labels, and nobody knows how many topics there are. We want two things: an overview
of the topics, and a search that looks only at the topics that matter for a query.

The collection is the documentation of scikit-learn itself, one document for each of its two hundred estimators. It
comes with the library, and its names make the result easy to judge.
"""

import inspect
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn import cluster, covariance, decomposition, linear_model, neighbors
from sklearn.decomposition import TruncatedSVD
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401, so that all are listed
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import all_estimators

from tgmm import select
from tgmm.plotting import plot_selection

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    estimators = dict(all_estimators())


def text(documented):
    """Return the docstring of a class or function, up to its attributes."""
    return (inspect.getdoc(documented) or "").partition("Attributes\n")[0]


names = np.array(list(estimators))
documents = [text(kind) for kind in estimators.values()]
print(f"{len(documents)} documents, for example {names[0]}:")
print(documents[0][:240])

# %%
# From texts to rows
# ------------------
#
# Each document becomes word counts, weighted by how rare each word is (TF-IDF). A singular value decomposition turns
# these into a few coordinates, which is known as latent semantic analysis. They are scaled to length 1, so that long
# and short documents compare. In a larger project, embeddings by a neural network would take the place of these three
# steps.

words = TfidfVectorizer(stop_words="english", min_df=2, sublinear_tf=True)
svd = TruncatedSVD(12, random_state=0)
embedding = make_pipeline(words, svd, Normalizer())
Z = embedding.fit_transform(documents)
print(f"{len(words.vocabulary_)} words, {Z.shape[1]} coordinates")

# %%
# How many topics?
# ----------------
#
# A full covariance for each topic is out of reach: in 12 dimensions it has 78 parameters, and topics will have about
# ten documents each. We compare three structures that need far fewer: a diagonal covariance for each topic, one
# covariance that all topics share, and `VEI`, where topics share a shape and differ in size.

selection = select(Z, range(4, 25, 4), ["diag", "tied_full", "VEI"], n_init=1, random_state=0)
ax = plot_selection(selection)

# %%
# BIC falls steeply at first and slowly later: the data speak clearly against a handful of topics, and less clearly for
# one particular number. That is common for texts, whose topics have no sharp borders. Hollow points are degenerate,
# because a topic sits on too few documents there, and they are not candidates.

gmm = selection.best_
topic = gmm.predict(Z)
print(f"{gmm.n_components} topics, {gmm.covariance_type!r}, with {np.bincount(topic).tolist()} documents")

# %%
# What are the topics about?
# --------------------------
#
# The mean of a component, taken back to words, has its largest weights on the words that describe the topic.

vocabulary = words.get_feature_names_out()
average = Z.mean(axis=0)
for k in range(gmm.n_components):
    typical = vocabulary[np.argsort(-(gmm.means_[k] - average) @ svd.components_)[:5]]
    print(f"{', '.join(typical)}\n    {', '.join(names[topic == k][:4])} ...")

# %%
# A search
# --------
#
# A query gets the same coordinates, and its probabilities say which topics matter. Its neighbours are then looked for
# among the documents of these topics only. Our queries are the documentation of functions, which are not in the
# collection:


def search(query, n_results=3, share=0.99):
    """Return the nearest documents in the topics that together have this probability, and how many were compared."""
    point = embedding.transform([query])
    probabilities = gmm.predict_proba(point)[0]
    order = np.argsort(-probabilities)
    n_topics = np.searchsorted(np.cumsum(probabilities[order]), share) + 1
    candidates = np.flatnonzero(np.isin(topic, order[:n_topics]))
    similarity = Z[candidates] @ point[0]
    return names[candidates[np.argsort(-similarity)[:n_results]]], len(candidates)


queries = cluster.k_means, cluster.dbscan, covariance.graphical_lasso, decomposition.fastica, neighbors.kneighbors_graph
for function in (*queries, linear_model.lasso_path):
    found, compared = search(text(function))
    print(f"{function.__name__}: {', '.join(found)} ({compared} of {len(names)} compared)")

# %%
# Each of these queries has a single topic with a probability above 0.99, so only the documents of one topic are
# compared. For `dbscan` this goes wrong: `DBSCAN` itself is in a neighbouring topic. Probabilities in twelve dimensions
# are too confident (:doc:`/guide/high_dimension`), so a search should look at more than the most probable topic.
#
# What does the shortcut cost?
# ----------------------------
#
# For every document as a query, we count how many of its five nearest neighbours are found when only its most probable
# topics are searched. More topics find more, and compare more.

similarity = Z @ Z.T
np.fill_diagonal(similarity, -np.inf)
nearest = np.argsort(-similarity, axis=1)[:, :5]
order = np.argsort(-gmm.predict_proba(Z), axis=1)
found, compared = [], []
for n_topics in range(1, gmm.n_components + 1):
    searched = [np.isin(topic, chosen[:n_topics]) for chosen in order]
    found.append(np.mean([mask[near].mean() for mask, near in zip(searched, nearest, strict=True)]))
    compared.append(np.mean(searched))
figure, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
ax.plot(compared, found, "o-", color="#0072B2")
for n_topics in (1, 2, 3):
    point = compared[n_topics - 1], found[n_topics - 1]
    ax.annotate(f"{n_topics} topic(s)", point, textcoords="offset points", xytext=(8, -10))
ax.set(xlabel="share of documents compared", ylabel="share of neighbours found", xlim=(0, 1), ylim=(None, 1.02))
print(f"one topic: {compared[0]:.0%} of the documents are compared, {found[0]:.0%} of the neighbours are found")

# %%
# This is the idea behind the inverted file indexes of vector databases, which use k-means. Two or three topics are a
# good compromise here. A mixture ranks them by their probability, which takes the sizes and shapes of the topics into
# account.
