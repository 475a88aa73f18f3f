"""Metrics: how far samples are from real data, with an interval, a floor and null controls beside every value."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

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

# whoever wants one of them does not wait for SciPy's share of the others
__getattr__, __dir__ = on_first_use(__name__, {"": " ".join(__all__)})
