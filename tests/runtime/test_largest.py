"""Marks of the largest of several values: the first of them where some are equal, whatever stands beside."""

import torch

from tgmm.runtime.largest import mark_largest


def test_the_first_of_the_largest_is_marked_whatever_is_beside_it():
    nan = float("nan")
    scores = torch.tensor([[[1.0, 3.0, 2.0], [2.0, 3.0, 2.0], [0.0, 1.0, 2.0]], [[nan, nan, nan]] * 3])
    mark_largest(scores)
    assert scores.tolist() == [[[0, 1, 1], [1, 0, 0], [0, 0, 0]], [[0, 0, 0]] * 3]
