"""float32 products stay float32, whatever the user's global switches say."""

import threading

import pytest
import torch

from tgmm import GaussianMixture
from tgmm.runtime.devices import float32_products

SWITCHES = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)


@pytest.fixture(params=["medium", "high", "new switch"])
def allowed(request):
    """Shorter products allowed, by either of torch's ways to say so; put back afterwards."""
    before = [switch.fp32_precision for switch in SWITCHES]
    if request.param == "new switch":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    else:
        torch.set_float32_matmul_precision(request.param)
    yield [switch.fp32_precision for switch in SWITCHES]
    torch.set_float32_matmul_precision("highest")
    for switch, value in zip(SWITCHES, before, strict=True):
        switch.fp32_precision = value


def test_switches_are_off_inside_and_as_they_were_afterwards(allowed):
    assert allowed[0] == "tf32"
    with float32_products():
        assert all(switch.fp32_precision in ("none", "ieee") for switch in SWITCHES)
    assert [switch.fp32_precision for switch in SWITCHES] == allowed


def test_switches_are_as_they_were_after_an_error(allowed):
    with pytest.raises(KeyError), float32_products():
        raise KeyError
    assert [switch.fp32_precision for switch in SWITCHES] == allowed


@pytest.mark.parametrize("n_features", [3, 64])  # by products of features, and in the centred form
def test_fits_and_predictions_multiply_in_float32(allowed, monkeypatch, n_features):
    X = torch.randn(1500, n_features, generator=torch.Generator().manual_seed(0))
    seen = set()

    def watched(multiply):
        def watching(a, b, **keywords):
            if a.dtype == torch.float32:
                seen.update(switch.fp32_precision for switch in SWITCHES)
            return multiply(a, b, **keywords)

        return watching

    monkeypatch.setattr(torch, "mm", watched(torch.mm))
    monkeypatch.setattr(torch.Tensor, "__matmul__", watched(torch.Tensor.__matmul__))
    GaussianMixture(2, init_means="kmeans", tol=1e-2, random_state=0).fit(X).score(X)
    assert seen
    assert seen <= {"none", "ieee"}
    assert [switch.fp32_precision for switch in SWITCHES] == allowed


def test_switches_are_off_until_the_last_thread_has_left(allowed):
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with float32_products():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    with float32_products():
        leave.set()
        thread.join()
        assert all(switch.fp32_precision in ("none", "ieee") for switch in SWITCHES)
    assert [switch.fp32_precision for switch in SWITCHES] == allowed


def test_a_switch_that_is_set_meanwhile_is_off_for_who_enters_and_kept_for_the_user():
    with float32_products():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with float32_products():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    torch.set_float32_matmul_precision("highest")
