"""The training monitor: what it shows of a run, and that its buttons start, stop and go on."""

import csv
import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bfr_lite.files import atomic_path
from bfr_lite.images import save_image
from bfr_lite.torch_files import read_checkpoint
from bfr_lite.widgets import training, training_monitor
from bfr_lite.widgets.training import outcome, progress, read_log

LONG_ENOUGH = 120  # seconds, for a process that loads PyTorch on a busy machine


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(training, "PERIOD", 0.05)


@pytest.fixture
def monitor():
    """`training_monitor`, whose watchers and runs end with the test."""
    made = []

    def make(*arguments):
        made.append(training_monitor(*arguments))
        return made[-1]

    yield make
    for widget in made:
        if widget.process:
            widget.process.kill()
            widget.process.wait()
        widget.close()


def until(condition) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + LONG_ENOUGH
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def write_log(folder: Path, rows: list[dict]) -> None:
    """A log as a run leaves it: whole at any time, for the monitor may look while it is written anew."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "log.csv") as temporary, temporary.open("w", newline="") as log:
        writer = csv.DictWriter(log, rows[-1])
        writer.writeheader()
        writer.writerows(rows)


def row(step: int, **losses) -> dict:
    return {"step": step, "images": 8 * step, "seconds": 2.0, **losses}


def add_sample(folder: Path, images: int) -> None:
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    save_image(torch.full((3, 8, 8), images / 1000), folder / "samples" / f"{images:08d}.png")


def grey(widget) -> float:
    return np.asarray(Image.open(io.BytesIO(widget.picture.value))).mean() / 255


def test_a_folder_that_is_not_there_yet_is_watched_until_rows_and_samples_arrive(monitor, tmp_path):
    widget = monitor(tmp_path / "run")
    assert "watching" in widget.status.value and "no row in its log yet" in widget.status.value
    assert widget.curves.value == b"" and widget.picture.value == b""
    write_log(tmp_path / "run", [row(10, pixel=2.0), row(20, pixel=1.0)])
    until(lambda: widget.curves.value)
    assert "160 pictures in 20 steps, 40.0 a second" in widget.status.value
    first = widget.curves.value
    write_log(tmp_path / "run", [row(10, pixel=2.0), row(20, pixel=1.0), row(30, pixel=0.5)])
    until(lambda: widget.curves.value != first)
    assert Image.open(io.BytesIO(widget.curves.value)).format == "PNG"
    add_sample(tmp_path / "run", 240)
    until(lambda: widget.picture.value)
    assert "after 240 pictures" in widget.caption.value and grey(widget) == pytest.approx(0.24, abs=0.01)


def test_samples_follow_the_newest_until_an_older_one_is_chosen(monitor, tmp_path):
    for images in (100, 200):
        add_sample(tmp_path, images)
    widget = monitor(tmp_path)
    assert widget.sample.value == widget.sample.max == 1 and grey(widget) == pytest.approx(0.2, abs=0.01)
    add_sample(tmp_path, 300)
    widget.refresh()
    assert widget.sample.value == 2 and grey(widget) == pytest.approx(0.3, abs=0.01)
    widget.sample.value = 0
    assert "after 100 pictures" in widget.caption.value and grey(widget) == pytest.approx(0.1, abs=0.01)
    add_sample(tmp_path, 400)
    (tmp_path / "samples" / "best.png").write_bytes(b"of somebody")
    widget.refresh()
    assert (widget.sample.value, widget.sample.max) == (0, 3) and grey(widget) == pytest.approx(0.1, abs=0.01)


def test_losses_can_be_chosen_and_those_a_logarithm_cannot_show_are_not_at_first(monitor, tmp_path):
    write_log(tmp_path, [row(1, pixel=2.0, r1="", sign_real=-0.2), row(2, pixel=1.0, r1=0.1, sign_real=0.3)])
    widget = monitor(tmp_path)
    assert widget.losses.options == ("pixel", "r1", "sign_real") and widget.losses.value == ("pixel", "r1")
    before = widget.curves.value
    widget.losses.value = ("r1",)
    assert widget.curves.value != before
    write_log(tmp_path, [row(1, pixel=2.0, r1="", sign_real=-0.2), row(3, pixel=1.0, r1=0.1, sign_real=0.3)])
    widget.refresh()
    assert widget.losses.value == ("r1",)  # what the reader chose stays


def test_of_a_growing_prior_the_last_stage_is_shown(monitor, tmp_path):
    write_log(tmp_path / "032", [row(100, loss_g=1.0)])
    write_log(tmp_path / "064", [row(3, loss_g=1.0)])
    assert "24 pictures in 3 steps" in monitor(tmp_path).status.value


def test_closing_ends_the_watcher_and_leaves_no_figure(monitor, tmp_path):
    import matplotlib.pyplot as plt

    write_log(tmp_path, [row(1, pixel=1.0)])
    before, figures = set(threading.enumerate()), plt.get_fignums()
    widget = training_monitor(tmp_path)
    (watcher,) = set(threading.enumerate()) - before
    widget.close()
    assert not watcher.is_alive() and plt.get_fignums() == figures


def test_who_only_watches_has_no_buttons(monitor, tmp_path):
    def buttons(widget):
        return list(getattr(widget.children[0], "children", ()))

    assert not buttons(monitor(tmp_path))
    widget = monitor(tmp_path, ["restorer"])
    assert buttons(widget) == [widget.start, widget.stop]
    assert "not started" in widget.status.value and widget.stop.disabled and not widget.start.disabled


def test_stop_leaves_a_checkpoint_from_which_start_goes_on(monitor, tmp_path):
    arguments = ["restorer", "--preset=tiny", "--data=synthetic", "--prior=none", "--batch=2", "--sample-every=1"]
    off = [f"--without={name}" for name in ("perceptual", "adversarial", "feature", "teacher", "redegradation")]
    widget = monitor(tmp_path / "run", [*arguments, *off, "--images", "100000"])
    widget.start.click()
    assert "running" in widget.status.value and widget.start.disabled
    until(lambda: widget.picture.value)  # after the first step
    widget.stop.click()
    assert "stopping" in widget.status.value and widget.stop.disabled
    until(lambda: "stopped" in widget.status.value)
    assert "a checkpoint is kept" in widget.status.value and not widget.start.disabled
    kept = read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
    assert kept == int(read_log(tmp_path / "run" / "log.csv")[-1]["step"]) > 0
    again = monitor(tmp_path / "run", [*arguments, *off, "--images", str(2 * kept + 4)])  # two more steps
    again.start.click()
    until(lambda: "finished" in again.status.value)
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == kept + 2
    assert [int(one["step"]) for one in read_log(tmp_path / "run" / "log.csv")] == [kept, kept + 2]


def test_a_second_monitor_of_a_folder_shows_the_run_that_goes_on_there(monitor, tmp_path, monkeypatch):
    monkeypatch.setattr(training.sys, "executable", "sleep")  # which refuses the words of our command line
    one, two = monitor(tmp_path, ["restorer"]), monitor(tmp_path, ["restorer"])
    one.start.click()
    assert two.process is one.process
    until(lambda: "failed" in two.status.value)


def test_a_run_that_fails_says_why(monitor, tmp_path):
    widget = monitor(tmp_path / "run", ["restorer", "--preset", "huge"])
    widget.start.click()
    until(lambda: "failed" in widget.status.value)
    assert "huge" in widget.status.value and not widget.start.disabled


@pytest.mark.parametrize(
    ("code", "said", "means"),
    [
        (0, "64 pictures", "finished"),
        (1, "64 pictures\nbfr-lite: stopped early; the same", "stopped: a checkpoint is kept, Start goes on from it"),
        (130, "bfr-lite: interrupted", "stopped before the first step"),
        (1, "Traceback\nMemoryError: no", "failed: MemoryError: no"),
        (-9, "", "failed: exit code -9"),
    ],
)
def test_the_end_of_a_run_in_words(code, said, means):
    assert outcome(code, said) == means


def test_a_row_that_is_being_written_is_left_for_later(tmp_path):
    (tmp_path / "log.csv").write_text("step,images,seconds,pixel\n1,8,2.0,1.5\n2,16,2")
    assert [one["step"] for one in read_log(tmp_path / "log.csv")] == ["1"]
    assert progress(read_log(tmp_path / "log.csv")) == "8 pictures in 1 steps, 4.0 a second"


def test_what_cannot_be_watched_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file: give the folder of a run"):
        training_monitor(tmp_path / "file")
    with pytest.raises(ValueError, match="arguments hold an output already"):
        training_monitor(tmp_path, ["restorer", "-o", "elsewhere"])
