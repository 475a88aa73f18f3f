"""From a loss and data to a trained state, in steps that can be killed at any moment and resumed bitwise."""

import contextlib
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
import optax

from gendiff import training
from gendiff.core import trees
from gendiff.core.errors import ConfigError, DataError, NonFiniteError
from gendiff.core.types import Jitted, Loss, Lowered, Numeric, Params, PyTree
from gendiff.data import batches
from gendiff.runs import (
    compile_cache,
    configuration,
    devices,
    distributed,
    interruption,
    meshes,
    profiling,
    sinks,
    training_log,
)
from gendiff.runs.errors import Preempted
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, post_hoc_ema, sharding, snapshots
from gendiff.training.checkpoints import Checkpoints
from gendiff.training.compile_step import TrainingState
from gendiff.training.fit import OnState, OnStep, check_counts
from gendiff.training.post_hoc_ema import Snapshot, Track

LONG = 20.0
"""Seconds of a compilation after which the compile cache is worth a word."""
GENERATOR = "generator/"
"""Where an `adversarial.AdversarialState` holds what `restore_ema` looks for."""


def train(
    program: CompiledStep,
    data: PyTree,
    *,
    seed: int,
    steps: int,
    batch: int | None = None,
    folder: RunFolder,
    progress: Progress,
    checkpoint_every: int = 1000,
    keep: int = 2,
    log_every: int = 10,
    most_nonfinite: int = 10,
    on_step: OnStep | None = None,
    on_state: OnState | None = None,
    fingerprint: str = "",
    snapshot_every: int | None = None,
    description: Mapping[str, object] | None = None,
) -> TrainingState:
    """The state after `steps` steps of a program in a run folder.

    It goes on from the newest checkpoint of `folder.checkpoints(seed)` if there is one.
    program: of `compile_loss` or `compile_step`; its state has `step` (). Several seeds that are given the same one
        compile once.
    data: a pytree of NumPy arrays (size, …), all of it in memory, from which `batch` rows per step are gathered on the
    host as a pure function of (seed, step); or a pure function step -> batch, for steps 0, 1, …, with `batch` left out.
    A batch is split over the devices along the first axis of its arrays; the devices must divide it. With several
    processes `batch` counts the rows of all, and a function gives the part of this process (see `sharding.share`).
    seed: the key of a step is fold_in(key(seed), step).
    checkpoint_every, log_every: in steps; the last is always saved and logged. keep: how many checkpoints.
    most_nonfinite: a step with a NaN or infinite loss or gradient is skipped and counted; after so many in a row the
        batch goes to debug/.
    on_step, on_state: of `training.fit`, beside what this does with each step. Of several processes number 0 calls
    them, with its own copy of the state; a state that is split over processes is not handed on.
    fingerprint: of the data where they are a function, such as that of a source; processes with another one are
        refused.
    snapshot_every: steps between snapshots of the averages by power functions, in `folder.snapshots(seed)`; None keeps
        none.
    description: what is trained, as JSON, for `pipelines.open_run`; checkpoints hold it.

    It is `training.fit` with what a run folder keeps. Metrics are lines {"seed", "step", "skipped", …metrics of that
    step}, without any time, so that the files of a resumed and an uninterrupted run are equal; where the seconds went
    is a line of the timings. Raises ConfigError (batch > size, devices or accumulation do not divide the batch),
    NonFiniteError, errors of gendiff.training.checkpoints, and Preempted after a signal of `interruption` (the step is
    finished and saved first).
    """
    mesh = program.mesh
    configuration.check_seed(seed)
    check_counts(steps=steps, checkpoint_every=checkpoint_every, log_every=log_every, most_nonfinite=most_nonfinite)
    profiling.check(folder.profile, steps)
    part, parts = sharding.share(mesh)
    if batch is not None:
        sharding.check_batch(batch, mesh)
    samples = _samples(data, batch, seed, part, parts)
    size = _size(samples(0)[1]) * parts
    sharding.check_batch(size, mesh)
    _check_same_data(data, fingerprint)
    stored = configuration.of_training(folder)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(interruption.watch())
        store = stack.enter_context(
            Checkpoints(folder.checkpoints(seed), config=stored, keep=keep, description=description)
        )
        averages = None
        if snapshot_every is not None:
            averages = stack.enter_context(Checkpoints(folder.snapshots(seed), config=stored, keep_every=1))
        log = training_log.TrainingLog(folder, seed, steps, log_every)
        traced = stack.enter_context(profiling.traced(folder.profile, folder.traces(seed)))

        def on_start(done: int) -> None:
            folder.truncate_metrics(seed, done)
            folder.check_metrics(seed, done, log_every)
            over = f"{mesh.size} {mesh.devices.flat[0].platform} device{'s' if mesh.size > 1 else ''}"
            progress.line(
                f"seed {seed}: {steps} steps of {size} samples over {over}" + (f", from step {done}" if done else "")
            )
            if folder.profile is not None and done >= folder.profile.start:
                progress.line(f"note: step {folder.profile.start} is done already, so --profile traces nothing")
            if done < steps:
                progress.line(f"seed {seed}: compiling …")
            task = stack.enter_context(progress.task(f"train seed {seed}", steps, done))
            log.open(task, stack.enter_context(sinks.opened(sinks.Training(folder, seed, done), progress.line)))

        def report(step: int, metrics: Mapping[str, Numeric]) -> None:
            log.add(step, metrics)
            if on_step is not None and distributed.first():
                on_step(step, metrics)

        def look(step: int, state: TrainingState) -> None:
            if on_state is None or not distributed.first():
                return
            if not distributed.several():
                on_state(step, state)
            elif all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state)):
                on_state(step, jax.tree.map(lambda leaf: leaf.addressable_data(0), state))

        try:
            result = training.fit(
                program,
                lambda step: samples(step)[1],
                steps=steps,
                seed=seed,
                store=store,
                resume=folder.resume,
                on_start=on_start if distributed.first() else None,
                on_step=report,
                on_state=look,
                stop=lambda: bool(stop),
                checkpoint_every=checkpoint_every,
                most_nonfinite=most_nonfinite,
                snapshots=averages,
                snapshot_every=snapshot_every,
                compiled=lambda step, state, batch: traced(_compiled(step, state, batch, progress), int(state.step)),
            )
        except NonFiniteError as error:
            raise log.explained(error, *samples(log.step - 1)) from error
        log.close(result.timing)
        if result.stopped:
            who, step = stop or "another process", int(result.state.step)
            if not result.saved:
                raise Preempted(f"{who} at step {step} of seed {seed}", "none of its steps had been finished")
            raise Preempted(
                f"{who} at step {step} of seed {seed}; its newest checkpoint is that of step {result.saved}"
            )
    return result.state


def compile_loss(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    init: Callable[[jax.Array], Params],
    folder: RunFolder,
    *,
    rules: sharding.Rules = (),
    ema: Iterable[Track] = (0.999,),
    ema_warm_up: bool = False,
    accumulate: int = 1,
) -> CompiledStep:
    """`training.compile_loss` for the devices of a run folder: all of all processes, as --mesh says.

    With the same loss, optimizer and init the trainings of a run, which differ in seed or number of steps alone, share
    it and compile once. rules: they split layers where the mesh has "tensor". accumulate: slices of a batch (gradient
    accumulation).
    """
    mesh = meshes.build(folder.mesh, rules)
    rules = rules if mesh.shape["tensor"] > 1 else ()
    return _shared(
        loss, optimizer, init, mesh, rules=rules, ema=tuple(ema), ema_warm_up=ema_warm_up, accumulate=accumulate
    )


def compile_step(
    step: Callable[..., PyTree],
    fresh: Callable[[jax.Array], TrainingState],
    mesh: jax.sharding.Mesh,
    *,
    libraries: bool = True,
    frozen: tuple[PyTree, ...] = (),
) -> CompiledStep:
    """`training.compile_step` with the compiler options of this backend.

    libraries: as of `devices.compiler_options`. frozen: trees that the step takes behind the batch; they are no
    constants of its program.
    """
    run = _storable(functools.partial(training.compile_step, step, fresh, mesh), devices.compiler_options(libraries))
    return run._replace(step=WithFrozen(run.step, frozen)) if frozen else run


@dataclasses.dataclass(frozen=True, eq=False)
class WithFrozen:
    """A jitted step, (state, batch, *frozen) -> (state, metrics), as one of (state, batch)."""

    step: Jitted
    frozen: tuple[PyTree, ...]

    def __call__(self, state: PyTree, batch: PyTree) -> PyTree:
        return self.step(state, batch, *self.frozen)

    def lower(self, state: PyTree, batch: PyTree) -> Lowered:
        """As that of `jax.jit`."""
        return self.step.lower(state, batch, *self.frozen)


def restore_ema(
    init: Callable[[jax.Array], Params],
    folder: RunFolder,
    *,
    seed: int,
    step: int | None = None,
    decay: float | None = None,
) -> Params:
    """The EMA parameters of a checkpoint of one seed, digests verified: `decay` names the track, None takes the only
    decay.

    Of a GAN they are those of its generator. Without tracks None takes the parameters themselves. init: from a key to
    such parameters; only their shapes are asked for. step: None is the newest; a training that goes on may write a
    newer one at any time. Raises DataError where there is no checkpoint,
    CheckpointCorruptError where bytes changed, CheckpointMismatchError where what is stored has another structure,
    ConfigError for a decay that was not tracked, and for None where several were.
    """
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        return read_ema(init, store, step=step, decay=decay)


def read_ema(
    init: Callable[[jax.Array], Params], store: Checkpoints, *, step: int | None = None, decay: float | None = None
) -> Params:
    """As `restore_ema`, from a step (None: the newest) of checkpoints that are open."""
    stored = store.contents(step)
    prefix = _drawn_from(stored)
    names = {path.removeprefix(prefix).split("/")[1] for path in stored if path.startswith(f"{prefix}tracks/")}
    tracks = sorted(name for name in names if not name.startswith(post_hoc_ema.PREFIX))
    if decay is None and not names:
        part = "params"
    elif decay is None and len(tracks) == 1 or str(decay) in tracks:
        part = f"tracks/{tracks[0] if decay is None else decay}"
    else:
        raise ConfigError(
            f"EMA decay {decay} was not tracked in {store.path}: there are {', '.join(sorted(names)) or 'none'}"
        )
    return store.restore_subtree(step, prefix + part, jax.eval_shape(init, jax.random.key(0))).state


def restore_params(init: Callable[[jax.Array], Params], folder: RunFolder, *, seed: int) -> Params:
    """The parameters themselves in place of their average; otherwise as `restore_ema`."""
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        return read_params(init, store)


def read_params(init: Callable[[jax.Array], Params], store: Checkpoints, *, step: int | None = None) -> Params:
    """As `restore_params`, from a step (None: the newest) of checkpoints that are open."""
    return store.restore_subtree(
        step, f"{_drawn_from(store.contents(step))}params", jax.eval_shape(init, jax.random.key(0))
    ).state


def restore_length(
    init: Callable[[jax.Array], Params], folder: RunFolder, *, seed: int, relative_std: float
) -> tuple[Params, Snapshot, float]:
    """(parameters, which average, share of its profile that is missed): the average of any length, from the snapshots
    of one seed.

    init: as for `restore_ema`, whose errors it raises. relative_std: of the average; it ends at the newest snapshot.
    ConfigError for a run without snapshots, and for a length out of range.
    """
    if not folder.snapshots(seed).is_dir():
        raise ConfigError(
            f"--ema {relative_std:g}: {folder.path} kept no snapshots of averages; train with --ema-snapshots 20"
        )
    with Checkpoints(folder.snapshots(seed), read_only=True) as store:
        stored = snapshots.stored(store)
        requested = Snapshot(relative_std, stored[-1].step)
        missed = post_hoc_ema.relative_error(stored, requested)
        return snapshots.reconstruct(store, jax.eval_shape(init, jax.random.key(0)), relative_std), requested, missed


def newest_step(folder: RunFolder, seed: int) -> int:
    """The step of the newest checkpoint of one seed. Raises DataError where there is none."""
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        step = store.latest()
    if step is None:
        raise DataError(f"{folder.checkpoints(seed)}: no checkpoint of seed {seed} is stored")
    return step


def steps_done(folder: RunFolder, seed: int) -> int:
    """Steps of one seed's training that the newest intact checkpoint holds; 0 where there is none.

    Raises CheckpointCorruptError where steps are stored and none is intact.
    """
    if not folder.checkpoints(seed).is_dir():
        return 0
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        return store.latest_valid() or 0


@functools.lru_cache(maxsize=4)
def _shared(*parts: Any, **options: Any) -> CompiledStep:  # those of training.compile_loss
    return _storable(functools.partial(training.compile_loss, *parts, **options), devices.compiler_options())


def _storable(build: Callable[..., CompiledStep], options: dict[str, str | int]) -> CompiledStep:
    program = build(compiler_options=options)
    return program._replace(step=devices.storable(program.step, options))


def _drawn_from(held: Iterable[str]) -> str:
    """Where the state that samples come from begins among the paths of a checkpoint: of a GAN it is that of its
    generator.
    """
    return GENERATOR if any(path.startswith(GENERATOR) for path in held) else ""


def _compiled(step: Jitted, state: TrainingState, batch: PyTree, progress: Progress) -> Jitted:
    """The compiled step; where that took long, a line on how to keep it."""
    begin = time.monotonic()
    compiled = devices.compiled(step, state, batch)
    spent = time.monotonic() - begin
    if spent > LONG and not compile_cache.keeps(step):
        progress.line(f"compiled in {formatting.duration(spent)}; --compile-cache FOLDER keeps it for the next start")
    return compiled


Samples: TypeAlias = Callable[[int], tuple[np.ndarray | None, PyTree]]
"""Of a step: the rows of the data, None without any, and the batch."""


def _samples(data: PyTree, batch: int | None, seed: int, part: int, parts: int) -> Samples:
    if callable(data):
        if batch is not None:
            raise ConfigError(f"batch = {batch} has no meaning where the data are a function of the step: leave it out")
        return lambda step: (None, data(step))
    size = _size(data)
    if batch is None or not 1 <= batch <= size:
        raise ConfigError(f"a batch of {batch} is outside 1 … {size}, the number of training samples")

    share = batch // parts

    def rows_of(step: int) -> tuple[np.ndarray, PyTree]:
        rows = batches.batch_at(size, batch, seed, step)[part * share : (part + 1) * share]
        return rows, jax.tree.map(lambda array: array[rows], data)

    return rows_of


def _check_same_data(data: PyTree, fingerprint: str) -> None:
    """ConfigError where processes train on other data: arrays of other bytes, or another fingerprint."""
    if distributed.several():
        arrays = {} if callable(data) else trees.paths(data)
        digests = {path: hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest() for path, leaf in arrays.items()}
        distributed.check_equal("the data", {"fingerprint": fingerprint, **digests})


def _size(tree: PyTree) -> int:
    """The length that the first axis of all arrays has."""
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1:
        raise ConfigError(
            f"the arrays of the data have different lengths: {', '.join(map(str, sorted(sizes))) or 'there are none'}"
        )
    return sizes.pop()
