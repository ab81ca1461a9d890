"""The README's code runs, one block after the other, and prints what the comments beside its `print` calls say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def python_blocks():
    """The README's python blocks, each behind as many empty lines as precede it, so that errors name its lines."""
    text = README.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield "\n" * text.count("\n", 0, match.start(1)) + match[1]


def promised_output(block):
    return [line.strip() for line in re.findall(r"^print\(.*\)  # (.*)$", block, flags=re.MULTILINE)]


def test_there_is_code_in_the_readme():
    assert any("print(" in block for block in python_blocks())


def test_readme_code_prints_what_it_says(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    namespace = {"__name__": "readme"}
    for block in python_blocks():
        exec(compile(block, README, "exec"), namespace)
        assert capsys.readouterr().out.splitlines() == promised_output(block)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)]+)\)", README.read_text("utf-8")))))
def test_readme_links_lead_to_files(link):
    assert (ROOT / link).exists()
