"""The training state: everything that the next step depends on, in one pytree."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import optax

from gendiff.core import checks, packed, records, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Numeric, Params, PyTree, Scalar
from gendiff.training import ema as averages
from gendiff.training import post_hoc_ema
from gendiff.training.post_hoc_ema import PowerFunction, Track


@records.record
class TrainState:
    """Everything that the next step depends on.

    Attributes:
        step: () int32, the number of steps done.
        params: the parameters.
        tracks: averages of params, by decay or power function.
        optimizer_state: what the optimizer keeps.
        key: the base key, which never moves.
        decays: the keys of `tracks`, in the order that `start` was given.
    """

    step: jax.Array
    params: Params
    tracks: dict[Track, Params]
    optimizer_state: PyTree
    key: jax.Array
    # a dict that went through jit comes back sorted, so the order is kept here
    decays: tuple[Track, ...] = records.static(default=())

    @property
    def ema(self) -> Params:
        """The first average that `start` was given, or the params themselves when there is none.

        `make_step` says after how many steps an average is worth sampling.
        """
        return self.tracks[self.decays[0]] if self.decays else self.params


def start(
    params: Params,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    ema: Iterable[Scalar | PowerFunction] = (0.999,),
) -> TrainState:
    """Build the state before the first step. Every array is a copy, so donating the state leaves params and key usable.

    Args:
        params: fresh parameters. Averages begin at them, and forget them within 10 steps of `make_step`'s default.
        optimizer: any optax transformation.
        key: one typed key, from which each step takes its own.
        ema: decays in [0, 1), each giving a track `state.tracks[decay]`, and power functions of `post_hoc_ema.power`,
            whose tracks are `state.tracks[power(…)]`; () for no average.

    Raises:
        TypeError: for a key that is not typed, and for packed kernels, whose integers have no gradient.
        ValueError: for several keys.
        ConfigError: for a track that is out of range or given twice.
    """
    checks.one_key("key", key)
    held = [path for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items() if packed.is_packed(leaf)]
    if held:
        raise TypeError(
            f"params hold {len(held)} packed kernels, such as {held[0]}: unpack them (weights.quantised), or train a "
            "LoRA of them"
        )
    decays = tuple(post_hoc_ema.track(one) for one in ema)
    if len(set(decays)) < len(decays):
        raise ConfigError(f"ema = ({', '.join(map(str, decays))}) names a track twice; each needs its own")
    params = jax.tree.map(_own, params)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        tracks={decay: averages.start(params) for decay in decays},
        optimizer_state=optimizer.init(params),
        key=key,
        decays=decays,
    )
    # optimizers may keep params themselves, and one buffer cannot be donated twice
    copied: TrainState = jax.tree.map(_own, state)
    return copied


def _own(leaf: Numeric) -> jax.Array:
    is_key = jnp.issubdtype(getattr(leaf, "dtype", jnp.float32), jax.dtypes.prng_key)
    # a weak dtype would become a strong one in the first step, and the second step would compile again
    return jnp.array(leaf, dtype=None if is_key else jnp.result_type(leaf), copy=True)
