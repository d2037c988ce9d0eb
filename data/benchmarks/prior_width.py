"""How wide should the prior be? Short runs of several widths at 32 px, judged after equal time.

BFR_LITE_DATA=... python data/benchmarks/prior_width.py --images 24000

Each width is trained from the same seed and measured every few thousand pictures: the Fréchet distance of 709 samples
from the 709 training portraits. Speed is measured apart, on idle cores (`--speed`), so that the runs themselves may
share the machine. Written beside this file: prior_width.json and prior_width.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator

from bfr_lite import load_faces
from bfr_lite.face_sets import FaceDataset
from bfr_lite.frechet import FaceFeatures, frechet_distance
from bfr_lite.machine import hardware, keep_freed_memory
from bfr_lite.stylegan2 import GANConfig, Generator
from bfr_lite.training.configs import PriorConfig
from bfr_lite.training.loop import RunConfig, run, step_rng
from bfr_lite.training.prior import PriorTask

SIZE, BATCH, SEED = 32, 8, 0
WIDTHS = ((2048, 64), (2048, 96), (4096, 128), (16384, 512))  # channel_base, channel_max
RESULT = Path(__file__).with_suffix(".json")


def make_config(base: int, most: int, **options: float) -> PriorConfig:
    """A prior of that width, judged by its discriminator alone, shown all portraits; `options` as for `PriorConfig`."""
    config = GANConfig(SIZE, z_dim=128, w_dim=128, mapping_layers=2, channel_base=base, channel_max=most)
    return PriorConfig(config, **{"seed": SEED, "critics": 0.0, "grey": True} | options)


def speed(config: PriorConfig, faces: FaceDataset, steps: int = 7) -> float:
    """Pictures a second: median over steps after the first two."""
    keep_freed_memory()
    task, seconds = PriorTask(config, faces, BATCH, Accelerator(cpu=True)), []
    for step in range(1, steps + 1):  # step 0 would pay R1
        start = time.perf_counter()
        task.step(step, torch.arange(BATCH), step_rng(SEED, step))
        seconds.append(time.perf_counter() - start)
    return BATCH / torch.tensor(seconds[2:]).median().item()


def curve(config: PriorConfig, faces: FaceDataset, images: int, every: int) -> list[list[float]]:
    """[pictures seen, distance of the averaged generator's samples] along a run, in batches of 8."""
    features = FaceFeatures()
    real = features(faces.batch(part) for part in torch.arange(len(faces)).split(50))
    task, points = PriorTask(config, faces, BATCH, Accelerator(cpu=True)), []
    with tempfile.TemporaryDirectory() as folder:
        for seen in range(every, images + 1, every):
            plan = RunConfig(Path(folder), seen, BATCH, config.seed, checkpoint_every=10**9, sample_every=10**9)
            if not run(task, plan, len(faces), task.accelerator).finished:
                raise KeyboardInterrupt
            drawn = features(draw(task.modules["generator_ema"], len(faces)))
            points.append([seen, round(frechet_distance(drawn, real), 2)])
    return points


@torch.no_grad()
def draw(generator: Generator, count: int) -> Iterator[torch.Tensor]:
    """Batches of `count` pictures of random faces in all, always of the same latents."""
    rng = step_rng(SEED, -2)
    for start in range(0, count, BATCH):
        yield generator(generator.sample(min(BATCH, count - start), rng)).clamp(0, 1)


def table(result: dict) -> str:
    """What each width has reached after the same time, as Markdown."""
    speeds, curves = result["pictures_per_second"], result["curves"]
    # a little more than the shortest run took, for runs are not measured at the same second
    limit = 1.05 * min(curves[name][-1][0] / speeds[name] for name in curves)
    lines = [
        "| channel_base / channel_max | pictures a second | seen | seconds | Fréchet distance |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, points in curves.items():
        seen, distance = max(point for point in points if point[0] / speeds[name] <= limit)
        lines.append(f"| {name} | {speeds[name]:.0f} | {seen:,} | {seen / speeds[name]:.0f} | {distance:.1f} |")
    ruler = f"Fréchet distance of as many samples from the training portraits: {result['features']}."
    head = f"What each had last reached in {limit:.0f} seconds, at {SIZE} px, seed {SEED}. {ruler}"
    made = f"Made by `python data/benchmarks/prior_width.py` on {result['hardware']}."
    return "\n".join([f"{head} {made}", "", *lines, ""])


def main() -> None:
    """Measure speeds or train, and write what is known so far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="measure speeds only; needs idle cores")
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--every", type=int, default=3_200)
    parser.add_argument("--widths", nargs="+", default=[f"{base}/{most}" for base, most in WIDTHS])
    args = parser.parse_args()
    faces = load_faces("congress", split="train", size=SIZE)
    result = (
        json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"pictures_per_second": {}, "curves": {}}
    )
    result |= {"features": FaceFeatures().name} | ({"hardware": hardware()} if args.speed else {})
    for name in args.widths:
        config = make_config(*map(int, name.split("/")))
        if args.speed:
            result["pictures_per_second"][name] = round(speed(config, faces), 1)
        else:
            result["curves"][name] = curve(config, faces, args.images, args.every)
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(name, result["pictures_per_second"].get(name), result["curves"].get(name), flush=True)
    if result["curves"] and set(result["curves"]) <= set(result["pictures_per_second"]):
        RESULT.with_suffix(".md").write_text(table(result), encoding="utf-8")


if __name__ == "__main__":
    main()
