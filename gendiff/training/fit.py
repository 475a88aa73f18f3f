"""A training loop in one call, which can be killed at any moment and resumed: batches in, metrics out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from gendiff.core import checks
from gendiff.core.errors import ConfigError, NonFiniteError
from gendiff.core.types import Jitted, Numeric, PyTree
from gendiff.training import agreement, sharding
from gendiff.training import snapshots as averages
from gendiff.training.compile_step import CompiledStep, Step, TrainingState
from gendiff.training.timing import Clock, Timing

if TYPE_CHECKING:
    from gendiff.training.checkpoints import Checkpoints

OnStep = Callable[[int, Mapping[str, Numeric]], object]
OnState = Callable[[int, TrainingState], object]
Batches = Callable[[int], PyTree]
"""A pure function of the step 0, 1, … to the batch of that step."""

_OWN_METRICS = ("skipped", "data_share")


class FitResult(NamedTuple):
    """The result of a training.

    Attributes:
        state: after the last step.
        resumed_from: the step of the checkpoint that it went on from; None for a fresh start.
        stopped: whether `stop` ended it.
        saved: the newest step in the folder; None without any.
        timing: where the seconds of this call went.
    """

    state: TrainingState
    resumed_from: int | None
    stopped: bool
    saved: int | None
    timing: Timing


def fit(
    program: CompiledStep,
    batches: Batches,
    *,
    steps: int,
    seed: int = 0,
    store: Checkpoints | str | Path | None = None,
    keep: int = 2,
    resume: str = "latest",
    on_start: Callable[[int], object] | None = None,
    on_step: OnStep | None = None,
    on_state: OnState | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoint_every: int = 1000,
    most_nonfinite: int = 10,
    compiled: Callable[[Jitted, TrainingState, PyTree], Step] | None = None,
    snapshots: Checkpoints | None = None,
    snapshot_every: int | None = None,
) -> FitResult:
    """Train until `steps` steps are done, from the newest checkpoint of `store` if there is one.

    A run that was killed and is started again by the same call ends bitwise equal to one that was not, on the same
    devices.

    Args:
        program: what is trained, from `compile_loss` or `compile_step`.
        batches: a pure function of the step 0, 1, … to its batch, a tree of arrays (b, …) with the batch size b,
            such as `dataset.__getitem__` of a Grain `MapDataset`. It runs on the host while the devices compute the
            step before. With several processes it gives the part of the batch that `sharding.share(mesh)` names.
        steps: how many are done at the end, at least 1.
        seed: 0 … 2³² - 1.
        store: where states are saved, and where the newest is restored from: a folder, which is made where it is
            missing, or `Checkpoints`. None saves nothing.
        keep: how many checkpoints stay in a folder, at least 1.
        resume: "latest" refuses a newest checkpoint whose bytes changed, "latest-valid" goes back to an older one with
            a warning.
        on_start: is called with the number of steps done, once that is known, before anything is compiled.
        on_step: is called as `on_step(step, metrics)` with the number of the step, 1 … steps, and its metrics as
            plain numbers: loss, grad_norm, finite, those of the loss, `skipped` (how many steps were not finite so far)
            and `data_share` (the share of the time for which the devices waited for data). The call comes one step
            late, so that the devices never wait for it.
        on_state: is called as `on_state(step, state)` after each step, such as for a preview every so many steps. It
            must keep nothing of the state, whose memory the next step takes. What it does changes no step.
        stop: is asked before each step; True saves the state and returns. A handler of SIGTERM may set it, or a rule of
            early stopping. With several processes, which then all give one, True on any of them stops all after the
            same step.
        checkpoint_every: in steps, at least 1; the last step is always saved.
        most_nonfinite: a step with a loss or gradient that is not finite is skipped and counted; so many in a row end
            the training.
        compiled: `(step, state, batch) -> step` that compiles; None: `step.lower(state, batch).compile()`.
        snapshots: where the power-function tracks are saved (see `snapshots`), with `keep_every=1`; None: the folder
            "snapshots" of the folder `store`. All of them stay, for `snapshots.reconstruct`. What a training that was
            interrupted saved there after its newest checkpoint is deleted, and comes again.
        snapshot_every: in steps, at least 1; the last step is always saved. None saves no snapshots.

    Raises:
        ConfigError: for numbers out of range, a checkpoint beyond `steps`, a batch that the devices do not divide, and
            snapshots without a place or without an average by a power function.
        NonFiniteError: after `most_nonfinite` steps in a row.
        CheckpointCorruptError: for a checkpoint whose bytes changed.
        CheckpointMismatchError: for a checkpoint of another network, optimizer, seed or clip, with a table of what
            differs.
        OSError: where a checkpoint could not be written.
    """
    checks.integer("seed", seed, 0, 2**32 - 1)
    checks.choice("resume", resume, ("latest", "latest-valid"))
    check_counts(steps=steps, checkpoint_every=checkpoint_every, keep=keep, most_nonfinite=most_nonfinite)
    if snapshot_every is not None:
        check_counts(snapshot_every=snapshot_every)
        # or a ConfigError, before a folder is made
        averages.tracks(jax.eval_shape(program.fresh, jax.random.key(seed)))
        if snapshots is None and not isinstance(store, str | Path):
            raise ConfigError(f"snapshot_every = {snapshot_every} needs a folder as the store, or snapshots")
    elif snapshots is not None:
        raise ConfigError("snapshots need snapshot_every, a number of steps")
    with contextlib.ExitStack() as stack:
        if isinstance(store, str | Path):
            # it loads Orbax, which who saves nothing need not have
            from gendiff.training.checkpoints import Checkpoints

            config = {"seed": seed, **program.config, "mesh": dict(program.mesh.shape)}
            opened = functools.partial(Checkpoints, config=config, may_differ=("mesh",))
            store = stack.enter_context(opened(store, keep=keep))
            if snapshot_every is not None and snapshots is None:
                snapshots = stack.enter_context(opened(store.path / "snapshots", keep_every=1))
        clock = Clock()
        state, resumed_from, counts = _begin(program, jax.random.key(seed), store, resume, clock)
        done = resumed_from or 0
        if done > steps:
            path = getattr(store, "path", "")
            raise ConfigError(
                f"steps = {steps}, but {path} holds step {done}: ask for more steps, or use another folder"
            )
        if snapshots is not None:
            snapshots.discard_after(-1 if resumed_from is None else resumed_from)
        if on_start is not None:
            on_start(done)
        watch = _Watch(on_step, clock, most_nonfinite, **counts)
        stop_agreed = agreement.Stop(stop, program.mesh)

        def batch_of(number: int) -> PyTree:
            clock.lap("idle")
            batch = sharding.shard(batches(number), program.mesh)
            clock.lap("step" if watch.busy else "data")
            return batch

        def save(last: bool) -> None:
            watch.settle()  # first the metrics and snapshots, then the checkpoint: no step of a resumed run goes unseen
            if snapshots is not None:
                snapshots.wait()
            # within a streak of bad steps the older checkpoints are the better ones
            if store is not None and (watch.streak == 0 or last):
                store.save(done, state, watch.counts, force=True)
                clock.lap("checkpoint")

        stopped = False
        if done < steps:
            batch = batch_of(done)
            step = (compiled or _compiled)(program.step, state, batch)
            clock.lap("compile")
            while not (stopped := stop_agreed()):
                state, metrics = step(state, batch)
                clock.lap("step")
                done += 1
                watch.add(done, metrics)
                if snapshots is not None and (done % (snapshot_every or 1) == 0 or done == steps):
                    snapshots.save(done, averages.tracks(state), force=True)
                    clock.lap("checkpoint")
                if done % checkpoint_every == 0 or done == steps:
                    save(last=done == steps)
                if on_state is not None:
                    on_state(done, state)
                    clock.lap("idle")
                if done == steps:
                    break
                batch = batch_of(done)
        if stopped or stop_agreed.last():  # it may have come true in the last step
            stopped = True
            save(last=done == steps)
        saved = None
        if snapshots is not None:
            snapshots.wait()
        if store is not None:
            store.wait()
            saved = store.latest()
            clock.lap("checkpoint")
        clock.lap("idle")
        return FitResult(state, resumed_from, stopped, saved, clock.timing)


def check_counts(**counts: int) -> None:
    """Raise ConfigError, naming it, for a count below 1, and TypeError for one that is no integer."""
    for name, value in counts.items():
        checks.integer(name, value, -(2**31))
        if value < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")


class _Watch:
    """Looks at each step's metrics one step late, so that the devices never wait for the host."""

    def __init__(self, on_step: OnStep | None, clock: Clock, most: int, skipped: int = 0, streak: int = 0) -> None:
        self._on_step, self._clock, self._most = on_step, clock, most
        self._waiting: list[tuple[int, Mapping[str, Numeric]]] = []
        self.skipped, self.streak = skipped, streak

    @property
    def counts(self) -> dict[str, int]:
        """Counts for the checkpoint, so that a resumed run continues them."""
        return {"skipped": self.skipped, "streak": self.streak}

    @property
    def busy(self) -> bool:
        """Whether the devices still compute the newest step."""
        return bool(self._waiting) and not self._waiting[-1][1]["finite"].is_ready()

    def add(self, step: int, metrics: Mapping[str, Numeric]) -> None:
        self._waiting.append((step, metrics))
        self._look(len(self._waiting) - 1)

    def settle(self) -> None:
        """Process the metrics of all steps."""
        self._look(len(self._waiting))

    def _look(self, count: int) -> None:
        for step, metrics in self._waiting[:count]:
            values = {name: _plain(value) for name, value in jax.device_get(metrics).items()}
            self._clock.lap("step")
            self.streak = 0 if values["finite"] else self.streak + 1
            self.skipped += not values["finite"]
            if self._on_step is not None:
                taken = [name for name in _OWN_METRICS if name in values]
                if taken:
                    raise ConfigError(
                        f"the step returns metrics named {taken}, which the loop reports itself: rename them"
                    )
                self._on_step(step, {**values, "skipped": self.skipped, "data_share": self._clock.timing.share("data")})
                self._clock.lap("idle")
            if self.streak >= self._most:
                raise NonFiniteError(
                    f"loss or gradient was NaN or infinite in {self.streak} steps in a row, the last of them step "
                    f"{step}; earlier checkpoints are untouched"
                )
        del self._waiting[:count]


def _begin(
    program: CompiledStep, key: jax.Array, store: Checkpoints | None, resume: str, clock: Clock
) -> tuple[TrainingState, int | None, dict[str, int]]:
    """(state, step it was restored from, counts of skipped steps): restored, or new."""
    newest = None
    if store is not None:
        newest = agreement.of_first(store.latest_valid() if resume == "latest-valid" else store.latest())
    if store is None or newest is None:
        state = jax.block_until_ready(_placed(program, key))
        clock.lap("compile")
        return state, None, {}
    store.discard_after(newest)
    shapes, shardings = jax.eval_shape(program.fresh, key), program.shardings
    if shardings is None:
        replicated = jax.sharding.NamedSharding(program.mesh, jax.sharding.PartitionSpec())
        shardings = jax.tree.map(lambda _: replicated, shapes)
    restored = store.restore(newest, jax.tree.map(_target, shapes, shardings))
    clock.lap("checkpoint")
    return restored.state, restored.step, {name: restored.meta.get(name, 0) for name in ("skipped", "streak")}


def _placed(program: CompiledStep, key: jax.Array) -> TrainingState:
    _, fresh, shardings, mesh, _ = program
    # nothing that one process alone has computed can be moved to devices of another
    if agreement.spans_processes(mesh):
        data = np.asarray(jax.random.key_data(key))
        where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()) if shardings is None else shardings
        return jax.jit(lambda data: fresh(jax.random.wrap_key_data(data)), out_shardings=where)(data)
    state = fresh(key)
    return sharding.replicate(state, mesh) if shardings is None else jax.device_put(state, shardings)


def _target(shape: jax.ShapeDtypeStruct, where: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)


def _compiled(step: Jitted, state: TrainingState, batch: PyTree) -> Step:
    step.lower(state, batch).compile()  # the call finds it
    return step


def _plain(value: np.ndarray) -> Numeric:
    return value.item() if np.ndim(value) == 0 else value
