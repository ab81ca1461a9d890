"""What is fitted to what: the data in its frame, and everything that stays the same over runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Structure, separate
from tgmm.covariance.moments import Sums
from tgmm.data.chunk import Chunk
from tgmm.data.columns import Columns
from tgmm.data.data import Data, TensorData
from tgmm.data.summary import DistinctRows, Summary, frame_variance
from tgmm.data.training import Training
from tgmm.em.expectation import Expectation
from tgmm.em.precision import Ladder
from tgmm.em.special import NOTHING, Special
from tgmm.kernels.assignment import Labelled, Rule, hard, soft, winners
from tgmm.kernels.choose import kernels_for
from tgmm.model.frame import Frame
from tgmm.model.noise import Noise
from tgmm.model.priors import Priors
from tgmm.model.regularisation import Regularisation
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import home, moved, widen, working_type
from tgmm.runtime.frozen import kept, replace
from tgmm.runtime.words import agreeing
from tgmm.start.filling import filled
from tgmm.start.noise import cleaned
from tgmm.start.sample import are_far, projection, start_rows

ROUNDING = 1e-6  # relative, of sums in another order: far more than it does
# Least reg_covar where every covariance matrix is singular: what less leaves of a variance is mostly rounding.
ALL_SINGULAR = 1e-8
FEW_NUMBERS = 1 << 18  # that an iteration computes, which stay in a core's own cache
LARGEST_WEIGHT = torch.finfo(torch.float64).max ** 0.5  # the sum of all


@dataclass(frozen=True)
class Units:
    """How what a fit comes to becomes the user's."""

    frame: Frame
    unit: float  # of the weights
    n_volumes: float  # how often the log-volume of the frame is part of an objective
    dtype: torch.dtype
    device: torch.device
    special: Special = NOTHING

    def objective_out(self, objective: float) -> float:
        """Map an objective per unit of weight from the frame into the user's units."""
        return self.frame.log_density_out(objective, self.n_volumes)


@dataclass(frozen=True)
class Problem:
    """The fit of a mixture to data, before any start."""

    data: Data
    columns: Columns
    summary: Summary
    sample: Chunk  # of the rows
    frame: Frame
    update: Maximiser  # with the priors in the frame, and no regularisation yet
    reg_covar: float
    n_components: int
    dtype: torch.dtype
    device: torch.device
    special: Special = NOTHING

    @classmethod
    def of(
        cls,
        training: Training,
        update: Maximiser,
        n_components: int,
        reg_covar: float,
        known: Summary | None = None,
        special: Special = NOTHING,
    ) -> Problem:
        """Set up the frame of the data's summary, and the kernels, for an update in the user's units.

        Where the summary of the data is known from before, its frame serves again.

        Raises
        ------
        ValueError
            If there are fewer rows than components, the known summary is not one of the data, or its variances leave
            its float type.
        """
        check_sizes(training.data, n_components)
        _check_weight(training.data.weight)
        # Without priors a common factor of the weights changes nothing, so that they can be made safe to multiply.
        unit = training.data.weight / training.data.n_rows if update.priors == Priors() else 1.0
        data, survey = training.data.in_unit(unit), training.survey.in_unit(unit)
        dtype = working_type(data.dtype)
        if not survey.summary.n_gaps:
            update = update.streamed(data.n_features)
        structure = update.structure
        place = home(n_components * structure.sums.size(data.n_features), training.device)
        summary = moved(survey.summary, place)
        if known is not None:
            summary = _recognised(moved(known, place), summary)
        _check_range(summary, dtype, training.columns)
        variance = frame_variance(summary, survey.sample, dtype)
        frame = Frame.of(summary.origin, variance, dtype, one_scale=structure.one_scale)
        return cls(
            data=data if special.labels is None else data.knowing(special.labels),
            columns=training.columns,
            summary=summary,
            sample=survey.sample,
            frame=frame,
            update=moved(update, place).in_frame(frame),
            reg_covar=reg_covar,
            n_components=n_components,
            dtype=dtype,
            device=training.device,
            special=special,
        )

    def on_sample(self, sample: Chunk) -> Problem:
        """Return the same problem on rows of a sample, which stand for all; starts see what they see of all."""
        return replace(self, data=self._standing_for_all(sample)).seeing(self)

    def _standing_for_all(self, some: Chunk) -> TensorData:
        """Return some rows, with weights that sum to that of all."""
        weights = some.own_weights()
        return TensorData(some.rows, weights * (float(self.summary.weight) / weights.sum()))

    @kept
    def ladder(self) -> Ladder:
        """The kernels of this data, which they keep something of."""
        # Beside noise, sums over components depend on what they have of each row.
        structure = self.structure
        sums = separate(structure).moment if self.noise is not None and structure.shared else structure.sums
        gaps, dtype = self.summary.n_gaps > 0, self.dtype
        numbers = self.data.n_rows * numbers_of_row(self.data.n_features, self.n_components, sums)
        if self.device.type == "cpu" and numbers <= FEW_NUMBERS:  # float32 is no quicker there, and is not as precise
            dtype = torch.float64
        return Ladder(tuple(kernels_for(sums, self.frame, self.n_components, dtype, self.device, gaps=gaps)))

    def seeing(self, other: Problem) -> Problem:
        """Return the problem with what starts see taken from another with the same data and frame: found once."""
        for name in ("whole_sample", "start_rows"):
            vars(self)[name] = getattr(other, name)
        return self

    @property
    def noise(self) -> Noise | None:
        """The noise among the rows."""
        return self.special.noise

    @kept
    def without_noise(self) -> list[Problem]:
        """The problems that starts solve: of rows, or those of the sample, which are not likely to be noise."""
        if self.noise is None:
            return [self]
        data, special = self.data, self.special
        if special.is_noise is not None and data.in_memory is not None:
            rows = data.take((~special.is_noise).nonzero().flatten())
            return [self._of_components(rows, special.noise_share)]
        whole, lacking = self.whole_sample, self.sample_with_values
        found = cleaned(whole, self.start_rows[0], self.frame, special.noise_share)
        return [self._of_components(lacking.part(each.is_near), each.share, whole.part(each.is_near)) for each in found]

    def _of_components(self, some: Chunk, share: float, whole: Chunk | None = None) -> Problem:
        """Return the problem of rows without noise, that leave out such a share, filled in if they are so already."""
        problem = replace(
            self,
            data=self._standing_for_all(some),
            sample=some,
            update=self.update.without_noise(),
            special=Special(held=self.special.held, noise_share=share),
        )
        if whole is not None:
            vars(problem)["whole_sample"] = whole
        return problem

    @property
    def structure(self) -> Structure:
        """The covariance structure."""
        return self.update.structure

    @kept
    def whole_sample(self) -> Chunk:
        """What starts look at: the sample, with something in the place of values that its rows lack."""
        return filled(self.sample_with_values, self.frame) if self.summary.n_gaps else self.sample

    @kept
    def sample_with_values(self) -> Chunk:
        """The sample without rows that have no value at all."""
        if not self.summary.n_gaps:
            return self.sample
        empty = torch.isnan(self.sample.rows).all(1)
        return self.sample.part(~empty) if bool(empty.any()) else self.sample

    @kept
    def start_rows(self) -> tuple[Tensor, Tensor]:
        """The different rows that starts look at, in the frame, (m, d), and their weights, (m,)."""
        return start_rows(self.whole_sample, self.frame, self.dtype)

    @kept
    def has_far_rows(self) -> bool:
        """Whether starts see rows nearer than they are."""
        return bool(are_far(self.start_rows[0]).any())

    @kept
    def regularisation(self) -> Regularisation:
        """What is added to variances."""
        least = ALL_SINGULAR if self.reg_covar > 0 and self._are_all_singular() else 0.0
        return Regularisation(max(self.reg_covar, least), self.structure.one_scale, self.summary.constant)

    def _are_all_singular(self) -> bool:
        """Whether any covariance matrix is singular, since there are no more different rows than features."""
        if not self.structure.form.spans:
            return False
        n_features, rows = self.data.n_features, self.whole_sample.rows
        parts = (rows[: 4 * n_features + 64], rows)  # of which the first is mostly enough
        return all(projection(widen(part)).unique().numel() <= n_features for part in parts)

    def expectation(self, rule: Rule) -> Expectation:
        """Return an E-step."""
        if self.special.labels is not None and rule in (soft, hard, winners):
            rule = Labelled(rule)
        return Expectation(self.data, self.ladder, rule, noise=self.noise)

    @kept
    def units(self) -> Units:
        """What maps the fit's numbers out of the frame."""
        weight = self.data.weight / self.data.unit
        n_volumes = 1 + self.update.n_volumes(self.n_components) / weight
        return Units(self.frame, self.data.unit, n_volumes, self.dtype, self.device, self.special)

    def degeneracies(self) -> list[str]:
        """Return what in the data makes some variance rest on `reg_covar` alone."""
        notes = []
        n_rows, n_features = self.data.n_rows, self.data.n_features
        constant = self.summary.constant.nonzero().flatten().tolist()
        if len(constant) == n_features and not self.summary.n_gaps:
            notes.append("all rows are identical")
        elif constant:
            notes.append(f"{self.columns.said(constant)} {agreeing(len(constant), 'is', 'are')} constant")
        if not notes and self._has_fewer_distinct_rows(self.n_components):
            notes.append(f"there are fewer different rows than n_components={self.n_components}")
        singular = self.structure.form.spans and n_rows <= n_features and self.update.priors.covariance is None
        if singular and not notes:
            notes.append(f"there are no more rows ({n_rows}) than features ({n_features}) for covariance matrices")
        rest = "reg_covar" if self.update.priors.covariance is None else "covariance_prior"
        return [f"{note}: variances are determined by {rest}" for note in notes]

    def _has_fewer_distinct_rows(self, count: int) -> bool:
        """Whether the data has fewer than count different rows; reads it only where the sample does not tell."""
        first = self.sample.rows[: 4 * count + 64]
        if count == 1 or first[:, 0].unique().numel() >= count or first.unique(dim=0).shape[0] >= count:
            return False
        if self.sample.rows.shape[0] == self.data.n_rows:
            return self.sample.rows.unique(dim=0).shape[0] < count
        n_features, dtype = self.data.n_features, self.data.dtype
        return self.data.fold(lambda: DistinctRows(n_features, dtype, count)).rows.shape[0] < count


def explain(collapse: CovarianceCollapse, reg_covar: float) -> str:
    """Return what happened to which component, and the remedy."""
    which = (
        "The shared covariance" if collapse.component is None else f"The covariance of component {collapse.component}"
    )
    return (
        f"{which} collapsed: it is singular to working precision (too few different rows, or linearly dependent "
        f"features). Raise reg_covar (it is {reg_covar:g}), give a covariance_prior, or fit fewer components."
    )


def check_sizes(data: Data, n_components: int) -> None:
    """Raise a ValueError where there are fewer rows than components."""
    if n_components > data.n_given_to_all:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows, but X has n_samples={data.n_given_to_all}: "
            "lower n_components."
        )
    if n_components > data.n_rows:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows of positive sample_weight; there are "
            f"{data.n_rows}."
        )


def _recognised(known: Summary, summary: Summary) -> Summary:
    """Return the summary known from before, or raise a ValueError where it is not one of this data.

    Sums may differ by the rounding of another order.
    """
    spread = (summary.scatter / summary.present).sqrt() + summary.minimum.abs() + summary.maximum.abs()
    moved_by = (known.origin + known.mean - summary.origin - summary.mean).abs()
    same = torch.equal(known.minimum, summary.minimum) and torch.equal(known.maximum, summary.maximum)
    same = same and (known.n_rows, known.n_gaps) == (summary.n_rows, summary.n_gaps)
    same = same and bool((moved_by <= ROUNDING * spread).all())
    for name in ("weight", "present", "scatter"):
        same = same and torch.allclose(getattr(known, name), getattr(summary, name), rtol=ROUNDING, atol=0.0)
    if not same:
        raise ValueError("The checkpoint's summary of the data does not match X: it was changed. Fit without resume.")
    return known


def numbers_of_row(n_features: int, n_components: int, sums: Sums) -> int:
    """Return how many numbers an iteration computes of each row."""
    return 1 + n_features + sums.size(n_features) + 2 * n_components


def _check_weight(weight: float) -> None:
    """Raise a ValueError where weights are so large that what they multiply leaves float64."""
    if not weight < LARGEST_WEIGHT:
        raise ValueError(f"sample_weight has the sum {weight:g}: divide it by a common factor.")


def _check_range(summary: Summary, dtype: torch.dtype, columns: Columns) -> None:
    """Raise a ValueError where variances leave the float type."""
    if summary.n_gaps and (empty := (summary.present == 0).nonzero().flatten().tolist()):
        raise ValueError(f"X has no value in {columns.said(empty)}: leave such features out.")
    variance, limits = summary.variance, torch.finfo(dtype)
    good = (summary.mean.abs() < torch.inf) & (variance < limits.max)  # NaN is neither
    good &= (variance >= limits.tiny) | summary.constant
    if not good.all():
        column = int((~good).nonzero()[0])
        low, high = float(summary.minimum[column]), float(summary.maximum[column])
        raise ValueError(
            f"X has values from {low:g} to {high:g} in {columns.said([column])}: their variance leaves the range of "
            f"{str(dtype).removeprefix('torch.')}. Rescale that feature"
            + (", or pass float64." if dtype == torch.float32 else ".")
        )
