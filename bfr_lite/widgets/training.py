"""The training monitor: losses and samples while a run goes on, and a button that stops it politely."""

from __future__ import annotations

import atexit
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from os import PathLike
from pathlib import Path

from ipywidgets import HTML, Button, HBox, Image, IntSlider, Layout, SelectMultiple, VBox
from matplotlib.figure import Figure

from bfr_lite.plots import COLOURS, LINES, encode
from bfr_lite.training.log import whole_rows
from bfr_lite.widgets.screen import show

PERIOD = 1.0  # seconds from one look at the folder to the next
NO_LOSSES = ("step", "images", "seconds")  # the other columns of a log
SAID = "said.txt"  # in the folder of a run: what its command printed
Rows = list[dict[str, str]]

# Runs that were started here, by folder: a cell that is run twice finds the same run again, and no second one begins.
_RUNS: dict[Path, subprocess.Popen] = {}


class TrainingMonitor(VBox):
    """What `training_monitor` shows.

    `start` and `stop` are buttons, `status` says how the run stands. `losses` chooses what `curves` draws; `sample`
    goes through the grids of samples that `picture` shows and `caption` names, and follows the newest one while it
    stands at the end. `process` is the run as it was started here, None before.
    """

    def __init__(self, folder: Path, arguments: Sequence[str] | None):
        self.folder, self._arguments = folder, arguments
        self._rows: Rows = []
        self._samples: list[Path] = []
        self._stopping, self._watcher = False, None
        self._closed, self._lock = threading.Event(), threading.RLock()
        self.start = Button(description="Start", icon="play", tooltip="start the run, or go on where it stands")
        self.stop = Button(description="Stop", icon="stop", tooltip="end the running step, write a checkpoint, stop")
        self.status, self.caption = HTML(), HTML()
        self.losses = SelectMultiple(description="losses", rows=9)
        self.sample = IntSlider(0, min=0, max=0, description="samples")
        self.curves, self.picture = Image(format="png"), Image(format="png", layout=Layout(max_width="40em"))
        buttons = [HBox([self.start, self.stop])] * (arguments is not None)
        plot = HBox([self.losses, self.curves], layout=Layout(flex_flow="row wrap"))
        super().__init__([*buttons, self.status, plot, HBox([self.sample, self.caption]), self.picture])
        self.start.on_click(self._start)
        self.stop.on_click(self._stop)
        self.losses.observe(self._draw, names="value")
        self.sample.observe(self._show, names="value")
        self._draw()
        self._show()
        self.refresh()
        self._watcher = threading.Thread(target=self._watch, name=f"monitor of {folder.name}", daemon=True)
        self._watcher.start()

    @property
    def process(self) -> subprocess.Popen | None:
        return _RUNS.get(self.folder)

    def refresh(self) -> None:
        """Look at the folder once, and show what is new."""
        with self._lock:
            where = _log_folder(self.folder)
            rows = read_log(where / "log.csv")
            samples = [path for path in sorted((where / "samples").glob("*.png")) if path.stem.isdigit()]
            running = self.process is not None and self.process.poll() is None
            self.start.disabled, self.stop.disabled = running, not running or self._stopping
            self.status.value = f"<b>{self._state(running)}</b> · {progress(rows)}"
            if rows != self._rows:
                self._rows = rows
                self._offer_losses()
                self._draw()
            if samples != self._samples:
                newest = self.sample.value == self.sample.max
                self._samples, self.sample.max = samples, max(0, len(samples) - 1)
                if newest:
                    self.sample.value = self.sample.max
                self._show()

    def close(self) -> None:
        """Take the widget off the page and stop watching; a run goes on."""
        self._closed.set()
        if self._watcher is not None:  # nothing watches where the first look failed
            self._watcher.join()
        super().close()

    def _watch(self) -> None:
        while not self._closed.wait(PERIOD):
            with suppress(OSError):  # a file may go while it is looked at; the next look will tell
                self.refresh()

    def _start(self, button: Button) -> None:
        with self._lock:
            if self.process is None or self.process.poll() is not None:
                _RUNS[self.folder], self._stopping = start_run(self.folder, self._arguments), False
            self.refresh()

    def _stop(self, button: Button) -> None:
        with self._lock:
            self._stopping = True
            stop_run(self.process)
            self.refresh()

    def _state(self, running: bool) -> str:
        if running:
            return "stopping: the running step ends, then a checkpoint is written" if self._stopping else "running"
        if self.process is not None:
            return escape(outcome(self.process.returncode, (self.folder / SAID).read_text(errors="replace")))
        return "not started" if self._arguments is not None else "watching"

    def _offer_losses(self) -> None:
        """All columns of the log; at first, those are chosen that a logarithmic axis can show."""
        names = [name for name in (self._rows or [{}])[0] if name not in NO_LOSSES]
        if names != list(self.losses.options):
            positive = [name for name in names if all(value > 0 for value in _values(self._rows, name))]
            self.losses.options = names
            self.losses.value = positive

    def _draw(self, change: object = None) -> None:
        with self._lock:
            show(self.curves, loss_curves(self._rows, self.losses.value) if self._rows else b"")

    def _show(self, change: object = None) -> None:
        with self._lock:
            chosen = self._samples[self.sample.value] if self._samples else None
            show(self.picture, chosen.read_bytes() if chosen else b"")
            self.caption.value = f"after {int(chosen.stem):,} pictures" if chosen else "no samples yet"


def training_monitor(folder: str | PathLike, arguments: Sequence[str] | None = None) -> TrainingMonitor:
    """Watch a training run: its losses, its samples, how it stands.

    `folder`: of the run, what `bfr-lite train ... -o` names; it need not be there yet. `arguments`: what stands between
    `bfr-lite train` and `-o`, such as `["restorer", "--preset", "tiny", "--data", "faces"]`. With them the monitor has
    a button that starts the run, or goes on with it, in a process of its own, and one that stops it as Ctrl-C does:
    the step ends, a whole checkpoint is written, and Start goes on from there. Without them it only watches, so that
    runs started elsewhere can be seen (of a growing prior, the stage it is at). A run started here is stopped politely
    when the kernel ends. Raises `ValueError` when `folder` is a file, or `arguments` name an output themselves.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the folder of a run, what `bfr-lite train ... -o` names")
    if arguments is not None and any(word in ("-o", "--output") for word in arguments):
        raise ValueError(f"arguments hold an output already ({' '.join(arguments)}): leave it out, folder names it")
    return TrainingMonitor(folder, None if arguments is None else [str(word) for word in arguments])


def start_run(folder: Path, arguments: Sequence[str]) -> subprocess.Popen:
    """Start `bfr-lite train` in a process of its own, which an interrupt of the kernel does not reach."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bfr_lite", "train", *arguments, "-o", str(folder)]
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' word for a session
    with (folder / SAID).open("w") as said:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            creationflags=group,
        )


def stop_run(process: subprocess.Popen) -> None:
    """Ask a run to stop as Ctrl-C does; one that has ended is left alone."""
    if process.poll() is None:
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))


@atexit.register
def _stop_all() -> None:
    for process in _RUNS.values():
        stop_run(process)


def outcome(code: int, said: str) -> str:
    """What the exit code and the words of an ended run mean."""
    if code == 0:
        return "finished"
    if "stopped early" in said:
        return "stopped: a checkpoint is kept, Start goes on from it"
    if code in (130, -signal.SIGINT):
        return "stopped before the first step"
    return f"failed: {(said.strip() or f'exit code {code}').splitlines()[-1]}"


def read_log(path: Path) -> Rows:
    """The rows of a log.csv; none when it is not there, and without a row that is being written."""
    return whole_rows(path) if path.exists() else []


def progress(rows: Rows) -> str:
    """Pictures, steps and speed of a run, in words."""
    if not rows:
        return "no row in its log yet"
    last, before = rows[-1], rows[-2] if len(rows) > 1 else {"images": 0}
    speed = (int(last["images"]) - int(before["images"])) / max(float(last["seconds"]), 0.1)
    return f"{int(last['images']):,} pictures in {int(last['step']):,} steps, {speed:.1f} a second"


def loss_curves(rows: Rows, names: Sequence[str]) -> bytes:
    """The columns `names` of a log over the pictures seen, on a logarithmic axis, as PNG bytes."""
    figure = Figure(figsize=(7, 3.4), dpi=90, layout="constrained")
    axes = figure.subplots()
    seen = [int(row["images"]) for row in rows]
    for index, name in enumerate(names):
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
        axes.plot(seen, _values(rows, name, missing=math.nan), marker="." * (len(rows) < 20), label=name, **style)
    axes.set(xlabel="pictures seen", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return encode(figure, "png")


def _values(rows: Rows, name: str, missing: float | None = None) -> list[float]:
    """A column's numbers; where a row lacks one, `missing`, or nothing when that is None."""
    return [float(row[name]) if row[name] else missing for row in rows if row[name] or missing is not None]


def _log_folder(folder: Path) -> Path:
    """Where the log of a run is: in its folder, or, of a growing prior, in that of its last stage."""
    stages = sorted(log.parent for log in folder.glob("[0-9][0-9][0-9]/log.csv"))
    return stages[-1] if stages else folder
