"""A compiled training step with its initial state, for `fit`: from a loss, or from your step."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np
import optax

from gendiff.core.types import Config, Jitted, Loss, Metrics, Params, PyTree, Scalar
from gendiff.training import agreement, sharding
from gendiff.training.post_hoc_ema import PowerFunction
from gendiff.training.state import TrainState, start
from gendiff.training.step import make_step

INIT = np.uint32(2**32 - 1)
"""The number that is folded into the key for init; no step reaches it."""
TrainingState = PyTree
"""A `TrainState`, or another pytree whose `step` () is the number of steps done.

`adversarial.AdversarialState` is such a pytree.
"""
Step = Callable[[TrainingState, PyTree], tuple[TrainingState, Metrics]]
"""(state, batch) -> (state, metrics)."""


class CompiledStep(NamedTuple):
    """A training step and its initial state. Several calls of `fit`, such as one per seed, share its compilation.

    Attributes:
        step: `(state, batch) -> (state, metrics)` under jit, which may donate the state.
        fresh: from the key of a seed to the state before the first step, under jit.
        shardings: where the state lies; None: whole on every device.
        mesh: the devices.
        config: numbers that a checkpoint in a folder of `fit` must share.
    """

    step: Jitted
    fresh: Callable[[jax.Array], TrainingState]
    shardings: TrainingState | None
    mesh: jax.sharding.Mesh
    config: Config = {}


def compile_loss(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    init: Callable[[jax.Array], Params],
    mesh: jax.sharding.Mesh | None = None,
    *,
    rules: sharding.Rules = (),
    ema: Iterable[Scalar | PowerFunction] = (0.999,),
    ema_warm_up: bool = True,
    accumulate: int = 1,
    clip: float | None = None,
    compiler_options: dict[str, str | int] | None = None,
) -> CompiledStep:
    """Build a training step and its initial state from a loss.

    Args:
        loss: `(params, key, batch) -> (scalar, metrics)`, a mean over the batch. The key of step n = 0, 1, … is
            fold_in(key(seed), n).
        optimizer: any optax transformation.
        init: from a key to parameters, under jit. The key is fold_in(key(seed), 2³² - 1).
        mesh: the devices (see `sharding.mesh`); None: all of this process, each with all parameters. The axes "data"
            and "fsdp" divide b. `sharding.mesh(devices=jax.devices())` trains on those of all processes, which share
            the folder.
        rules: which parameters "tensor" splits (see `sharding.shardings`).
        ema: decays of the averages, and power functions (see `start`).
        ema_warm_up: see `make_step`.
        accumulate: slices of a batch (see `make_step`).
        clip: largest norm of the gradient (see `make_step`).
        compiler_options: of `jax.jit`.

    Raises:
        ConfigError: for numbers out of range.
    """
    decays = tuple(ema)
    mesh = sharding.mesh() if mesh is None else mesh

    def fresh(key: jax.Array) -> TrainState:
        return start(init(jax.random.fold_in(key, INIT)), optimizer, key, decays)

    where = None
    if agreement.spans_processes(mesh) or mesh.shape.get("fsdp", 1) * mesh.shape.get("tensor", 1) > 1:
        where = sharding.shardings(jax.eval_shape(fresh, jax.random.key(0)), mesh, rules)
    step = make_step(loss, optimizer, accumulate=accumulate, clip=clip, ema_warm_up=ema_warm_up, shardings=where)
    tracks = [str(track) if isinstance(track, PowerFunction) else track for track in decays]
    config = {"ema": tracks, "ema_warm_up": ema_warm_up, "accumulate": accumulate, "clip": clip}
    return compile_step(step, fresh, mesh, where, compiler_options=compiler_options)._replace(config=config)


def compile_step(
    step: Step,
    fresh: Callable[[jax.Array], TrainingState],
    mesh: jax.sharding.Mesh | None = None,
    shardings: TrainingState | None = None,
    *,
    compiler_options: dict[str, str | int] | None = None,
) -> CompiledStep:
    """Build it from a step and an initial state of yours, such as those of `adversarial`.

    Args:
        step: `(state, batch) -> (state, metrics)`. The state has `step` (), the metrics have `loss` () and `finite` ().
        fresh: from the key of a seed to the state before the first step.
        mesh: the devices; None: all of this process.
        shardings: where the state lies on them; None: whole on every device.
        compiler_options: of `jax.jit`.
    """
    mesh = sharding.mesh() if mesh is None else mesh
    # each process reads all metrics, so that each has all of them
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    after = (shardings, replicated) if agreement.spans_processes(mesh) else None
    return CompiledStep(
        jax.jit(step, donate_argnums=0, out_shardings=after, compiler_options=compiler_options),
        jax.jit(fresh) if shardings is None else jax.jit(fresh, out_shardings=shardings),
        shardings,
        mesh,
    )
