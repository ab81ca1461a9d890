"""Covariances as values, the structures that restrict them, and the registry of those."""

from __future__ import annotations

from tgmm.covariance.base import CovarianceCollapse, Covariances, Factor
from tgmm.covariance.diagonal import Diagonal
from tgmm.covariance.factors import FactorNoise, Factors, LowRankNoise
from tgmm.covariance.full import Full, FullFactor
from tgmm.covariance.latent import Latent
from tgmm.covariance.low_rank import LowRank
from tgmm.covariance.parsimonious import PARSIMONIOUS
from tgmm.covariance.spherical import Spherical
from tgmm.covariance.structures import Free, Structure

FREE = [Free(form, shared=shared) for shared in (False, True) for form in (Full, Diagonal, Spherical)]
FACTORS = (LowRankNoise(), FactorNoise())
STRUCTURES: dict[str, Structure] = {structure.name: structure for structure in (*FREE, *PARSIMONIOUS, *FACTORS)}
CODES = {  # of mclust, for structures that have names of their own
    "EII": "tied_spherical",
    "VII": "spherical",
    "EEI": "tied_diag",
    "VVI": "diag",
    "EEE": "tied_full",
    "VVV": "full",
}
MCLUST = (*CODES, *(structure.name for structure in PARSIMONIOUS))  # all fourteen of its structures
ALIASES = {"tied": "tied_full", **CODES}
COMMON = tuple(structure.name for structure in FREE)  # what is tried where nothing else is asked for


def structure_named(name: str, n_factors: int | None = None) -> Structure:
    """Return the structure with this ``covariance_type``, or raise a ValueError that lists them.

    Only some have a number of factors: others raise a ValueError where there is one.
    """
    structure = STRUCTURES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if structure is None:
        choices = ", ".join(repr(choice) for choice in (*STRUCTURES, *ALIASES))
        raise ValueError(f"covariance_type must be one of {choices}; got {name!r}.")
    if n_factors is None:
        return structure
    if not isinstance(structure, Factors):
        choices = " or ".join(repr(each.name) for each in FACTORS)
        raise ValueError(
            f"n_factors={n_factors} is the number of factors of covariance_type={choices}: leave it out for {name!r}."
        )
    return structure.with_factors(n_factors)


def separate(structure: Structure) -> Structure:
    """Return the structure of the same form in which each component has any covariance of its own."""
    return STRUCTURES[structure.form.form]


__all__ = [
    "ALIASES",
    "COMMON",
    "FACTORS",
    "MCLUST",
    "STRUCTURES",
    "CovarianceCollapse",
    "Covariances",
    "Factor",
    "Factors",
    "Full",
    "FullFactor",
    "Latent",
    "LowRank",
    "Spherical",
    "Structure",
    "separate",
    "structure_named",
]
