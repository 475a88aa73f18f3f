"""Metrics: how far samples are from real data, with an interval, a floor and null controls beside every value."""

from gendiff.metrics import baselines, bootstrap, copies, coverage, draws, features, fidelity, frechet, judge, kernel, saturation, vendi

__all__ = [
    "baselines",
    "bootstrap",
    "copies",
    "coverage",
    "draws",
    "features",
    "fidelity",
    "frechet",
    "judge",
    "kernel",
    "saturation",
    "vendi",
]
