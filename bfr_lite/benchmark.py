"""The benchmark: the same faces under the same damage for every restorer, measured overall and by kind of face.

Six conditions, each met by every face: three severities, whose parameters are drawn from fixed grids in the manner of
DifFace's test set (Yue and Loy, arXiv 2212.06512, section 4.1), and super-resolution by 4, 8 and 16. Which grid point
a face meets follows from the seed and the face's number alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bfr_lite.alignment import mouth_width
from bfr_lite.baselines import Method
from bfr_lite.degradation import PUBLISHED_SIZE, SMALLEST_SIDE, Degradation
from bfr_lite.degradation_params import DegradationParams, DegradationRanges
from bfr_lite.evaluation import Table, bootstrap_interval, evaluate, markdown_table, measured
from bfr_lite.face_sets import FaceDataset
from bfr_lite.metrics import Metric
from bfr_lite.restorer import Restorer

BASELINE = "input, bicubic"
ANGLES = tuple(math.pi * k / 4 for k in range(4))


@dataclass(frozen=True)
class Grid:
    """Values to choose from, in published units: blur sigma in pixels of 512, shrink factor, noise in 1/255, JPEG."""

    blur: tuple[float, ...]
    down: tuple[float, ...]
    noise: tuple[float, ...]
    jpeg: tuple[int, ...]


SEVERITIES = {
    "mild": Grid((1, 2, 4), (1, 2, 4), (1, 4), (70, 80, 90)),
    "medium": Grid((4, 6, 8), (4, 6, 8), (4, 8, 12), (50, 60, 70)),
    "severe": Grid((8, 12, 16), (12, 16, 24), (8, 14, 20), (30, 40, 50)),
}
SCALES = (4, 8, 16)


@dataclass(frozen=True)
class GridDegradation(Degradation):
    """A degradation that draws every parameter from the values of `grid`; kernels are as long as wide or twice."""

    grid: Grid

    def sample(self, batch: int, generator: torch.Generator) -> DegradationParams:
        """As `Degradation.sample`: a smaller batch is a prefix of a larger one."""
        draws = torch.rand(batch, 7, generator=generator, device=generator.device, dtype=torch.float64)
        draws = draws.cpu().unbind(dim=1)

        def chosen(values: Sequence[float], draw: Tensor) -> Tensor:
            return torch.tensor(values, dtype=torch.float64)[(draw * len(values)).long()]

        sigma = chosen(self.grid.blur, draws[0]) * (self.size / PUBLISHED_SIZE)
        return DegradationParams(
            sigma_x=sigma.float(),
            sigma_y=(sigma * chosen((0.5, 1), draws[1])).float(),
            angle=chosen(ANGLES, draws[2]).float(),
            down=chosen(self.grid.down, draws[3]).float(),
            noise=chosen(self.grid.noise, draws[4]).float(),
            quality=chosen(self.grid.jpeg, draws[5]).long(),
            shift=torch.zeros(batch, 3),
            grey=torch.zeros(batch, dtype=torch.bool),
            seed=(2**31 * draws[6]).long(),
        )


def conditions(size: int) -> dict[str, Degradation]:
    """The six conditions by name, for pictures of `size` px; without those that would leave under 4 pixels."""
    graded = {name: GridDegradation(DegradationRanges(), size, grid) for name, grid in SEVERITIES.items()}
    enlarged = {f"x{s}": Degradation.super_resolution(s, size) for s in SCALES if size >= SMALLEST_SIDE * s}
    return graded | enlarged


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What was measured.

    tables: one for each condition, all of the same faces. strata: for each kind of face, which of the N faces are of
    it, (N,) bool. facts: how it was made.
    """

    tables: Mapping[str, Table]
    strata: Mapping[str, Tensor]
    facts: Mapping[str, object] = field(default_factory=dict)

    def table(self, names: Sequence[str] | None = None, stratum: str | None = None) -> Table:
        """Each face's mean over conditions (all when None), for the faces of a stratum (all when None).

        Averaging over conditions first lets the bootstrap draw faces, which are what differs by chance.
        """
        chosen = [self.tables[name] for name in names or self.tables]
        mask = torch.ones(len(chosen[0].faces), dtype=torch.bool) if stratum is None else self.strata[stratum]
        rows = {row: torch.stack([one.rows[row] for one in chosen]).nanmean(dim=0)[mask] for row in chosen[0].rows}
        names_left = tuple(name for name, kept in zip(chosen[0].faces, mask.tolist(), strict=True) if kept)
        return Table(names_left, chosen[0].metrics, rows)

    def changes(self, row: str, stratum: str | None = None, names: Sequence[str] | None = None) -> dict[str, str]:
        """By how much `row` differs from the bicubic input, with its 95 % interval: PSNR in dB, others in per cent."""
        table = self.table(names, stratum)
        changes = {}
        for metric in table.metrics:
            of, digits, unit = (_difference, 2, "dB") if metric.unit == "dB" else (_per_cent, 1, "%")
            pairs = measured(torch.stack([table.values(one, metric.name) for one in (row, BASELINE)], dim=1).double())
            change, (low, high) = of(pairs.mean(dim=0)).item(), bootstrap_interval(pairs, of=of)
            changes[metric.name] = f"{change:+.{digits}f} {unit} [{low:+.{digits}f}, {high:+.{digits}f}]"
        return changes

    def markdown(self) -> str:
        """All conditions, then each; then how much the restorer changes, by condition and by kind of face."""
        parts = ["### All conditions", self.table().markdown()]
        for name, table in self.tables.items():
            parts += [f"### {name}", table.markdown()]
        restorers = [row for row in self.table().rows if row.startswith("restorer")]
        for row in restorers:
            lines = {"all": self.changes(row)}
            lines |= {name: self.changes(row, names=[name]) for name in self.tables}
            lines |= {
                f"{name} ({int(mask.sum())} faces)": self.changes(row, name) for name, mask in self.strata.items()
            }
            cells = {name: list(changes.values()) for name, changes in lines.items()}
            parts += [f"### {row}, against {BASELINE}", markdown_table(list(lines["all"]), cells)]
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return {
            "facts": dict(self.facts),
            "conditions": {name: table.as_dict() for name, table in self.tables.items()},
            "strata": {name: mask.tolist() for name, mask in self.strata.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Mapping[str, object]]) -> Benchmark:
        """What `as_dict` wrote, see `Table.from_dict`. Raises `ValueError` when `content` is something else."""
        try:
            tables = {name: Table.from_dict(table) for name, table in content["conditions"].items()}
            return cls(tables, {name: torch.tensor(mask) for name, mask in content["strata"].items()}, content["facts"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"no result of the benchmark ({type(error).__name__}: {error}): `evaluate --benchmark` writes one"
            ) from error


def _difference(means: Tensor) -> Tensor:
    return means[..., 0] - means[..., 1]


def _per_cent(means: Tensor) -> Tensor:
    return 100 * (means[..., 0] / means[..., 1] - 1)


def run_benchmark(
    restorer: Restorer,
    faces: FaceDataset,
    metrics: Sequence[Metric],
    methods: Callable[[Degradation], Mapping[str, Method]] | None = None,
    fidelities: Sequence[float] = (0.0, 0.5, 1.0),
    seed: int = 0,
) -> Benchmark:
    """Measure a restorer on `faces` under every condition; `methods` gives other rows for a condition."""
    tables = {
        name: evaluate(restorer, faces, one, fidelities, methods(one) if methods else None, metrics, seed)
        for name, one in conditions(faces.size).items()
    }
    return Benchmark(tables, strata(faces))


def strata(faces: FaceDataset) -> dict[str, Tensor]:
    """Thirds of the faces by |yaw| and by smile, where landmarks are known.

    Smile: how wide the mouth is, see `alignment.mouth_width`.
    """
    if faces.landmarks is None or faces.yaw is None:
        return {}
    width = torch.from_numpy(mouth_width(faces.landmarks.numpy())).float()
    return _thirds("|yaw|", faces.yaw.abs(), "°") | _thirds("mouth width", width, "")


def _thirds(name: str, values: Tensor, unit: str) -> dict[str, Tensor]:
    low, high = values.quantile(torch.tensor([1 / 3, 2 / 3])).tolist()
    digits = 0 if unit else 2
    return {
        f"{name} up to {low:.{digits}f}{unit}": values <= low,
        f"{name} between": (values > low) & (values <= high),
        f"{name} over {high:.{digits}f}{unit}": values > high,
    }
