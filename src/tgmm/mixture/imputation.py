"""Values that rows lack, filled in by what a mixture expects of them, or drawn."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import Full
from tgmm.data.kinds import Arrays
from tgmm.data.validation import check_rows
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import predictor_of
from tgmm.model.observed import Block, Observed, blocks_of
from tgmm.model.parameters import Parameters
from tgmm.model.regularisation import SINGULAR
from tgmm.runtime.devices import check_device, standalone, widen
from tgmm.runtime.generators import RandomState, as_generator

ROWS = 16384  # filled in at a time


@overload
def impute(mixture: BaseMixture, X: Tensor, *, random_state: RandomState = None) -> Tensor: ...
@overload
def impute(mixture: BaseMixture, X: Arrays, *, random_state: RandomState = None) -> np.ndarray: ...
@overload
def impute(mixture: BaseMixture, X: Any, *, random_state: RandomState = None) -> Any: ...
@standalone()
def impute(mixture: BaseMixture, X: Any, *, random_state: RandomState = None) -> Any:
    """Return X with its missing values (NaN) filled in.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, d)
        Rows with NaN for missing values. They are accepted whatever `missing` was in the fit.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        If given, draw the values from their distribution given the observed values of the row. Several draws show how
        uncertain the values are (multiple imputation), and draws keep the variances of the features. By default the
        expected values are filled in, which have the smallest mean squared error.

    Returns
    -------
    array or Tensor of shape (n, d)
        In the type of X and the float type of the mixture. Observed values are unchanged.

    Notes
    -----
    Little & Rubin 2019 (Statistical Analysis with Missing Data, 3rd edition). A row without any value gets the mean of
    the mixture, or a draw from it. The mean of noise is the middle of the box around the data.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    >>> mixture.impute([[2.0, np.nan]])
    array([[2., 1.]])
    """
    columns = mixture.columns
    given, _ = check_rows(X, columns, may_lack=True)
    device = check_device(mixture.device, given.tensor if given.from_tensor else None)
    generator = None if random_state is None else as_generator(random_state)
    rows = given.tensor.to(mixture.dtype, copy=True)
    lacks = torch.isnan(rows).any(1).nonzero().flatten()
    if lacks.numel():
        may_lack = mixture.changed(columns=columns.lacking())
        predictor = predictor_of(may_lack, device)
        for part in lacks.split(ROWS):
            shares = widen(predictor.responsibilities(rows[part]))
            filled = _filled(mixture, widen(rows[part]), shares, generator)
            rows[part] = torch.where(torch.isnan(rows[part]), filled.to(rows), rows[part])
    return given.give_back(rows)


def _filled(mixture: BaseMixture, rows: Tensor, shares: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return rows (c, d) with expected or drawn values, given their probabilities (c, K), or with noise (c, K + 1)."""
    parameters = mixture.parameters
    place, n_components = parameters.means.device, parameters.n_components
    rows, shares = rows.to(place), shares.to(place)
    shares = shares / shares.sum(1, keepdim=True)
    normal = None
    if generator is not None:
        drawn = torch.multinomial(shares.cpu(), 1, generator=generator).to(place)
        shares = torch.zeros_like(shares).scatter_(1, drawn, 1.0)
        normal = torch.randn(rows.shape, dtype=torch.float64, generator=generator).to(place)
    filled = torch.empty_like(rows)
    everything = torch.arange(rows.shape[0], device=place)
    for block in blocks_of(~torch.isnan(rows), everything, n_components):
        found = _of_block(parameters, rows, shares[:, :n_components], normal, block)  # (P, n, d)
        filled[block.index[block.counts]] = found[block.counts]
    if mixture.noise is None:
        return filled
    noise = mixture.noise.to(place)
    place_in_box = torch.full_like(rows, 0.5)
    if generator is not None:
        place_in_box = torch.rand(rows.shape, dtype=torch.float64, generator=generator).to(place)
    return filled + shares[:, n_components:] * (noise.low + place_in_box * (noise.high - noise.low))


def _of_block(parameters: Parameters, rows: Tensor, shares: Tensor, normal: Tensor | None, block: Block) -> Tensor:
    """Return the rows of a few patterns, with expected values, and a draw of what the observed ones leave."""
    given = Observed(parameters, block.observed)
    deviations = given.deviations(rows[block.index])  # (P, K, n, d)
    expected = parameters.means[:, None] + deviations @ given.completion.mT
    own = shares[block.index].transpose(1, 2)[..., None]  # (P, K, n, 1)
    found = torch.where(own > 0, own * expected, 0.0).sum(1)
    if normal is None:
        return found
    # What rounding can take from a variance that others nearly tell is put back.
    least = SINGULAR * rows.shape[1] * parameters.covariances.variances  # (B, d)
    left = given.leftover + torch.diag_embed(torch.where(block.observed[:, None], 1.0, least))
    coloured = Full(left, rows.shape[1]).factor.colour(normal[block.index][:, None])  # (P, B, n, d)
    return found + torch.where(block.observed[:, None], 0.0, (own * coloured).sum(1))
