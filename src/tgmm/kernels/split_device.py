"""The device side of `tgmm.kernels.split`, in Triton; imported on use.

Rows are padded to whole slices, components and columns to multiples of 8: padded rows and columns of features are 0,
and so are responsibilities of padded rows and components.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _rounded(value):
    """Return the nearest bfloat16 numbers: Triton's interpreter cuts digits off where a GPU rounds."""
    bits = value.to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return bits.to(tl.float32, bitcast=True).to(tl.bfloat16)


@triton.jit
def _rest(value, part):
    return value - part.to(tl.float32)


@triton.jit
def _store_parts(features, rows, columns, n_columns, values, mask):
    """Store the three parts of values in the order of the joint product: low, middle, high, middle, high, high."""
    high = _rounded(values)
    middle = _rounded(_rest(values, high))
    low = _rounded(_rest(_rest(values, high), middle))
    at = features + rows.to(tl.int64) * (6 * n_columns) + columns
    tl.store(at, low, mask=mask)
    tl.store(at + n_columns, middle, mask=mask)
    tl.store(at + 2 * n_columns, high, mask=mask)
    tl.store(at + 3 * n_columns, middle, mask=mask)
    tl.store(at + 4 * n_columns, high, mask=mask)
    tl.store(at + 5 * n_columns, high, mask=mask)


@triton.jit
def _standardised(x, shift, inverse_scale, rows, columns, inside, N_FEATURES: tl.constexpr):
    """Return feature by feature the rows in the frame; 0 where a column is none."""
    is_one = columns >= 0
    value = tl.load(x + rows.to(tl.int64) * N_FEATURES + columns, mask=inside & is_one, other=0.0).to(tl.float32)
    value -= tl.load(shift + columns, mask=is_one, other=0.0)
    return value * tl.load(inverse_scale + columns, mask=is_one, other=0.0)


@triton.jit
def features_kernel(
    x,  # (c, d)
    shift,  # (d,)
    inverse_scale,  # (d,)
    left,  # (columns,)
    right,  # (columns,)
    features,  # (rows, 6 columns) bfloat16, written
    n_rows,
    n_padded,
    n_columns,
    N_FEATURES: tl.constexpr,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write 1, z_j or z_i z_j with i = left and j = right of each column; nothing where i and j are both negative."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    columns = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = rows < n_rows
    i = tl.load(left + columns, mask=columns < n_columns, other=-1)
    j = tl.load(right + columns, mask=columns < n_columns, other=-1)
    values = tl.where((i >= 0) | (j >= 0), 1.0, 0.0)
    values *= tl.where(i >= 0, _standardised(x, shift, inverse_scale, rows, i, inside, N_FEATURES), 1.0)
    values *= tl.where(j >= 0, _standardised(x, shift, inverse_scale, rows, j, inside, N_FEATURES), 1.0)
    values = tl.where(columns == 0, 1.0, values)  # the constant
    values = tl.minimum(tl.maximum(tl.where(inside, values, 0.0), -LARGEST), LARGEST)
    _store_parts(features, rows, columns, n_columns, values, (rows < n_padded) & (columns < n_columns))


@triton.jit
def norms_kernel(
    x,  # (c, d)
    shift,  # (d,)
    inverse_scale,  # (d,)
    features,  # (rows, 6 columns) bfloat16, one column written
    n_rows,
    n_padded,
    n_columns,
    column,
    N_FEATURES: tl.constexpr,
    LARGEST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the squared norms of the rows in the frame."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    norms = tl.zeros((ROWS, 1), tl.float32)
    for first in range(0, N_FEATURES, COLUMNS):
        columns = (first + tl.arange(0, COLUMNS))[None, :]
        columns = tl.where(columns < N_FEATURES, columns, -1)
        z = _standardised(x, shift, inverse_scale, rows, columns, rows < n_rows, N_FEATURES)
        norms += tl.sum(z * z, 1)[:, None]
    norms = tl.minimum(tl.where(rows < n_rows, norms, 0.0), LARGEST)
    _store_parts(features, rows, column, n_columns, norms, rows < n_padded)


@triton.jit
def softmax_kernel(
    joint,  # (rows, K)
    weights,  # (c,), read if WEIGHTED
    high,  # (rows, K) bfloat16, written
    low,  # (rows, K) bfloat16, written
    log_sums,  # (c,), written
    n_rows,
    n_padded,
    n_components,
    WEIGHTED: tl.constexpr,
    LOWEST: tl.constexpr,
    TINY: tl.constexpr,
    ROWS: tl.constexpr,
    COMPONENTS: tl.constexpr,
):
    """Write the log-densities of a block of rows, in bits, and the two parts of weight times responsibility."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < n_rows
    at = rows.to(tl.int64)[:, None] * n_components
    largest = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for first in range(0, n_components, COMPONENTS):
        components = first + tl.arange(0, COMPONENTS)[None, :]
        mask = inside[:, None] & (components < n_components)
        values = tl.load(joint + at + components, mask=mask, other=LOWEST)
        peak = tl.maximum(largest, tl.max(values, 1))
        total = total * tl.exp2(largest - peak) + tl.sum(tl.where(mask, tl.exp2(values - peak[:, None]), 0.0), 1)
        largest = peak
    log_sum = largest + tl.log2(tl.maximum(total, TINY))
    tl.store(log_sums + rows, log_sum, mask=inside)
    for first in range(0, n_components, COMPONENTS):
        components = first + tl.arange(0, COMPONENTS)[None, :]
        mask = inside[:, None] & (components < n_components)
        share = tl.exp2(tl.load(joint + at + components, mask=mask, other=LOWEST) - log_sum[:, None])
        if WEIGHTED:
            share *= tl.load(weights + rows, mask=inside, other=0.0)[:, None]
        share = tl.where(mask, share, 0.0)
        part = _rounded(share)
        written = (rows < n_padded)[:, None] & (components < n_components)
        tl.store(high + at + components, part, mask=written)
        tl.store(low + at + components, _rounded(_rest(share, part)), mask=written)


@triton.jit
def totals_kernel(
    of_high,  # (slices, K, 3 columns): low, middle and high parts of the features
    of_low,  # (fewer slices, K, 2 columns): middle and high parts
    sums,  # (K, columns) float64, added to
    n_slices,
    n_fewer,
    n_components,
    n_columns,
    COMPONENTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Add up slices and parts in float64, in a fixed order."""
    k = (tl.program_id(0) * COMPONENTS + tl.arange(0, COMPONENTS))[:, None]
    columns = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    mask = (k < n_components) & (columns < n_columns)
    at = sums + k * n_columns + columns
    total = tl.load(at, mask=mask, other=0.0)
    for index in range(n_slices):
        row = (index * n_components + k).to(tl.int64)
        for part in tl.static_range(3):
            total += tl.load(of_high + (row * 3 + part) * n_columns + columns, mask=mask, other=0.0).to(tl.float64)
    for index in range(n_fewer):
        row = (index * n_components + k).to(tl.int64)
        for part in tl.static_range(2):
            total += tl.load(of_low + (row * 2 + part) * n_columns + columns, mask=mask, other=0.0).to(tl.float64)
    tl.store(at, total, mask=mask)
