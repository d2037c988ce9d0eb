"""How strong should R1 be? Short runs of a prior at 32 px with a quarter to four times the package's own weight.

BFR_LITE_DATA=... python data/benchmarks/prior_r1.py                 every weight, seeds 0 and 1
BFR_LITE_DATA=... python data/benchmarks/prior_r1.py --seeds 1       one seed: several processes may share the work

The ruler is prior_width.py's, the width that of the shipped prior. A run leaves a file in the folder of `--runs` and is
not made again; written beside this script, at the end, is what is there: prior_r1.json and prior_r1.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from prior_width import BATCH, SIZE, curve, make_config

from bfr_lite import load_faces
from bfr_lite.evaluation import markdown_table
from bfr_lite.files import atomic_path
from bfr_lite.frechet import FaceFeatures
from bfr_lite.machine import hardware, keep_freed_memory
from bfr_lite.presets import LITE
from bfr_lite.training.adversarial import auto_r1_gamma

TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)
RESULT = Path(__file__).with_suffix(".json")


def table(result: dict) -> str:
    """Distances of every weight by seed, as Markdown."""
    seeds = sorted({seed for runs in result["runs"].values() for seed in runs})
    lines = {
        f"{times} x {result['gamma']:g}": [f"{runs[seed][-1][1]:.1f}" if seed in runs else "" for seed in seeds]
        for times, runs in result["runs"].items()
    }
    head = (
        f"Fréchet distance to the training portraits after {result['images']:,} pictures of {SIZE} px in batches of "
        f"{BATCH}, {result['features']}; {result['hardware']}. Made by `python data/benchmarks/prior_r1.py`."
    )
    return f"{head}\n\n{markdown_table([f'seed {seed}' for seed in seeds], lines)}\n"


def gathered(folder: Path, images: int) -> dict:
    """What is there so far, by weight and seed."""
    runs: dict[str, dict[str, list]] = {}
    for times in TIMES:
        for path in sorted(folder.glob(f"{times:g}-*-{images}.json")):
            runs.setdefault(f"{times:g}", {})[path.name.split("-")[1]] = json.loads(path.read_text(encoding="utf-8"))
    facts = {"images": images, "gamma": auto_r1_gamma(SIZE, BATCH), "features": FaceFeatures().name}
    return facts | {"hardware": hardware(), "runs": runs}


def main() -> None:
    """Train what is not there yet, and write what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--every", type=int, default=8_000)
    parser.add_argument("--runs", type=Path, default=Path("runs/prior_r1"), metavar="FOLDER")
    args = parser.parse_args()
    keep_freed_memory()
    args.runs.mkdir(parents=True, exist_ok=True)
    faces = load_faces("congress", split="train", size=SIZE)
    for seed in args.seeds:
        for times in TIMES:
            path = args.runs / f"{times:g}-{seed}-{args.images}.json"
            if path.exists():
                continue
            gamma = times * auto_r1_gamma(SIZE, BATCH)
            config = make_config(LITE.channel_base, LITE.channel_max, r1_gamma=gamma, seed=seed)
            points = curve(config, faces, args.images, args.every)
            with atomic_path(path) as temporary:  # another process may be reading
                temporary.write_text(json.dumps(points) + "\n", encoding="utf-8")
            print(f"{times:g} x {gamma / times:g}, seed {seed}: {points}", flush=True)
    result = gathered(args.runs, args.images)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(table(result), encoding="utf-8")


if __name__ == "__main__":
    main()
