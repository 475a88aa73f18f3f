"""Agreement between the processes of one training: when to stop, which checkpoint to restore, and a barrier."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def spans_processes(mesh: Mesh) -> bool:
    """Whether a mesh has devices of other processes."""
    return bool(mesh.is_multi_process)


class Stop:
    """A question to `stop` before each step, to which all processes get the same answer.

    They stop before the same step, whichever of them was stopped. With several processes each question costs one
    maximum of a number per device over the mesh. It is started behind the step under way, and the answer is that of the
    question before, so neither host nor device waits for it. A stop thus takes effect one step later. Every process
    must ask equally often. With one process `stop` is asked, and that is all.

    Args:
        stop: whether this process should stop; None: never. None on one process is None on all.
        mesh: the devices of the training.
    """

    def __init__(self, stop: Callable[[], bool] | None, mesh: Mesh) -> None:
        self._stop, self._mesh = stop, mesh
        self._shared = stop is not None and spans_processes(mesh)
        self._under_way: jax.Array | None = None
        self._largest = jax.jit(lambda flags: flags.max(), out_shardings=NamedSharding(mesh, PartitionSpec()))

    def __call__(self) -> bool:
        """Whether to stop before the next step."""
        if not self._shared:
            return self._stop is not None and bool(self._stop())
        before, self._under_way = self._under_way, self._ask()
        return before is not None and bool(before)

    def last(self) -> bool:
        """Whether a stop came until now; it waits for the answer."""
        return bool(self._ask()) if self._shared else self()

    def _ask(self) -> jax.Array:
        flag = np.full(self._mesh.local_mesh.size, self._stop is not None and bool(self._stop()), np.int32)
        where = NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names))
        largest: jax.Array = self._largest(jax.make_array_from_process_local_data(where, flag, (self._mesh.size,)))
        return largest


def of_first(number: int | None) -> int | None:
    """Return the number of process 0, which every process must ask for; None stays None."""
    if jax.process_count() == 1:
        return number
    first = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number)))
    return None if first < 0 else first


def wait(name: str) -> None:
    """Wait until all processes are here: a barrier."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
