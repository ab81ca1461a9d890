"""Which runs on a sample are followed, and how far."""

from dataclasses import dataclass

import pytest
import torch

from tgmm.em.refinement import _ended
from tgmm.em.run import Stopping
from tgmm.model.parameters import Parameters, nearest
from tgmm.runtime.frozen import replace

N_ROWS = 10_000  # which tell solutions apart that differ by more than 0.02 nats a row


@dataclass
class Run:
    """A run of which its path is known: what it comes to after each step, and what it then foresees to gain."""

    name: str
    parameters: Parameters
    path: list[tuple[float, float]]
    n_steps: int = 0

    @property
    def objective(self):
        return self.path[self.n_steps][0]

    @property
    def foreseen_gain(self):
        return self.path[self.n_steps][1]


class Paths:
    """What advances such runs, to their ends."""

    def __init__(self):
        self.n_steps = {}

    def advanced(self, run, stopping):
        for n_steps in range(1, len(run.path)):
            self.n_steps[run.name] = n_steps
            yield replace(run, n_steps=n_steps)


def run(name, *path, mean=0.0):
    parameters = replace(nearest(torch.tensor([[mean], [10.0]])), weights=torch.tensor([0.5, 0.5]))
    return Run(name, parameters, list(path))


@pytest.fixture
def paths():
    return Paths()


def names(paths, *runs):
    return [each.name for each in _ended(paths, runs, Stopping(1e-3, 100), N_ROWS)]


def test_a_run_that_will_end_clearly_lower_is_given_up(paths):
    best, low = run("best", (-1.0, 1.0), (-0.5, 0.0)), run("low", *[(-2.0, 0.001)] * 9, mean=1.0)
    assert names(paths, low, best) == ["best"]
    assert paths.n_steps == {"best": 1, "low": 1}


def test_a_run_that_may_still_end_higher_is_followed_to_its_end(paths):
    first = run("first", (-1.0, 1.0), (-0.5, 0.0))
    slow = run("slow", (-2.0, torch.inf), (-1.9, 0.5), (-1.0, 0.2), (-0.2, 0.0), mean=1.0)
    assert names(paths, first, slow) == ["slow"]


def test_a_run_goes_no_further_than_to_where_another_has_ended(paths):
    first = run("first", (-1.0, 1.0), (-0.5, 0.0))
    same = run("same", (-2.0, torch.inf), *[(-0.50001, torch.inf)] * 9, mean=0.001)
    other = run("other", (-3.0, torch.inf), *[(-0.50001, torch.inf)] * 9, mean=1.0)
    assert names(paths, same, first, other) == ["first", "other"]
    assert paths.n_steps == {"first": 1, "same": 1, "other": 9}
