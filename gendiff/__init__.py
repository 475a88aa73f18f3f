"""Generative modelling as pure functions in JAX.

A forward process, a network, a sampler's step and a guidance rule are functions from arrays to arrays; `jit`, `vmap`,
`grad` and sharding are the caller's to apply. Chapters are imported by their names:
`from gendiff import diffusion, networks, training`.
"""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use
from gendiff.core.no_label import NO_LABEL as NO_LABEL

if TYPE_CHECKING:
    from gendiff import (
        adversarial,
        core,
        data,
        diffusion,
        language,
        metrics,
        networks,
        pipelines,
        preferences,
        provenance,
        runs,
        scaling,
        training,
        weights,
    )

__version__ = "0.3.0"

__all__ = [
    "NO_LABEL",
    "adversarial",
    "core",
    "data",
    "diffusion",
    "language",
    "metrics",
    "networks",
    "pipelines",
    "preferences",
    "provenance",
    "runs",
    "scaling",
    "training",
    "weights",
]


# flax alone takes as long to import as all the rest
__getattr__, __dir__ = on_first_use(__name__, {"": " ".join(__all__)})
