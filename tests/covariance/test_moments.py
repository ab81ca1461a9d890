"""Moments of few rows are made all at once, of many one block a feature: to the same bits."""

import pytest
import torch

from tgmm.covariance import moments


@pytest.mark.parametrize("n_features", [1, 2, 13])
def test_moments_of_few_rows_are_those_of_many(n_features, monkeypatch):
    rows = torch.randn(5, n_features, generator=torch.Generator().manual_seed(0))
    few, many = (torch.empty(n_features * (n_features + 1) // 2, 5) for _ in range(2))
    moments.Outer().fill(rows.T, few)
    monkeypatch.setattr(moments, "GATHERED", 0)
    moments.Outer().fill(rows.T, many)
    assert torch.equal(few, many)
    i, j = torch.triu_indices(n_features, n_features)
    assert torch.equal(few, torch.stack([torch.outer(row, row)[i, j] for row in rows], 1))
