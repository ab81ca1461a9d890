"""The device side of `tgmm.kernels.fused`, in Triton; imported on use."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _features(x, rows, columns, shift, inverse_scale, inside, N_FEATURES: tl.constexpr):
    """Return the columns of rows in the frame, 0 outside; 1 where a column is none."""
    is_one = columns >= 0
    value = tl.load(x + rows.to(tl.int64) * N_FEATURES + columns, mask=inside & is_one, other=0.0).to(tl.float32)
    return tl.where(is_one, (value - shift) * inverse_scale, 1.0)


@triton.jit
def sums_kernel(
    x,  # (c, d)
    shift,  # (d,)
    inverse_scale,  # (d,)
    left,  # (columns,)
    right,  # (columns,)
    eta,  # (COMPONENTS, 1 + columns [+ 1])
    weights,  # (c,) float64, read if WEIGHTED
    sums,  # (slices, COMPONENTS, 1 + columns [+ 1]), written
    totals,  # (slices,) float64, written
    n_rows,
    n_columns,
    width,
    N_FEATURES: tl.constexpr,
    PAIRED: tl.constexpr,
    NORMED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    LOWEST: tl.constexpr,
    TINY: tl.constexpr,
    LARGEST: tl.constexpr,
    SLICE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    COMPONENTS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write the sums of a slice of rows, of weight times responsibility times feature, and its log-likelihood in bits.

    Features are z_j, or z_i z_j where PAIRED, with i = left and j = right; 1 comes first, and the squared norm last
    where NORMED.
    """
    columns, components = tl.arange(0, COLUMNS), tl.arange(0, COMPONENTS)
    is_column = columns < n_columns
    j = tl.load(right + columns, mask=is_column, other=-1)
    shift_j = tl.load(shift + j, mask=j >= 0, other=0.0)[None, :]
    scale_j = tl.load(inverse_scale + j, mask=j >= 0, other=0.0)[None, :]
    i = tl.load(left + columns, mask=is_column, other=-1)
    shift_i = tl.load(shift + i, mask=i >= 0, other=0.0)[None, :]
    scale_i = tl.load(inverse_scale + i, mask=i >= 0, other=0.0)[None, :]
    at = eta + components[None, :] * width
    linear = tl.load(at + 1 + columns[:, None], mask=is_column[:, None], other=0.0)  # (COLUMNS, COMPONENTS)
    constant = tl.load(at)
    mass = tl.zeros((COMPONENTS,), tl.float32)
    products = tl.zeros((COMPONENTS, COLUMNS), tl.float32)
    squares = tl.zeros((COMPONENTS,), tl.float32)
    total = tl.zeros((ROWS,), tl.float64)
    index = tl.program_id(0)
    for first in range(0, SLICE, ROWS):
        rows = index * SLICE + first + tl.arange(0, ROWS)
        inside = rows < n_rows
        phi = _features(x, rows[:, None], j[None, :], shift_j, scale_j, inside[:, None], N_FEATURES)
        if PAIRED:
            phi *= _features(x, rows[:, None], i[None, :], shift_i, scale_i, inside[:, None], N_FEATURES)
            phi = tl.minimum(tl.maximum(phi, -LARGEST), LARGEST)
        phi = tl.where(inside[:, None] & is_column[None, :], phi, 0.0)
        joint = tl.dot(phi, linear, input_precision=PRECISION) + constant
        norms = tl.minimum(tl.sum(phi * phi, 1), LARGEST)[:, None] if NORMED else 0.0
        if NORMED:
            joint += norms * tl.load(at + width - 1)
        largest = tl.maximum(tl.max(joint, 1), LOWEST)
        share = tl.exp2(joint - largest[:, None])
        likelihood = tl.maximum(tl.sum(share, 1), TINY)
        log_sum = (largest + tl.log2(likelihood)).to(tl.float64)
        if WEIGHTED:
            weight = tl.load(weights + rows, mask=inside, other=0.0)
            total += tl.where(inside, log_sum * weight, 0.0)
            share *= (weight.to(tl.float32) / likelihood)[:, None]
        else:
            total += tl.where(inside, log_sum, 0.0)
            share *= tl.where(inside, 1.0 / likelihood, 0.0)[:, None]
        mass += tl.sum(share, 0)
        products += tl.dot(tl.trans(share), phi, input_precision=PRECISION)
        if NORMED:
            squares += tl.sum(share * norms, 0)
    to = sums + (index.to(tl.int64) * COMPONENTS + components) * width
    tl.store(to, mass)
    tl.store(to[:, None] + 1 + columns[None, :], products, mask=is_column[None, :])
    if NORMED:
        tl.store(to + width - 1, squares)
    tl.store(totals + index, tl.sum(total, 0))
