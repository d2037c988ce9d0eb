"""``bfr-lite train``: train a prior, then a restorer on it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bfr_lite.commands import Subparsers, command_parser, seed, train_landmarks

if TYPE_CHECKING:
    from bfr_lite.face_sets import FaceDataset
    from bfr_lite.training.loop import RunConfig
    from bfr_lite.training.recipes import Result, Stage

SIGNALS = ("latent", "teacher", "redegradation", "adversarial", "perceptual", "feature", "pyramid", "trust")

PRIOR_EXAMPLE = """
bfr-lite train prior --preset lite --data congress --stages 32:40000 64:100000 128:400000 -o runs/prior-lite
bfr-lite train prior --preset lite --data my-faces/ --start lite --stages 128:20000 -o runs/prior-mine
accelerate launch -m bfr_lite train prior --preset full --data ffhq/ --batch 64 --precision bf16 \\
    --stages 64:2000000 128:3000000 256:5000000 512:15000000 -o runs/prior-full
"""

RESTORER_EXAMPLE = """
bfr-lite train restorer --preset lite --data congress --prior lite --images 100000 -o runs/restorer-lite
bfr-lite train restorer --preset lite --data congress --prior runs/prior-lite/128/checkpoint.pt -o runs/mine
bfr-lite train restorer --preset lite --data my-faces/ --start lite --images 20000 -o runs/my-faces
bfr-lite train restorer --preset tiny --data synthetic --prior none --without latent --without teacher -o runs/plain
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add ``train`` and what it can train to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a prior, a restorer or a landmark network",
        description="Train a network.",
        epilog="example:\n  bfr-lite train prior --preset tiny --data my-faces/ --stages 32:20000 -o runs/prior-tiny",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(title="what to train", metavar="<network>", required=True)
    prior = command_parser(kinds, "prior", "train a StyleGAN2 prior, growing from 32 px", PRIOR_EXAMPLE, run_prior)
    _add_run_arguments(prior, "a trained prior of the same sizes to begin with", batch=8, cooldown=0.0)
    prior.add_argument(
        "--stages", nargs="+", metavar="SIZE:IMAGES", help="resolutions and pictures of each (default: 100000 each)"
    )
    prior.add_argument("--r1-gamma", type=float, help="weight of the R1 penalty (default: 0.0004 size^2 / batch)")
    prior.add_argument(
        "--without", action="append", default=[], choices=("critics",), help="train by the discriminator alone"
    )
    restorer = command_parser(kinds, "restorer", "train a restorer on a prior", RESTORER_EXAMPLE, run_restorer)
    start = "a trained restorer of the same sizes to begin with, generator included; --prior then draws and judges only"
    _add_run_arguments(restorer, start, batch=16, cooldown=0.4)
    restorer.add_argument("--images", type=int, default=100_000, help="pictures to see (default: 100000)")
    restorer.add_argument(
        "--prior",
        help="preset's name, safetensors, checkpoint, official .pkl, .pt or .pth; none: from scratch (default: the one "
        "of the preset)",
    )
    restorer.add_argument(
        "--generator-lr", type=float, help="of the prior; 0 freezes it, as in GFPGAN (default: the recipe's)"
    )
    restorer.add_argument(
        "--adversarial-after", type=int, default=0, metavar="IMAGES", help="when the discriminator joins (default: 0)"
    )
    restorer.add_argument(
        "--mixed-in",
        type=float,
        metavar="SHARE",
        help="of the batch: faces drawn by the prior in place of portraits, worth as much as the prior (default: 0)",
    )
    restorer.add_argument(
        "--without", action="append", default=[], choices=SIGNALS, help="switch a training signal off; may be repeated"
    )
    train_landmarks.add_parser(kinds)


def _add_run_arguments(parser: argparse.ArgumentParser, start: str, batch: int, cooldown: float) -> None:
    parser.add_argument("--preset", default="lite", help="tiny, lite or full (default: lite)")
    parser.add_argument(
        "--data",
        default="congress",
        help="congress, synthetic, or aligned faces: a folder, zip, tar or '*.tar' (default: congress)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder of the run; one found there is resumed"
    )
    parser.add_argument("--start", metavar="WEIGHTS", help=f"{start} (default: none, random)")
    parser.add_argument("--batch", type=int, default=batch, help=f"pictures a step (default: {batch})")
    parser.add_argument("--lr", type=float, help="learning rate (default: the recipe's)")
    parser.add_argument(
        "--cooldown",
        type=float,
        default=cooldown,
        metavar="SHARE",
        help=f"last share of the run over which the learning rate falls to zero (default: {cooldown})",
    )
    parser.add_argument("--seed", type=seed, default=0, help="same seed, same run (default: 0)")
    parser.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS", help="default: 250")
    parser.add_argument("--sample-every", type=int, default=500, metavar="STEPS", help="default: 500")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no", help="mixed precision (default: no)")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="less memory, up to a third more time, the same results"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run_prior(args: argparse.Namespace) -> int:
    """Train a prior; 1 when it was interrupted before its last picture."""
    from bfr_lite.machine import command_line
    from bfr_lite.presets import preset
    from bfr_lite.training.configs import PriorConfig
    from bfr_lite.training.processes import accelerated
    from bfr_lite.training.recipes import default_stages, train_prior

    chosen = preset(args.preset)
    stages = [_stage(text) for text in args.stages] if args.stages else default_stages(chosen.size, 100_000)
    options = _given(lr=args.lr, r1_gamma=args.r1_gamma) | dict.fromkeys(args.without, 0.0)
    config = PriorConfig(chosen.gan, seed=args.seed, **options)
    faces = _faces(args.data, chosen.size)
    run_config = _run_config(args, images=0)
    with accelerated(args.precision) as accelerator:
        result = train_prior(chosen, config, stages, faces, run_config, accelerator, args.start, command_line())
        return _report(result, args.json, accelerator.is_main_process)


def run_restorer(args: argparse.Namespace) -> int:
    """Train a restorer; 1 when it was interrupted before its last picture."""
    from bfr_lite.machine import command_line
    from bfr_lite.presets import preset
    from bfr_lite.training.configs import RestorerConfig
    from bfr_lite.training.losses import LossWeights
    from bfr_lite.training.processes import accelerated
    from bfr_lite.training.recipes import train_restorer

    chosen = preset(args.preset)
    weights = LossWeights(**dict.fromkeys(args.without, 0.0))
    options = _given(lr=args.lr, generator_lr=args.generator_lr, mixed_in=args.mixed_in)
    config = RestorerConfig(chosen, weights, adversarial_after=args.adversarial_after, seed=args.seed, **options)
    prior = None if args.prior == "none" else args.prior or args.preset
    run_config = _run_config(args, images=args.images)
    faces = _faces(args.data, chosen.size)
    with accelerated(args.precision) as accelerator:
        result = train_restorer(config, prior, faces, run_config, accelerator, args.start, command_line())
        return _report(result, args.json, accelerator.is_main_process)


def _stage(text: str) -> Stage:
    from bfr_lite.training.recipes import Stage

    size, _, images = text.partition(":")
    if not (size.isdigit() and images.isdigit()):
        raise ValueError(f"stage {text!r} is not SIZE:IMAGES, such as 32:40000")
    return Stage(int(size), int(images))


def _given(**values: float | None) -> dict[str, float]:
    """The options that were given, so that the recipe's own values stand for the rest."""
    return {name: value for name, value in values.items() if value is not None}


def _faces(data: str, size: int) -> FaceDataset:
    from bfr_lite.data import load_faces

    if data in ("congress", "synthetic"):
        return load_faces(data, split="train", size=size)
    return load_faces("folder", data, size=size)


def _run_config(args: argparse.Namespace, images: int) -> RunConfig:
    from bfr_lite.training.loop import RunConfig

    return RunConfig(
        folder=args.output,
        images=images,
        batch=args.batch,
        seed=args.seed,
        cooldown=args.cooldown,
        checkpoint_every=args.checkpoint_every,
        sample_every=args.sample_every,
        gradient_checkpointing=args.gradient_checkpointing,
    )


def _report(result: Result, as_json: bool, main: bool) -> int:
    progress = result.progress
    if not main:
        return 0 if progress.finished else 1
    if as_json:
        print(json.dumps({**vars(progress), "weights": [str(path) for path in result.weights]}))
    else:
        print(f"{progress.images} pictures in {progress.steps} steps; weights: {', '.join(map(str, result.weights))}")
    if not progress.finished:
        print("bfr-lite: stopped early; the same command goes on from here", file=sys.stderr)
    return 0 if progress.finished else 1
