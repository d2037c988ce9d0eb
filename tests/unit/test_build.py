"""`make notebooks`: copies are run, pages made, a failure is said, and no notebook is lost."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

FOLDER = Path(__file__).parents[2] / "notebooks"


def python(*arguments) -> subprocess.CompletedProcess:
    words = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def notebook(path: Path, source: str) -> Path:
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    return path


def test_good_notebooks_become_pages_and_stay_as_they_are(tmp_path):
    path = notebook(tmp_path / "00_good.ipynb", "print(40 + 2)")
    before = path.read_bytes()
    done = python(FOLDER / "build.py", path, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    assert "42" in (tmp_path / "out" / "html" / "00_good.html").read_text()
    assert "00_good.html" in (tmp_path / "out" / "html" / "index.html").read_text()


@pytest.mark.parametrize("where", ["--output", "--in-place"])
def test_a_notebook_that_fails_is_said_and_kept(where, tmp_path):
    path = notebook(tmp_path / "00_bad.ipynb", "1 / 0")
    before = path.read_bytes()
    done = python(FOLDER / "build.py", path, where, *([tmp_path / "out"] if where == "--output" else []))
    assert done.returncode == 1 and "ZeroDivisionError" in done.stdout + done.stderr
    assert path.read_bytes() == before


def test_the_picture_of_before_and_after(tmp_path):
    done = python(FOLDER / "before_after.py", tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300
        assert min(high - low for low, high in picture.convert("RGB").getextrema()) > 200


def test_copies_do_not_take_the_place_of_the_notebooks(tmp_path):
    (tmp_path / "notebooks").mkdir()
    path = notebook(tmp_path / "notebooks" / "00_good.ipynb", "print(1)")
    before = path.read_bytes()
    done = python(FOLDER / "build.py", path, "--output", tmp_path)
    assert done.returncode != 0 and "name another folder" in done.stderr
    assert path.read_bytes() == before
