"""The benchmark browser: every choice changes what it should, numbers are the table's, cases are its ends."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite import Restorer, preset
from bfr_lite.benchmark import BASELINE, Benchmark, conditions, run_benchmark
from bfr_lite.data import load_faces
from bfr_lite.evaluation import Table, bootstrap_interval, comparison
from bfr_lite.images import pil_to_tensor
from bfr_lite.metrics import PSNR, SSIM
from bfr_lite.widgets import benchmark_browser
from bfr_lite.widgets.benchmark import ENDS, SHOWN

COMMITTED = Path(__file__).parents[2] / "data" / "benchmarks" / "restorer-lite.json"
AFTER = "restorer, fidelity 1"
NAMES = tuple(f"face{i}" for i in range(8))


def made() -> Benchmark:
    """Two conditions and eight faces; face i gains i - 2 dB when mild, twice that when severe; one is not measured."""
    before = torch.stack([30.0 - torch.arange(8), torch.linspace(0.5, 0.7, 8)], dim=1)
    gain = torch.stack([torch.arange(8.0) - 2, torch.full((8,), 0.01)], dim=1)
    tables = {}
    for times, name in ((1, "mild"), (2, "severe")):
        rows = {BASELINE: before, "total variation": before, AFTER: before + times * gain}
        tables[name] = Table(NAMES, (PSNR, replace(SSIM, name="distance", higher_is_better=False)), rows)
    tables["severe"].rows[AFTER][7, 0] = torch.nan
    return Benchmark(tables, {"turned": torch.arange(8) > 3}, {"seed": 0})


@pytest.fixture
def browser():
    return benchmark_browser(made())


@pytest.fixture(scope="module")
def drawn():
    """A result of tiny's benchmark on six invented faces, with what it was measured on."""
    faces = load_faces("synthetic", split="test", count=6, size=32)
    restorer = Restorer(preset("tiny"), generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    return run_benchmark(restorer, faces, (PSNR,), fidelities=(0.5, 1.0)), restorer, faces


def places(browser) -> list[tuple[str, int]]:
    return [(case.condition, case.index) for case in browser.cases]


def test_cases_are_the_ends_of_the_ranking_by_gain(browser):
    assert places(browser) == [
        ("severe", 0), ("mild", 0), ("severe", 1),  # -4, -2 and -2 dB
        ("severe", 6), ("severe", 5), ("mild", 7),  # 8, 6 and 5: of 10 nothing is known, it was not measured
    ]  # fmt: skip
    first = browser.captions[0].value
    assert "worst 1" in first and "face0, severe" in first and "30.00 → 26.00" in first
    assert "best 1" in browser.captions[ENDS].value and "24.00 → 32.00" in browser.captions[ENDS].value


def test_cases_can_be_ranked_by_how_they_ended(browser):
    browser.order.value = "result"
    assert places(browser)[0] == ("severe", 0) and "→ 26.00" in browser.captions[0].value
    assert places(browser)[ENDS] == ("severe", 6) and "→ 32.00" in browser.captions[ENDS].value


def test_where_lower_is_better_a_rise_is_a_loss(browser):
    browser.metric.value, browser.order.value = "distance", "result"
    assert places(browser)[0] == ("severe", 7)
    assert places(browser)[ENDS] == ("mild", 0)
    assert "lower is better" in browser.table.value


def test_the_table_has_means_and_intervals_of_what_was_chosen(browser):
    browser.condition.value, browser.stratum.value = "mild", "turned"
    values = made().tables["mild"].values(AFTER, "PSNR")[4:]
    low, high = bootstrap_interval(values)
    assert f"<b>{values.mean():.2f} [{low:.2f}, {high:.2f}]</b>" in browser.table.value
    assert "4 faces" in browser.table.value
    assert {case.condition for case in browser.cases} == {"mild"} and min(case.index for case in browser.cases) == 4


@pytest.mark.parametrize(
    ("control", "value"),
    [("metric", "distance"), ("method", "total variation"), ("condition", "severe"), ("stratum", "turned")],
)
def test_every_choice_changes_the_chart(browser, control, value):
    before = np.asarray(Image.open(io.BytesIO(browser.chart.value)).convert("L"), dtype=float)
    getattr(browser, control).value = value
    after = np.asarray(Image.open(io.BytesIO(browser.chart.value)).convert("L"), dtype=float)
    assert np.abs(before - after).mean() > 0.1


def test_a_stratum_of_few_faces_has_few_cases():
    result = made()
    result.strata["two"] = torch.arange(8) < 2
    browser = benchmark_browser(result)
    browser.condition.value, browser.stratum.value = "mild", "two"
    assert places(browser) == [("mild", 0), ("mild", 1)]
    assert browser.captions[1].value.startswith("<b>best 1</b>") and browser.captions[2].value == ""


def test_pictures_of_cases_that_are_no_longer_there_go(drawn):
    result, restorer, faces = drawn
    result = replace(result, strata={"two": torch.arange(6) < 2})
    browser = benchmark_browser(result, restorer, faces)
    assert all(picture.value for picture in browser.pictures)
    browser.condition.value, browser.stratum.value = "mild", "two"
    assert [bool(picture.value) for picture in browser.pictures] == [True, True] + [False] * 4


def test_without_faces_it_says_how_to_see_them(browser):
    assert "give the browser a restorer and the faces" in browser.note.value
    assert browser.pictures[0].value == b""


def test_cases_are_drawn_as_they_were_measured(drawn):
    result, restorer, faces = drawn
    browser = benchmark_browser(result, restorer, faces)
    case = browser.cases[0]
    rows = comparison(restorer, faces, conditions(32)[case.condition], [case.index], (1.0,))
    expected = torch.cat([rows[BASELINE], rows[AFTER], rows["clean"]], dim=2)[0]
    shown = pil_to_tensor(Image.open(io.BytesIO(browser.pictures[0].value)))
    assert shown.shape == (3, 3 * SHOWN, SHOWN)
    assert (torch.nn.functional.avg_pool2d(shown, SHOWN // 32) - expected.clamp(0, 1)).abs().mean() < 0.02
    assert "Not what was measured" not in browser.note.value
    before = browser.pictures[0].value
    browser.method.value = "restorer, fidelity 0.5"
    assert browser.pictures[0].value != before or browser.cases[0] != case
    browser.method.value = "input, pixels repeated"
    assert browser.pictures[0].value == b"" and "choose a restorer" in browser.note.value


def test_another_restorer_than_the_measured_one_is_noticed(drawn):
    result, _, faces = drawn
    other = Restorer(preset("tiny"), generator=torch.Generator().manual_seed(5)).eval().requires_grad_(False)
    assert "Not what was measured" in benchmark_browser(result, other, faces).note.value


def test_the_committed_result_answers_quickly_and_leaves_no_figure():
    figures = plt.get_fignums()
    browser = benchmark_browser(COMMITTED)
    best = float("inf")
    for name in list(browser.condition.options)[1:4]:
        start = time.process_time()
        browser.condition.value = name
        best = min(best, time.process_time() - start)
    assert best < 0.4, "200 ms on two cores"
    assert plt.get_fignums() == figures
    assert len(browser.cases) == 2 * ENDS
    strata = json.loads(COMMITTED.read_text())["strata"]
    assert browser.stratum.options[1:] == tuple(strata)


def test_the_committed_table_is_that_of_the_committed_text():
    text = COMMITTED.with_suffix(".md").read_text()
    assert text.startswith(Benchmark.from_dict(json.loads(COMMITTED.read_text())).markdown())


def test_what_does_not_fit_is_refused(drawn, tmp_path):
    result, restorer, _ = drawn
    with pytest.raises(FileNotFoundError):
        benchmark_browser(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="no result of the benchmark"):
        benchmark_browser(tmp_path / "other.json")
    with pytest.raises(ValueError, match="needs both"):
        benchmark_browser(result, restorer)
    with pytest.raises(ValueError, match="not the faces that were measured: got 2 "):
        benchmark_browser(result, restorer, load_faces("synthetic", split="train", count=2, size=32))


def test_what_a_strangers_result_is_called_is_text_and_no_page():
    """A notebook shows what the browser writes as HTML, and a result may come from anywhere."""
    trap, result = "<img src=x onerror=alert(1)>", made()
    table = result.tables["mild"]
    metrics = (replace(PSNR, unit=trap), *table.metrics[1:])
    stranger = Table((trap, *NAMES[1:]), metrics, table.rows)
    browser = benchmark_browser(Benchmark({trap: stranger}, {}, {}))
    shown = [browser.table.value, browser.note.value, *(caption.value for caption in browser.captions)]
    assert not any("<img" in text for text in shown)
    assert sum("&lt;img" in text for text in shown) > 2
