"""What processes that share a fit can tell each other, said once: the same calls whatever the processes are.

It is here, and not in the test, for real processes to find it.
"""

import pickle
from dataclasses import dataclass

import torch

from tgmm.runtime.processes import ALONE, Group

ERRORS = (ValueError("bad"), FileNotFoundError("gone"), KeyError("lost"), TypeError("odd"), ModuleNotFoundError("none"))


@dataclass
class Sums:
    """Sums that can be packed."""

    values: torch.Tensor

    def packed(self):
        return self.values.flatten()

    def unpacked(self, sums):
        return Sums(sums.reshape(self.values.shape))


def own_values(rank):
    """A matrix of this rank's, whose sums are not the same in every order."""
    return torch.tensor([[0.1, 1e16, -3.0], [1 / 3, -1e16, 1e-9]], dtype=torch.float64) * (rank + 1)


def conversation(processes):
    """Everything that is said, by name."""
    rank, said = processes.rank, {"rank": processes.rank}
    said["exchange"] = processes.exchange({"rank": rank, "tensor": torch.arange(rank)})
    said["first"] = processes.first(("of", rank))
    said["guard"] = processes.guard(lambda: rank)
    said["agreed"] = processes.agreed(lambda: 10 + rank)
    values = own_values(rank)
    said["sum"] = processes.sum(values)
    same = [torch.linspace(0, 1, 7).double(), torch.tensor([[-0.0, 1e300]]).double()]
    said["total"] = processes.total(lambda: Sums(values), lambda: Sums(0 * values), same).values
    said["unchanged"] = torch.equal(values, own_values(rank))
    size = len(said["exchange"])
    said["errors"] = [raised(processes, error, size - 1) for error in ERRORS]
    said["errors of total"] = [raised_by_total(processes, error, size - 1) for error in ERRORS]
    apart = [tensor.clone() for tensor in same]
    if rank == size - 1:
        apart[0][3] = torch.nextafter(apart[0][3], torch.tensor(9.0).double())
    said["apart"] = attempted(lambda: processes.total(lambda: Sums(values), lambda: Sums(0 * values), apart).values)
    said["at last"] = processes.exchange(rank)
    return said


def raised(processes, error, on_rank):
    """The error of work that fails on one rank."""

    def work():
        if processes.rank == on_rank:
            raise error

    return attempted(lambda: processes.guard(work))


def raised_by_total(processes, error, on_rank):
    """The same where sums are wanted."""

    def work():
        if processes.rank == on_rank:
            raise error
        return Sums(torch.ones(2).double())

    return attempted(lambda: processes.total(work, lambda: Sums(torch.zeros(2).double()), []))


def attempted(work):
    """The result of work, or its error as kind and message."""
    try:
        return work()
    except Exception as error:
        return type(error), str(error)


def alone(rank=0):
    return conversation(ALONE)


def of_a_group(rank):
    return pickle.dumps(conversation(Group()))  # or tensors would be shared with a process that has ended


def swapped(rank):
    """Whether a group tells that two entries changed places on a rank."""
    same = torch.tensor([0.3, 0.7] if rank else [0.7, 0.3]).double()
    ones = torch.ones(2).double()
    return attempted(lambda: Group().total(lambda: Sums(ones), lambda: Sums(0 * ones), [same]).values.tolist())
