"""Maximum likelihood factor analysis of covariance matrices: the noise variances, given which loadings are known.

For noise variances psi the best loadings are Psi^1/2 U (Lambda - I)^1/2 with the largest eigenvalues of
Psi^-1/2 S Psi^-1/2 and their axes, and what is left to minimise is a function of log psi alone (Joreskog 1967,
Psychometrika 32; Lawley & Maxwell 1971, Factor Analysis as a Statistical Method, 4.4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 1e-6  # of a feature's variance, that is noise
LOWEST = math.log(LEAST)
SWEEPS, HALVINGS = 100, 12
NEWTON = 32  # features up to which a step is one of Newton's, on every one of which second derivatives are taken
SETTLED = 1e-15  # slope of the objective, in nats a row, at which it is at its minimum
ROUNDING = 1e-15  # of eigenvalues
FLATTER = 0.95  # by which a slope shrinks at least where the objective has no more digits
STIFF = 1e-10  # what is added to second derivatives, which some directions may lack
LONGEST = 2.0  # change of the logarithm of a noise variance in one step


class Profile(NamedTuple):
    """The objective log |Sigma| + tr(Sigma^-1 S) as a function of the logarithms of noise variances."""

    n_factors: int
    logs: Tensor  # (m, d)
    value: Tensor  # (m,)
    values: Tensor  # (m, d) eigenvalues, ascending
    axes: Tensor  # (m, d, d)
    kept: Tensor  # (m, d) which of them are factors

    @classmethod
    def at(cls, matrices: Tensor, logs: Tensor, n_factors: int) -> Profile:
        """Return the profile of matrices (m, d, d) at logs (m, d)."""
        inverse_sd = (-0.5 * logs).exp()
        values, axes = torch.linalg.eigh(matrices * inverse_sd[..., :, None] * inverse_sd[..., None, :])
        kept = values > 1
        kept[..., : values.shape[-1] - n_factors] = False
        explained = torch.where(kept, values.clamp(min=1).log() + 1, values)
        return cls(n_factors, logs, logs.sum(-1) + explained.sum(-1), values, axes, kept)

    @property
    def loadings(self) -> Tensor:
        """Those of all axes, ascending, 0 where they are no factors, (m, d, d)."""
        strengths = torch.where(self.kept, self.values - 1, 0.0).sqrt()
        return (0.5 * self.logs).exp()[..., None] * self.axes * strengths[..., None, :]

    def of_some(self, index: Tensor) -> Profile:
        """Return those of some matrices."""
        return Profile(self.n_factors, *(part[index] for part in self[1:]))

    def replaced(self, which: Tensor, others: Profile) -> Profile:
        """Return the profiles with others in the place of those that are marked, (m,)."""
        parts = [part.clone() for part in self[1:]]
        for part, other in zip(parts, others[1:], strict=True):
            part[which] = other
        return Profile(self.n_factors, *parts)

    @property
    def pinned(self) -> Tensor:
        """Which logarithms are at their bound, and would go beyond it, (m, d)."""
        return (self.logs <= LOWEST) & (self.slope > 0)

    @property
    def free_slope(self) -> Tensor:
        """The derivatives in the logarithms, 0 of those that are at their bound, (m, d)."""
        return torch.where(self.pinned, 0.0, self.slope)

    def newton(self, index: int) -> Tensor:
        """Return Newton's step of one matrix, (d,), among those variances that are not at their bound.

        Where the objective bends down in some direction, second derivatives lack the parts that would do so.
        """
        pinned = self.pinned[index]
        free, least = ~pinned[:, None] & ~pinned, torch.diag(pinned + STIFF)
        for least_part in (-torch.inf, 0.0):
            root, info = torch.linalg.cholesky_ex(self.curvature(index, least_part) * free + least)
            if not info:
                break
        step = -torch.cholesky_solve(self.free_slope[index][:, None], root)[:, 0]
        return step * (LONGEST / max(LONGEST, float(step.abs().amax())))

    @property
    def slope(self) -> Tensor:
        """The derivatives in the logarithms, (m, d)."""
        return 1 - (self.axes.square() @ torch.where(self.kept, 1.0, self.values)[..., None])[..., 0]

    def curvature(self, index: int, least: float) -> Tensor:
        """Return the second derivatives of one matrix, (d, d), without those parts that are below a least.

        They are those of a spectral function, by divided differences of what is taken of eigenvalues: these are 1
        between axes that are no factors, 0 between factors, so that only a factor and another axis take a product.
        """
        values, axes, kept = self.values[index], self.axes[index], self.kept[index]
        rest, factors = torch.where(kept, 0.0, axes), axes[:, kept].T  # (d, d), (k, d)
        gaps, sums = values[kept][:, None] - values, values[kept][:, None] + values  # (k, d)
        divided = torch.where(gaps > 1e-12, (1 - values) / gaps, 0.5)
        pairs = (0.5 * divided * sums).clamp(min=least)
        others = (rest * pairs[:, None]) @ rest.T  # (k, d, d)
        crossed = 2 * (factors[:, :, None] * factors[:, None] * others).sum(0)
        return (rest @ rest.T) * ((rest * values) @ rest.T) + crossed


def noise_of(matrices: Tensor, n_factors: int, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the loadings (..., d, q) and noise variances (..., d) of covariance matrices (..., d, d).

    Given noise variances from before, one step is made from these. With many features it is their best loadings, and
    what these leave of the variances, which climbs (Liu & Rubin 1994, Biometrika 81: ECME).
    """
    n_features = matrices.shape[-1]
    flat = matrices.reshape(-1, n_features, n_features)
    variances = flat.diagonal(dim1=-2, dim2=-1)
    sd = torch.where(variances > 0, variances, 1.0).sqrt()
    correlations = flat / (sd[..., :, None] * sd[..., None, :])
    if before is None:
        profile = _minimum(Profile.at(correlations, _start(correlations, n_factors).log(), n_factors), correlations)
        noise = profile.logs.exp()
    else:
        start = (before.reshape(-1, n_features) / sd.square()).clamp(LEAST, 1.0)
        profile = Profile.at(correlations, start.log(), n_factors)
        if n_features <= NEWTON:
            profile = _minimum(profile, correlations, 1)
            noise = profile.logs.exp()
        else:
            noise = (1 - profile.loadings.square().sum(-1)).clamp(min=LEAST)
    sd = torch.where(variances > 0, sd, 0.0)  # no rounding where there is nothing: it would count as a variance
    loadings = (sd[..., None] * profile.loadings)[..., n_features - n_factors :].flip(-1)
    noise = torch.where(variances > 0, noise * sd.square(), variances)  # which collapses where there is none
    return loadings.reshape(*matrices.shape[:-1], n_factors), noise.reshape(matrices.shape[:-1])


def _start(correlations: Tensor, n_factors: int) -> Tensor:
    """Return where Joreskog 1967 starts: (1 - q / 2d) over the diagonal of the inverse."""
    n_features = correlations.shape[-1]
    ridge = 1e-6 * torch.eye(n_features, dtype=correlations.dtype, device=correlations.device)
    inverse = torch.linalg.inv(correlations + ridge).diagonal(dim1=-2, dim2=-1)
    return ((1 - 0.5 * n_factors / n_features) / inverse).clamp(LEAST, 1.0)


def _minimum(profile: Profile, correlations: Tensor, sweeps: int = SWEEPS) -> Profile:
    """Return the profile at its minimum, or after so many of Newton's steps, which all lower it, between bounds."""
    going = torch.ones_like(profile.value, dtype=torch.bool)  # (m,)
    for _ in range(sweeps):
        going = going & (profile.free_slope.abs().amax(-1) > SETTLED)
        if not going.any():
            break
        found = _lower(correlations[going], profile.of_some(going))
        stuck = found.logs.eq(profile.logs[going]).all(-1)
        profile = profile.replaced(going, found)
        going[going.clone()] = ~stuck
    return profile


def _lower(correlations: Tensor, profile: Profile) -> Profile:
    """Return the profile after Newton's steps, halved until they lower it, or where none does the profile.

    Where only rounding is left to gain, the slope decides.
    """
    steps = torch.stack([profile.newton(index) for index in range(len(profile.logs))])
    steepest = profile.free_slope.abs().amax(-1)  # (m,)
    open_ = torch.ones_like(steepest, dtype=torch.bool)
    result = profile
    for _ in range(HALVINGS):
        found = Profile.at(
            correlations[open_], (profile.logs[open_] + steps[open_]).clamp(LOWEST, 0.0), profile.n_factors
        )
        before = profile.value[open_]
        rounding = ROUNDING * found.values[:, -1].clamp(min=1)  # of the eigenvalues
        level = found.value <= before + rounding
        flatter = level & (found.free_slope.abs().amax(-1) < FLATTER * steepest[open_])
        better = torch.zeros_like(open_)
        better[open_] = (found.value < before - rounding) | flatter
        result = result.replaced(better, found.of_some(better[open_]))
        open_ = open_ & ~better
        if not open_.any():
            break
        steps = 0.5 * steps
    return result
