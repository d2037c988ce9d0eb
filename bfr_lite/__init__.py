"""bfr_lite: blind face restoration, taught by building it.

The public names below are looked up in their modules on first use, so that ``import bfr_lite`` costs next to
nothing and the command line answers ``--help`` without loading PyTorch.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_MODULE_OF = {
    "AsymmetricCodec": "codec",
    "Degradation": "degradation",
    "Discriminator": "discriminator",
    "Generator": "stylegan2",
    "MMRB": "mmrb",
    "Restorer": "restorer",
    "degrade": "degradation",
    "load_faces": "data",
    "load_generator": "checkpoints",
    "preset": "presets",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    """Find a public name in its module (PEP 562) and keep it here."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bfr_lite' has no attribute {name!r}; it has {', '.join(_MODULE_OF)}")
    value = getattr(import_module(f"bfr_lite.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
