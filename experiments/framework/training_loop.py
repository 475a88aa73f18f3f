"""From a loss and data to a trained state, in steps that can be killed at any moment and resumed bitwise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from experiments.framework import configuration, devices, interruption, tensorboard
from experiments.framework.errors import Preempted
from experiments.framework.outline import Outline
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from experiments.framework.training_log import TrainingLog
from gendiff import training
from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params
from gendiff.data import batches
from gendiff.diffusion.types import Batch
from gendiff.training import sharding
from gendiff.training.checkpoints import Checkpoints

INIT = np.uint32(2**32 - 1)
"""What the key of init is folded with: a number that no step reaches."""


def train(
    loss: Loss,
    optimizer: Any,
    init: Callable[[jax.Array], Params],
    data: Batch,
    *,
    seed: int,
    steps: int,
    batch: int,
    folder: RunFolder,
    progress: Progress,
    ema: Sequence[float] = (0.999,),
    accumulate: int = 1,
    clip: float | None = None,
    checkpoint_every: int = 1000,
    keep: int = 2,
    log_every: int = 10,
    most_nonfinite: int = 10,
) -> training.TrainState:
    """The state after `steps` steps of `batch` samples, resumed from the newest checkpoint of `folder.checkpoints(seed)` if there is one.

    loss: (params, key, Batch) -> (scalar, metrics). optimizer: of optax; with the same two, several seeds compile once.
    init: key -> params, under jit.
    data: Batch(clean=(size, *shape) NumPy, condition=((size,) NumPy, …)), all of it in memory. Batches are gathered on the host by index,
    as a pure function of (seed, step), and sharded over all local devices, which must divide them.
    seed: the key of a step is fold_in(key(seed), step); init gets fold_in(key(seed), 2**32 - 1).
    ema: decays of the tracks. checkpoint_every, log_every: in steps; the last is always saved and logged. keep: how many checkpoints.
    most_nonfinite: a step with a NaN or infinite loss or gradient is skipped and counted; after so many in a row the batch goes to debug/.

    Metrics go to `folder` as lines {"seed", "step", "skipped", …metrics of that step}, without any time, so that the files of a resumed and
    an uninterrupted run are equal. Raises ConfigError (batch > size, devices or accumulation do not divide the batch), NonFiniteError,
    errors of gendiff.training.checkpoints, and Preempted after SIGTERM or SIGUSR1 (the step is finished and saved first).
    """
    mesh = sharding.mesh(devices.local())
    _check(data, mesh, seed=seed, steps=steps, batch=batch, every=(checkpoint_every, log_every, most_nonfinite))
    step = _step(loss, optimizer, accumulate, clip)
    with interruption.deferred() as asked, Checkpoints(folder.checkpoints(seed), config=_config(folder), keep=keep) as store:
        state, done, counts = _begin(_fresh(init, optimizer, seed, ema), store, folder, seed, mesh)
        folder.truncate_metrics(seed, done)
        progress.line(f"seed {seed}: {steps} steps of {batch} samples over {_count(mesh)}" + (f", from step {done}" if done else ""))
        with progress.task(f"train seed {seed}", steps, done) as task, tensorboard.events(folder, seed, done) as show:
            log = TrainingLog(folder, seed, task, show, counts, most_nonfinite)
            if done < steps:
                step = devices.compiled(step, state, sharding.shard(_samples(data, batch, seed, done)[1], mesh))
            while done < steps and not asked:
                rows, chosen = _samples(data, batch, seed, done)
                state, metrics = step(state, sharding.shard(chosen, mesh))
                done += 1
                log.add(done, metrics, (rows, chosen), write=done % log_every == 0 or done == steps)
                if done % checkpoint_every == 0 or done == steps or asked:
                    _save(store, done, state, log, last=done == steps)
            if asked:  # the signal may have come after the last look at it
                _save(store, done, state, log, last=done == steps)
                store.wait()
                raise Preempted(f"{asked} at step {done} of seed {seed}; its newest checkpoint is that of step {store.latest()}")
    return state


def restore_ema(init: Callable[[jax.Array], Params], folder: RunFolder, *, seed: int, decay: float | None = None) -> Params:
    """The EMA parameters of the newest checkpoint of one seed, digests verified: `decay` names the track, None takes the first.

    init: as for `train`; it is only asked for shapes. Raises DataError where there is no checkpoint, CheckpointCorruptError where bytes
    changed, CheckpointMismatchError where what is stored has another structure, ConfigError for a decay that was not tracked.
    """
    outline = Outline.read(folder, seed)
    chosen = outline.decays[0] if decay is None and outline.decays else decay
    if chosen is not None and chosen not in outline.decays:
        raise ConfigError(f"EMA decay {chosen} was not tracked in {folder.path}: there are {', '.join(map(str, outline.decays)) or 'none'}")
    prefix = "params/" if chosen is None else f"tracks/{chosen}/"
    wanted = jax.eval_shape(init, jax.random.key(0))
    target = {path: leaf for path, leaf in outline.abstract().items() if not path.startswith(prefix)}
    target |= {prefix + path: leaf for path, leaf in trees.paths(wanted).items()}
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        flat = store.restore(None, target).state
    return jax.tree.unflatten(jax.tree.structure(wanted), [flat[prefix + path] for path in trees.paths(wanted)])


def _check(data: Batch, mesh: jax.sharding.Mesh, *, seed: int, steps: int, batch: int, every: tuple[int, int, int]) -> None:
    configuration.check_seed(seed)
    sizes = {np.shape(leaf)[0] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1:
        raise ConfigError(f"the arrays of the data have different lengths: {', '.join(map(str, sorted(sizes)))}")
    size = sizes.pop()
    if not 1 <= batch <= size:
        raise ConfigError(f"a batch of {batch} is outside 1 … {size}, the number of training samples")
    sharding.check_batch(batch, mesh)
    for name, value in zip(("steps", "checkpoint_every", "log_every", "most_nonfinite"), (steps, *every), strict=True):
        if value < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")


def _samples(data: Batch, batch: int, seed: int, step: int) -> tuple[np.ndarray, Batch]:
    """(rows of the data, what stands there) of one step."""
    rows = batches.batch_at(len(data.clean), batch, seed, step)
    return rows, jax.tree.map(lambda array: array[rows], data)


@functools.lru_cache(maxsize=2)  # the seeds of a run share one compiled step
def _step(loss: Loss, optimizer: Any, accumulate: int, clip: float | None) -> Callable[..., Any]:
    update = training.make_step(loss, optimizer, accumulate=accumulate, clip=clip, ema_warm_up=False)  # as the committed runs were made
    return jax.jit(update, donate_argnums=0, compiler_options=devices.compiler_options())


def _fresh(init: Callable[[jax.Array], Params], optimizer: Any, seed: int, ema: Sequence[float]) -> Callable[[], training.TrainState]:
    def fresh() -> training.TrainState:
        base = jax.random.key(seed)
        return training.start(init(jax.random.fold_in(base, INIT)), optimizer, base, ema)

    return fresh


def _begin(
    fresh: Callable[[], training.TrainState], store: Checkpoints, folder: RunFolder, seed: int, mesh: jax.sharding.Mesh
) -> tuple[training.TrainState, int, dict[str, int]]:
    """(state, steps done, counts of skipped steps): restored, or new."""
    newest = store.latest_valid() if folder.resume == "latest-valid" else store.latest()
    if newest is None:
        state = sharding.replicate(jax.jit(fresh)(), mesh)
        Outline.of(state).write(folder, seed)
        return state, 0, {}
    store.discard_after(newest)
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), jax.eval_shape(fresh))
    restored = store.restore(newest, target)
    return restored.state, restored.step, restored.meta


def _save(store: Checkpoints, step: int, state: training.TrainState, log: TrainingLog, *, last: bool) -> None:
    log.settle()  # first the lines, then the checkpoint: no step of a resumed run lacks its line
    if log.streak == 0 or last:  # within a streak of bad steps the older checkpoints are the better ones to go back to
        store.save(step, state, log.counts, force=True)


def _count(mesh: jax.sharding.Mesh) -> str:
    return f"{mesh.size} {mesh.devices.flat[0].platform} device{'s' if mesh.size > 1 else ''}"


def _config(folder: RunFolder) -> dict[str, Any] | None:
    return configuration.read(folder).config if folder.config.exists() else None
