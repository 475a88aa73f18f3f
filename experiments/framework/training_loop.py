"""From a loss and data to a trained state, in steps that can be killed at any moment and resumed bitwise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from experiments.framework import configuration, devices, interruption, training_log
from experiments.framework.errors import Preempted
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff import training
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Loss, Params
from gendiff.data import batches
from gendiff.training import sharding
from gendiff.training.checkpoints import Checkpoints

INIT = np.uint32(2**32 - 1)
"""What the key of init is folded with: a number that no step reaches."""


def train(
    loss: Loss,
    optimizer: Any,
    init: Callable[[jax.Array], Params],
    data: Any,
    *,
    seed: int,
    steps: int,
    batch: int | None = None,
    folder: RunFolder,
    progress: Progress,
    ema: Sequence[float] = (0.999,),
    ema_warm_up: bool = False,
    accumulate: int = 1,
    checkpoint_every: int = 1000,
    keep: int = 2,
    log_every: int = 10,
    most_nonfinite: int = 10,
) -> training.TrainState:
    """The state after `steps` steps of `batch` samples, resumed from the newest checkpoint of `folder.checkpoints(seed)` if there is one.

    loss: (params, key, batch) -> (scalar, metrics). optimizer: of optax; with the same two, several seeds compile once.
    init: key -> params, under jit.
    data: a pytree of NumPy arrays (size, …), all of it in memory, from which `batch` rows per step are gathered on the host as a pure
    function of (seed, step); or a pure function step -> batch, for steps 0, 1, …, with `batch` left out. A batch is sharded over all local
    devices along the first axis of its arrays; the devices must divide it.
    seed: the key of a step is fold_in(key(seed), step); init gets fold_in(key(seed), 2**32 - 1).
    ema: decays of the tracks; ema_warm_up as in `training.make_step`. checkpoint_every, log_every: in steps; the last is always saved and
    logged. keep: how many checkpoints.
    most_nonfinite: a step with a NaN or infinite loss or gradient is skipped and counted; after so many in a row the batch goes to debug/.

    Metrics go to `folder` as lines {"seed", "step", "skipped", …metrics of that step}, without any time, so that the files of a resumed and
    an uninterrupted run are equal. Raises ConfigError (batch > size, devices or accumulation do not divide the batch), NonFiniteError,
    errors of gendiff.training.checkpoints, and Preempted after a signal of `interruption` (the step is finished and saved first).
    """
    mesh = sharding.mesh(devices.local())
    configuration.check_seed(seed)
    counts = {"steps": steps, "checkpoint_every": checkpoint_every, "log_every": log_every, "most_nonfinite": most_nonfinite}
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")
    samples = _samples(data, batch, seed)
    size = _size(samples(0)[1])
    sharding.check_batch(size, mesh)
    step = _step(loss, optimizer, accumulate, ema_warm_up)
    stored = configuration.read(folder).config if folder.config.exists() else None
    with interruption.watch() as stop, Checkpoints(folder.checkpoints(seed), config=stored, keep=keep) as store:
        state, done, bad = _begin(_fresh(init, optimizer, tuple(ema)), seed, store, folder, mesh)
        folder.truncate_metrics(seed, done)
        over = f"{mesh.size} {mesh.devices.flat[0].platform} device{'s' if mesh.size > 1 else ''}"
        progress.line(f"seed {seed}: {steps} steps of {size} samples over {over}" + (f", from step {done}" if done else ""))
        if done < steps:
            progress.line(f"seed {seed}: compiling …")
            step = devices.compiled(step, state, sharding.shard(samples(done)[1], mesh))
        with progress.task(f"train seed {seed}", steps, done) as task, training_log.tensorboard(folder, seed, done) as show:
            log = training_log.TrainingLog(folder, seed, task, show, bad, most_nonfinite)
            while done < steps and not stop:
                rows, batch_of_step = samples(done)
                state, metrics = step(state, sharding.shard(batch_of_step, mesh))
                done += 1
                log.add(done, metrics, (rows, batch_of_step), write=done % log_every == 0 or done == steps)
                if done % checkpoint_every == 0 or done == steps or stop:
                    _save(store, done, state, log, last=done == steps)
            if stop:  # the signal may have come after the last look at it
                _save(store, done, state, log, last=done == steps)
                store.wait()
                raise Preempted(f"{stop} at step {done} of seed {seed}; its newest checkpoint is that of step {store.latest()}")
    return state


def restore_ema(init: Callable[[jax.Array], Params], folder: RunFolder, *, seed: int, decay: float | None = None) -> Params:
    """The EMA parameters of the newest checkpoint of one seed, digests verified: `decay` names the track, None takes the only one.

    Without tracks None takes the parameters themselves. init: as for `train`; it is only asked for shapes. Raises DataError where there is
    no checkpoint, CheckpointCorruptError where bytes changed, CheckpointMismatchError where what is stored has another structure,
    ConfigError for a decay that was not tracked, and for None where several were.
    """
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        tracks = sorted({path.split("/")[1] for path in store.contents() if path.startswith("tracks/")})
        if decay is None and not tracks:
            part = "params"
        elif decay is None and len(tracks) == 1 or str(decay) in tracks:
            part = f"tracks/{tracks[0] if decay is None else decay}"
        else:
            raise ConfigError(f"EMA decay {decay} was not tracked in {folder.path}: there are {', '.join(tracks) or 'none'}")
        return store.restore_subtree(None, part, jax.eval_shape(init, jax.random.key(0))).state


def newest_step(folder: RunFolder, seed: int) -> int:
    """The step of the newest checkpoint of one seed. Raises DataError where there is none."""
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        step = store.latest()
    if step is None:
        raise DataError(f"{folder.checkpoints(seed)}: no checkpoint of seed {seed} is stored")
    return step


Samples: TypeAlias = Callable[[int], tuple[np.ndarray | None, Any]]
"""Of a step: the rows of the data, None without any, and the batch."""


def _samples(data: Any, batch: int | None, seed: int) -> Samples:
    if callable(data):
        if batch is not None:
            raise ConfigError(f"batch = {batch} has no meaning where the data are a function of the step: leave it out")
        return lambda step: (None, data(step))
    size = _size(data)
    if batch is None or not 1 <= batch <= size:
        raise ConfigError(f"a batch of {batch} is outside 1 … {size}, the number of training samples")

    def rows_of(step: int) -> tuple[np.ndarray, Any]:
        rows = batches.batch_at(size, batch, seed, step)
        return rows, jax.tree.map(lambda array: array[rows], data)

    return rows_of


def _size(tree: Any) -> int:
    """The length that the first axis of all arrays has."""
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1:
        raise ConfigError(f"the arrays of the data have different lengths: {', '.join(map(str, sorted(sizes))) or 'there are none'}")
    return sizes.pop()


@functools.lru_cache(maxsize=2)  # the seeds of a run share one compiled step
def _step(loss: Loss, optimizer: Any, accumulate: int, ema_warm_up: bool) -> Callable[..., Any]:
    update = training.make_step(loss, optimizer, accumulate=accumulate, ema_warm_up=ema_warm_up)
    return jax.jit(update, donate_argnums=0, compiler_options=devices.compiler_options())


@functools.lru_cache(maxsize=2)
def _fresh(init: Callable[[jax.Array], Params], optimizer: Any, ema: tuple[float, ...]) -> Callable[..., Any]:
    return jax.jit(lambda base: training.start(init(jax.random.fold_in(base, INIT)), optimizer, base, ema))


def _begin(
    fresh: Callable[..., Any], seed: int, store: Checkpoints, folder: RunFolder, mesh: jax.sharding.Mesh
) -> tuple[training.TrainState, int, dict[str, int]]:
    """(state, steps done, counts of skipped steps): restored, or new."""
    base = jax.random.key(seed)
    newest = store.latest_valid() if folder.resume == "latest-valid" else store.latest()
    if newest is None:
        return sharding.replicate(fresh(base), mesh), 0, {}
    store.discard_after(newest)
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), jax.eval_shape(fresh, base))
    restored = store.restore(newest, target)
    return restored.state, restored.step, restored.meta


def _save(store: Checkpoints, step: int, state: training.TrainState, log: training_log.TrainingLog, *, last: bool) -> None:
    log.settle()  # first the lines, then the checkpoint: no step of a resumed run lacks its line
    if log.streak == 0 or last:  # within a streak of bad steps the older checkpoints are the better ones to go back to
        store.save(step, state, log.counts, force=True)
