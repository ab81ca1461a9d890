"""Products by oneDNN equal those by MKL, and are left alone where they are not to be had."""

from __future__ import annotations

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from tgmm import GaussianMixture
from tgmm.kernels import multiplication

has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.mark.skipif(not has_onednn, reason="this torch has no oneDNN")
@pytest.mark.parametrize("shape", [(16, 153, 700), (5, 6, 33), (1, 1, 1), (3, 700, 2)])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_those_in_float64(shape, transposed):
    n_rows, inner, n_columns = shape
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n_rows, inner, generator=generator)
    b = torch.randn(inner, n_columns, generator=generator)
    b = b.T.contiguous().T if transposed else b
    expected = a.double() @ b.double()
    bound = 2 * inner * torch.finfo(torch.float32).eps * (a.abs().double() @ b.abs().double())
    assert ((multiplication.by_onednn(a, b) - expected).abs() <= bound).all()


@pytest.mark.skipif(not has_onednn, reason="this torch has no oneDNN")
@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied_full"])
def test_fits_do_not_depend_on_the_library_that_multiplies(covariance_type, monkeypatch):
    rows = torch.randn(3000, 12, generator=torch.Generator().manual_seed(1)) + 3 * (torch.arange(3000) % 4)[:, None]

    def fitted(is_faster):
        monkeypatch.setattr(multiplication, "onednn_is_faster", lambda: is_faster)
        model = GaussianMixture(16, covariance_type=covariance_type, max_iter=5, tol=0, init_means=rows[:16])
        with pytest.warns(ConvergenceWarning):
            return model.fit(rows)

    one, other = fitted(True), fitted(False)
    torch.testing.assert_close(one.means_, other.means_, rtol=1e-3, atol=1e-3)
    assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-4)


def test_without_onednn_torch_multiplies(monkeypatch):
    def missing(a, b):
        raise AttributeError("no such operator")

    multiplication.onednn_is_faster.cache_clear()
    monkeypatch.setattr(multiplication, "by_onednn", missing)
    a, b = torch.ones(16, 64), torch.ones(64, 128)
    assert torch.equal(multiplication.multiply(a, b), a @ b)
    assert not multiplication.onednn_is_faster()
    multiplication.onednn_is_faster.cache_clear()


def test_a_wrong_product_is_not_used(monkeypatch):
    multiplication.onednn_is_faster.cache_clear()
    monkeypatch.setattr(multiplication, "by_onednn", lambda a, b: torch.zeros(a.shape[0], b.shape[1]))
    assert not multiplication.onednn_is_faster()
    multiplication.onednn_is_faster.cache_clear()


@pytest.mark.parametrize(
    ("text", "is_intel"),
    [("vendor_id\t: AuthenticAMD", False), ("vendor_id\t: GenuineIntel", True), ("CPU part", True)],
)
def test_whose_the_processor_is(text, is_intel, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(multiplication, "CPU_INFO", tmp_path / "cpuinfo")
    assert multiplication._is_intel() is is_intel
    monkeypatch.setattr(multiplication, "CPU_INFO", tmp_path / "missing")
    assert multiplication._is_intel()
