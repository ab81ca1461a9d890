"""Hard assignment: one component a row, the first of the most probable."""

import math

import pytest
import torch

from tgmm.kernels.assignment import hard, most_probable, soft, winners


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_of_the_most_probable_components_gets_the_row(dtype):
    joint = torch.randint(-3, 3, (5, 1000), generator=torch.Generator().manual_seed(0)).to(dtype) * 7  # many ties
    joint[:, 0] = -math.inf
    labels = [column.tolist().index(max(column.tolist())) for column in joint.T]
    assert most_probable(joint).tolist() == labels
    log_likelihood, _ = soft(joint.clone(), 0)
    assigned = joint.clone()
    found, objective = hard(assigned, 0)
    assert torch.equal(assigned, torch.nn.functional.one_hot(torch.tensor(labels), 5).T.to(dtype))
    alone = joint.clone()
    assert not any(part.any() for part in winners(alone))  # no likelihood
    assert torch.equal(alone, assigned)
    assert torch.equal(found, log_likelihood)
    assert torch.equal(objective, joint.amax(0) * math.log(2))
