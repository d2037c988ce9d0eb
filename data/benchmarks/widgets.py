"""How fast do the widgets answer? Every slider, menu and switch of each is moved, and the answer awaited.

python data/benchmarks/widgets.py

Prints a Markdown table, and writes it beside this file: for each widget the control that takes longest, by the median
of its moves, in milliseconds; and the seconds that adapting to one face takes, with shown progress. What else a button
starts (a training run) is not measured.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import skimage.data
import torch

from bfr_lite import Restorer, degrade, load_faces, load_generator
from bfr_lite.astronaut import astronaut
from bfr_lite.evaluation import markdown_table
from bfr_lite.machine import hardware
from bfr_lite.widgets import (
    benchmark_browser,
    degradation_playground,
    feature_explorer,
    fidelity_slider,
    latent_explorer,
    mmrb_inspector,
    photo_restorer,
    supervision_viewer,
    training_monitor,
)

MOVES = 7


def made(folder: Path) -> Iterator[tuple[str, ipywidgets.Widget]]:
    """Every widget by name, as the notebooks show it."""
    restorer, photo = Restorer.from_pretrained("lite"), astronaut(128)
    clean = torch.cat([load_faces("synthetic", split="test").batch(range(3)), photo[None]])
    lq = degrade(clean, 0.5)
    prior = load_generator("lite")
    rows = "".join(f"{50 * k},{400 * k},9,1,2\n" for k in range(1, 200))
    (folder / "log.csv").write_text("step,images,seconds,pixel,latent\n" + rows, encoding="utf-8")
    yield "degradation playground", degradation_playground(photo)
    yield "MMRB inspector", mmrb_inspector(restorer, photo)
    yield "feature explorer", feature_explorer(restorer, lq)
    yield "latent explorer", latent_explorer(prior, {"yaw": prior.sample(1, torch.Generator().manual_seed(0))[0, 0]})
    yield "fidelity slider", fidelity_slider(restorer, lq, clean)
    yield "supervision viewer", supervision_viewer(restorer, clean)
    yield "benchmark browser", benchmark_browser(Path(__file__).with_name("restorer-lite.json"))
    yield "training monitor", training_monitor(folder)
    yield "photo restorer", photo_restorer(restorer, skimage.data.astronaut())


def controls(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """Every slider, menu and switch inside."""
    kinds = (ipywidgets.FloatSlider, ipywidgets.IntSlider, ipywidgets.Checkbox, ipywidgets.Dropdown)
    kinds += (ipywidgets.SelectionSlider, ipywidgets.ToggleButtons, ipywidgets.ToggleButton, ipywidgets.BoundedIntText)
    if isinstance(widget, kinds):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def positions(control: ipywidgets.Widget) -> list[object]:
    """Places to move a control to, each another than the one before."""
    if isinstance(control, (ipywidgets.Checkbox, ipywidgets.ToggleButton)):
        return [not control.value, control.value]
    if hasattr(control, "options"):
        options = control._options_values
        others = [one for one in options if one != control.value][:3]
        return [*others, control.value] if others else []
    low, high = control.min, control.max
    places = [low + (high - low) * share for share in (0.3, 0.7, 0.45)]
    return [round(one) if isinstance(control.value, int) else one for one in places]


def answer_time(control: ipywidgets.Widget) -> float | None:
    """Median milliseconds from a move to its answer; None for what has but one position."""
    places, seconds = positions(control), []
    if not places:
        return None
    for move in range(MOVES):
        start = time.perf_counter()
        control.value = places[move % len(places)]
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def adaptation_seconds(widget: ipywidgets.Widget) -> float:
    """From the press of its button to the adapted face."""
    start = time.perf_counter()
    widget.adapt.click()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write the table."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, widget in made(Path(folder)):
            times = {}
            for number, control in enumerate(controls(widget)):
                found = answer_time(control)
                if found is not None:
                    times[control.description or f"control {number}"] = found
            if name == "photo restorer":
                adapting = adaptation_seconds(widget)
            if times:
                slowest = max(times, key=times.get)
                rows[name] = [slowest, f"{times[slowest]:.0f}", str(len(times))]
    table = markdown_table(["slowest control", "ms", "controls"], rows)
    head = f"# Widgets\n\nMilliseconds from a move to its answer, median of {MOVES}. {hardware()}, idle."
    text = f"{head} Made by `python data/benchmarks/widgets.py`.\n\n{table}\n\n"
    text += f"Adapting to one face takes {adapting:.1f} s."
    Path(__file__).with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
