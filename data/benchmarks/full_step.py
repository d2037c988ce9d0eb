"""Does the `full` preset, 512 px, train and resume on a CPU, and in how much memory?

python data/benchmarks/full_step.py     writes full_step.json and full_step.md beside this script (about half an hour)

By the command line, as users do: a prior takes a step, a restorer starts on it and takes one, and resumes for another;
with each precision, with and without gradient checkpointing. Peak memory is that of the whole process, as Linux counts
it; seconds are of the whole process too, building, reading and writing the checkpoint included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from bfr_lite.evaluation import markdown_table
from bfr_lite.machine import hardware

BATCH = {"prior": 1, "restorer": 2}  # R1, in the first step, makes the prior need most of all
OPTIONS = {
    "float32": ["--precision", "no"],
    "float32, checkpointing": ["--precision", "no", "--gradient-checkpointing"],
    "bfloat16": ["--precision", "bf16"],
    "bfloat16, checkpointing": ["--precision", "bf16", "--gradient-checkpointing"],
}


def train(what: str, data: Path, *arguments: object) -> dict[str, float]:
    """Run `bfr-lite train` with the full preset; its seconds and peak memory in GB. Stops everything when it fails."""
    command = [sys.executable, "-m", "bfr_lite", "train", what, *map(str, arguments), "--preset", "full"]
    command += ["--data", str(data), "--batch", str(BATCH[what])]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {"seconds": round(time.perf_counter() - start, 1), "GB": round(usage.ru_maxrss * 1024 / 1e9, 2)}


def main() -> None:
    """Measure, print and write."""
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        prior, data = Path(scratch, "prior"), Path(scratch, "data")
        data.mkdir()
        for number in range(4):
            Image.fromarray(np.rot90(skimage.data.astronaut(), number)).save(data / f"{number}.png")
        for name, options in OPTIONS.items():
            out = Path(scratch, "restorer")
            stage = f"512:{BATCH['prior']}"
            rows[f"prior, one step, {name}"] = train("prior", data, "--stages", stage, *options, "-o", prior)
            weights = prior / "prior-full.safetensors"
            for what, steps in (("one step", 1), ("resumed for another", 2)):
                images = ["--images", steps * BATCH["restorer"]]
                found = train("restorer", data, "--prior", weights, *images, *options, "-o", out)
                rows[f"restorer, {what}, {name}"] = found
            for folder in (prior, out):
                shutil.rmtree(folder)
            print(json.dumps(rows, indent=1), flush=True)
    result = {"batch": BATCH, "hardware": hardware(), "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown_table(["seconds", "GB"], {name: [f"{one[k]:.1f}" for k in one] for name, one in rows.items()})
    head = (
        "# One step of the full preset\n\nWhole processes: building, reading, the step, the checkpoint. 512 px, "
        + ", ".join(f"{one}: {n} a step" for one, n in BATCH.items())
    )
    made = f"seed 0; {hardware()}; PyTorch {torch.__version__}. Made by `python data/benchmarks/full_step.py`."
    Path(__file__).with_suffix(".md").write_text(f"{head}; {made}\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
