"""The arrays of a workload: the same for both sides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.workloads import NETWORKS, Workload


def draw(workload: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Every array that either side needs for the workload, images channels last, float32, labels int32."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    batch, size, channels = workload.batch, workload.size, workload.channels
    if workload.network:
        return _of_network(workload, rng, normal)
    if workload.kind == "block":
        return {"x": normal(batch, size, size, channels), "embedding": normal(batch, max(1, workload.embedding))}
    if workload.kind == "attention":
        return {name: normal(batch, workload.tokens, workload.heads, workload.head_size) for name in ("query", "key", "value")}
    if workload.kind == "convolution":
        kernel = normal(3, 3, channels, channels) / np.sqrt(9 * channels, dtype=np.float32)
        return {"x": normal(batch, size, size, channels), "kernel": kernel}
    return {"x": normal(size, size) / np.sqrt(size, dtype=np.float32)}


def write(workload: Workload, file: Path, seed: int = 0) -> Path:
    """The arrays in an .npz file."""
    arrays: dict[str, Any] = dict(draw(workload, seed))
    np.savez(file, **arrays)
    return file


def difference(ours: Path, theirs: Path) -> float:
    """The largest difference of two outputs over max(1, rms of the second); infinite where shapes differ or a value is not finite."""
    with np.load(ours) as a, np.load(theirs) as b:
        first, second = a["output"].astype(np.float64), b["output"].astype(np.float64)
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("inf")
    return float(np.abs(first - second).max() / max(1.0, np.sqrt(np.mean(np.square(second)))))


def _of_network(workload: Workload, rng: np.random.Generator, normal: Callable[..., np.ndarray]) -> dict[str, np.ndarray]:
    shape = (workload.batch, *workload.shape)
    classes = NETWORKS[workload.network].num_classes
    labels = {} if classes is None else {"label": rng.integers(0, classes, workload.batch).astype(np.int32)}
    if workload.kind in ("sample", "sweep"):
        return {"start": normal(*shape), **labels}
    times = rng.integers(0, 1000, workload.batch).astype(np.float32)
    return {"clean": np.tanh(normal(*shape)), "x": normal(*shape), "target": normal(*shape), "t": times, **labels}
