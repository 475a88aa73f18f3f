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
    proportions,
    resizing,
    saturation,
    spectrum,
    statistics_files,
    subsampling,
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
    "near_copies",
    "precision_recall",
    "proportions",
    "resizing",
    "saturation",
    "spectrum",
    "statistics_files",
    "subsampling",
    "vendi",
]
