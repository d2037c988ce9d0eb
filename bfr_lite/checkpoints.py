"""Weights on disk: safetensors with a JSON card beside them, written whole, opened without running code.

What `load_generator` opens, who reads it, where the generator is in it, and in which of `official`'s layouts:

    our safetensors                 load_weights                   the whole file             ours
    our checkpoint.pt               torch_files.read_checkpoint    modules, generator_ema     ours
    NVIDIA's .pkl                   nvidia_pickle.read_networks    G_ema                      ada
    rosinality's .pt                torch_files.read_checkpoint    g_ema, latent_avg          rosinality
    BasicSR's and GFPGAN's .pth     torch_files.read_checkpoint    params_ema or params       basicsr or clean

The first bytes tell the format. `official` gives the entries our names and shapes, and reads the sizes off them; `fit`
compares what is there with a network of those sizes, and fills it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bfr_lite.discriminator import Discriminator
from bfr_lite.files import atomic_path
from bfr_lite.nvidia_pickle import NVIDIA_GROUP, read_networks
from bfr_lite.official import WeightsError, discriminator_from_official, generator_from_official, infer_config
from bfr_lite.stylegan2 import GANConfig, Generator
from bfr_lite.torch_files import discriminator_state, generator_state, read_checkpoint, tensors

SHIPPED = Path(__file__).parent / "weights"
_TORCH_PICKLE = bytes.fromhex("80028a0a6cfc9c46f920")  # how `torch.save` began files before it wrote zip archives


@contextmanager
def network_path(path: Path) -> Iterator[Path]:
    """`files.atomic_path` for PyTorch and safetensors: their errors for a full disk, `OSError` as of any file."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"{path} could not be written, is the disk full? What was there stays. ({reason})") from error


def save_weights(path: Path, module: nn.Module, card: Mapping[str, object]) -> None:
    """Write `module` as float16 safetensors, and its card (`path` with .json) with the file's sha256 in it.

    Half precision halves the file and moves a restored pixel by far less than one step of 1/255.
    """
    tensors = {name: tensor.detach().cpu().half().contiguous() for name, tensor in module.state_dict().items()}
    # Both are written before either takes its place, first the weights: with a card of others they would be refused.
    with atomic_path(path.with_suffix(".json")) as for_card, network_path(path) as temporary:
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors gives 0600, too strict for a file to share
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        for_card.write_text(json.dumps({**card, "sha256": digest}, indent=2) + "\n", encoding="utf-8")


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read safetensors as float32; checked against the sha256 of the card when there is one beside them.

    Raises `FileNotFoundError` when the file is missing and `WeightsError` when it is damaged or altered.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; shipped: {', '.join(shipped_names()) or 'none'}")
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give a weight file in it")
    expected = read_card(path).get("sha256")
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise WeightsError(f"{path} does not have the sha256 its card names: it is damaged or altered; fetch it again")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                beside = "the .safetensors that a run writes beside its checkpoint, when it ends or Ctrl-C stops it"
                raise WeightsError(f"{path} is a file of PyTorch, such as a checkpoint; needed: {beside}") from error
        raise WeightsError(f"{path} is no whole safetensors file ({error}); fetch it again") from error


def read_card(path: Path) -> dict:
    """The JSON card beside a weight file; empty when there is none. Raises `WeightsError` when it is no JSON object."""
    card = Path(path).with_suffix(".json")
    try:
        content = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{card} is no JSON ({error}); restore it or remove it") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{card} holds a {type(content).__name__} and no card; restore it or remove it")
    return content


def shipped_names() -> list[str]:
    """Names of the weights that come with the package, such as "prior-lite"."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def shipped_path(kind: str, name: str) -> Path:
    """Path of shipped weights, kind "prior" or "restorer" of a preset. Raises `FileNotFoundError` when not shipped."""
    path = SHIPPED / f"{kind}-{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"no {kind} weights for preset {name!r} are shipped; there are: {', '.join(shipped_names())}"
        )
    return path


def weights_path(source: str | os.PathLike, kind: str) -> Path:
    """A weight file, or by a preset's name the shipped one of a `kind`.

    Raises `FileNotFoundError` when none is shipped, `WeightsError` for a folder.
    """
    path, name = Path(source), str(source)
    shipped = f"{kind}-{name}" in shipped_names()
    if path.suffix or (path.is_file() and not shipped):
        return path
    if name and path.is_dir() and not shipped:
        raise WeightsError(f"{path} is a folder; give a weight file in it")
    return shipped_path(kind, name)


def fit(module: nn.Module, state: Mapping[str, Tensor], source: object, names: Mapping[str, str] | None = None) -> None:
    """Load `state` into `module`, or raise `WeightsError` that names the first entries that do not fit.

    `names` are those that the entries have in the user's file, where they differ.
    """
    own, names = module.state_dict(), names or {}
    foreign = any(theirs != ours for ours, theirs in names.items())
    problems = [f"missing {name}{foreign * ' (our name)'}" for name in own if name not in state]
    problems += [f"unknown {names.get(name, name)}" for name in state if name not in own]
    problems += [
        f"{names.get(name, name)} is {tuple(state[name].shape)}, needs {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{source} does not fit this network: {'; '.join(problems[:3])}{more}. Is it of another preset?"
        )
    module.load_state_dict(state)


def load_generator(source: str | os.PathLike = "lite") -> Generator:
    """A generator ready to draw faces.

    Args:
        source: a preset's name ("lite": its shipped prior), our safetensors, a checkpoint of `bfr-lite train prior`,
            NVIDIA's `.pkl` (stylegan2-ada-pytorch, RGB, without classes), rosinality's `.pt` (`g_ema`), or BasicSR's
            `.pth` (`params_ema`; of GFPGAN, `clean` or original, the prior inside it). No code in them runs.

    Raises:
        FileNotFoundError: there is no such file or preset.
        WeightsError: the file is damaged, is no StyleGAN2 generator, or its shapes do not fit together.
    """
    path = weights_path(source, "prior")
    state, config, names = _generator_parts(_read(path), path)
    generator = Generator(config)
    if not any(name.endswith("noise_const") for name in state):  # rosinality's first files; those of seed 0 stay
        state |= {name: tensor for name, tensor in generator.state_dict().items() if name.endswith("noise_const")}
    fit(generator, state, path, names)
    if not generator.w_avg.any():  # not all of these files have it, and truncation needs it
        generator.w_avg.copy_(_average_code(generator))
    return generator.eval().requires_grad_(False)


def load_discriminator(source: str | os.PathLike = "lite") -> Discriminator | None:
    """The discriminator that was trained against the prior `load_generator(source)` opens; None when it is not there.

    A checkpoint and a `.pkl` hold both; beside `prior-NAME.safetensors` it is `discriminator-NAME.safetensors`.
    Raises as `load_generator`.
    """
    path = weights_path(source, "prior")
    content = _read(path)
    config = _generator_parts(content, path)[1]
    beside = path.with_name(path.name.replace("prior-", "discriminator-"))
    if beside != path and beside.exists():
        path, state = beside, _read(beside)
    else:
        state = discriminator_state(content)
    if state is None:
        return None
    try:
        state = dict(tensors(state, "a discriminator"))
        group = state.pop(NVIDIA_GROUP, None)  # of pictures, and no weight
        state, names = discriminator_from_official(state, config.size)
    except ValueError as error:
        raise WeightsError(f"no discriminator could be read from {path}: {error}") from error
    discriminator = Discriminator(config if group is None else replace(config, mbstd_group=int(group)))
    fit(discriminator, state, f"the discriminator in {path}", names)
    return discriminator.eval().requires_grad_(False)


@torch.no_grad()
def _average_code(generator: Generator) -> Tensor:
    """The mean code (w_dim,) of 10,000 faces, as official tools compute it."""
    rng = torch.Generator().manual_seed(0)
    return generator.mapping(torch.randn(10_000, generator.z_dim, generator=rng)).mean(dim=0)


def _read(path: Path) -> Mapping:
    """What is in a weight file of any format. Its first bytes tell the format; where they do not, its name does."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; shipped: {', '.join(shipped_names()) or 'none'}")
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give a weight file in it")
    with path.open("rb") as file:
        head = file.read(len(_TORCH_PICKLE))
    if head.startswith(b"PK") or head == _TORCH_PICKLE:
        return read_checkpoint(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return load_weights(path)
    return read_networks(path) if path.suffix == ".pkl" else read_checkpoint(path)


def _generator_parts(content: Mapping, path: Path) -> tuple[dict[str, Tensor], GANConfig, dict[str, str]]:
    """The generator's state, under our names, and its sizes; and the names of its entries in the file."""
    try:
        state, names = generator_from_official(generator_state(content))
        return state, infer_config(state, names), names
    except ValueError as error:
        raise WeightsError(f"no generator could be read from {path}: {error}") from error
