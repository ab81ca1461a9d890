"""The covariance structures and their registry."""

from __future__ import annotations

from tgmm.covariance.base import CovarianceCollapse, CovarianceStructure, Factor
from tgmm.covariance.diagonal import Diagonal
from tgmm.covariance.full import Full
from tgmm.covariance.spherical import Spherical

STRUCTURES: dict[str, CovarianceStructure] = {
    structure.name: structure
    for pooled in (False, True)
    for structure in (Full(pooled=pooled), Diagonal(pooled=pooled), Spherical(pooled=pooled))
}
ALIASES = {"tied": "tied_full"}


def structure_named(name: str) -> CovarianceStructure:
    """Return the structure with this ``covariance_type``, or raise a ValueError that lists them."""
    structure = STRUCTURES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if structure is None:
        choices = ", ".join(repr(choice) for choice in (*STRUCTURES, *ALIASES))
        raise ValueError(f"covariance_type must be one of {choices}; got {name!r}.")
    return structure


__all__ = ["ALIASES", "STRUCTURES", "CovarianceCollapse", "CovarianceStructure", "Factor", "structure_named"]
