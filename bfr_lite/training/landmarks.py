"""Training the landmark network: YuNet's landmarks on official portraits, passed on to a network of our own.

Three minutes on a CPU; the aligner takes half an hour, and is not resumed. The portraits carry YuNet's points in
`congress.csv`, so no detector is needed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from bfr_lite.checkpoints import save_weights
from bfr_lite.data import load_faces
from bfr_lite.degradation import Degradation, degrade
from bfr_lite.face_sets import FaceDataset
from bfr_lite.landmarks import MIRRORED, LandmarkConfig, LandmarkNet
from bfr_lite.machine import hardware, versions
from bfr_lite.training.augment import Misalignment, random_similarity
from bfr_lite.training.loop import batch_indices, step_rng

SHAKEN = Misalignment(turn=6.0, zoom=1.08, move=0.05)


@dataclass(frozen=True)
class LandmarkTraining:
    """How the landmark network is trained.

    Attributes:
        images: faces to show in all; batch: faces a step; lr: Adam's highest learning rate, reached after a tenth of
            the steps and led to zero along a cosine.
        misalignment: faces are aligned, but restored ones not quite, and a ruler must measure by how much.
        nearer: whether each batch is out of place by a share of that, drawn anew: most detected faces are near, few
            far, and where nothing is to be seen the best guess is that the detector was right.
        degraded: share of the faces that are damaged, by severities from 0 to 1.
        finer: greatest number of a photo's pixels on one of the face cut out of it. A photo is damaged in its own
            pixels, so that many times less shrunk.
        seed: of everything random.
        kind: "landmarks", the ruler of the metrics, or "aligner", see `ALIGNER`.
    """

    images: int = 28_000
    batch: int = 16
    lr: float = 2e-3
    misalignment: Misalignment = SHAKEN
    nearer: bool = False
    degraded: float = 0.4
    finer: float = 1.0
    seed: int = 0
    kind: str = "landmarks"
    network: LandmarkConfig = field(default_factory=LandmarkConfig)


# Finds the points by which a damaged photo is aligned, where a detector was far off. No ruler: it guesses well where
# nothing is to be seen, and would call the guess a measurement.
ALIGNER = LandmarkTraining(
    images=144_000,
    misalignment=Misalignment(turn=12.0, zoom=1.3, move=0.1),
    nearer=True,
    degraded=0.95,
    finer=2.0,
    kind="aligner",
    network=LandmarkConfig(depth=4),
)


def train_landmarks(config: LandmarkTraining, faces: FaceDataset) -> LandmarkNet:
    """Train a `LandmarkNet` on `faces`, whose `landmarks` are the truth. Raises `ValueError` when they have none."""
    if faces.landmarks is None:
        raise ValueError('these faces have no landmarks: use load_faces("congress"), which has')
    network = LandmarkNet(config.network, torch.Generator().manual_seed(config.seed))
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr)
    steps = -(-config.images // config.batch)
    warm_up = 0.1 if steps != 10 else 0.11  # the schedule divides by the steps of its warm-up, less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps, pct_start=warm_up)
    for step in tqdm(range(steps), desc="landmarks", unit="step", disable=None):
        indices = batch_indices(config.seed, step, config.batch, len(faces))
        images, points = augment(faces.batch(indices), faces.landmarks[indices], config, step_rng(config.seed, step))
        loss = F.smooth_l1_loss(network(images), points)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def augment(images: Tensor, points: Tensor, config: LandmarkTraining, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, turn, zoom, move and damage faces (B, 3, H, H), and move their points (B, 5, 2) along."""
    size = images.shape[-1]
    mirror, damage = torch.rand(2, len(images), generator=rng)
    flipped = points[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([size - 1.0, 0.0])
    mirrored = mirror < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    points = torch.where(mirrored[:, None, None], flipped, points)
    most = _nearer(config.misalignment, torch.rand((), generator=rng).item()) if config.nearer else config.misalignment
    images, points = random_similarity(images, points, rng, most)
    return _damage(images, damage < config.degraded, config.finer, rng), points


def _nearer(most: Misalignment, share: float) -> Misalignment:
    return Misalignment(most.turn * share, most.zoom**share, most.move * share)


def _damage(images: Tensor, chosen: Tensor, finer: float, rng: torch.Generator) -> Tensor:
    """Damage the `chosen` (B,) faces, all of one batch by ranges of one severity, in photos of one size."""
    severity = torch.rand((), generator=rng).item()
    if not chosen.any():
        return images
    degradation = Degradation.of_severity(severity, images.shape[-1])
    if finer > 1:
        pixels = finer ** torch.rand((), generator=rng).item()
        least, most = (max(1.0, factor / pixels) for factor in degradation.ranges.down)
        degradation = replace(degradation, ranges=replace(degradation.ranges, down=(least, most)))
    count = int(chosen.sum())
    images = images.clone()
    images[chosen] = degradation.apply(images[chosen], degradation.sample(count, rng))
    return images


@torch.no_grad()
def landmark_errors(network: LandmarkNet, images: Tensor, points: Tensor) -> Tensor:
    """Mean distance (B,) of the network's points from `points` (B, 5, 2), pixels of `images` (B, 3, H, H)."""
    found = torch.cat([network(part) for part in images.split(32)])
    return (found - points).norm(dim=2).mean(dim=1)


@torch.no_grad()
def measure(network: LandmarkNet, faces: FaceDataset) -> dict[str, float]:
    """Mean distances on `faces`, in pixels of them.

    clean, gfpgan, severe: of the network's points from the true ones, on the faces, after GFPGAN's degradation, and at
    severity 0.9. moved: on faces turned, zoomed and moved as in training; moved_guess: of the mean of those points,
    which never looks, from them. shaken: of the points found before and after GFPGAN's degradation, which is what the
    metric must tell apart from points that did move.
    """
    images, points = faces.batch(range(len(faces))), faces.landmarks
    rng = torch.Generator().manual_seed(0)
    degradation = Degradation.named("gfpgan", faces.size)
    damaged = degradation.apply(images, degradation.sample(len(images), rng))
    severe = degrade(images, 0.9, torch.Generator().manual_seed(0))
    moved, moved_points = augment(images, points, LandmarkTraining(degraded=0.0), rng)
    errors = {
        "clean": landmark_errors(network, images, points),
        "gfpgan": landmark_errors(network, damaged, points),
        "severe": landmark_errors(network, severe, points),
        "moved": landmark_errors(network, moved, moved_points),
        "moved_guess": (moved_points - moved_points.mean(0)).norm(dim=2).mean(dim=1),
        "shaken": landmark_errors(network, damaged, torch.cat([network(part) for part in images.split(32)])),
    }
    return {name: round(error.mean().item(), 3) for name, error in errors.items()}


def write_landmarks(config: LandmarkTraining, folder: Path, command: str) -> Path:
    """Train on the congress train split, measure on its test split, write weights and card into `folder`.

    Raises `FileExistsError` where they are there already.
    """
    path = folder / f"{config.kind}-lite.safetensors"
    if path.exists():  # said before the long work, as is a folder that cannot be made
        raise FileExistsError(f"{path} is there already: name another folder, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    train, test = load_faces("congress", split="train"), load_faces("congress", split="test")
    started = time.process_time()
    network = train_landmarks(config, train)
    card = {
        "kind": config.kind,
        "preset": "lite",
        "command": command,
        "data": f"congress train, {len(train)} faces of {train.size} px, landmarks of YuNet",
        "config": asdict(config.network),
        "training": asdict(config),
        "cpu_seconds": round(time.process_time() - started),
        "hardware": hardware(),
        "versions": versions(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "test_data": f"congress test, {len(test)} faces, pixels of {test.size}",
        "test_error_px": measure(network, test),
    }
    save_weights(path, network, card)
    return path
