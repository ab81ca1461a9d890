"""Noise of one volume in the mixtures of all classes, so that these can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from tgmm.data.columns import Columns
from tgmm.estimators.composite import may_lack
from tgmm.estimators.fitting import opened
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.settings import Settings
from tgmm.estimators.special import HYPERVOLUME

ROUNDING = 1e-9  # of a log-volume


def with_common_noise(templates: Sequence[Any], X: Any, sample_weight: Any, owner: str) -> list[Any]:
    """Return mixtures to be fitted, with the volume of all rows for their noise where that is to follow the rows.

    A row that is far from the components of all classes has the noise's density in each. Were that one over the volume
    of the class's own rows, it would be of the class that takes up least room.
    """
    following = [_follows(template) for template in templates]
    if not any(following):
        return list(templates)
    first = Settings.of(templates[following.index(True)].get_params(deep=False))
    columns = Columns(None, None, owner, may_lack=any(map(may_lack, templates)))
    training = opened(first, X, sample_weight, columns, 0)
    if training.survey.summary.constant.any():  # of which the fits have more to say
        return list(templates)
    try:
        volume = math.exp(training.log_hypervolume)
    except OverflowError:
        raise ValueError("noise_volume='hypervolume' of all rows is beyond float64: rescale the features.") from None
    return [
        clone(template).set_params(noise_volume=volume) if follows else template
        for template, follows in zip(templates, following, strict=True)
    ]


def check_common_noise(models: Sequence[GaussianMixture], classes: Sequence[Any]) -> None:
    """Raise a ValueError where the noises of fitted mixtures have different volumes."""
    found = {name: model.mixture_.noise for name, model in zip(classes, models, strict=True)}
    volumes = {name: noise.log_volume for name, noise in found.items() if noise is not None}
    if volumes and max(volumes.values()) - min(volumes.values()) > ROUNDING:
        said = ", ".join(f"{math.exp(min(volume, 700)):.3g} of {name!r}" for name, volume in volumes.items())
        raise ValueError(
            f"The noise components of the classes have different volumes ({said}), and these volumes alone would "
            "determine the class of a row that is far from all components: give the estimator of each class the same "
            "number as noise_volume."
        )


def _follows(template: Any) -> bool:
    """Whether a mixture has noise whose volume follows the rows."""
    if not isinstance(template, GaussianMixture) or template.noise is not True:
        return False
    return isinstance(template.noise_volume, str) and template.noise_volume == HYPERVOLUME
