"""What processes tell each other: one alone, the ranks of a group, and the threads that stand in for them elsewhere."""

import pickle

import pytest
import ranks
import together
import torch
from conversation import ERRORS, alone, conversation, of_a_group, own_values, swapped

pytestmark = pytest.mark.timeout(120)

KINDS = {
    "alone": lambda: [alone()],
    "a group of one": lambda: [pickle.loads(told) for told in ranks.results(of_a_group, 1)],
    "a group of three": lambda: [pickle.loads(told) for told in ranks.results(of_a_group, 3)],
    "threads": lambda: together.results(conversation, 3),
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def said(request):
    """What was said on every rank."""
    return request.param()


def test_every_rank_hears_every_value_in_order(said):
    assert [own["rank"] for own in said] == list(range(len(said)))
    for own in said:
        assert [told["rank"] for told in own["exchange"]] == list(range(len(said)))
        assert [told["tensor"].tolist() for told in own["exchange"]] == [list(range(rank)) for rank in range(len(said))]
        assert own["at last"] == list(range(len(said)))  # whatever failed before


def test_what_rank_0_has_is_what_all_go_on_with(said):
    for own in said:
        assert own["first"] == ("of", 0)
        assert own["agreed"] == 10
        assert own["guard"] == own["rank"]


def test_sums_are_the_same_bits_on_every_rank(said):
    expected = sum(own_values(rank) for rank in range(len(said)))
    for own in said:
        torch.testing.assert_close(own["sum"], expected, rtol=1e-15, atol=0)
        torch.testing.assert_close(own["total"], expected, rtol=1e-15, atol=0)
        assert torch.equal(own["sum"], said[0]["sum"])
        assert torch.equal(own["total"], said[0]["total"])
        assert own["unchanged"]


@pytest.mark.parametrize("of", ["errors", "errors of total"])
def test_an_error_on_one_rank_is_raised_on_all_as_one_of_pythons_own(said, of):
    """With the rank where it was, where there are several."""
    for own in said:
        for error, (kind, message) in zip(ERRORS, own[of], strict=True):
            own_kinds = tuple(one for one in (ValueError, TypeError, OSError, ImportError) if isinstance(error, one))
            assert issubclass(kind, own_kinds or (RuntimeError, KeyError))
            assert error.args[0] in message
            assert len(said) == 1 or f"On rank {len(said) - 1} of {len(said)}" in message


def test_tensors_that_come_apart_by_a_bit_are_told_on_every_rank(said):
    for own in said:
        if len(said) == 1:
            torch.testing.assert_close(own["apart"], own_values(0))
        else:
            kind, message = own["apart"]
            assert kind is RuntimeError
            assert "no longer the same on all ranks" in message


def test_entries_that_change_places_are_told():
    assert all(isinstance(outcome, tuple) for outcome in ranks.results(swapped, 2))
