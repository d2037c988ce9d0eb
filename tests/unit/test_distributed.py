"""Two processes and one take the same steps; one of two killed without warning loses an interval at most."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pytest
import torch

from bfr_lite.images import save_image
from bfr_lite.rows import BatchGenerator, draw_rows
from bfr_lite.training.adversarial import check_groups

BATCH, STEPS, EVERY = 8, 60, 10
# `--multi_gpu` is Accelerate's word for several processes; with `--cpu` it would start one.
LAUNCH = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
LAUNCH += " --dynamo_backend no --main_process_port 0"
PRIOR = f"--preset tiny --batch {BATCH} --stages 32:{BATCH * STEPS} --checkpoint-every {EVERY} --seed 3"
WORKER = Path(__file__).with_name("shared_steps.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(processes: int, *rest: object) -> list[str]:
    return [sys.executable, *(LAUNCH.split() if processes > 1 else []), *map(str, rest)]


def train(processes: int, faces: Path, out: Path, options: str = PRIOR) -> list[str]:
    return command(processes, "-m", "bfr_lite", "train", "prior", *options.split(), "--data", faces, "-o", out)


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    draw = torch.Generator().manual_seed(0)
    for number in range(16):
        coarse = torch.rand(1, 3, 6, 6, generator=draw)
        picture = torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)
        save_image(picture[0], folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def shared(faces, tmp_path_factory) -> Path:
    """A run of the prior by two processes, from the command line, that nothing disturbs."""
    out = tmp_path_factory.mktemp("shared") / "run"
    done = run(train(2, faces, out))
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_rows_of_all_processes_are_the_batch():
    def drawn(index: int) -> torch.Tensor:
        rng = BatchGenerator()
        rng.index, rng.count = index, 2
        rng.manual_seed(5)
        return draw_rows(lambda n: torch.rand(n, 3, generator=rng), 4, rng)

    whole = torch.rand(8, 3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.stack([drawn(0), drawn(1)], dim=1).flatten(0, 1), whole)


@pytest.mark.parametrize(("what", "steps"), [("prior", 24), ("restorer", 3)])
def test_two_processes_take_the_steps_of_one(what, steps, faces, tmp_path):
    results = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.json"
        done = run(command(processes, WORKER, what, faces, steps, out))
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(json.loads(out.read_text()))
    one, two = results
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["reports"]) == steps
    for alone, together in zip(one["reports"], two["reports"], strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads in /proc")
def test_nothing_of_the_group_outlives_its_run(tmp_path):
    """A thread of it that still runs while Python shuts down aborts the process, now and then."""
    script = tmp_path / "part.py"
    script.write_text(
        "import os, torch\n"
        "from bfr_lite.training.processes import accelerated\n"
        "with accelerated(cpu=True) as accelerator:\n"
        "    optimizer = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())\n"
        "    accelerator.reduce(torch.ones(2), 'mean')\n"
        "tasks = os.listdir('/proc/self/task')\n"
        "print([name for task in tasks if 'gloo' in (name := open(f'/proc/self/task/{task}/comm').read())])\n"
    )
    done = run(command(2, script))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "".join(done.stdout.split()) == "[][]"  # one of each; their line ends may change places


def test_two_processes_leave_one_log_and_one_set_of_weights(shared):
    assert [row["step"] for row in rows(shared / "032" / "log.csv")] == ["50", "60"]
    written = {path.name for path in shared.iterdir()}
    assert written >= {"prior-tiny.safetensors", "discriminator-tiny.safetensors"}


def test_a_batch_that_cannot_be_shared_is_refused(faces, tmp_path):
    done = run(train(2, faces, tmp_path / "run", "--preset tiny --batch 3 --stages 32:30"))
    assert done.returncode != 0
    assert "2 processes cannot share a batch of 3: use a multiple of 2" in done.stderr


@pytest.mark.parametrize(
    ("batch", "processes", "fits"), [(8, 1, True), (8, 2, True), (8, 4, False), (8, 8, False), (12, 4, False)]
)
def test_processes_compare_pictures_in_groups_as_large_as_one_does(batch, processes, fits):
    outcome = (
        nullcontext() if fits else pytest.raises(ValueError, match=f"use a batch of {4 * processes} or a multiple")
    )
    with outcome:
        check_groups(batch, processes, group=4)


def test_one_of_two_killed_loses_at_most_an_interval(faces, shared, tmp_path):
    out = tmp_path / "run"
    checkpoint = out / "032" / "checkpoint.pt"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launched = subprocess.Popen(train(2, faces, out), env=ENVIRONMENT, **quiet)
    family = [psutil.Process(launched.pid)]
    try:
        deadline = time.monotonic() + 200
        while not checkpoint.exists() and launched.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        family += family[0].children(recursive=True)
        workers = [process for process in family[1:] if "bfr_lite" in " ".join(process.cmdline())]
        assert len(workers) == 2
        workers[-1].send_signal(signal.SIGKILL)
        assert launched.wait(timeout=120) != 0
    finally:  # nobody is left training
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    saved = torch.load(checkpoint, weights_only=True)["step"]
    assert saved % EVERY == 0 and 0 < saved < STEPS
    assert run(train(2, faces, out)).returncode == 0
    # bit for bit the run that was not disturbed; the row in which it was killed means over fewer steps
    final = [torch.load(folder / "032" / "checkpoint.pt", weights_only=True) for folder in (shared, out)]
    for name, tensors in final[0]["modules"].items():
        assert all(torch.equal(tensor, final[1]["modules"][name][key]) for key, tensor in tensors.items())
