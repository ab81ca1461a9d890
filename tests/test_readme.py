"""The README's code runs, one block after the other, and prints what the comments or the text beside it say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


def python_blocks():
    """The README's python blocks and their output.

    Each block stands behind as many empty lines as precede it, so that errors name its lines. Its output is the block
    of text behind it, or what the comments say.
    """
    text = README.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        comments = [line.strip() for line in re.findall(r"^print\(.*\)  # (.*)$", match[1], flags=re.MULTILINE)]
        output = match[2].splitlines() if match[2] else comments
        yield "\n" * text.count("\n", 0, match.start(1)) + match[1], output


def test_there_is_code_in_the_readme():
    assert any("print(" in block for block, _ in python_blocks())


def test_readme_code_prints_what_it_says(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    namespace = {"__name__": "readme"}
    for block, output in python_blocks():
        exec(compile(block, README, "exec"), namespace)
        assert capsys.readouterr().out.splitlines() == output


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)]+)\)", README.read_text("utf-8")))))
def test_readme_links_lead_to_files(link):
    assert (ROOT / link).exists()
