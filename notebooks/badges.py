"""Write the links to Colab and Binder into README and notebooks, for the address that `pyproject.toml` names.

python notebooks/badges.py
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK_LINE = re.compile(r"\n\nRun it in \[Colab\].*")
TIME = re.compile(r"(\*\*Time and memory\*\*.*?)(?=\n\n|$)", re.DOTALL)
README_LINE = re.compile(r"\[!\[Open in Colab\].*")


def repository() -> str:
    """The project's address, such as https://github.com/owner/name."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def addresses(name: str) -> tuple[str, str]:
    """Where Colab and Binder open the notebook of this file name."""
    project = repository().removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{project}/blob/main/notebooks/{name}"
    return colab, f"https://mybinder.org/v2/gh/{project}/main?labpath=notebooks/{name}"


def notebook_line(name: str) -> str:
    """What follows `TIME` in a notebook's first cell: links, not pictures, which would ask a server for something."""
    colab, binder = addresses(name)
    folder = repository().rstrip("/").rpartition("/")[2]
    first = f"`!git clone {repository()}`, `%cd {folder}/notebooks`, `%pip install ..`"
    return f"\n\nRun it in [Colab]({colab}) (first {first}) or [Binder]({binder})."


def readme_line() -> str:
    """README's badges."""
    colab, binder = addresses("00_tour.ipynb")
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def main() -> None:
    """Bring every file up to date; outputs stay, and a file that is right is not written."""
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        first = notebook.cells[0]
        source = TIME.sub(rf"\1{notebook_line(path.name)}", NOTEBOOK_LINE.sub("", first.source), count=1)
        if source != first.source:
            first.source = source
            nbformat.write(notebook, path)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(README_LINE.sub(readme_line(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
