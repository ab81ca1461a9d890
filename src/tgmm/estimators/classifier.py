"""Classification by a mixture for each class: mixture discriminant analysis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import _safe_indexing, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.data.columns import listed
from tgmm.data.opening import as_source
from tgmm.data.source import require_order
from tgmm.data.validation import check_weights
from tgmm.estimators import explaining
from tgmm.estimators.base import solution_of
from tgmm.estimators.common_noise import check_common_noise, with_common_noise
from tgmm.estimators.composite import CompositeEstimator, as_array, checking, fitted_mixture, may_lack
from tgmm.estimators.explaining_composites import explained_classes
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.nesting import fitted_model, fitted_state, part_of, prefixed, template_of, template_state
from tgmm.estimators.row_labels import require_labels
from tgmm.files.plain import State
from tgmm.files.store import own
from tgmm.mixture.discriminant import Discriminant
from tgmm.mixture.summary import FEATURES, Summary
from tgmm.runtime.checks import as_float64
from tgmm.runtime.dlpack import imported, is_foreign
from tgmm.runtime.words import number_of

TOLERANCE = 1e-6  # of the sum of prior probabilities


class MixtureClassifier(ClassifierMixin, CompositeEstimator):
    """Classify by Bayes' theorem, with a Gaussian mixture as the density of each class.

    This is mixture discriminant analysis. By default each class has one component with a full covariance, which is
    quadratic discriminant analysis. With diagonal covariances instead, it is Gaussian naive Bayes. Use several
    components for classes that consist of several clusters.

    Parameters
    ----------
    estimator : GaussianMixture, list, dict or callable, optional
        The mixture to fit to the rows of each class, ``GaussianMixture()`` by default. Give a list of mixtures in the
        order of `classes_`, or a dict by class, if classes need different ones. Instead of a mixture you can give a
        function ``f(X, sample_weight=...)`` that returns a fitted one or the result of `select`, for example
        ``functools.partial(tgmm.select, n_components=range(1, 6))`` to choose the number of components of each class.
        Noise has one volume in all classes, so that the class of a row far from all of them does not depend on how wide
        each class is. If ``noise_volume`` is "hypervolume", it is the volume of all rows.
    priors : array-like of shape (C,) or dict, optional
        Prior probabilities of the classes, in the order of `classes_` or by class. By default they are the shares of
        the classes in the training data. Change them if the classes will be more or less frequent in the data that you
        predict. A saved classifier has them as an array.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The classes in sorted order.
    class_prior_ : ndarray of shape (C,)
        Prior probabilities of the classes.
    estimators_ : list of GaussianMixture
        The fitted mixture of each class. ``estimators_[0].summary()`` explains the components of the first.
    n_features_in_ : int
        Number of features of the training data.
    feature_names_in_ : ndarray of str
        Names of the features, if the training data had them.

    Notes
    -----
    In Hastie & Tibshirani 1996 (JRSS B 58) the components of all classes share one covariance. Here each class has its
    own covariances, as in Fraley & Raftery 2002 (JASA 97) and in mclust's MclustDA.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture, MixtureClassifier
    >>> X = np.concatenate([np.linspace(-1, 1, 20) + shift for shift in (0, -5, 5)])[:, None]
    >>> y = ["inner"] * 20 + ["outer"] * 40
    >>> estimator = {"inner": GaussianMixture(1), "outer": GaussianMixture(2)}
    >>> MixtureClassifier(estimator).fit(X, y).predict([[-4.5], [0.5], [4.5]])
    array(['outer', 'inner', 'outer'], dtype='<U5')
    """

    _entries: ClassVar = {"classes_": str, "class_prior_": Tensor, "priors": Tensor}
    classes_: np.ndarray
    class_prior_: np.ndarray
    estimators_: list[GaussianMixture]

    @checking
    def __init__(self, estimator: Any = None, priors: Any = None) -> None:
        self.estimator = estimator
        self.priors = priors

    @staticmethod
    def _default() -> GaussianMixture:
        """Return one component with a full covariance."""
        return GaussianMixture()

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> MixtureClassifier:
        """Fit a mixture to the rows of each class.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            Anything that `GaussianMixture.fit` accepts. A source is read once for each class.
        y : array-like of shape (n,)
            The class of each row.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, not negative. A weight of 2 counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used. If a class cannot be fitted, for example because it has too few rows,
            the message names it.

        Examples
        --------
        Let BIC choose the number of components of each class:

        >>> from functools import partial
        >>> import numpy as np
        >>> from tgmm import MixtureClassifier, select
        >>> X = np.concatenate([np.linspace(-1, 1, 20) + shift for shift in (0, -5, 5)])[:, None]
        >>> y = ["inner"] * 20 + ["outer"] * 40
        >>> chosen = partial(select, n_components=[1, 2], covariance_types="spherical", random_state=0)
        >>> classifier = MixtureClassifier(chosen).fit(X, y)
        >>> [model.n_components for model in classifier.estimators_]
        [1, 2]
        """
        labels = _labels(y, type(self).__name__)
        _check_length(X, labels)
        weights = check_weights(sample_weight, len(labels))
        weights = np.ones(len(labels)) if weights is None else weights.numpy()
        classes = np.unique(labels[weights > 0])
        names = classes.tolist()
        templates = with_common_noise(_templates(self._template, names), X, weights, type(self).__name__)
        differ = len({may_lack(template) for template in templates}) > 1 and as_source(X) is None
        models, shares = [], []
        for name, template in zip(names, templates, strict=True):
            of_class = weights * (labels == name)
            rows, own = _rows_of(X, of_class) if differ else (X, of_class)
            models.append(fitted_mixture(template, rows, own, f"The mixture of class {name!r}"))
            shares.append(of_class.sum() / weights.sum())
        check_common_noise(models, names)
        priors = np.array(shares) if self.priors is None else _check_priors(self.priors, names)
        self.classes_, self.class_prior_, self.estimators_ = classes, priors, models
        return self

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as `GaussianMixture.fit` accepts them.

        Returns
        -------
        array or Tensor of shape (n,)
            A tensor if X is one and the classes are numbers, otherwise a NumPy array.

        Examples
        --------
        >>> import torch
        >>> from tgmm import MixtureClassifier
        >>> X = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
        >>> MixtureClassifier().fit(X, torch.tensor([0, 0, 1, 1])).predict(torch.tensor([[-1.5], [1.5]]))
        tensor([0, 1])
        """
        discriminant, kind = self._discriminant, self.classes_.dtype.kind
        if kind in "biuf" and (isinstance(X, Tensor) or is_foreign(X)):
            values = self.classes_.astype({"b": np.bool_, "f": np.float64}.get(kind, np.int64))
            return discriminant.labels(X, torch.from_numpy(values))
        codes = imported(discriminant.labels(X, torch.arange(len(self.classes_))), "X")
        return self.classes_[codes.cpu().numpy() if isinstance(codes, Tensor) else codes]

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probabilities of the classes for each row.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as for `predict`.

        Returns
        -------
        array or Tensor of shape (n, C)
            In the order of `classes_`. Each row sums to 1.

        Examples
        --------
        >>> from tgmm import MixtureClassifier
        >>> classifier = MixtureClassifier().fit([[-2.0], [-1.0], [1.0], [2.0]], ["a", "a", "b", "b"])
        >>> classifier.predict_proba([[0.0]]).round(3)
        array([[0.5, 0.5]])
        """
        return self._discriminant.probabilities(X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the posterior probabilities, which are accurate where the probabilities underflow.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as for `predict`.

        Returns
        -------
        array or Tensor of shape (n, C)
            In the order of `classes_`.

        Examples
        --------
        >>> from tgmm import MixtureClassifier
        >>> classifier = MixtureClassifier().fit([[-2.0], [-1.0], [1.0], [2.0]], ["a", "a", "b", "b"])
        >>> classifier.predict_proba([[100.0]]).tolist()
        [[0.0, 1.0]]
        >>> classifier.predict_log_proba([[100.0]]).round(3).tolist()
        [[-1200.0, 0.0]]
        """
        return self._discriminant.log_probabilities(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the share of rows, by weight, whose class is predicted correctly.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as for `predict`.
        y : array-like of shape (n,)
            Their classes.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            Between 0 and 1.

        Examples
        --------
        >>> from tgmm import MixtureClassifier
        >>> classifier = MixtureClassifier().fit([[-2.0], [-1.0], [1.0], [2.0]], ["a", "a", "b", "b"])
        >>> classifier.score([[-1.5], [-0.5], [0.5], [1.5]], ["a", "b", "b", "b"])
        0.75
        """
        labels = as_array(y)
        weights = as_array(check_weights(sample_weight, len(labels)))
        return accuracy_score(labels, as_array(self.predict(X)), sample_weight=weights)

    def summary(
        self, X: Any = None, y: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES
    ) -> Summary:
        """Explain the fitted classifier: the mixture of each class, and what sets the classes apart.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d), optional
            Rows to describe the classifier on. Give their classes, too. With them, the summary also has the accuracy.
        y : array-like of shape (n,), optional
            Classes of these rows.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.
        max_features : int, default=6
            How many features to show at most, those in which the classes differ most. None shows all of them.

        Returns
        -------
        Summary
            ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` gives all numbers to pandas.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If only one of X and y is given, or if they cannot be used.

        Examples
        --------
        >>> from tgmm import MixtureClassifier
        >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["a", "a", "b", "b"]
        >>> MixtureClassifier().fit(X, y).summary(X, y).facts["Accuracy"]
        '1.0000'
        """
        check_is_fitted(self, "estimators_")
        if (X is None) != (y is None):
            raise ValueError("summary describes the model on rows with their classes: give X and y, or neither.")
        facts: dict[str, Any] = {"Classes": len(self.classes_), "Features": self.n_features_in_}
        if X is not None:
            facts |= {"Rows": len(as_array(y)), "Accuracy": f"{self.score(X, y, sample_weight):.4f}"}
        classes, mixtures = self.classes_.tolist(), [(model.mixture_, solution_of(model)) for model in self.estimators_]
        return explained_classes(classes, self.class_prior_, mixtures, facts, max_features)

    def _essentials(self) -> str:
        """Return the classes, with the number of components and the prior probability of each."""
        sizes = [number_of(model.n_components, "component") for model in self.estimators_]
        each = zip(self.classes_.tolist(), self.class_prior_, sizes, strict=True)
        listed = [f"{name!r} (prior {prior:.3f}, {size})" for name, prior, size in each]
        more = ", ..." * (len(listed) > explaining.LISTED)
        return f"Fitted: {len(listed)} classes, {', '.join(listed[: explaining.LISTED])}{more}."

    def __sklearn_tags__(self) -> Any:
        """Say that rows may lack values where those of some class may."""
        tags, template = super().__sklearn_tags__(), self._template
        each = template.values() if isinstance(template, Mapping) else template
        each = [each] if each is template and not isinstance(each, list | tuple) else each
        tags.input_tags.allow_nan = any(map(may_lack, each))
        return tags

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return _first(self).n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the features, where the training data had them."""
        return _first(self).feature_names_in_

    @property
    def _discriminant(self) -> Discriminant:
        """The fitted classes with their prior probabilities."""
        check_is_fitted(self, "estimators_")
        mixtures = tuple(model.mixture_ for model in self.estimators_)
        if len({mixture.columns.may_lack for mixture in mixtures}) > 1:  # what a row lacks, it lacks for each class
            mixtures = tuple(mixture.changed(columns=mixture.columns.lacking()) for mixture in mixtures)
        return Discriminant(mixtures, as_float64(self.class_prior_, "class_prior_"))

    def _content(self) -> tuple[State, list[str]]:
        """Return classes, priors, settings and fitted mixtures."""
        classes = self.classes_.tolist()
        template, left_out = template_state(self.estimator, classes)
        state: State = {
            **template,
            "classes_": _classes_as_stored(self.classes_),
            "class_prior_": as_float64(self.class_prior_, "class_prior_"),
            "priors": as_float64([] if self.priors is None else _in_order(self.priors, classes), "priors"),
        }
        for i, model in enumerate(self.estimators_):
            state |= prefixed(fitted_state(model), f"estimators_.{i}")
        return state, left_out

    def _become(self, state: State, device: Any) -> None:
        """Become the classifier of a state dict."""
        classes = _stored_classes(state["classes_"])
        owner = type(self).__name__
        models = [fitted_model(part_of(state, f"estimators_.{i}"), device, owner) for i in range(len(classes))]
        if len({(model.n_features_in_, model.mixture_.dtype, model.mixture_.columns.names) for model in models}) > 1:
            raise ValueError("the mixtures of its classes differ in their features or float types.")
        self.class_prior_ = _check_priors(state["class_prior_"], classes.tolist())
        self.estimator = template_of(state, classes.tolist(), device)
        self.priors = own(state["priors"]) if state["priors"].numel() else None
        self.classes_, self.estimators_ = classes, models


def _first(classifier: MixtureClassifier) -> GaussianMixture:
    """Return the mixture of the first class, or raise as for any attribute that is not there."""
    check_is_fitted(classifier, "estimators_")
    return classifier.estimators_[0]


def _labels(y: Any, owner: str) -> np.ndarray:
    """Return the classes of rows, (n,), or raise a ValueError that says what is wrong with them."""
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    given = as_array(y)
    require_labels(given, "y")
    labels = column_or_1d(given, warn=True)
    check_classification_targets(labels)
    if not len(labels):
        raise ValueError("y has no rows: there is nothing to learn from.")
    return labels


def _check_length(X: Any, labels: np.ndarray) -> None:
    """Raise a ValueError where there are not as many labels as rows, or these come in another order."""
    source = as_source(X)
    if source is None:
        check_consistent_length(X, labels)
        return
    require_order(source, "y")
    if source.n_rows not in (None, len(labels)):
        raise ValueError(f"y must have one class per row: X has {source.n_rows} rows, y has {len(labels)}.")


def _templates(estimator: Any, classes: list[Any]) -> list[Any]:
    """Return what is fitted to each class."""
    templates = _arranged(estimator, classes)
    for setting in ("distributed", "checkpoint"):
        if any(getattr(template, setting, None) for template in templates):
            raise ValueError(f"A classifier makes several fits in one process: leave {setting} of its estimator out.")
    return templates


def _rows_of(X: Any, weights: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the rows of a class, those of positive weight, and their weights."""
    index = np.flatnonzero(weights > 0)
    rows = imported(X, "X")
    rows = rows[torch.from_numpy(index).to(rows.device)] if isinstance(rows, Tensor) else _safe_indexing(rows, index)
    return rows, weights[index]


def _arranged(estimator: Any, classes: list[Any]) -> list[Any]:
    """Return the mixture that is to be fitted to each class, of one for all, a list or a dict."""
    if isinstance(estimator, Mapping):
        if set(estimator) != set(classes):
            raise ValueError(f"estimator must have a mixture for each of the classes {classes}; has {list(estimator)}.")
        return [estimator[name] for name in classes]
    if not isinstance(estimator, list | tuple):
        return [estimator] * len(classes)
    if len(estimator) != len(classes):
        raise ValueError(
            f"estimator is a list of {len(estimator)}, but there are {len(classes)} classes, {classes}: give one "
            "mixture for each, in this order."
        )
    return list(estimator)


def _in_order(priors: Any, classes: list[Any]) -> Any:
    """Return prior probabilities by class in the order of the classes, and others as they are.

    A pandas series is by class, unless its index only counts.
    """
    if hasattr(priors, "to_dict") and list(priors.index) != list(range(len(priors))):
        priors = priors.to_dict()
    if not isinstance(priors, Mapping):
        return priors
    if set(priors) != set(classes):
        raise ValueError(f"priors must have one for each of the classes {classes}; has {list(priors)}.")
    return [priors[name] for name in classes]


def _check_priors(priors: Any, classes: list[Any]) -> np.ndarray:
    """Return prior probabilities (C,), or raise a ValueError."""
    values = as_float64(_in_order(priors, classes), "priors")
    if values.shape != (len(classes),):
        raise ValueError(
            f"priors must have shape (n_classes,) = ({len(classes)},), one for each class in the order of classes_, "
            f"{listed(classes)}, or be a dict by class; got shape {tuple(values.shape)}."
        )
    if not ((values >= 0).all() and abs(float(values.sum()) - 1) < TOLERANCE):
        raise ValueError(
            f"priors must be >= 0 and sum to 1; got {values.tolist()}, with the sum {float(values.sum())}."
        )
    return values.numpy().copy()


def _type_of(classes: np.ndarray) -> str:
    """Return NumPy's name of the type of classes; text is as wide as its longest."""
    return "U" if classes.dtype.kind == "U" else classes.dtype.str


def _classes_as_stored(classes: np.ndarray) -> str:
    """Return what a file holds of classes."""
    try:
        return json.dumps([_type_of(classes), classes.tolist()])
    except TypeError as error:
        raise ValueError(
            f"classes_ have the type {classes.dtype}, but a file can only hold numbers or text: fit to such labels, "
            "for example y.astype(str), or pickle the classifier."
        ) from error


def _stored_classes(text: Any) -> np.ndarray:
    """Return the classes that a file holds."""
    dtype, names = json.loads(text)
    classes = np.array(names, dtype=dtype)
    if (
        _type_of(classes) != dtype
        or classes.dtype.kind not in "biufUO"
        or classes.ndim != 1
        or not len(classes)
        or classes.tolist() != names
    ):
        raise ValueError("classes_ must be a list of numbers, or of text.")
    if len(set(names)) != len(names):
        raise ValueError("classes_ must differ.")
    return classes
