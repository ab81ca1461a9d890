"""The device side of `tgmm.kernels.fused`, in Triton; imported on use.

Tiles are (components, rows) for joint log-densities and responsibilities, (rows, features) for features. Components
and features are padded to whole tiles: padded components have the constant -inf, padded features are 0.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _features(x, shift, inverse_scale, left, right, columns, rows, last, N_FEATURES: tl.constexpr):
    """Return phi (rows, columns): z_i z_j with i = left and j = right, z_j where i < 0, and 0 where j < 0."""
    i = tl.load(left + columns)[None, :]
    j = tl.load(right + columns)[None, :]
    inside = (rows < last)[:, None]
    start = x + rows[:, None] * N_FEATURES
    z = tl.load(start + j, mask=inside & (j >= 0), other=0.0).to(tl.float32)
    z = (z - tl.load(shift + j, mask=j >= 0, other=0.0)) * tl.load(inverse_scale + j, mask=j >= 0, other=0.0)
    other = tl.load(start + i, mask=inside & (i >= 0), other=0.0).to(tl.float32)
    other = (other - tl.load(shift + i, mask=i >= 0, other=0.0)) * tl.load(inverse_scale + i, mask=i >= 0, other=0.0)
    return z * tl.where(i >= 0, other, 1.0)


@triton.jit
def _joint(
    x,
    shift,
    inverse_scale,
    left,
    right,
    eta,
    constants,
    norms,
    components,
    rows,
    last,
    n_columns,
    N_FEATURES: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    COMPONENTS: tl.constexpr,
    ROWS: tl.constexpr,
    STEP: tl.constexpr,
):
    """Return joint log-densities (components, rows), in bits: a product whose right side is made on the way."""
    joint = tl.zeros((COMPONENTS, ROWS), tl.float32)
    squares = tl.zeros((ROWS,), tl.float32)
    for first in range(0, n_columns, STEP):
        columns = first + tl.arange(0, STEP)
        phi = _features(x, shift, inverse_scale, left, right, columns, rows, last, N_FEATURES)
        coefficients = tl.load(eta + components[:, None] * n_columns + columns[None, :])
        joint = tl.dot(coefficients, tl.trans(phi), joint, input_precision=PRECISION)
        if NORM:
            squares += tl.sum(phi * phi, 1)
    joint += tl.load(constants + components)[:, None]
    if NORM:
        joint += tl.load(norms + components)[:, None] * squares[None, :]
    return joint


@triton.jit
def log_sum_kernel(
    x,  # (c, d)
    shift,  # (d,)
    inverse_scale,  # (d,)
    left,  # (columns,)
    right,  # (columns,)
    eta,  # (components, columns)
    constants,  # (components,)
    norms,  # (components,)
    log_sums,  # (c,), written
    joints,  # (components, c), written if STORED
    n_rows,
    n_components,
    n_columns,
    N_FEATURES: tl.constexpr,
    STORED: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    LOWEST: tl.constexpr,
    TINY: tl.constexpr,
    COMPONENTS: tl.constexpr,
    ROWS: tl.constexpr,
    STEP: tl.constexpr,
):
    """Write the log-densities of a block of rows, in bits: a running log-sum-exp over tiles of components."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rows < n_rows
    largest = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for first in range(0, n_components, COMPONENTS):
        components = first + tl.arange(0, COMPONENTS)
        joint = _joint(
            x, shift, inverse_scale, left, right, eta, constants, norms, components, rows, n_rows, n_columns,
            N_FEATURES, NORM, PRECISION, COMPONENTS, ROWS, STEP,
        )  # fmt: skip
        if STORED:
            tl.store(joints + components[:, None] * n_rows + rows[None, :], joint, mask=inside[None, :])
        peak = tl.maximum(largest, tl.max(joint, 0))
        total = total * tl.exp2(largest - peak) + tl.sum(tl.exp2(joint - peak[None, :]), 0)
        largest = peak
    tl.store(log_sums + rows, largest + tl.log2(tl.maximum(total, TINY)), mask=inside)


@triton.jit
def sums_kernel(
    x,  # (c, d)
    shift,  # (d,)
    inverse_scale,  # (d,)
    left,  # (columns,)
    right,  # (columns,)
    eta,  # (components, columns)
    constants,  # (components,)
    norms,  # (components,)
    weights,  # (c,), read if WEIGHTED
    log_sums,  # (c,), written if ALONE, else read
    joints,  # (components, c), read if STORED
    masses,  # (slices, components) float64, added to
    norm_sums,  # (slices, tiles of features, components) float64, added to
    sums,  # (slices, components, columns) float64, added to
    n_rows,
    rows_per_slice,
    N_FEATURES: tl.constexpr,
    WEIGHTED: tl.constexpr,
    STORED: tl.constexpr,
    ALONE: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    LOWEST: tl.constexpr,
    TINY: tl.constexpr,
    COMPONENTS: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    STEP: tl.constexpr,
    FLUSH: tl.constexpr,
):
    """Add the sums of one slice of rows for one tile of components by features; no other program writes there.

    If ALONE, the tile holds all components, and the log-sum-exp of the rows is found here.
    """
    components = tl.program_id(0) * COMPONENTS + tl.arange(0, COMPONENTS)
    columns = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    n_components, n_columns = tl.num_programs(0) * COMPONENTS, tl.num_programs(1) * FEATURES
    slice_index = tl.program_id(2)
    at = slice_index.to(tl.int64) * n_components
    start, last = slice_index * rows_per_slice, tl.minimum((slice_index + 1) * rows_per_slice, n_rows)
    for flush in range(start, last, FLUSH):
        total = tl.zeros((COMPONENTS, FEATURES), tl.float32)
        mass = tl.zeros((COMPONENTS,), tl.float32)
        norm_sum = tl.zeros((COMPONENTS,), tl.float32)
        for first in range(flush, tl.minimum(flush + FLUSH, last), ROWS):
            rows = first + tl.arange(0, ROWS)
            inside = rows < last
            if STORED:
                joint = tl.load(joints + components[:, None] * n_rows + rows[None, :], mask=inside[None, :], other=0.0)
            else:
                joint = _joint(
                    x, shift, inverse_scale, left, right, eta, constants, norms, components, rows, last, n_columns,
                    N_FEATURES, NORM, PRECISION, COMPONENTS, ROWS, STEP,
                )  # fmt: skip
            if ALONE:
                largest = tl.maximum(tl.max(joint, 0), LOWEST)
                log_sum = largest + tl.log2(tl.maximum(tl.sum(tl.exp2(joint - largest[None, :]), 0), TINY))
                tl.store(log_sums + rows, log_sum, mask=inside)
            else:
                log_sum = tl.load(log_sums + rows, mask=inside, other=0.0)
            share = tl.where(inside[None, :], tl.exp2(joint - log_sum[None, :]), 0.0)
            if WEIGHTED:
                share *= tl.load(weights + rows, mask=inside, other=0.0)[None, :]
            phi = _features(x, shift, inverse_scale, left, right, columns, rows, last, N_FEATURES)
            total = tl.dot(share, phi, total, input_precision=PRECISION)
            mass += tl.sum(share, 1)
            if NORM:
                norm_sum += tl.sum(share * tl.sum(phi * phi, 1)[None, :], 1)
        sums_at = sums + (at + components)[:, None] * n_columns + columns[None, :]
        tl.store(sums_at, tl.load(sums_at) + total.to(tl.float64))
        if tl.program_id(1) == 0:
            masses_at = masses + at + components
            tl.store(masses_at, tl.load(masses_at) + mass.to(tl.float64))
        if NORM:
            norms_at = norm_sums + at * tl.num_programs(1) + tl.program_id(1) * n_components + components
            tl.store(norms_at, tl.load(norms_at) + norm_sum.to(tl.float64))
