"""One training step: gradient, clip, update, averages. A pure function; jit and donation are the caller's."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from gendiff.core import checks, explicit_axes, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Metrics, Params, PyTree
from gendiff.training import ema
from gendiff.training.optimizers import FiniteUpdates
from gendiff.training.post_hoc_ema import PowerFunction, Track
from gendiff.training.state import TrainState

_OWN_METRICS = ("loss", "grad_norm", "finite")


def make_step(
    loss: Callable[..., tuple[jax.Array, Metrics]],
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    clip: float | None = None,
    skip_nonfinite: bool = True,
    ema_warm_up: bool = True,
    shardings: TrainState | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Build `step(state, batch, *frozen) -> (state, metrics)`. The key of a step is fold_in(state.key, state.step).

    What stands behind the batch is frozen: trees that the loss reads, such as a reference policy, a reward model or a
    teacher. They are data under jit, lie on a mesh as the caller placed them, and get no gradient. `accumulate` does
    not slice them. `donate_argnums=0` leaves them usable, unless they are arrays of the state itself; `start` copies,
    so that the parameters it was given will do.

    The metrics are loss (), grad_norm () before the clip, finite () bool, and those of the loss.

    Args:
        loss: `(params, key, batch, *frozen) -> (scalar, metrics)`, a mean over the batch: any `Loss`, if nothing is
            frozen.
        optimizer: any optax transformation, the one that `start` was given.
        accumulate: gradient accumulation: number of equal slices of the batch, at least 1. Their gradients and metrics
            are averaged, one slice is in memory at a time, and each slice gets a key of its own.
        clip: gradient clipping: the largest global norm of the gradient, above 0; None for no clip.
        skip_nonfinite: where loss, gradient or update has a NaN or an infinity, only `state.step` advances. Updates are
            looked at unless the optimizer is an `optimizers.FiniteUpdates`, as `optimizers.adamw` is, and they have the
            range of float32.
        ema_warm_up: averages begin with small decays (see `ema.update`; the count is `state.step`, skipped steps
            included). Such an average has forgotten the random parameters after 10 steps, and is worth sampling as soon
            as the parameters are. False keeps the decay constant: then an average is worth sampling after about
            5 / (1 - decay) steps, 5,000 for 0.999, and holds mostly the random parameters before 1 / (1 - decay). Power
            functions need no warm-up.
        shardings: where the state belongs, from `sharding.shardings`. Each layer's gradient then goes to the devices
            that keep its parameters as soon as it is known, and the next state lies where this one does. None leaves
            both to XLA.

    Raises:
        ConfigError: for accumulate below 1 or not dividing the batch, for clip not above 0, and for a metric of the
            loss that has the name of one of the three above.

    References:
        Pascanu et al., 2013, Algorithm 1 (the clip; from memory).
    """
    checks.integer("accumulate", accumulate, low=-(2**31))
    if accumulate < 1:
        raise ConfigError(f"accumulate = {accumulate} must be at least 1: the number of slices of a batch")
    if clip is not None and not clip > 0:
        raise ConfigError(f"clip = {clip} must be positive: the largest norm of the gradient, or None for no clip")

    def step(state: TrainState, batch: PyTree, *frozen: PyTree) -> tuple[TrainState, Metrics]:
        def out(mesh: jax.sharding.AbstractMesh) -> tuple[PyTree, jax.sharding.NamedSharding]:
            return explicit_axes.like(state, mesh), explicit_axes.replicated(mesh)

        following: tuple[TrainState, Metrics] = explicit_axes.as_auto(advance, (state, batch, *frozen), out)
        return following

    def advance(state: TrainState, batch: PyTree, *frozen: PyTree) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        where = None if shardings is None else shardings.params
        value, metrics, gradient = _mean_gradient(loss, state.params, key, batch, frozen, accumulate, where)
        norm = optax.tree.norm(
            jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), gradient)
        )
        if clip is not None:
            gradient = _scaled(gradient, jnp.where(norm > clip, clip / norm, 1.0))
        updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        tracks = {name: _followed(name, track, params, state.step, ema_warm_up) for name, track in state.tracks.items()}

        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        if not (isinstance(optimizer, FiniteUpdates) and _wide(updates)):
            finite &= trees.all_finite(updates)
        new, old = (params, tracks, optimizer_state), (state.params, state.tracks, state.optimizer_state)
        if skip_nonfinite:
            new = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, old)
        following = _constrained(TrainState(state.step + 1, *new, state.key, state.decays), shardings)
        return following, _named(metrics) | {"loss": value, "grad_norm": norm, "finite": finite}

    return step


def slices(batch: PyTree, count: int, name: str = "accumulate") -> PyTree:
    """Cut every array (b, …) of a batch into (count, b / count, …).

    Slice i holds the samples i, i + count, …: a sharded batch needs no transfer.

    Args:
        batch: a tree of arrays.
        count: how many slices, at least 1.
        name: of the argument that says so, for the message.

    Raises:
        ConfigError: for arrays of different lengths, and a count that does not divide them.
    """
    leaves = {path: jnp.shape(leaf) for path, leaf in trees.paths(batch).items()}
    if len({shape[:1] for shape in leaves.values()}) != 1 or () in leaves.values():
        raise ConfigError(
            f"{name} = {count} needs one batch axis in front of every array of the batch, got shapes {leaves}"
        )
    size = next(iter(leaves.values()))[0]
    if size % count:
        raise ConfigError(f"{name} = {count} does not divide the batch of {size} samples: choose a divisor of {size}")
    return jax.tree.map(
        lambda leaf: jnp.swapaxes(jnp.reshape(leaf, (size // count, count, *jnp.shape(leaf)[1:])), 0, 1), batch
    )


def _mean_gradient(
    loss: Callable[..., tuple[jax.Array, Metrics]],
    params: Params,
    key: jax.Array,
    batch: PyTree,
    frozen: tuple[PyTree, ...],
    accumulate: int,
    where: PyTree,
) -> tuple[jax.Array, Metrics, Params]:
    def differentiate(params: Params, key: jax.Array, batch: PyTree) -> tuple[tuple[jax.Array, Metrics], Params]:
        aside, gradient = jax.value_and_grad(loss, has_aux=True)(params, key, batch, *frozen)
        return aside, _constrained(gradient, where)

    if accumulate == 1:
        (value, metrics), gradient = differentiate(params, key, batch)
        return value, metrics, gradient

    def add(total: Params, part: tuple[jax.Array, PyTree]) -> tuple[Params, tuple[jax.Array, Metrics]]:
        (value, metrics), gradient = differentiate(params, jax.random.fold_in(key, part[0]), part[1])
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, gradient), (value, metrics)

    total = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), params)
    total, (values, metrics) = jax.lax.scan(
        add, _constrained(total, where), (jnp.arange(accumulate), slices(batch, accumulate))
    )
    gradient = jax.tree.map(lambda a, leaf: (a / accumulate).astype(leaf.dtype), total, params)
    value, metrics = jax.tree.map(lambda parts: jnp.mean(parts, axis=0), (values, metrics))
    return value, metrics, gradient


def _constrained(tree: PyTree, shardings: PyTree) -> PyTree:
    return tree if shardings is None else jax.lax.with_sharding_constraint(tree, shardings)


def _followed(name: Track, track: Params, params: Params, count: jax.Array, warm_up: bool) -> Params:
    if isinstance(name, PowerFunction):
        return name.update(track, params, count)
    return ema.update(track, params, name, count=count if warm_up else None)


def _wide(tree: PyTree) -> bool:
    """Whether all arrays have the range of float32 or more."""
    return all(float(jnp.finfo(leaf.dtype).smallest_normal) < 1e-30 for leaf in jax.tree.leaves(tree))


def _scaled(tree: PyTree, factor: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)


def _named(metrics: Metrics) -> Metrics:
    taken = [name for name in _OWN_METRICS if name in metrics]
    if taken:
        raise ConfigError(f"the loss returns metrics named {taken}, which the step reports itself: rename them")
    return dict(metrics)
