"""Widgets: small programs to play with inside a notebook, one module each.

The functions are looked up in their modules on first use (PEP 562), as in ``bfr_lite`` itself: a notebook loads
only what it shows.
"""

from __future__ import annotations

from importlib import import_module

_MODULE_OF = {
    "benchmark_browser": "benchmark",
    "check_button": "check",
    "degradation_playground": "degradation",
    "feature_explorer": "features",
    "fidelity_slider": "fidelity",
    "latent_explorer": "latent",
    "mmrb_inspector": "mmrb",
    "photo_restorer": "photo",
    "supervision_viewer": "supervision",
    "training_monitor": "training",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    """Find a widget in its module and keep it here."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bfr_lite.widgets' has no attribute {name!r}; it has {', '.join(_MODULE_OF)}")
    value = getattr(import_module(f"bfr_lite.widgets.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
