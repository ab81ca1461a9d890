"""The site's code runs: Python without prompts (doctest runs the rest), and the commands of `tgmm`."""

import contextlib
import os
import re
import shlex
import socket
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from sklearn.datasets import load_iris

from tgmm import GaussianMixture
from tgmm.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.*") if page.suffix in (".rst", ".md"))
# The build makes the tutorials and runs their code; what is without prompts in coming_from is other libraries' code.
PAGES = [page for page in PAGES if not {"tutorials", "coming_from"} & set(page.parts)]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:(?: +.*)?\n)+)", re.MULTILINE)
# Commands that run elsewhere: in continuous integration, in a tutorial, or in the tests of many processes.
RUN_ELSEWHERE = {"git", "make", "pip", "torchrun"}

PIPE = "gunzip -c faithful.csv.gz | tgmm predict faithful.pth - >"  # needs a shell; tests/cli has the same in one


def blocks(page, language):
    """The blocks of a page in a language; those with prompts are left to doctest."""
    found = (FENCE if page.suffix == ".md" else DIRECTIVE).findall(page.read_text("utf-8"))
    return [text for name, text in found if name == language and not text.lstrip().startswith(">>>")]


def dedented(block):
    return re.sub(r"^   ", "", block, flags=re.MULTILINE)


def faithful():
    return np.loadtxt(ROOT / "examples" / "data" / "faithful.csv", delimiter=",", skiprows=1)


class OneWorker:
    """Ray's trainer as far as the page needs it: it calls a function in a process group."""

    def __init__(self, function, **_):
        self.fit = lambda: function({})


def ray_with(rows):
    """A stand-in for Ray, which is not installed, with one shard."""
    shard = types.SimpleNamespace(iter_batches=lambda **_: iter([rows]))
    train = types.SimpleNamespace(get_dataset_shard=lambda _: shard, ScalingConfig=lambda **_: None)
    torch_trainer = types.SimpleNamespace(TorchTrainer=OneWorker)
    ray = types.SimpleNamespace(train=train)
    return {"ray": ray, "ray.train": train, "ray.train.torch": torch_trainer}


@pytest.fixture
def process_group_of_one(monkeypatch):
    """Let `init_process_group` work as under torchrun, and leave no group behind."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_without_prompts_runs(page, tmp_path, monkeypatch, process_group_of_one):
    frames = pytest.importorskip("pandas")
    rows = frames.DataFrame(np.random.default_rng(0).normal(size=(600, 2)), columns=["a", "b"])
    rows.to_parquet(tmp_path / "part.parquet")
    monkeypatch.setattr(sys, "modules", {**sys.modules, **ray_with(rows)})
    monkeypatch.chdir(ROOT)
    names = {"__name__": page.stem, "X": faithful(), "own_rows": faithful(), "folder": tmp_path, "rows": rows}
    for block in blocks(page, "python"):
        exec(compile(dedented(block), page, "exec"), names)
    assert any(isinstance(value, GaussianMixture) for value in names.values())


def commands(page):
    """The commands that a page shows, those of all its consoles."""
    return re.findall(r"^ *\$ (.*)$", "".join(blocks(page, "console")), flags=re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in [*PAGES, README] if commands(page)], ids=lambda page: page.stem)
def test_every_command_is_run_somewhere(page):
    assert {command.split()[0] for command in commands(page)} <= RUN_ELSEWHERE | {"tgmm", "gunzip"}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The files that the commands read."""
    frames = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    eruptions = frames.DataFrame(faithful(), columns=["eruptions", "waiting"])
    for name in ("faithful.csv", "faithful.csv.gz", "rows.csv", "new.csv"):
        eruptions.to_csv(name, index=False)
    eruptions.mask(np.random.default_rng(0).random(eruptions.shape) < 0.1).to_csv("gaps.csv", index=False)
    iris = load_iris(as_frame=True)
    flowers = iris.data.assign(species=iris.target_names[iris.target])
    flowers[::2].to_csv("known.csv", index=False)
    iris.data[1::2].to_csv("others.csv", index=False)
    flowers.assign(species=flowers.species.where(flowers.index % 10 == 0)).to_csv("flowers.csv", index=False)


def test_commands_of_the_command_line_run(tables, capsys):
    shown = commands(README) + commands(ROOT / "docs" / "reference" / "command_line.rst")
    for command in [command for command in shown if "tgmm" in command.split()]:
        command = command.replace(PIPE, "tgmm predict faithful.pth faithful.csv.gz --out")
        arguments = shlex.split(command)[1:]
        assert main(arguments) in (0, None), (command, capsys.readouterr().err)
        if "--out" in arguments:
            assert os.path.getsize(arguments[arguments.index("--out") + 1]) > 0
