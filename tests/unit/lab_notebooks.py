"""The labs' source notebooks, as the tests use them: cells by name, and wrong answers planted in the solutions."""

from pathlib import Path

import nbformat

SOURCE = Path(__file__).parents[2] / "notebooks" / "labs" / "source"
LABS = tuple(sorted(path.name for path in SOURCE.iterdir() if path.is_dir()))


def source_path(lab: str) -> Path:
    return SOURCE / lab / f"{lab}.ipynb"


def read(lab: str) -> nbformat.NotebookNode:
    return nbformat.read(source_path(lab), as_version=4)


def metadata(cell: nbformat.NotebookNode) -> dict:
    """What nbgrader knows of a cell; empty for cells it does not care about."""
    return cell.metadata.get("nbgrader", {})


def index_of(notebook: nbformat.NotebookNode, grade_id: str) -> int:
    return next(i for i, cell in enumerate(notebook.cells) if metadata(cell).get("grade_id") == grade_id)


def plant(notebook: nbformat.NotebookNode, grade_id: str, right: str, wrong: str) -> None:
    """Put `wrong` in the place of `right`, which the answer `grade_id` must hold exactly once."""
    cell = notebook.cells[index_of(notebook, grade_id)]
    assert cell.source.count(right) == 1, f"{grade_id} holds {right!r} {cell.source.count(right)} times"
    cell.source = cell.source.replace(right, wrong)


def points(lab: str) -> dict[str, float]:
    """{grade_id: points} of the graded cells of a lab."""
    graded = [metadata(cell) for cell in read(lab).cells if metadata(cell).get("grade")]
    return {cell["grade_id"]: cell["points"] for cell in graded}
