"""What editors and type checkers are told: options by name, and the kind of array that comes back."""

import inspect
import typing
from typing import get_args

import pytest

import tgmm
from tgmm.covariance import ALIASES, STRUCTURES
from tgmm.estimators.settings import EM, ERROR
from tgmm.mixture import densities, evaluation, imputation
from tgmm.plotting.display import KINDS, Kind
from tgmm.runtime import options
from tgmm.selection import CRITERIA
from tgmm.start import AUTO, STARTS


def test_options_are_those_of_the_registries():
    assert {*STRUCTURES, *ALIASES} == set(get_args(options.CovarianceType))
    assert get_args(options.Start) == (AUTO, *STARTS)
    assert get_args(options.Criterion) == tuple(CRITERIA)
    assert set(get_args(options.Missing)) == {EM, ERROR}
    assert get_args(Kind) == tuple(KINDS)


def test_only_public_names_are_listed():
    assert set(dir(tgmm)) == {*tgmm.__all__, "data", "plotting"}
    assert all(hasattr(tgmm, name) for name in dir(tgmm))


VERBS = [
    evaluation.predict,
    evaluation.predict_proba,
    evaluation.score_samples,
    densities.mahalanobis,
    imputation.impute,
]


@pytest.mark.skipif(not hasattr(typing, "get_overloads"), reason="Python 3.10 does not record overloads")
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_the_kind_that_comes_back_is_known(verb):
    found = [
        (each.__annotations__["X"], each.__annotations__["return"])
        for each in typing.get_overloads(inspect.unwrap(verb))
    ]
    assert found == [("Tensor", "Tensor"), ("Arrays", "np.ndarray"), ("Any", "Any")]
