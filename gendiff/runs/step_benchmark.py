"""A benchmark of a training step: its seconds, operations and memory, on a state that is thrown away."""

import jax
import numpy as np

from gendiff.core.types import Metrics, Params, PyTree
from gendiff.runs import program_costs
from gendiff.training import CompiledStep, sharding


class StepBenchmark:
    """One step of `training_loop.train` with the same arguments, which then compiles nothing more.

    Calling it does the step, on the first `batch` rows of the data, and returns what to wait for. flops: of a step by
    XLA's count. peak: its bytes by XLA's analysis.
    """

    def __init__(self, program: CompiledStep, data: PyTree, *, batch: int) -> None:
        self._batch = sharding.shard(jax.tree.map(lambda array: np.asarray(array[:batch]), data), program.mesh)
        self._state, self._step = sharding.replicate(program.fresh(jax.random.key(0)), program.mesh), program.step
        lowered = program.step.lower(self._state, self._batch)
        self.flops, self.peak = program_costs.flops(lowered), program_costs.peak_bytes(lowered.compile())

    @property
    def params(self) -> Params:
        """A copy of the parameters where they stand, on the first device, as those that are read from a checkpoint."""
        return jax.device_put(jax.tree.map(np.array, self._state.params), jax.local_devices()[0])

    def __call__(self) -> Metrics:
        metrics: Metrics
        self._state, metrics = self._step(self._state, self._batch)
        return metrics
