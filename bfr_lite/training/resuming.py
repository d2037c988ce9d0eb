"""Checkpoints of a run: written whole or not at all, read without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from bfr_lite.checkpoints import WeightsError, network_path
from bfr_lite.torch_files import read_checkpoint


class Resumable(Protocol):
    """What a checkpoint keeps: networks and optimisers by name."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]


def save_checkpoint(path: Path, task: Resumable, step: int, plan: dict[str, int]) -> None:
    """Write networks, averages, optimisers, step and `plan`, what the steps depend on; whole or not at all.

    Raises `ValueError`, and leaves the last checkpoint, where training has diverged: NaN would only stay NaN.
    """
    lost = [name for name, module in task.modules.items() if not _finite(module)]
    if lost:
        what = f"{path} is left as it was: go on from there" if path.exists() else "nothing was saved yet: begin anew"
        raise ValueError(
            f"training has diverged by step {step}: NaN or infinite weights in {', '.join(lost)}; "
            f"{what} with a lower --lr or in higher precision"
        )
    content = {
        "step": step,
        "plan": plan,
        "modules": {name: module.state_dict() for name, module in task.modules.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
    }
    with network_path(path) as temporary:
        torch.save(content, temporary)


def _finite(module: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in module.state_dict().values())


def load_checkpoint(path: Path, task: Resumable, plan: dict[str, int]) -> int:
    """Load a checkpoint into `task` and return its step. Raises `WeightsError` when it is damaged or does not fit."""
    content = read_checkpoint(path)
    for name, value in content.get("plan", {}).items():
        if value != plan.get(name):
            raise WeightsError(f"{path} is of a run with {name} {value}: resume with that, or name another folder")
    try:
        for name, module in task.modules.items():
            module.load_state_dict(content["modules"][name])
        for name, optimizer in task.optimizers.items():
            rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
            optimizer.load_state_dict(content["optimizers"][name])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                # the learning rate is the configuration's, so that a run can go on with another
                group["lr"] = group["initial_lr"] = rate
        return int(content["step"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        hint = "resume with the options the run was started with, or name another folder"
        raise WeightsError(f"{path} is of another run ({str(error).splitlines()[0]}): {hint}") from error
