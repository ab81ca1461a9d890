"""Settings and data that every test module shares."""

import os

# scikit-learn's array API checks need this before scipy is first imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest
import torch

HAS_ACCELERATOR = torch.cuda.is_available()
if not HAS_ACCELERATOR:
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is first imported: its kernels then run on the CPU


def pytest_collection_modifyitems(items):
    """Skip what needs an accelerator where there is none."""
    for item in items:
        if "gpu" in item.keywords and not HAS_ACCELERATOR:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))


@pytest.fixture(autouse=True)
def cpu_unless_marked(request, monkeypatch):
    """Arrays go to the accelerator by default; only tests marked `gpu` mean that, the others compare bits."""
    if "gpu" not in request.keywords:
        monkeypatch.setattr("tgmm.runtime.devices.default_device", lambda: torch.device("cpu"))


@pytest.fixture
def blobs():
    """Three overlapping clusters in three dimensions, 150 rows: an easy fit that takes several iterations."""
    rng = np.random.default_rng(7)
    centres = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [-3.0, 4.0, 2.0]])
    spreads = np.array([[1.0, 0.5, 2.0], [0.7, 1.5, 1.0], [1.2, 1.0, 0.6]])
    return np.concatenate([c + s * rng.standard_normal((50, 3)) for c, s in zip(centres, spreads, strict=True)])


@pytest.fixture
def far_blobs():
    """Four clusters of 30 rows so far apart that every sensible start finds them; their labels and centres."""
    rng = np.random.default_rng(11)
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    labels = np.repeat(np.arange(4), 30)
    return centres[labels] + rng.standard_normal((120, 2)), labels, centres
