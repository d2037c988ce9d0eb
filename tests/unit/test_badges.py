"""Badges lead to the address that pyproject.toml names, and nowhere else."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))


@pytest.fixture(scope="module")
def badges():
    spec = importlib.util.spec_from_file_location("badges", ROOT / "notebooks" / "badges.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_has_them(badges):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert badges.readme_line() in text and text.count("colab-badge") == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_of_a_notebook_has_them_below_its_time(badges, path):
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    time = next(part for part in first.split("\n\n") if part.startswith("**Time and memory**"))
    assert time + badges.notebook_line(path.name) in first, "python notebooks/badges.py"
