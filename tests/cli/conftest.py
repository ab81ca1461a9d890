"""What the tests of all commands share."""

import pytest

from tgmm.cli import main


@pytest.fixture
def run(capsysbinary):
    """Run a command: exit code, standard output, standard error."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsysbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    return call


@pytest.fixture
def wrote():
    """What the standard error says where all went well and a file was written."""
    return lambda what, path: f"tgmm: note: wrote {what} to {path}\n"
