"""The benchmark browser: results by metric, damage and kind of face, with the worst and the best cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from os import PathLike
from pathlib import Path

import torch
from ipywidgets import HTML, Dropdown, HBox, Image, Layout, ToggleButtons, VBox
from matplotlib.figure import Figure
from torch import Tensor

from bfr_lite.benchmark import BASELINE, Benchmark, conditions
from bfr_lite.evaluation import Table, bootstrap_interval, comparison, measured_mean
from bfr_lite.face_sets import FaceDataset
from bfr_lite.metrics import Metric, psnr
from bfr_lite.plots import COLOURS, encode, encode_image
from bfr_lite.restorer import Restorer
from bfr_lite.widgets.screen import show

ALL_DAMAGE, ALL_FACES = "all conditions", "all faces"
ENDS = 3  # cases shown at each end of the ranking
SHOWN = 128  # pixels of the screen for a picture of a case
RESTORER = "restorer, fidelity "  # how the rows of a restorer begin
SAME = 0.05  # dB by which another processor may be off


@dataclass(frozen=True)
class Case:
    """One face under one condition: its number and name, its metric before and after."""

    condition: str
    index: int
    face: str
    before: float
    after: float


class BenchmarkBrowser(VBox):
    """What `benchmark_browser` shows.

    `metric`, `method`, `condition` (the damage), `stratum` (the kind of face) and `order` (rank cases by what they
    gained, or by how they ended) choose. `table` gives every method in numbers, `chart` what the chosen one gained by
    condition and by stratum. `cases` are the worst ones, then the best, worst and best first; `captions` and, with
    faces, `pictures` show them, and `note` says what can be seen there.
    """

    cases: list[Case]

    def __init__(self, result: Benchmark, restorer: Restorer | None, faces: FaceDataset | None):
        self._result, self._restorer, self._faces = result, restorer, faces
        self._draw = lru_cache(maxsize=128)(self._draw_anew)
        table = result.table()
        self._metrics = {one.name: one for one in table.metrics}
        rows = [row for row in table.rows if row != BASELINE]
        self.metric = Dropdown(options=list(self._metrics), description="metric", layout=Layout(width="28em"))
        self.method = Dropdown(options=rows, value=rows[-1], description="method")
        self.condition = Dropdown(options=[ALL_DAMAGE, *result.tables], description="damage")
        self.stratum = Dropdown(options=[ALL_FACES, *result.strata], description="faces")
        self.order = ToggleButtons(options=["gain", "result"], description="cases by")
        self.table, self.note, self.chart = HTML(), HTML(), Image(format="png")
        self.captions = [HTML(layout=Layout(min_width=f"{SHOWN}px")) for _ in range(2 * ENDS)]
        self.pictures = [Image(format="jpeg", width=SHOWN, height=3 * SHOWN) for _ in self.captions]
        wrap = Layout(flex_flow="row wrap")
        choices = HBox([self.metric, self.method, self.condition, self.stratum], layout=wrap)
        shown = [
            VBox([one] + [two] * (faces is not None)) for one, two in zip(self.captions, self.pictures, strict=True)
        ]
        tables = HBox([self.table, self.chart], layout=wrap)
        super().__init__([choices, tables, self.order, self.note, HBox(shown, layout=wrap)])
        for control in (self.metric, self.method, self.condition, self.stratum):
            control.observe(self._show, names="value")
        self.order.observe(self._show_cases, names="value")
        self._show()

    def _show(self, change: object = None) -> None:
        metric, names = self._metrics[self.metric.value], self._names()
        table = self._result.table(names, self._stratum())
        self.table.value = table_html(table, metric)
        by_damage = {name: self._gains([name], self._stratum()) for name in self._result.tables}
        by_face = {name: self._gains(names, name) for name in self._result.strata}
        groups = {ALL_FACES: self._gains(names, None)} | by_face, by_damage
        self.chart.value = gain_chart(groups, f"{self.method.value}, against the bicubic input", metric)
        self._show_cases()

    def _names(self) -> list[str]:
        return [name for name in self._result.tables if self.condition.value in (name, ALL_DAMAGE)]

    def _stratum(self) -> str | None:
        return None if self.stratum.value == ALL_FACES else self.stratum.value

    def _gains(self, names: Sequence[str], stratum: str | None) -> Tensor:
        """By how much better than the input every face of a stratum is: (N,), more is better by any metric."""
        metric, table = self._metrics[self.metric.value], self._result.table(names, stratum)
        before, after = (table.values(row, metric.name) for row in (BASELINE, self.method.value))
        return after - before if metric.higher_is_better else before - after

    def _show_cases(self, change: object = None) -> None:
        metric = self._metrics[self.metric.value]
        ranked = rank(self._result, metric, self.method.value, self._names(), self._stratum(), self.order.value)
        ends = min(ENDS, len(ranked) // 2)
        self.cases = ranked[:ends] + ranked[: -ends - 1 : -1]
        labels = [f"{end} {place}" for end in ("worst", "best") for place in range(1, ends + 1)]
        for widget, label, case in zip(self.captions, labels, self.cases, strict=False):
            change = f"{case.before:.{metric.decimals}f} → {case.after:.{metric.decimals}f}"
            widget.value = f"<b>{label}</b><br>{escape(case.face)}, {escape(case.condition)}<br>{change}"
        for widget in self.captions[2 * ends :]:
            widget.value = ""
        for widget in self.pictures[2 * ends :]:
            show(widget, b"")
        self._show_pictures()

    def _show_pictures(self) -> None:
        if self._faces is None or not self.method.value.startswith(RESTORER):
            reason = "give the browser a restorer and the faces" if self._faces is None else "choose a restorer"
            self.note.value = f"Cases by name; to see them, {reason}."
            for widget in self.pictures:
                show(widget, b"")
            return
        self.note.value, strange = "drawing …", []
        for widget, case in zip(self.pictures, self.cases, strict=False):
            picture, as_measured = self._draw(case.condition, case.index, self.method.value)
            show(widget, picture)
            strange += [] if as_measured else [case.face]
        names = escape(", ".join(strange))
        other = f" <b>Not what was measured</b>, this restorer is another one: {names}." if strange else ""
        self.note.value = f"From above: bicubic input, restored, clean.{other}"

    def _draw_anew(self, condition: str, index: int, method: str) -> tuple[bytes, bool]:
        """Input, restored and clean face of a case as one JPEG, and whether its PSNR is the one that was measured."""
        table, degradation = self._result.tables[condition], conditions(self._faces.size)[condition]
        fidelity = float(method.removeprefix(RESTORER))
        rows = comparison(
            self._restorer, self._faces, degradation, [index], (fidelity,), seed=table.facts.get("seed", 0)
        )
        restored, clean = rows[method], rows["clean"]
        picture = torch.cat([rows[BASELINE], restored, clean], dim=2)[0]
        apart = psnr(restored, clean) - table.values(method, "PSNR")[index] if "PSNR" in self._metrics else None
        return encode_image(picture, max(1, SHOWN // self._faces.size)), apart is None or bool(apart.abs() < SAME)


def benchmark_browser(
    result: Benchmark | str | PathLike, restorer: Restorer | None = None, faces: FaceDataset | None = None
) -> BenchmarkBrowser:
    """Browse a result of the benchmark: any metric by damage and by kind of face, the worst and the best cases.

    `result`: a `Benchmark`, or the path of the JSON file that `bfr-lite evaluate --benchmark -o` wrote. `restorer` and
    `faces`, those that were measured, let it draw the cases; without them, cases are named. Raises `FileNotFoundError`
    for a path that leads nowhere, and `ValueError` for a file of something else, one of restorer and faces without the
    other, or faces that are not those of the result.
    """
    if not isinstance(result, Benchmark):
        result = Benchmark.from_dict(json.loads(Path(result).read_text(encoding="utf-8")))
    if (restorer is None) != (faces is None):
        raise ValueError("to draw cases the browser needs both, the restorer and the faces that were measured")
    measured = result.table().faces
    if faces is not None and tuple(faces.names) != measured:
        raise ValueError(
            f"these are not the faces that were measured: got {len(faces)} ({faces.origin}), the result has "
            f"{len(measured)}, from {measured[0]} to {measured[-1]}"
        )
    return BenchmarkBrowser(result, restorer, faces)


def rank(
    result: Benchmark, metric: Metric, method: str, names: Sequence[str], stratum: str | None, by: str
) -> list[Case]:
    """Every face of a stratum (of all, when None) under each of the conditions `names`, the worst one first.

    `by`: "gain", what `method` gained over the bicubic input, or "result", how it ended. What could not be measured is
    left out.
    """
    kept = torch.ones(len(result.table().faces)).bool() if stratum is None else result.strata[stratum]
    cases = []
    for name in names:
        table = result.tables[name]
        before, after = (table.values(row, metric.name) for row in (BASELINE, method))
        measured = kept & before.isfinite() & after.isfinite()
        cases += [
            Case(name, i, table.faces[i], before[i].item(), after[i].item()) for i in measured.nonzero()[:, 0].tolist()
        ]
    sign = 1 if metric.higher_is_better else -1
    return sorted(cases, key=lambda case: sign * (case.after - case.before * (by == "gain")))


def table_html(table: Table, metric: Metric) -> str:
    """Every method's mean by one metric with its 95 % interval, as an HTML table; the best mean in bold."""
    values = {row: table.values(row, metric.name) for row in table.rows}
    means = {row: measured_mean(one) for row, one in values.items()}
    best = (max if metric.higher_is_better else min)(means, key=means.get)
    lines = []
    for row, mean in means.items():
        low, high = bootstrap_interval(values[row])
        cell = f"{mean:.{metric.decimals}f} [{low:.{metric.decimals}f}, {high:.{metric.decimals}f}]"
        lines.append(f"<tr><td>{escape(row)}</td><td>{f'<b>{cell}</b>' if row == best else cell}</td></tr>")
    better = "higher" if metric.higher_is_better else "lower"
    head = f"{escape(metric.name + _unit(metric))}: {better} is better. Mean [95 % interval], {len(table.faces)} faces"
    return f"<table><caption>{head}</caption>{''.join(lines)}</table>"


def gain_chart(groups: Sequence[Mapping[str, Tensor]], title: str, metric: Metric) -> bytes:
    """The mean of the gains (N,) of each row of each group with its 95 % interval, a colour a group, as PNG bytes."""
    figure = Figure(figsize=(6.4, 3.6), dpi=90)
    axes = figure.subplots(
        gridspec_kw={"left": 0.3, "right": 0.98, "bottom": 0.13, "top": 0.92}
    )  # quicker than a layout
    labels: list[str] = []
    for group, colour, marker in zip(groups, COLOURS, "os", strict=False):
        for name, values in group.items():
            low, high = bootstrap_interval(values)
            axes.plot([low, high], [len(labels)] * 2, "-", color=colour)
            axes.plot(measured_mean(values), len(labels), marker, color=colour)
            labels.append(name)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(f"← worse · {metric.name}{_unit(metric)} · better →")
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return encode(figure, "png")


def _unit(metric: Metric) -> str:
    return f", {metric.unit}" if metric.unit else ""
