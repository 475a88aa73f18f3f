"""Metrics: how far samples are from real data, with an interval, a floor and null controls beside every value."""

from gendiff.metrics import (
    baselines,
    bootstrap,
    classifier_accuracy,
    features,
    fidelity,
    frechet,
    kernel_distance,
    near_copies,
    precision_recall,
    resizing,
    saturation,
    spectrum,
    statistics_files,
    subsampling,
    vendi,
)
from gendiff.metrics.near_copies import memorisation_report

__all__ = [
    "baselines",
    "bootstrap",
    "classifier_accuracy",
    "features",
    "fidelity",
    "frechet",
    "kernel_distance",
    "memorisation_report",
    "near_copies",
    "precision_recall",
    "resizing",
    "saturation",
    "spectrum",
    "statistics_files",
    "subsampling",
    "vendi",
]
