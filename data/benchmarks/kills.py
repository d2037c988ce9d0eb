"""Does training survive being killed? A run is killed with SIGKILL, again and again, and goes on.

python data/benchmarks/kills.py              twenty kills; writes kills.json beside this script
python data/benchmarks/kills.py --kills 3    fewer; prints alone

After every kill the checkpoint has to be whole, and at most one interval of steps lost; in the end weights, optimisers
and log have to be those of a run that nobody disturbed, bit for bit, and no half-written file may be left. Of five
kills, two come at any moment of the training, two as soon as a checkpoint is being written, one while the process
starts. Exits with an error at the first failure. The moments come from `--seed`, and from how busy the machine is.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from bfr_lite import load_faces, preset
from bfr_lite.machine import hardware
from bfr_lite.torch_files import read_checkpoint
from bfr_lite.training.configs import PriorConfig
from bfr_lite.training.log import whole_rows
from bfr_lite.training.loop import RunConfig, run
from bfr_lite.training.prior import PriorTask

BATCH, EVERY = 4, 5
STEPS_A_KILL = 100  # so that the run outlasts the kills
LONGEST = {"training": 0.8, "writing": 1.0, "starting": 4.0}  # seconds waited, at most


def train(folder: Path, steps: int) -> None:
    """The run that is killed: a tiny prior on synthetic faces, logged at every step."""
    torch.set_num_threads(1)
    accelerator, faces = Accelerator(cpu=True), load_faces("synthetic", split="train", size=32)
    task = PriorTask(PriorConfig(preset("tiny").gan, seed=1), faces, BATCH, accelerator)
    plan = RunConfig(folder, steps * BATCH, BATCH, checkpoint_every=EVERY, sample_every=EVERY, log_every=1)
    run(task, plan, len(faces), accelerator)


def start(folder: Path, steps: int) -> subprocess.Popen:
    """The same in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, "--worker", str(folder), "--steps", str(steps)])


def log_rows(folder: Path) -> list[dict[str, str]]:
    """Whole rows of the log, without the clock; none before the first."""
    path = folder / "log.csv"
    rows = whole_rows(path) if path.exists() else []
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def saved_step(folder: Path) -> int:
    """Step of the checkpoint, which is read as a whole; 0 before the first."""
    path = folder / "checkpoint.pt"
    return int(read_checkpoint(path)["step"]) if path.exists() else 0


def half_written(folder: Path) -> set[Path]:
    """Checkpoints that are being written, or were when their writer died."""
    return set(folder.glob(".checkpoint.pt.*"))


def kill_once(folder: Path, steps: int, when: str, wait: float) -> dict[str, str | float | bool]:
    """Start the run and kill it `wait` seconds after its start, or its first new step, or when it writes next."""
    before, torn, process = len(log_rows(folder)), half_written(folder), start(folder, steps)
    while when != "starting" and len(log_rows(folder)) in (0, before) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(wait)
    while when == "writing" and not half_written(folder) - torn and process.poll() is None:
        time.sleep(0.0002)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise SystemExit("the run had ended before it was killed: give it more steps")
    saved, rows = saved_step(folder), log_rows(folder)
    taken = int(rows[-1]["step"]) if rows else 0
    if taken - saved > EVERY:
        raise SystemExit(f"{taken} steps were taken, and {saved} kept: more than {EVERY} lost")
    facts = {"when": when, "half-written": bool(half_written(folder) - torn), "seconds": round(wait, 3)}
    return facts | {"steps taken": taken, "steps kept": saved}


def same(one: object, other: object) -> bool:
    """Whether two checkpoints are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def survive(kills: int, seed: int) -> list[dict[str, str | float | bool]]:
    """Kill a run `kills` times, let it end, and compare it with one that was left alone."""
    steps, draw, found = STEPS_A_KILL * kills, random.Random(seed), []
    with tempfile.TemporaryDirectory() as scratch:
        alone, killed = Path(scratch, "alone"), Path(scratch, "killed")
        if start(alone, steps).wait() != 0:
            raise SystemExit("the run that nobody disturbs failed")
        for number in range(kills):
            when = ("training", "writing", "training", "writing", "starting")[number % 5]
            found.append(kill_once(killed, steps, when, draw.uniform(0, LONGEST[when])))
            print(found[-1], flush=True)
        if start(killed, steps).wait() != 0:
            raise SystemExit("the killed run does not go on")
        if not same(*(read_checkpoint(folder / "checkpoint.pt") for folder in (alone, killed))):
            raise SystemExit("the killed run ended elsewhere")
        if log_rows(alone) != log_rows(killed):
            raise SystemExit("the logs differ")
        names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (alone, killed)]
        # a log whose run was killed before its first checkpoint is moved aside
        if differ := {name for name in names[0] ^ names[1] if not name.startswith("log.csv.old")}:
            raise SystemExit(f"files differ: {differ}")
    return found


def main() -> None:
    """Be the run that is killed, or kill it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        train(args.worker, args.steps)
        return
    found = survive(args.kills, args.seed)
    if args.kills == 20:
        result = {"every": EVERY, "seed": args.seed, "hardware": hardware(), "kills": found}
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lost = max(one["steps taken"] - one["steps kept"] for one in found)
    torn = sum(one["half-written"] for one in found)
    print(f"{args.kills} kills survived, {torn} in the middle of a checkpoint; at most {lost} steps lost at once")


if __name__ == "__main__":
    main()
