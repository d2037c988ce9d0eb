"""Measure restored faces against clean ones: a value per face, means, and how sure the means are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor
from tqdm import tqdm

from bfr_lite.baselines import Method, resampled
from bfr_lite.degradation import Degradation, DegradationParams
from bfr_lite.face_sets import FaceDataset
from bfr_lite.metrics import Metric, offline_metrics
from bfr_lite.restorer import Restorer

BATCH = 8
RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Table:
    """What was measured.

    faces: N names. metrics: M of them. rows: for each method its values (N, M), NaN where one could not be measured.
    facts: how it was made.
    """

    faces: tuple[str, ...]
    metrics: tuple[Metric, ...]
    rows: Mapping[str, Tensor]
    facts: Mapping[str, object] = field(default_factory=dict)

    def values(self, row: str, metric: str) -> Tensor:
        """Values (N,) of one method by one metric. Raises `ValueError` for a name that is not there."""
        names = [one.name for one in self.metrics]
        if row not in self.rows or metric not in names:
            raise ValueError(f"no {metric!r} of {row!r}: there are {', '.join(names)} of {', '.join(self.rows)}")
        return self.rows[row][:, names.index(metric)]

    def markdown(self) -> str:
        """The means as a Markdown table, each with its 95 % bootstrap interval; arrows say which way is better."""
        heads = [
            f"{m.name}{f', {m.unit}' if m.unit else ''} {'↑' if m.higher_is_better else '↓'}" for m in self.metrics
        ]
        return markdown_table(heads, {row: [self._cell(row, metric) for metric in self.metrics] for row in self.rows})

    def _cell(self, row: str, metric: Metric) -> str:
        values = self.values(row, metric.name)
        mean, (low, high) = measured_mean(values), bootstrap_interval(values)
        cell = f"{mean:.{metric.decimals}f} [{low:.{metric.decimals}f}, {high:.{metric.decimals}f}]"
        measured = int(values.isfinite().sum())
        return cell if measured == len(values) else f"{cell} (of {measured} faces)"

    def as_dict(self) -> dict[str, object]:
        """Everything, ready for JSON; what could not be measured is None."""
        methods = {row: {m.name: self._summary(self.values(row, m.name)) for m in self.metrics} for row in self.rows}
        metrics = {
            m.name: {"unit": m.unit, "higher_is_better": m.higher_is_better, "decimals": m.decimals}
            for m in self.metrics
        }
        return {"facts": dict(self.facts), "metrics": metrics, "faces": list(self.faces), "methods": methods}

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> Table:
        """The table that `as_dict` wrote, its values rounded to 6 decimals; its metrics can be read, not used again."""
        metrics = tuple(Metric(name, measure=_not_kept, **facts) for name, facts in content["metrics"].items())
        rows = {
            row: torch.tensor([[math.nan if v is None else v for v in by[m.name]["values"]] for m in metrics]).T
            for row, by in content["methods"].items()
        }
        return cls(tuple(content["faces"]), metrics, rows, content["facts"])

    def _summary(self, values: Tensor) -> dict[str, object]:
        return {
            "mean": _plain(measured_mean(values)),
            "interval_95": [_plain(end) for end in bootstrap_interval(values)],
            "values": [_plain(value) for value in values.tolist()],
        }


def markdown_table(heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A Markdown table of cells aligned to the right, each row with its name before it."""
    escaped = {name.replace("|", "\\|"): cells for name, cells in rows.items()}
    lines = [["", *heads], ["---"] + ["---:"] * len(heads), *([name, *cells] for name, cells in escaped.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(values: Tensor) -> Tensor:
    """Those faces of `values`, (N,) or (N, K), of which nothing is missing."""
    return values[values.isfinite().unsqueeze(-1).flatten(1).all(dim=1)]


def measured_mean(values: Tensor) -> float:
    """Mean of the finite `values` (N,); NaN when there are none."""
    return measured(values).mean().item()


def bootstrap_interval(
    values: Tensor, seed: int = 0, of: Callable[[Tensor], Tensor] = lambda means: means
) -> tuple[float, float]:
    """95 % percentile interval of the mean of the finite `values` (N,) (Efron and Tibshirani 1993, chapter 13).

    It says how much the mean would move with other faces drawn from where these came from. It knows nothing of other
    degradations, other training seeds or other kinds of faces. Of one value it is that value. NaN when there are none.

    Of several values a face, (N, K), `of` makes one number of K means, (..., K) -> (...): the interval is that
    number's. Faces of which one is missing do not count.
    """
    values = measured(values)
    if not len(values):
        return math.nan, math.nan
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=rng)
    found = of(values.double()[drawn].mean(dim=1))
    low, high = found.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=found.dtype)).tolist()
    return low, high


def sample_damage(faces: FaceDataset, degradation: Degradation, seed: int) -> DegradationParams:
    """The damage of every face of an evaluation, from its seed; face i has the same however many there are."""
    return degradation.sample(len(faces), torch.Generator().manual_seed(seed))


@torch.no_grad()
def evaluate(
    restorer: Restorer | None,
    faces: FaceDataset,
    degradation: Degradation,
    fidelities: Sequence[float] = (0.5, 1.0),
    methods: Mapping[str, Method] | None = None,
    metrics: Sequence[Metric] | None = None,
    seed: int = 0,
) -> Table:
    """Damage `faces`, restore them in every way, and measure.

    Args:
        restorer: its rows are "restorer, fidelity F"; None measures the `methods` alone.
        faces: clean, of the restorer's size.
        degradation: drawn anew for each face.
        fidelities: of the restorer, each a row.
        methods: rows besides, such as `baselines.DEFAULTS`.
        metrics: `metrics.offline_metrics()` when None.
        seed: of the degradation.

    The first rows are the damaged input, its pixels repeated and enlarged bicubically (`baselines.resampled`).
    """
    metrics = tuple(metrics if metrics is not None else offline_metrics())
    everything = dict(methods or {}) | _restorer_methods(restorer, fidelities)
    params = sample_damage(faces, degradation, seed)
    measured: dict[str, list[Tensor]] = {}
    starts = range(0, len(faces), BATCH)
    for start in tqdm(starts, desc="evaluating", unit="batch", delay=1, disable=None):
        part = slice(start, min(start + BATCH, len(faces)))
        clean = faces.batch(range(part.start, part.stop))
        for name, output in _outputs(clean, degradation, params[part], everything):
            values = torch.stack([metric.measure(output, clean) for metric in metrics], dim=1)
            measured.setdefault(name, []).append(values)
    rows = {name: torch.cat(parts) for name, parts in measured.items()}
    return Table(tuple(faces.names), metrics, rows, {"seed": seed})


@torch.no_grad()
def comparison(
    restorer: Restorer,
    faces: FaceDataset,
    degradation: Degradation,
    indices: Sequence[int],
    fidelities: Sequence[float] = (0.5, 1.0),
    methods: Mapping[str, Method] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The pictures behind an `evaluate` with the same arguments: rows (len(indices), 3, size, size), "clean" the last.

    Raises IndexError for an index outside the set.
    """
    clean, params = faces.batch(indices), sample_damage(faces, degradation, seed)
    everything = dict(methods or {}) | _restorer_methods(restorer, fidelities)
    outputs = [
        dict(_outputs(face, degradation, params[index], everything))
        for face, index in zip(clean.split(1), indices, strict=True)
    ]
    return {name: torch.cat([one[name] for one in outputs]) for name in outputs[0]} | {"clean": clean}


def _restorer_methods(restorer: Restorer | None, fidelities: Sequence[float]) -> dict[str, Method]:
    if restorer is None:
        return {}
    return {
        f"restorer, fidelity {fidelity:g}": lambda images, fidelity=fidelity: restorer.restore(images, fidelity)
        for fidelity in fidelities
    }


def _outputs(
    clean: Tensor, degradation: Degradation, params: DegradationParams, methods: Mapping[str, Method]
) -> Iterator[tuple[str, Tensor]]:
    """Every row's pictures by name: the input in two ways, then what each method makes of the second."""
    inputs = resampled(clean, degradation, params)
    degraded = inputs["input, bicubic"]
    return chain(inputs.items(), ((name, method(degraded)) for name, method in methods.items()))


def _not_kept(output: Tensor, target: Tensor) -> Tensor:
    raise ValueError("this table was read from a file, which keeps a metric's values and not its network")


def _plain(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
