"""Our process: gendiff alone, answering `protocol`.

python -m experiments.benchmarks.ours    (started by side_process)

A bench of a later checkout starts this module of an earlier one (`--against`), so requests keep their names and arguments.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from experiments.benchmarks import protocol, workloads
from experiments.benchmarks.workloads import Workload

protocol.limit_cores(int(os.environ.get("BENCH_THREADS", "0")))  # before XLA counts them

import jax  # noqa: E402
import numpy as np  # noqa: E402

from experiments.benchmarks import ours_work  # noqa: E402
from experiments.framework import devices  # noqa: E402
from experiments.reporting import environment  # noqa: E402
from gendiff.networks.module import count  # noqa: E402
from gendiff.training import sharding  # noqa: E402


class OurSide:
    """What the process holds between requests: works by name."""

    def __init__(self) -> None:
        self.work: dict[str, Callable[[], Any]] = {}
        self.prepared: dict[str, tuple[Workload, Any, str, dict[str, jax.Array]]] = {}

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str = "", name: str = "ours") -> dict[str, float]:
        """Builds the work `name` and does it once: seconds of that first time, compilation included, and peak memory until then."""
        wanted = workloads.from_json(workload)
        with np.load(arrays) as stored:
            given = {key: jax.device_put(stored[key]) for key in stored.files}
        begin = time.perf_counter()
        network, size = None, 0
        if wanted.network:
            network = ours_work.build(wanted)
            params = jax.tree.map(jax.numpy.asarray, ours_work.parameters(wanted, network, weights))
            size = count(params)
            if jax.device_count() > 1:
                mesh = sharding.mesh()
                params, given = sharding.replicate(params, mesh), sharding.shard(given, mesh)
            build = {"sample": ours_work.sampler, "train": ours_work.trainer, "sweep": ours_work.sweep}[wanted.kind]
            self.work[name] = build(wanted, network, params, given)
            del params  # a training run keeps those of its state alone
        elif wanted.kind == "block":
            self.work[name] = ours_work.block(wanted, given, weights)
        else:
            self.work[name] = ours_work.operation(wanted, given)
        self.prepared[name] = (wanted, network, weights, given)
        jax.block_until_ready(self.work[name]())
        return {"first": time.perf_counter() - begin, "peak_mib": _peak(), "parameters": size}

    def run(self, name: str = "ours", repeats: int = 1) -> float:
        """Seconds of `repeats` times the work."""
        work = self.work[name]
        begin = time.perf_counter()
        for _ in range(repeats):
            done = work()
        jax.block_until_ready(done)
        return time.perf_counter() - begin

    def output(self, to: str, name: str = "ours") -> None:
        """Writes what the work answers into the .npz file `to`."""
        np.savez(to, output=np.asarray(self.work[name]()).astype(np.float32))

    def gradient(self, folder: str, name: str = "ours") -> dict[str, float]:
        """The loss, and the distance of the gradient from the peer's in that folder over the peer's norm, all parameters together."""
        workload, network, weights, given = self.prepared[name]
        loss, gradient = ours_work.gradient(workload, network, ours_work.parameters(workload, network, weights), given)
        theirs = ours_work.parameters(workload, network, folder)
        pairs = list(zip(jax.tree.leaves(gradient), jax.tree.leaves(theirs), strict=True))
        apart = sum(float(np.sum(np.square(np.asarray(a) - np.asarray(b)))) for a, b in pairs)
        return {"loss": float(loss), "difference": (apart / sum(float(np.sum(np.square(np.asarray(b)))) for _, b in pairs)) ** 0.5}

    def flops(self, name: str = "ours") -> float:
        """Of the work done once; a training step without the optimizer."""
        workload, network, weights, _ = self.prepared[name]
        if network is None:
            return workload.flops
        return workload.calls * ours_work.operations_counted(workload, network, ours_work.parameters(workload, network, weights))

    def about(self) -> dict[str, Any]:
        """Versions, devices and precision."""
        return {**environment.versions(), **environment.machine()}


def _peak() -> float:
    statistics = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return statistics["peak_bytes_in_use"] / 2**20 if statistics else protocol.peak_memory()


def main() -> None:
    devices.use_compile_cache()
    side = OurSide()
    protocol.serve({name: getattr(side, name) for name in ("prepare", "run", "output", "gradient", "flops", "about")})


if __name__ == "__main__":
    main()
