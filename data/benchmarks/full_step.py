"""Does the `full` preset, 512 px, train and resume on a CPU, and in how much memory?

python data/benchmarks/full_step.py     writes full_step.json and full_step.md beside this script (about an hour)

By the command line, as users do: a prior takes a step, and a restorer starts on it and takes one, with each precision,
with and without gradient checkpointing; both resume for another where a step needs most. Peak memory is that of the
whole process, as Linux counts it: building, reading and writing the checkpoint included. With one picture a step and
with two: the difference is what each further picture costs, on a GPU too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from bfr_lite.evaluation import markdown_table
from bfr_lite.machine import hardware

BATCHES = (1, 2)  # R1, in the first step, makes the prior need most of all
OPTIONS = {
    "float32": ["--precision", "no"],
    "float32, checkpointing": ["--precision", "no", "--gradient-checkpointing"],
    "bfloat16": ["--precision", "bf16"],
    "bfloat16, checkpointing": ["--precision", "bf16", "--gradient-checkpointing"],
}


def train(what: str, batch: int, data: Path, *arguments: object) -> float:
    """Run `bfr-lite train` with the full preset; its peak memory in GB. Stops everything when it fails."""
    command = [sys.executable, "-m", "bfr_lite", "train", what, *map(str, arguments), "--preset", "full"]
    command += ["--data", str(data), "--batch", str(batch)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return round(usage.ru_maxrss * 1024 / 1e9, 2)


def one_and_another(batch: int, scratch: Path, data: Path, options: list[str], resume: bool) -> dict[str, float]:
    """Memory of a step of each network and, with `resume`, of going on from its checkpoint for another."""
    prior, restorer = scratch / "prior", scratch / "restorer"
    weights, found = prior / "prior-full.safetensors", {}
    for steps in (1, 2) if resume else (1,):
        what = "resumed for another" if steps == 2 else "one step"
        stage = ["--stages", f"512:{steps * batch}"]
        found[f"prior, {what}"] = train("prior", batch, data, *stage, *options, "-o", prior)
        images = ["--prior", weights, "--images", steps * batch]
        found[f"restorer, {what}"] = train("restorer", batch, data, *images, *options, "-o", restorer)
    for folder in (prior, restorer):
        shutil.rmtree(folder)
    return found


def main() -> None:
    """Measure, print and write."""
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        data.mkdir()
        for number in range(4):
            Image.fromarray(np.rot90(skimage.data.astronaut(), number)).save(data / f"{number}.png")
        for name, options in OPTIONS.items():
            for batch in BATCHES:
                most = name == "float32" and batch == max(BATCHES)
                for what, memory in one_and_another(batch, Path(scratch), data, options, resume=most).items():
                    rows.setdefault(f"{what}, {batch} at a time", {})[name] = memory
                print(json.dumps(rows, indent=1), flush=True)
    result = {"hardware": hardware(), "GB": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown_table(
        list(OPTIONS),
        {what: [f"{one[name]:.1f}" if name in one else "" for name in OPTIONS] for what, one in rows.items()},
    )
    head = (
        "# Memory of one step of the full preset\n\n"
        "Peak memory of whole processes, in GB: building, reading, the step, the checkpoint. 512 px"
    )
    made = f"seed 0; {hardware()}; PyTorch {torch.__version__}. Made by `python data/benchmarks/full_step.py`."
    Path(__file__).with_suffix(".md").write_text(f"{head}; {made}\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
