"""Names of scikit-learn and of earlier versions that mean something else here, and what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec

P = ParamSpec("P")

NO_BOUNDS = "there are no bounds: a prior pulls parameters towards values, and fixed keeps them there."

# Parameters of constructors, and of `set_params` and `select`, which take the same ones.
PARAMETERS = {
    "init_params": "it is init_means here; 'points' is scikit-learn's 'random_from_data'.",
    "means_init": "it is init_means here.",
    "weights_init": "it is init_weights here.",
    "precisions_init": "give covariances, not their inverses: init_covariances=numpy.linalg.inv(precisions).",
    "labels": "it is an argument of fit here: fit(X, labels=...).",
    "n_jobs": "the fits of one call share torch's threads: choose their number by torch.set_num_threads(n).",
    "algorithm": "there is one, EM: cem=True makes its assignments hard, and accelerate=None leaves it plain.",
    "convergence": "tol is an absolute change of the average objective, in nats.",
    "batch_size": "the chunk size is chosen automatically; partial_fit learns from batches.",
    "step_size": "it is an argument of partial_fit here: partial_fit(X, step=...).",
    "fixed_weights": "give init_weights, and fixed='weights'.",
    "frozen_means": "give init_means, and fixed={'means': [...]} with a boolean for each component.",
    "frozen_covariances": "give init_covariances, and fixed={'covariances': [...]} with a boolean for each component.",
    "frozen_components": "fixed={'weights': [...], 'means': [...], 'covariances': [...]} has booleans for each.",
    "weight_bounds": NO_BOUNDS,
    "mean_bounds": NO_BOUNDS,
    "covariance_bounds": NO_BOUNDS,
    "label_confidence": "fit(X, labels=...) of shape (n, K) has odds for each row.",
    "unlabeled_weight": "fit(X, sample_weight=...) weighs each row.",
    "components_per_class": "tgmm.MixtureClassifier fits a mixture to each class.",
    "temperature": "there is one algorithm, EM: cem=True makes its assignments hard.",
}

# Parameters of `GaussianMixture` that another estimator, or function, lacks.
LACKING = {
    "BayesianGaussianMixture": {
        "reg_covar": "its covariance_prior keeps variances above zero.",
        "cem": "its assignments are soft; GaussianMixture has cem.",
        "missing": "rows must be complete; GaussianMixture(missing='em') fits rows with missing values.",
        "noise": "every row belongs to a component; GaussianMixture(noise=True) has a component for noise.",
        "noise_volume": "every row belongs to a component; GaussianMixture(noise=True) has a component for noise.",
        "noise_init": "every row belongs to a component; GaussianMixture(noise=True) has a component for noise.",
        "fixed": "it estimates all parameters; GaussianMixture can keep some of them fixed.",
        "init_weights": "give init_means, or fit(X, init_responsibilities=...).",
        "init_covariances": "give init_means, or fit(X, init_responsibilities=...).",
        "n_factors": "only GaussianMixture has covariance_type='low_rank' and 'factor'.",
    },
    "select": {
        "covariance_type": "it compares several: name them in covariance_types.",
        "warm_start": "there is no earlier solution to continue from: every mixture is fitted from its own start.",
    },
}

# Attributes and methods of fitted models.
ATTRIBUTES = {
    "precisions_": "it has covariances_; mixture_.to_sklearn().precisions_ are their inverses.",
    "precisions_cholesky_": "it has covariances_; mixture_.to_sklearn() has the roots of their inverses.",
    "lower_bounds_": "it is objective_history_ here, which begins with the start.",
    "log_likelihood_history_": "it is objective_history_ here, which begins with the start.",
    "labels_": "fit_predict(X) and predict(X) give the labels.",
    "n_components_": "it is n_components; components that a prior has emptied have weights_ of 0.",
    "initial_weights_": "give a start as init_weights; fit with max_iter=0 returns the start.",
    "initial_means_": "give a start as init_means; fit with max_iter=0 returns the start.",
    "initial_covariances_": "give a start as init_covariances; fit with max_iter=0 returns the start.",
    "noise_weight_": "it exists only after a fit with noise=True.",
    "noise_volume_": "it exists only after a fit with noise=True.",
    "noise_proba": "with noise=True it is the last column of predict_proba(X).",
    "predict_class": "there are no classes: tgmm.MixtureClassifier fits a mixture to each.",
    "suggest_priors": "mean_prior='default' and covariance_prior='default' are mclust's.",
    "to_dict": "save_state_dict() returns the model as a flat dict.",
    "state_dict": "save_state_dict() returns the model as a flat dict; to_module() is a torch module.",
    "parameters": "it is not a torch module; to_module() returns one, and get_params() has the settings.",
    "eval": "it is not a torch module, and predictions never change it; to_module() returns a module.",
    "train": "it is not a torch module: fit(X) fits it, and to_module() returns a module.",
    "forward": "it is not a torch module; to_module() returns one, and log_prob can be differentiated.",
    "cuda": "it is to('cuda') here.",
    "cpu": "it is to('cpu') here.",
}


def missing(owner: str, name: str) -> str | None:
    """Return what to say where an attribute is asked for that another library, or version, has; else None."""
    return f"{owner!r} has no {name}: {ATTRIBUTES[name]}" if name in ATTRIBUTES else None


def check_parameter_names(
    names: Iterable[str], owner: str, error: type[Exception] = TypeError, known: Collection[str] = ()
) -> None:
    """Raise an error that says what to write instead of a parameter of another library, version or estimator.

    It also names the parameter that was meant, where a name is nearly one of those that are known.
    """
    hints = PARAMETERS | LACKING.get(owner, {})
    for name in names:
        if name in hints:
            raise error(f"{owner} has no parameter {name!r}: {hints[name]}")
    for name in sorted(set(names).difference(known)):
        if close := get_close_matches(name, known, 1):
            raise error(f"{owner} has no parameter {name!r}. Did you mean {close[0]!r}?")


def hinting(init: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """Return a constructor that says what to write instead of other libraries' parameters, and of too many by place."""
    kinds = [parameter.kind for parameter in inspect.signature(init).parameters.values()]
    n_places = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) - 1  # without self

    @cache
    def known() -> tuple[str, ...]:
        """Return the names of the parameters, as the class has them in the end."""
        return tuple(inspect.signature(checked).parameters)

    @wraps(init)
    def checked(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        check_parameter_names(kwargs, type(self).__name__, known=known())
        if len(args) > n_places:
            raise TypeError(
                f"{type(self).__name__} takes {n_places} positional arguments, but {len(args)} were given: pass those "
                f"from {args[n_places]!r} on by keyword."
            )
        init(self, *args, **kwargs)

    return checked
