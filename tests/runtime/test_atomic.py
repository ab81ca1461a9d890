"""What is written over: devices, pipes, links, private files, leftovers of writers that were killed, and inputs."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from tgmm import GaussianMixture
from tgmm.data import ArraySource
from tgmm.runtime.atomic import replacing

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links, pipes and locks of POSIX")

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")


@pytest.fixture
def model():
    return GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")


def write(path, content):
    with replacing(path) as file:
        file.write(content)


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_through(linked, tmp_path):
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(path, b"new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and path.is_symlink() == linked


@root_only
@pytest.mark.parametrize("linked", [False, True])
def test_a_device_stays_one(linked, model, tmp_path):
    device = path = tmp_path / "null.pth"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    if linked:
        path = tmp_path / "link.pth"
        path.symlink_to(device)
    model.save(path)
    assert stat.S_ISCHR(device.stat().st_mode) and path.is_symlink() == linked


def test_results_that_are_mapped_need_a_regular_file(model, tmp_path):
    (tmp_path / "out.npy").symlink_to(os.devnull)
    with pytest.raises(ValueError, match="out.npy.*path of a regular file"):
        model.predict([[0.0]], out=tmp_path / "out.npy")


@pytest.mark.parametrize("there", [False, True])
def test_a_chain_of_links_is_followed(there, tmp_path):
    real, first, second = (tmp_path / name for name in ("real", "first", "second"))
    first.symlink_to(real)
    second.symlink_to(first)
    if there:
        real.write_bytes(b"old")
    write(second, b"new")
    assert real.read_bytes() == b"new" and first.is_symlink() and second.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_has_the_mode_of_the_one_it_replaces_from_the_start(mode, tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(mode)
    with replacing(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
        file.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


@root_only
def test_a_file_keeps_its_owner_from_the_start(tmp_path):
    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    path.chmod(0o600)
    with replacing(path) as file:
        during = os.fstat(file.fileno())
        file.write(b"new")
    for status in (during, path.stat()):
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o600)


def test_a_group_that_cannot_be_kept_leaves_its_rights_to_no_other(tmp_path, monkeypatch):
    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    path.chmod(0o664)
    old, real = path.stat(), os.fstat

    def elsewhere(descriptor):
        """The file as the system shows it, of another group."""
        values = list(real(descriptor))
        values[5] = old.st_gid + 1
        return os.stat_result(values)

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    monkeypatch.setattr(os, "fstat", elsewhere)
    write(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


KILLED = """
import os, pathlib, signal, sys
from tgmm.runtime.atomic import replacing
with replacing(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_next_write_clears_what_a_killed_one_left(tmp_path):
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    (tmp_path / ".a.csv.tmp").write_text("of another program")
    killed_writer(path)
    killed_writer(other)
    assert len(os.listdir(tmp_path)) == 3
    write(path, b"new")
    assert sorted(name.partition(".csv")[0] for name in os.listdir(tmp_path)) == [".a", ".b", "a"]
    write(other, b"new")
    assert sorted(os.listdir(tmp_path)) == [".a.csv.tmp", "a.csv", "b.csv"]


def test_a_writer_at_work_is_not_cleared_away(tmp_path):
    path = tmp_path / "a.csv"
    with replacing(path) as slow:
        slow.write(b"slow")
        write(path, b"quick")
        assert path.read_bytes() == b"quick"
    assert path.read_bytes() == b"slow" and os.listdir(tmp_path) == ["a.csv"]


def test_many_writers_of_one_file(tmp_path):
    path, failures = tmp_path / "a.csv", []

    def writer(number):
        try:
            for _ in range(50):
                write(path, bytes([number]) * 1000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    content = path.read_bytes()
    assert len(content) == 1000 and len(set(content)) == 1 and os.listdir(tmp_path) == ["a.csv"]


def test_a_long_name(tmp_path):
    path = tmp_path / ("ä" * 125 + ".csv")
    write(path, b"new")
    assert path.read_bytes() == b"new" and len(os.listdir(tmp_path)) == 1


def test_a_missing_folder_is_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder") as caught:
        model.save(tmp_path / "missing" / "m.pth")
    assert caught.value.filename == str(tmp_path / "missing")


def test_a_file_in_place_of_a_folder_is_named(model, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError) as caught:
        model.save(tmp_path / "file" / "m.pth")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_folder_as_target_is_named(model, tmp_path):
    (tmp_path / "m.pth").mkdir()
    with pytest.raises(IsADirectoryError, match="give the path of a file") as caught:
        model.save(tmp_path / "m.pth")
    assert caught.value.filename == str(tmp_path / "m.pth")


def test_a_full_disk_names_the_target_and_says_what_is_left(model, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not be written, and its previous content is unchanged") as caught:
        model.save(tmp_path / "m.pth")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "m.pth")


@pytest.mark.parametrize("kind", ["path", "link", "hard link", "map", "view", "batches", "source", "inside"])
def test_results_never_replace_the_rows_they_come_from(kind, model, tmp_path):
    path, out = tmp_path / "rows.npy", tmp_path / "out.npy"
    np.save(path, np.zeros((5, 1)))
    before = path.read_bytes()
    mapped = np.load(path, mmap_mode="r")
    X = {
        "map": mapped,
        "view": np.asarray(mapped)[1:],
        "batches": [mapped[:2], mapped[2:]],
        "source": ArraySource(mapped),
    }.get(kind, str(path))
    if kind == "link":
        out.symlink_to(path)
    elif kind == "hard link":
        out.hardlink_to(path)
    elif kind == "inside":
        X = tmp_path
    else:
        out = path
    with pytest.raises(ValueError, match=r"would be written over data .*: name another file"):
        model.predict(X, out=out)
    assert path.read_bytes() == before


def test_a_tilde_is_the_home_folder(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model.save("~/m.pth")
    np.savetxt(tmp_path / "rows.csv", np.arange(20.0)[:, None])
    fitted = GaussianMixture(2, checkpoint="~/c.pth").fit("~/rows.csv")
    GaussianMixture(2, checkpoint="~/c.pth").fit("~/rows.csv", resume=True)
    assert fitted.predict(tmp_path / "rows.csv", out="~/labels.npy").shape == (20,)
    assert GaussianMixture.load("~/m.pth").n_components == 2
    assert sorted(os.listdir(tmp_path)) == ["c.pth", "labels.npy", "m.pth", "rows.csv"]
