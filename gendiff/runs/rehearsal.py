"""The step of a training before the training: what it takes and needs, on a state that nothing keeps."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from gendiff.core.types import Loss, Params
from gendiff.runs import meshes, program_costs, training_loop
from gendiff.runs.run_folder import RunFolder
from gendiff.training import sharding


class Rehearsal:
    """One step of `training_loop.train` with the same arguments, which then compiles nothing more.

    Calling it does the step, on the first `batch` rows of the data, and returns what to wait for. flops: of a step by XLA's count.
    peak: its bytes by XLA's analysis.
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: Any,
        init: Callable[[jax.Array], Params],
        data: Any,
        *,
        batch: int,
        folder: RunFolder,
        ema: Sequence[float],
        ema_warm_up: bool = False,
    ) -> None:
        mesh = meshes.build(folder.mesh, ())
        programs = training_loop.shared_programs(loss, optimizer, init, mesh, (), tuple(ema), ema_warm_up, 1)
        self._batch = sharding.shard(jax.tree.map(lambda array: np.asarray(array[:batch]), data), mesh)
        self._state, self._step = sharding.replicate(programs.fresh(jax.random.key(0)), mesh), programs.step
        step: Any = programs.step  # jitted
        lowered = step.lower(self._state, self._batch)
        self.flops, self.peak = program_costs.flops(lowered), program_costs.peak_bytes(lowered.compile())

    @property
    def params(self) -> Params:
        """A copy of the parameters where they stand, on the first device, as those that are read from a checkpoint."""
        return jax.device_put(jax.tree.map(np.array, self._state.params), jax.local_devices()[0])

    def __call__(self) -> Any:
        self._state, metrics = self._step(self._state, self._batch)
        return metrics
