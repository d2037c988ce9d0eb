"""What is each part worth? The whole system, and the same with one part changed: equal data, pictures and parameters.

BFR_LITE_DATA=... python data/benchmarks/ablations.py                                  every row, seeds 0 1 2 (hours)
BFR_LITE_DATA=... python data/benchmarks/ablations.py --rows "plain blocks" --seeds 0  one row, one seed
python data/benchmarks/ablations.py --table                                            tables of what is there

Preset `tiny`: portraits of 32 px, the shipped prior of that preset. Every run sees the same number of pictures, and is
measured on the test portraits under GFPGAN's ranges and CodeFormer's stage 2 (super-resolution networks: by 4), the
seed of the damage fixed, at three fidelities. A run leaves a file in the folder of `--runs`, so several processes may
share the work, each with its own --seeds or --rows. A run of as many pictures that is there or in ablations.json is not
made again, unless `--again` asks for it. `--table` gathers them into ablations.json, and those of `--images` pictures
into ablations.md, beside this script. Spread is the standard deviation over seeds, which change initial weights, order
and luck of the training.

A run does not know the code it was made by: when training changes, all rows go `--again`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from bfr_lite import Degradation, Restorer, load_faces, preset
from bfr_lite.baselines import tune_all
from bfr_lite.checkpoints import load_discriminator, load_generator
from bfr_lite.evaluation import Table, evaluate, markdown_table, measured_mean
from bfr_lite.files import atomic_path
from bfr_lite.machine import hardware, keep_freed_memory
from bfr_lite.metrics import benchmark_metrics
from bfr_lite.mmrb import PATHS
from bfr_lite.rivals import (
    GfpganLike,
    GpenLike,
    LatentSearch,
    SRResNet,
    UNet,
    full_block,
    mmrb_for_full_block,
    mmrb_without,
    parameters,
    plain_block,
    symmetric_restorer,
)
from bfr_lite.training.configs import RestorerConfig
from bfr_lite.training.loop import RunConfig, run
from bfr_lite.training.losses import LossWeights
from bfr_lite.training.pixels import PixelTask
from bfr_lite.training.restorer import RestorerTask

SEEDS = (0, 1, 2)
# As when the first of these runs were made; the shipped weights had more of both later.
EMPHASIS, TEACHER = 3.0, 0.05
PRESET, BATCH, DAMAGE_SEED = preset("tiny"), 16, 0
RESULT = Path(__file__).with_suffix(".json")
DAMAGES = {name: Degradation.named(name, PRESET.size) for name in dict.fromkeys(RestorerConfig.degradations)}
DAMAGES["x4"] = Degradation.super_resolution(4, PRESET.size)
MEASURED = ("gfpgan", "codeformer")
FIDELITIES = (0.0, 0.5, 1.0)  # at 0 codes alone draw, and show what they are worth
SIGNALS = ("latent", "teacher", "redegradation")


@dataclass(frozen=True)
class System:
    """A restorer with a generator: how it is built, the losses it goes without, what it has of the prior."""

    make: Callable[..., Restorer] = Restorer
    without: tuple[str, ...] = ()
    prior: bool = True
    generator_lr: float = RestorerConfig.generator_lr
    mixed_in: float = 0.0


@dataclass(frozen=True)
class Network:
    """A network from picture to picture, trained by pixels alone on the named damages."""

    make: Callable[..., nn.Module]
    damages: tuple[str, ...] = RestorerConfig.degradations  # as often as a restorer meets them


NO_SIGNALS = (*SIGNALS, "trust")
ROWS: Mapping[str, System | Network] = {
    "whole system": System(),
    "plain blocks": System(partial(Restorer, block=plain_block)),
    **{f"MMRB without {path}": System(partial(Restorer, block=mmrb_without(path))) for path in PATHS},
    "symmetric codec": System(symmetric_restorer),
    "no prior": System(prior=False),
    **{f"without {signal}": System(without=(signal,)) for signal in SIGNALS},
    "without all three signals": System(without=SIGNALS),
    "a quarter of the batch drawn": System(mixed_in=0.25),
    "GFPGAN-like": System(GfpganLike, NO_SIGNALS, generator_lr=0.0),
    "GPEN-like": System(GpenLike, NO_SIGNALS),
    "plain U-Net": Network(partial(UNet, full_block, 9)),
    "U-Net, its own block": Network(partial(UNet, full_block, 12)),
    "U-Net, MMRB": Network(partial(UNet, mmrb_for_full_block, 12)),
    "SRResNet, its own block": Network(partial(SRResNet, full_block, 32, 8, 4), ("x4",)),
    "SRResNet, MMRB": Network(partial(SRResNet, mmrb_for_full_block, 32, 8, 4), ("x4",)),
}
SEARCH = "PULSE-like search"


def train(row: System | Network, images: int, seed: int, accelerator: Accelerator) -> nn.Module:
    """Train one row, and return its averaged network."""
    faces = load_faces("congress", split="train", size=PRESET.size)
    if isinstance(row, System):
        weights = LossWeights(**{"teacher": TEACHER} | dict.fromkeys(row.without, 0.0))
        options = {"generator_lr": row.generator_lr, "mixed_in": row.mixed_in, "emphasis": EMPHASIS, "seed": seed}
        config = RestorerConfig(PRESET, weights, **options)
        prior, judge = (load_generator("tiny"), load_discriminator("tiny")) if row.prior else (None, None)
        task = RestorerTask(config, faces, BATCH, accelerator, prior, judge, row.make)
    else:
        damages = tuple(DAMAGES[name] for name in row.damages)
        network = row.make(generator=torch.Generator().manual_seed(seed))
        task = PixelTask(network, faces, BATCH, accelerator, damages)
    with tempfile.TemporaryDirectory() as folder:
        plan = RunConfig(Path(folder), images, BATCH, seed, 0.3, checkpoint_every=10**9, sample_every=10**9)
        if not run(task, plan, len(faces), accelerator).finished:
            raise KeyboardInterrupt  # half a run is none
    return task.modules["restorer_ema" if isinstance(row, System) else "network_ema"].eval()


def measure(network: nn.Module, damage: str) -> dict[str, dict[str, float]]:
    """Means over the test portraits, by way of restoring and by metric."""
    faces = load_faces("congress", split="test", size=PRESET.size)
    if isinstance(network, Restorer):
        table = evaluate(network, faces, DAMAGES[damage], FIDELITIES, {}, benchmark_metrics(), DAMAGE_SEED)
    else:
        methods = {"network": lambda lq: network(lq).clamp(0, 1)}
        table = evaluate(None, faces, DAMAGES[damage], (), methods, benchmark_metrics(), DAMAGE_SEED)
    return means(table)


def means(table: Table) -> dict[str, dict[str, float]]:
    """The mean of every row by every metric."""
    return {
        row: {one.name: round(measured_mean(table.values(row, one.name)), 4) for one in table.metrics}
        for row in table.rows
    }


def make_run(name: str, images: int, seed: int, accelerator: Accelerator) -> dict[str, object]:
    """Train and measure one row with one seed."""
    start, row = time.perf_counter(), ROWS[name]
    network = train(row, images, seed, accelerator)
    damages = row.damages if "x4" in getattr(row, "damages", ()) else MEASURED
    results = {damage: measure(network, damage) for damage in damages}
    seconds = round(time.perf_counter() - start)
    facts = {"images": images, "batch": BATCH, "parameters": parameters(network), "seconds": seconds}
    return {"row": name, "seed": seed, **facts, "hardware": hardware(), "results": results}


def untrained() -> dict[str, object]:
    """What needs no training: classical methods tuned on training portraits, and the search of the prior's codes."""
    train_faces = load_faces("congress", split="train", size=PRESET.size, count=64)
    test_faces = load_faces("congress", split="test", size=PRESET.size)
    results = {}
    for name in MEASURED:
        methods = tune_all(train_faces, DAMAGES[name]) | {SEARCH: LatentSearch(load_generator("tiny"))}
        table = evaluate(None, test_faces, DAMAGES[name], (), methods, benchmark_metrics(), DAMAGE_SEED)
        results[name] = means(table)
    return {"row": "untrained", "seed": 0, "images": 0, "parameters": 0, "hardware": hardware(), "results": results}


def gathered(folder: Path) -> list[dict]:
    """Every finished run, of ablations.json and of `folder`, which has the last word, in the order of the rows."""
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else []
    known += [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    last = {(one["row"], one["seed"], one["images"]): one for one in known}
    order = [*ROWS, "untrained"]
    return sorted(last.values(), key=lambda one: (order.index(one["row"]), one["images"], one["seed"]))


def tables(runs: list[dict]) -> str:
    """Markdown: for each damage, fidelity and metric the mean over seeds of every row, with the spread over seeds.

    What has no knob stands in the table of fidelity 1, with the others that follow the input.
    """
    parts = [_heading(runs)]
    for damage in DAMAGES:
        for fidelity in FIDELITIES[::-1]:
            rows, measured = {}, [one for one in runs if damage in one["results"]]
            for name in dict.fromkeys(one["row"] for one in measured):
                rows |= _rows([one for one in measured if one["row"] == name], damage, fidelity)
            if rows:
                heads = ["parameters", "seeds", *(_short(metric) for metric in _metrics(runs))]
                parts += [f"### {damage}, fidelity {fidelity:g}", markdown_table(heads, rows)]
    return "\n\n".join(parts) + "\n"


def _heading(runs: list[dict]) -> str:
    trained = [one for one in runs if one["images"]]
    seen = " / ".join(f"{count:,}" for count in sorted({one["images"] for one in trained}))
    wanted = len(SEEDS) * len(ROWS)
    missing = wanted - len({(one["row"], one["seed"]) for one in trained})
    unfinished = f" **Unfinished: {missing} of {wanted} runs are still to be made.**" if missing > 0 else ""
    where = ", ".join(sorted({one["hardware"] for one in runs}))
    return (
        f"# Ablations\n\nPortraits of {PRESET.size} px, {seen} pictures a run in batches of {BATCH}, measured on "
        f"73 test portraits; mean ± standard deviation over seeds. {where}. Made by "
        "`python data/benchmarks/ablations.py`; one row alone by `--rows NAME --again`, those without seeds by "
        "`--rows untrained --again`. The recipe is `RestorerConfig`'s, but for a teacher of "
        f"{TEACHER} and an emphasis of {EMPHASIS:g} (and for StyleGAN's noise in runs made before commit 02e9dda, "
        f"which was trained along).{unfinished}"
    )


def _rows(runs: list[dict], damage: str, fidelity: float) -> dict[str, list[str]]:
    """Lines of the runs of one row: one of what was trained, of the untrained all."""
    results, first = [one["results"][damage] for one in runs], runs[0]
    at = {f"restorer, fidelity {fidelity:g}", *(["network"] if fidelity == 1 else [])}
    shown = {way: first["row"] for way in results[0] if way in at}
    if first["row"] == "untrained" and fidelity == 1:
        shown = {way: way for way in results[0]}
    count = [f"{first['parameters']:,}" if first["parameters"] else "", str(len(runs))]
    return {label: [*count, *_cells([one[way] for one in results])] for way, label in shown.items()}


def _cells(results: list[dict[str, float]]) -> list[str]:
    cells = []
    for metric in results[0]:
        values = [one[metric] for one in results]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    return cells


def _metrics(runs: list[dict]) -> list[str]:
    first = next(iter(runs[0]["results"].values()))
    return list(next(iter(first.values())))


def _short(metric: str) -> str:
    return f"{metric} {'↑' if metric in ('PSNR', 'SSIM') else '↓'}"


def main() -> None:
    """Make the runs that are asked for and not there, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=["untrained", *ROWS], choices=["untrained", *ROWS], metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), metavar="FOLDER")
    parser.add_argument("--again", action="store_true", help="make runs that are there already once more")
    parser.add_argument("--table", action="store_true", help="write ablations.json and ablations.md of what is there")
    args = parser.parse_args()
    if args.table:
        runs = gathered(args.runs)
        shown = tables([one for one in runs if one["images"] in (0, args.images)])
        for path, text in ((RESULT, json.dumps(runs, indent=1) + "\n"), (RESULT.with_suffix(".md"), shown)):
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        print(shown)
        return
    keep_freed_memory()
    accelerator = Accelerator(cpu=True)
    args.runs.mkdir(parents=True, exist_ok=True)
    # nothing depends on a seed where nothing is trained
    wanted = dict.fromkeys((name, seed if name in ROWS else 0) for seed in args.seeds for name in args.rows)
    for name, seed in wanted:
        images = args.images if name in ROWS else 0
        done = {(one["row"], one["seed"], one["images"]) for one in gathered(args.runs)}
        if (name, seed, images) in done and not args.again:
            continue
        made = make_run(name, images, seed, accelerator) if name in ROWS else untrained()
        path = args.runs / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{images}-{seed}.json"
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(made) + "\n", encoding="utf-8")
        print(f"{name}, seed {seed}: {made.get('seconds', 0)} s", flush=True)


if __name__ == "__main__":
    main()
