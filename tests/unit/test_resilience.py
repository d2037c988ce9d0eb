"""Training killed at any moment, or with no room left on the disk: what was saved stays whole, and the run goes on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bfr_lite.files import atomic_path, discard_leftovers, sole_writer
from bfr_lite.torch_files import read_checkpoint
from bfr_lite.training.log import CsvLog

KILLS = Path(__file__).parents[2] / "data" / "benchmarks" / "kills.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, **options)


def test_a_run_killed_three_times_ends_as_if_nothing_had_been():
    done = run(KILLS, "--kills", 3, "--seed", 7)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "3 kills survived" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="limits of a process are POSIX's")
def test_a_disk_that_fills_up_costs_no_checkpoint(tmp_path):
    """The system itself refuses the bytes: a limit on the size of files stands for the disk's end."""
    import resource

    def train(images, **options):
        options_of_run = f"--preset tiny --data synthetic --batch 4 --checkpoint-every 2 --stages 32:{images}".split()
        return run("-m", "bfr_lite", "train", "prior", *options_of_run, "-o", tmp_path / "run", **options)

    assert train(16).returncode == 0
    checkpoint = tmp_path / "run" / "032" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    limit = (len(before) // 2,) * 2
    full = train(40, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert full.returncode == 2 and "Traceback" not in full.stderr
    assert f"{checkpoint} could not be written, is the disk full?" in full.stderr
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir() if path.name.startswith(".")] == []
    assert train(40).returncode == 0
    assert read_checkpoint(checkpoint)["step"] == 10


@pytest.mark.parametrize("kept", ["", "5,20,1.0,0.5\n10,40,1.0,0.4\n"])
def test_a_log_cut_in_the_middle_of_a_row_goes_on(kept, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"step,images,seconds,loss\n{kept}15,60,1.")
    log = CsvLog(path, keep_until=10)
    log.add({"loss": 0.3})
    log.write(15, 60)
    lines = path.read_text().splitlines()
    assert lines[:-1] == ["step,images,seconds,loss", *kept.split()]
    assert lines[-1].startswith("15,60,") and lines[-1].endswith(",0.3")


def test_only_what_killed_writers_left_in_the_folder_itself_is_discarded(tmp_path):
    names = (".hidden", "checkpoint.pt", ".checkpoint.pt.backup", ".env.20240131", "deep/.x.png.0123abcd.bfr-lite")
    kept = [tmp_path / name for name in names]
    (tmp_path / "deep").mkdir()
    for path in kept:
        path.write_text("mine")
    with atomic_path(tmp_path / "x.png") as temporary:
        temporary.write_text("half")
        left = temporary.rename(temporary.with_name(".y.png.0123abcd.bfr-lite"))
        temporary.write_text("whole")
    discard_leftovers(tmp_path)
    assert not left.exists() and all(path.read_text() == "mine" for path in kept)


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    refused = pytest.raises(ValueError, match=re.escape(f"another run writes to {tmp_path}"))
    with sole_writer(tmp_path), refused, sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
