"""Metrics: how far samples are from real data, with an interval, a floor and null controls beside every value."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gendiff.metrics import (
        baselines,
        bootstrap,
        classifier_accuracy,
        features,
        fidelity,
        frechet,
        kernel_distance,
        modes,
        motion,
        near_copies,
        precision_recall,
        proportions,
        resizing,
        saturation,
        spectrum,
        statistics_files,
        subsampling,
        support_size,
        transport,
        vendi,
    )

__all__ = [
    "baselines",
    "bootstrap",
    "classifier_accuracy",
    "features",
    "fidelity",
    "frechet",
    "kernel_distance",
    "modes",
    "motion",
    "near_copies",
    "precision_recall",
    "proportions",
    "resizing",
    "saturation",
    "spectrum",
    "statistics_files",
    "subsampling",
    "support_size",
    "transport",
    "vendi",
]


def __getattr__(name: str) -> object:
    """A module is loaded on first use: whoever wants one of them does not wait for SciPy's share of the others."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
