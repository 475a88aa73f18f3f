"""Our process of the race to digits of equal quality: gendiff alone, answering `side_process`."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import ours
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import Workload
from experiments.diffusion.few_step import draw
from experiments.framework import compile_cache, devices
from gendiff import networks
from gendiff.core.types import Params
from gendiff.diffusion import denoiser, grids, parameterization, sampling, schedules

LONGEST = 50
"""Most steps of a draw."""


class RaceSide(Side):
    """Draws by the methods `FIXED` of the experiment few-step, each of which is compiled once for every number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.params: dict[tuple[str, str], Params] = {}
        self.draws: dict[tuple[str, str], Any] = {}

    def methods(self) -> list[str]:
        """Every method; the first is the reference."""
        return list(draw.FIXED)

    def prepare(self, network: str, arrays: str, weights: str, together: int, method: str, steps: int, name: str) -> dict[str, float]:
        """Makes the draw of the arrays' noise by a method in so many steps ready under a name, and does it once (see Side._first).

        together: samples of one call.
        """
        begin, workload = time.perf_counter(), Workload("sample", network)
        with np.load(arrays) as file:
            given = {key: file[key] for key in file.files}
        if (network, weights) not in self.params:
            stored = ours.parameters(workload, ours.build(workload), weights)
            self.params[network, weights] = jax.tree.map(jnp.asarray, stored)
        sampler, grid = draw.FIXED[method]
        levels = grids.padded(grid(schedules.flow(), steps), max(steps, LONGEST))
        rows = [slice(first, first + together) for first in range(0, len(given["label"]), together)]
        parts = [(jnp.asarray(levels.sigma[0] * given["noise"][part]), jnp.asarray(given["label"][part])) for part in rows]
        bound = self.params[network, weights], levels, jnp.int32(steps)
        if (network, method) not in self.draws:
            self.draws[network, method] = devices.compiled(devices.jit(_draw(workload, sampler)), *bound, *parts[0])
        program = self.draws[network, method]
        self.work[name] = lambda: [program(*bound, *part) for part in parts]
        return self._first(name, begin)

    def _wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    def _numpy(self, result: Any) -> np.ndarray:
        return np.concatenate([np.asarray(part) for part in result])


def _draw(workload: Workload, sampler: sampling.Sampler) -> Any:
    predict, shape = networks.pure(ours.build(workload)), workload.shape

    def run(params: Params, levels: Any, steps: jax.Array, start: jax.Array, label: jax.Array) -> jax.Array:
        flow = denoiser.from_network(predict, params, parameterization.flow(), label)
        index = jnp.arange(len(label))
        return sampling.sample(jax.random.key(0), flow, sampler, levels, shape, index, num_steps=steps, start=start)

    return run


if __name__ == "__main__":
    compile_cache.use()
    RaceSide().serve()
