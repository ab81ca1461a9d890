"""The check of a GPU in small: every part of it that the CPU can do, with Triton's kernels in its interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[1]
OPTIONS = ["--device", "cpu", "--shapes", "300x3x5", "--accuracy", "300x3x5", "--raw", "300x3x2", "--repeats", "1"]
PARTS = ["accuracy", "passes", "raw", "missing", "many", "iterations"]
OPTIONS += ["--matrix", "64", "--copied", "4096", "--problems", "3", "--parts", *PARTS]


@pytest.mark.slow
def test_the_check_of_a_gpu_runs_in_small_on_the_cpu(tmp_path):
    output, environment = tmp_path / "gpu.json", os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "gpu", *OPTIONS, "--output", output]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].startswith(("- ", "Nothing fell short."))
    records = json.loads(output.read_text())["records"]
    assert {record["part"] for record in records} == set(PARTS)
    assert all(isinstance(record["seconds"], float) for record in records if "seconds" in record)
    kernels = ("tgmm", "tgmm, bfloat16 parts", "tgmm, float32 products")
    assert all(record[kernel] < 2e-6 for record in records if record["part"] == "accuracy" for kernel in kernels)
    assert all(record["same bits"] for record in records if "same bits" in record)
