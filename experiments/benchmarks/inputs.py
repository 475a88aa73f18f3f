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

    return _KINDS.get(workload.kind, _network)(workload, rng, normal)


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


Normal = Callable[..., np.ndarray]


def _network(workload: Workload, rng: np.random.Generator, normal: Normal) -> dict[str, np.ndarray]:
    shape = (workload.batch, *workload.shape)
    classes = NETWORKS[workload.network].num_classes
    labels = {} if classes is None else {"label": rng.integers(0, classes, workload.batch).astype(np.int32)}
    if workload.kind in ("sample", "sweep"):
        return {"start": normal(*shape), **labels}
    times = rng.integers(0, 1000, workload.batch).astype(np.float32)
    return {"clean": np.tanh(normal(*shape)), "x": normal(*shape), "target": normal(*shape), "t": times, **labels}


def _block(workload: Workload, rng: np.random.Generator, normal: Normal) -> dict[str, np.ndarray]:
    x = normal(workload.batch, workload.size, workload.size, workload.channels)
    return {"x": x, "embedding": normal(workload.batch, max(1, workload.embedding))}


def _attention(workload: Workload, rng: np.random.Generator, normal: Normal) -> dict[str, np.ndarray]:
    shape = (workload.batch, workload.tokens, workload.heads, workload.head_size)
    return {name: normal(*shape) for name in ("query", "key", "value")}


def _convolution(workload: Workload, rng: np.random.Generator, normal: Normal) -> dict[str, np.ndarray]:
    channels = workload.channels
    kernel = normal(3, 3, channels, channels) / np.sqrt(9 * channels, dtype=np.float32)
    return {"x": normal(workload.batch, workload.size, workload.size, channels), "kernel": kernel}


def _matmul(workload: Workload, rng: np.random.Generator, normal: Normal) -> dict[str, np.ndarray]:
    return {"x": normal(workload.size, workload.size) / np.sqrt(workload.size, dtype=np.float32)}


_KINDS = {"block": _block, "attention": _attention, "convolution": _convolution, "matmul": _matmul}
