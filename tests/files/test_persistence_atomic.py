"""A save is all or nothing: whatever fails, whenever it is killed, there is the old file or the new, and no other."""

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from tgmm import GaussianMixture

NAMES = ["model.pth", "model.safetensors"]
every_name = pytest.mark.parametrize("name", NAMES)


def model(n_features=1, value=0.0):
    return GaussianMixture.from_parameters([1.0], np.full((1, n_features), value), [1.0], "spherical")


def value_of(path):
    return float(GaussianMixture.load(path).means_[0, 0])


def fail(error):
    def failing(*arguments, **keywords):
        raise error

    return failing


@every_name
@pytest.mark.parametrize("function", ["os.fsync", "os.replace", "os.fchmod", "builtins.open"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), PermissionError("Read-only"), KeyboardInterrupt()],
    ids=["full", "read-only", "interrupted"],
)
def test_a_failure_leaves_the_old_file_and_no_other(name, function, error, tmp_path, monkeypatch):
    path = tmp_path / name
    model(value=1.0).save(path)
    old = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(function, fail(error))
        with pytest.raises(type(error)):
            model(value=2.0).save(path)
    assert os.listdir(tmp_path) == [name]
    assert path.read_bytes() == old
    model(value=2.0).save(path)
    assert value_of(path) == 2.0


@every_name
def test_a_file_that_may_not_grow(name, tmp_path):
    """The system ends the write half-way, as on a full disk."""
    resource = pytest.importorskip("resource", reason="the limits of POSIX")
    path = tmp_path / name
    model(value=1.0).save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            model(100_000, value=2.0).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [name]
    assert value_of(path) == 1.0


@every_name
def test_folders_that_cannot_be_written_to(name, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError):
        model().save(tmp_path / "file" / name)
    with pytest.raises(FileNotFoundError):
        model().save(tmp_path / "missing" / name)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@every_name
def test_a_read_only_folder(name, tmp_path):
    model(value=1.0).save(tmp_path / name)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            model(value=2.0).save(tmp_path / name)
    finally:
        tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == [name]
    assert value_of(tmp_path / name) == 1.0


@every_name
def test_a_folder_of_that_name(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError):
        model().save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_content_then_name_then_folder_reach_the_disk(tmp_path, monkeypatch):
    """A name on disk before its content would be a damaged file after a power cut."""
    steps, fsync, replace = [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if is_folder else f"{os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def recorded_replace(source, target):
        assert os.path.dirname(source) == os.path.dirname(target)
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    path = tmp_path / "model.pth"
    model().save(path)
    assert steps == [f"{path.stat().st_size} bytes", "rename", "folder"]


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "model.pth", tmp_path / "link.pth"
    link.symlink_to(path)
    umask = os.umask(0o027)
    try:
        model(value=1.0).save(link)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        model(value=2.0).save(link)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert value_of(path) == 2.0


WRITER = """
import os, signal, sys, time
import numpy as np, torch
from tgmm import GaussianMixture

torch.set_num_threads(1)
path, rounds = sys.argv[1], int(sys.argv[2])
models = [
    GaussianMixture.from_parameters([1.0], np.full((1, 5_000), value), [1.0], "spherical") for value in (1.0, 2.0)
]
start = time.perf_counter()
for model in models:
    model.save(path)
longest = 2 * (time.perf_counter() - start)
seen = set()
for delay in np.random.default_rng(0).uniform(0.0, longest, rounds):
    models.reverse()
    child = os.fork()
    if child == 0:
        while True:
            for model in models:
                model.save(path)
    end = time.perf_counter() + delay
    # On a busy machine the writer's first round may take longer than the delay.
    while time.perf_counter() < end or (len(seen) < 2 and time.perf_counter() < end + 20):
        seen.add(float(GaussianMixture.load(path).means_[0, 0]))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.add(float(GaussianMixture.load(path).means_[0, 0]))
assert seen == {1.0, 2.0}, seen
print("whole")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@every_name
def test_a_writer_killed_while_it_saves_in_a_loop(name, tmp_path):
    """At any moment, and after each kill, readers find a whole file: the old one or the new."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / name), "20"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "whole\n", done.stderr
