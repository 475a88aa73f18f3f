"""A whole training in one call: from a loss and batches to a trained state, in steps that can be killed at any moment and resumed."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params, Scalar
from gendiff.training import agreement, sharding
from gendiff.training.loop import Batches, Fitted, OnStep, TrainingState, check_counts, loop
from gendiff.training.post_hoc_ema import PowerFunction
from gendiff.training.state import TrainState, start
from gendiff.training.step import make_step

INIT = np.uint32(2**32 - 1)
"""What the key of init is folded with: a number that no step reaches."""


def fit(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    init: Callable[[jax.Array], Params],
    batches: Batches,
    *,
    steps: int,
    folder: str | Path | None = None,
    seed: int = 0,
    ema: Iterable[Scalar | PowerFunction] = (0.999,),
    ema_warm_up: bool = True,
    accumulate: int = 1,
    clip: float | None = None,
    on_step: OnStep | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoint_every: int = 1000,
    keep: int = 2,
    resume: str = "latest",
    most_nonfinite: int = 10,
    mesh: jax.sharding.Mesh | None = None,
    rules: sharding.Rules = (),
    snapshot_every: int | None = None,
) -> Fitted:
    """Train until `steps` steps are done, from the newest checkpoint of `folder` if there is one.

    A run that was killed and is started again by the same call ends bitwise equal to one that was not, on the same devices.

    Args:
        loss: `(params, key, batch) -> (scalar, metrics)`, a mean over the batch. The key of step n = 0, 1, … is fold_in(key(seed), n).
        optimizer: any optax transformation.
        init: from a key to parameters, under jit. The key is fold_in(key(seed), 2³² - 1).
        batches: a pure function of the step 0, 1, … to its batch, a tree of arrays (b, …), such as `dataset.__getitem__` of a Grain
            `MapDataset`. It runs on the host while the devices compute the step before. With several processes it gives the part of the
            batch that `sharding.share(mesh)` names.
        steps: how many are done at the end, at least 1.
        folder: where checkpoints go; it is made where it is missing. None saves nothing.
        seed: 0 … 2³² - 1.
        ema: decays of the averages, and power functions (see `start`).
        ema_warm_up: see `make_step`.
        accumulate: slices of a batch (see `make_step`).
        clip: largest norm of the gradient (see `make_step`).
        on_step: is called as `on_step(step, metrics)` with the number of the step, 1 … steps, and its metrics as plain numbers: loss,
            grad_norm, finite, those of the loss, `skipped` (how many steps were not finite so far) and `data_share` (the share of the time
            for which the devices waited for data). The call comes one step late, so that the devices never wait for it.
        stop: is asked before each step; True saves the state and returns. A handler of SIGTERM may set it. With several processes, which
            then all give one, True on any of them stops all after the same step.
        checkpoint_every: in steps, at least 1; the last step is always saved.
        keep: how many checkpoints stay, at least 1.
        resume: "latest" refuses a newest checkpoint whose bytes changed, "latest-valid" goes back to an older one with a warning.
        most_nonfinite: a step with a loss or gradient that is not finite is skipped and counted; so many in a row end the training.
        mesh: the devices (see `sharding.mesh`); None: all of this process, each with all parameters. The axes "data" and "fsdp" divide b.
            `sharding.mesh(devices=jax.devices())` trains on those of all processes, which share the folder.
        rules: which parameters "tensor" splits (see `sharding.shardings`).
        snapshot_every: the averages by power functions are also saved after each so many steps and the last, in the folder
            "snapshots" of `folder`. All of them stay, for `snapshots.reconstruct`. None saves none.

    Returns:
        `Fitted`: the state, what it was resumed from, whether `stop` ended it, the newest step in the folder, and a `Timing`.

    Raises:
        ConfigError: for numbers out of range, a folder that holds more than `steps`, a batch that the devices do not divide, and
            snapshots without a folder or without an average by a power function.
        NonFiniteError: after `most_nonfinite` steps in a row.
        CheckpointCorruptError: for a checkpoint whose bytes changed.
        CheckpointMismatchError: for a checkpoint of another network, optimizer, seed or clip, with a table of what differs.
        OSError: where a checkpoint could not be written.
    """
    check_counts(steps=steps, checkpoint_every=checkpoint_every, keep=keep, most_nonfinite=most_nonfinite)  # before a folder is made
    decays = tuple(ema)
    if snapshot_every is not None:
        check_counts(snapshot_every=snapshot_every)
        if folder is None or not any(isinstance(of, PowerFunction) for of in decays):
            raise ConfigError(f"snapshot_every = {snapshot_every} needs a folder, and an average such as post_hoc_ema.power(0.05) in ema")
    mesh = sharding.mesh() if mesh is None else mesh
    run = programs(loss, optimizer, init, mesh, rules=rules, ema=decays, ema_warm_up=ema_warm_up, accumulate=accumulate, clip=clip)
    tracks = [str(of) if isinstance(of, PowerFunction) else of for of in decays]
    config = {"seed": seed, "ema": tracks, "ema_warm_up": ema_warm_up, "accumulate": accumulate, "clip": clip, "mesh": dict(mesh.shape)}
    with contextlib.ExitStack() as stack:
        store = snapshots = None
        if folder is not None:
            from gendiff.training.checkpoints import Checkpoints  # it loads Orbax, which who saves nothing need not have

            store = stack.enter_context(Checkpoints(folder, config=config, may_differ=("mesh",), keep=keep))
            if snapshot_every is not None:
                snapshots = stack.enter_context(Checkpoints(Path(folder) / "snapshots", config=config, may_differ=("mesh",), keep_every=1))
        return loop(
            run.step,
            run.fresh,
            batches,
            steps=steps,
            seed=seed,
            store=store,
            resume=resume,
            on_step=on_step,
            stop=stop,
            checkpoint_every=checkpoint_every,
            most_nonfinite=most_nonfinite,
            mesh=mesh,
            shardings=run.shardings,
            snapshots=snapshots,
            snapshot_every=snapshot_every or 1,
        )


class Programs(NamedTuple):
    """What `loop` runs.

    Attributes:
        step: `(state, batch) -> (state, metrics)` under jit, which donates the state.
        fresh: from the key of a seed to the state before the first step, under jit.
        shardings: where the state lies; None: whole on every device.
    """

    step: Callable[..., Any]
    fresh: Callable[[jax.Array], TrainingState]
    shardings: TrainingState | None


def programs(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    init: Callable[[jax.Array], Params],
    mesh: jax.sharding.Mesh,
    *,
    rules: sharding.Rules = (),
    ema: Iterable[Scalar | PowerFunction] = (0.999,),
    ema_warm_up: bool = True,
    accumulate: int = 1,
    clip: float | None = None,
    compiler_options: dict[str, Any] | None = None,
) -> Programs:
    """Build what `fit` runs, for a mesh. Several calls of `loop`, one per seed, then compile once.

    The parameters of a fresh state are `init(fold_in(key, 2³² - 1))`. See `fit` for the arguments; compiler_options is that of `jax.jit`.
    """
    decays = tuple(ema)

    def fresh(key: jax.Array) -> TrainState:
        return start(init(jax.random.fold_in(key, INIT)), optimizer, key, decays)

    where = None
    if agreement.spans_processes(mesh) or mesh.shape.get("fsdp", 1) * mesh.shape.get("tensor", 1) > 1:
        where = sharding.shardings(jax.eval_shape(fresh, jax.random.key(0)), mesh, rules)
    step = make_step(loss, optimizer, accumulate=accumulate, clip=clip, ema_warm_up=ema_warm_up, shardings=where)
    return own_programs(step, fresh, mesh, where, compiler_options=compiler_options)


def own_programs(
    step: Callable[..., Any],
    fresh: Callable[[jax.Array], TrainingState],
    mesh: jax.sharding.Mesh,
    shardings: TrainingState | None = None,
    *,
    compiler_options: dict[str, Any] | None = None,
) -> Programs:
    """Build what `loop` runs from a step and a start of your own, such as those of `adversarial`.

    Args:
        step: `(state, batch) -> (state, metrics)`. The state has `step` (), the metrics have `loss` () and `finite` ().
        fresh: from the key of a seed to the state before the first step.
        mesh: the devices.
        shardings: where the state lies on them; None: whole on every device.
        compiler_options: of `jax.jit`.
    """
    # each process reads all metrics, so that each has all of them
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    after: dict[str, Any] = {"out_shardings": (shardings, whole)} if agreement.spans_processes(mesh) else {}
    return Programs(
        jax.jit(step, donate_argnums=0, compiler_options=compiler_options, **after),
        jax.jit(fresh) if shardings is None else jax.jit(fresh, out_shardings=shardings),
        shardings,
    )
