"""What every committed notebook keeps to: executed in order, small cells, small file, nothing on stderr."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))
SERIES = (
    "00_tour",
    "01_degradation",
    "02_mmrb",
    "03_codec",
    "04_stylegan2_prior",
    "05_restorer",
    "06_self_supervised_training",
    "07_evaluation",
    "08_your_photos",
    "09_full_scale",
)
WIDGET, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


def of_kind(cell: dict, start: str) -> list[dict]:
    """Outputs of a cell that have a form whose MIME type starts so."""
    outputs = cell.get("outputs", ())
    return [output for output in outputs if any(mime.startswith(start) for mime in output.get("data", ()))]


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_series_is_complete():
    assert {path.stem for path in NOTEBOOKS} >= set(SERIES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_was_executed_from_top_to_bottom(self, path):
        cells = code_cells(path)
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))

    def test_has_20_to_35_code_cells_of_at_most_25_lines(self, path):
        cells = code_cells(path)
        assert 20 <= len(cells) <= 35
        assert max(len("".join(cell["source"]).splitlines()) for cell in cells) <= 25

    def test_what_prints_or_draws_has_an_output(self, path):
        shows = re.compile(r"^(print|gallery|chart|architecture)\(", re.MULTILINE)
        cells = [cell for cell in code_cells(path) if shows.search("".join(cell["source"]))]
        assert len(cells) >= 5
        assert not ["".join(cell["source"]) for cell in cells if not cell["outputs"]]

    def test_shows_no_error_and_nothing_on_stderr(self, path):
        outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
        assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]

    def test_is_at_most_2_megabytes(self, path):
        assert path.stat().st_size <= 2 * 2**20

    def test_begins_with_what_is_built_and_ends_with_exercises_and_a_summary(self, path):
        cells = json.loads(path.read_text())["cells"]
        first, last = ("".join("".join(cell["source"]) for cell in part) for part in (cells[:3], cells[-6:]))
        assert "What you will build" in first and "Time and memory" in first
        assert "Exercises" in last and "Summary" in last

    def test_text_that_is_compared_holds_no_measured_figure(self, path):
        """Another processor adds in another order: its second decimal may differ, and both notebooks are right."""
        compared = [cell for cell in code_cells(path) if "nbval-check-output" in cell["metadata"].get("tags", ())]
        texts = ["".join(output.get("text", ())) for cell in compared for output in cell["outputs"]]
        assert not [text for text in texts if re.search(r"(?<!up to )(?<!below )\b\d+\.\d\d", text)]

    def test_every_figure_has_words(self, path):
        """What a screen reader says: `Picture` leaves it as plain text, the pages make it the alternative text."""
        figures = [figure for cell in code_cells(path) for figure in of_kind(cell, "image/")]
        words = ["".join(figure["data"].get("text/plain", "")) for figure in figures]
        assert figures and not [text for text in words if len(text) < 10 or text.startswith("<")]

    def test_widgets_have_a_state_and_a_figure_beside_them(self, path):
        notebook = json.loads(path.read_text())
        models = notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
        cells = notebook["cells"]
        for index, cell in enumerate(cells):
            views = of_kind(cell, WIDGET)
            assert not [view for view in views if view["data"][WIDGET]["model_id"] not in models]
            near = cells[max(index - 3, 0) : index + 4]
            assert not views or any(of_kind(other, "image/") for other in near), f"no figure near cell {index}"

    def test_widget_state_is_whole(self, path):
        """Models as in ipywidgets' schema, and every model that one refers to is there."""
        kept = json.loads(path.read_text())["metadata"].get("widgets", {}).get(STATE)
        if kept is None:
            assert not any(of_kind(cell, WIDGET) for cell in code_cells(path))
            return
        assert kept["version_major"] == 2
        for model in kept["state"].values():
            assert {"model_name", "model_module", "state"} <= set(model)
            missing = set(re.findall(r"IPY_MODEL_(\w+)", json.dumps(model["state"]))) - set(kept["state"])
            assert not missing

    def test_stated_time_and_memory_are_those_measured(self, path):
        """Against what `build.py --in-place` measured, not this run: a busy machine must not fail it."""
        notebook = json.loads(path.read_text())
        measured = notebook["metadata"].get("measured")
        assert measured, f"not measured: python notebooks/build.py --in-place notebooks/{path.name}"
        text = "".join("".join(cell["source"]) for cell in notebook["cells"][:3])
        stated = re.search(r"Time and memory\*\*: about (\d+) s and ([\d.]+) GB", text)
        for said, found in zip(stated.groups(), (measured["seconds"], measured["gigabytes"]), strict=True):
            assert 1 / 1.5 <= float(said) / found <= 1.5, f"the text says {said}, {found} was measured"
