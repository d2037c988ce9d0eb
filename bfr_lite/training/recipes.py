"""Whole training runs: the stages of a prior, a restorer on top of it, and the weights and cards they leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from bfr_lite.checkpoints import load_discriminator, load_generator, save_weights
from bfr_lite.face_sets import FaceDataset
from bfr_lite.machine import hardware, versions
from bfr_lite.presets import Preset
from bfr_lite.training.configs import PriorConfig, RestorerConfig
from bfr_lite.training.log import whole_rows
from bfr_lite.training.loop import Progress, RunConfig, run
from bfr_lite.training.prior import PriorTask, stage_config
from bfr_lite.training.restorer import RestorerTask


@dataclass(frozen=True)
class Stage:
    """One resolution of a growing prior: its size in pixels and how many pictures it sees."""

    size: int
    images: int


@dataclass(frozen=True)
class Result:
    """Where a recipe ended, and the weight files it wrote; none before the last stage has begun."""

    progress: Progress
    weights: tuple[Path, ...]


def default_stages(size: int, images: int) -> list[Stage]:
    """32, 64, ... `size` pixels, `images` pictures each: coarse stages are cheap and settle the layout of a face."""
    return [Stage(step, images) for step in (32, 64, 128, 256, 512) if step < size] + [Stage(size, images)]


def train_prior(
    preset: Preset,
    config: PriorConfig,
    stages: list[Stage],
    faces: FaceDataset,
    run_config: RunConfig,
    accelerator: Accelerator,
    start: str | None = None,
    command: str = "",
) -> Result:
    """Train a prior stage by stage, each in its own folder below `run_config.folder`, resuming where it stood.

    `start` names a trained prior of the first stage's size to begin with, instead of random weights. `command` is what
    the card says made them.

    Raises `ValueError` when the stages do not double to the preset's size, and `FileExistsError` where the folder holds
    weights of a run that cannot be resumed.
    """
    sizes = [stage.size for stage in stages]
    if sizes[-1] != preset.size or any(after != 2 * before for before, after in pairwise(sizes)):
        raise ValueError(
            f"stages must double to {preset.size} px, got {sizes}: for instance 32:40000 64:100000 128:400000"
        )
    weights = _weight_paths(("prior", "discriminator"), preset, run_config.folder)
    _keep_finished(weights.values(), run_config.folder / f"{preset.size:03d}" / "checkpoint.pt")
    smaller = None
    for stage in stages:
        folder = run_config.folder / f"{stage.size:03d}"
        task = PriorTask(stage_config(config, stage.size), faces, run_config.batch, accelerator)
        if not (folder / "checkpoint.pt").exists():
            if smaller is not None:
                task.grow_from(smaller)
            elif start is not None:
                task.start_from(start)
        progress = run(task, replace(run_config, folder=folder, images=stage.images), len(faces), accelerator)
        if not progress.finished and stage.size < preset.size:
            return Result(progress, ())
        smaller = folder / "checkpoint.pt"
    stage_facts = [asdict(stage) | _history(run_config.folder / f"{stage.size:03d}") for stage in stages]
    training = {**_plain(config), "start": start, "stages": stage_facts}
    facts = _facts(preset, faces, run_config, accelerator, command) | {"training": training}
    modules = {"prior": task.modules["generator_ema"], "discriminator": task.modules["discriminator"]}
    return Result(progress, _export(modules, weights, facts, accelerator))


def train_restorer(
    config: RestorerConfig,
    prior: str | None,
    faces: FaceDataset,
    run_config: RunConfig,
    accelerator: Accelerator,
    start: str | None = None,
    command: str = "",
) -> Result:
    """Train a restorer on a trained prior (a preset's name or a file), or with `prior=None` from scratch.

    `start` names a trained restorer to begin with; the prior then draws the faces of known codes, and its discriminator
    judges. `command` is what the card says made it.

    Raises `FileExistsError` where the folder holds weights of a run that cannot be resumed.
    """
    checkpoint = run_config.folder / "checkpoint.pt"
    weights = _weight_paths(("restorer",), config.preset, run_config.folder)
    _keep_finished(weights.values(), checkpoint)
    generator = load_generator(prior) if prior is not None else None
    discriminator = load_discriminator(prior) if prior is not None else None
    if generator is not None:
        config = replace(config, preset=config.preset.enlarging(generator.config.bilinear))
    task = RestorerTask(config, faces, run_config.batch, accelerator, generator, discriminator)
    if start is not None and not checkpoint.exists():
        task.start_from(start)
    progress = run(task, run_config, len(faces), accelerator)
    facts = _facts(config.preset, faces, run_config, accelerator, command) | {
        "training": {**_plain(config), "prior": prior and str(prior), "start": start, **_history(run_config.folder)}
    }
    modules = {"restorer": task.modules["restorer_ema"]}
    return Result(progress, _export(modules, weights, facts, accelerator))


def _weight_paths(kinds: Iterable[str], preset: Preset, folder: Path) -> dict[str, Path]:
    return {kind: folder / f"{kind}-{preset.name}.safetensors" for kind in kinds}


def _keep_finished(weights: Iterable[Path], checkpoint: Path) -> None:
    """Raise `FileExistsError` where weights would be replaced by those of a run that does not go on from them."""
    taken = [path for path in weights if path.exists()]
    if taken and not checkpoint.exists():
        raise FileExistsError(f"{taken[0]} is of a run without a checkpoint: name another folder, or move it away")


def _export(
    modules: dict[str, nn.Module], paths: dict[str, Path], facts: dict[str, object], accelerator: Accelerator
) -> tuple[Path, ...]:
    if accelerator.is_main_process:
        for kind, path in paths.items():
            save_weights(path, modules[kind], {"kind": kind, **facts})
    return tuple(paths.values())


def _facts(
    preset: Preset, faces: FaceDataset, run_config: RunConfig, accelerator: Accelerator, command: str
) -> dict[str, object]:
    """What every card says: sizes, command, data, hardware, versions."""
    return {
        "preset": preset.name,
        "config": asdict(preset),
        **({"command": command} if command else {}),
        "data": f"{faces.origin}: {len(faces)} faces of {faces.size} px",
        "batch": run_config.batch,
        "hardware": hardware(),
        "processes": accelerator.num_processes,
        "versions": versions(),
    }


def _plain(config: PriorConfig | RestorerConfig) -> dict[str, object]:
    """A training configuration without the sizes, which the card holds already."""
    return {name: value for name, value in asdict(config).items() if name not in ("gan", "preset")}


def _history(folder: Path) -> dict[str, object]:
    """Steps, pictures and hours of a run, read off its log; nothing where somebody has removed that."""
    rows = whole_rows(folder / "log.csv") if (folder / "log.csv").exists() else []
    if not rows:
        return {}
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    return {"steps": int(rows[-1]["step"]), "images_seen": int(rows[-1]["images"]), "hours": round(hours, 3)}
