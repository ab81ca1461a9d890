"""The example for torchrun: two processes on a folder of Parquet files, killed and started again."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranks
from ranks import overlapping

from tgmm import GaussianMixture

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "distributed_fit.py"


@pytest.fixture
def folder(tmp_path):
    """Five files of different lengths: two ranks get unequal shares."""
    path = tmp_path / "rows"
    path.mkdir()
    for number, rows in enumerate(np.split(overlapping(4000), [200, 1400, 2200, 3800])):
        parquet.write_table(pyarrow.table(dict(zip("abc", rows.T, strict=True))), path / f"{number}.parquet")
    return path


@contextlib.contextmanager
def launched(*arguments):
    """The example on two ranks; neither the launcher nor its ranks outlive the block."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", "2", str(EXAMPLE), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.terminate()  # it ends its ranks
        try:
            process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            for pid in [*ranks_of(process), process.pid]:
                os.kill(pid, signal.SIGKILL)
            raise


def output_of(*arguments):
    with launched(*arguments) as process:
        return process.communicate(timeout=60)[0]


def ranks_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_two_processes_fit_a_folder(folder, tmp_path):
    output = output_of(folder, "--save", tmp_path / "model.pth")
    assert re.search(r"2 processes, \d+ iterations, log-likelihood -\d+\.\d+ a row", output), output
    files = [parquet.read_table(folder / f"{number}.parquet").to_pandas() for number in (0, 2, 4, 1, 3)]
    alone = GaussianMixture(3, random_state=0).fit(np.concatenate(files))
    model = GaussianMixture.load(tmp_path / "model.pth")
    np.testing.assert_allclose(model.means_, alone.means_, rtol=1e-10)
    np.testing.assert_allclose(model.covariances_, alone.covariances_, rtol=1e-9)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks as Linux tells them")
def test_a_rank_killed_and_all_started_again(folder, tmp_path):
    checkpoint, model = tmp_path / "fit.pth", tmp_path / "model.pth"
    arguments = (folder, "--components", 8, "--tol", 0, "--checkpoint", checkpoint, "--save", model)
    with launched(*arguments) as process:
        limit = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(ranks_of(process)[1], signal.SIGKILL)
        output = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and not model.exists(), output
    output = output_of(*arguments)
    assert model.exists(), output
    again = GaussianMixture.load(model)
    shards = [[folder / f"{number}.parquet" for number in numbers] for numbers in ((0, 2, 4), (1, 3))]
    settings = {"n_components": 8, "tol": 0.0, "random_state": 0}
    undisturbed = ranks.results(ranks.fit_files, 2, settings, shards)[0]
    for name in ("weights_", "means_", "covariances_", "objective_history_"):
        assert np.array_equal(undisturbed[name], getattr(again, name)), name


def test_an_error_ends_all_ranks(folder):
    rows = parquet.read_table(folder / "3.parquet").to_pandas()
    rows.loc[5, "b"] = np.nan
    parquet.write_table(pyarrow.Table.from_pandas(rows), folder / "3.parquet")
    output = output_of(folder)
    assert output.count("ValueError: On rank 1 of 2: Input X contains NaN") == 2, output
