"""Types that every chapter shares: the narrow waists of the library, and names for what goes through them.

Axis letters in signatures, everywhere: b batch, n samples, t steps of a table, k components, d features, f frames, h
height, w width, c channels, s tokens (sequence). `*shape` is one sample's own axes.
"""

import abc
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, records
from gendiff.core.arrays import ArrayLike as ArrayLike
from gendiff.core.arrays import DType as DType
from gendiff.core.arrays import Keys as Keys
from gendiff.core.arrays import Numeric as Numeric
from gendiff.core.arrays import Scalar as Scalar
from gendiff.core.foreign_files import Config as Config
from gendiff.core.no_label import NO_LABEL as NO_LABEL

Count = int | np.integer | jax.Array
PyTree = Any  # what a tree may be made of is open: JAX's functions take any, and no static type says it
"""A tree of arrays: an array, a record, or dicts, lists and tuples of trees."""
Params = PyTree
"""A nested dict of arrays."""
Condition = PyTree
"""What a network is conditioned on: an array (b, …), a record of `condition_records`, or a tree of them."""
KVCache = PyTree
"""Keys and values of the tokens or frames before, as a `cache` builds them."""
Metrics = dict[str, jax.Array]
Costs = Mapping[str, float]
"""What XLA counts in a program, by its own names, such as "flops"."""

Loss = Callable[[Params, jax.Array, PyTree], tuple[jax.Array, Metrics]]
"""(params, key, batch) -> (scalar, metrics): the narrow waist between a chapter's objectives and training."""
Part = int | tuple[int, ...]
"""Which draw of a step: 0 the only one; 1, 2, … one of several; a tuple the path of a draw in nested samplers."""


@runtime_checkable
class Lowered(Protocol):
    """A program before it is compiled: a `jax.stages.Lowered`, or what stands for one."""

    def compile(self) -> jax.stages.Compiled:
        """The compiled program."""
        ...

    def cost_analysis(self) -> Costs | list[Costs] | None:
        """What XLA counts in it."""
        ...


@runtime_checkable
class Jitted(Protocol):
    """A function under `jax.jit`, or what stands for one."""

    def __call__(self, *arguments: PyTree, **options: PyTree) -> PyTree:
        """The result of the function."""
        ...

    def lower(self, *arguments: PyTree, **options: PyTree) -> Lowered:
        """Its program for arguments like these."""
        ...


@records.record
class Level:
    """Where on the noise path a sample is.

    Each field is (), (b,) for one level per sample, or (t,) for a table or grid.

    Args:
        t: what the network is told, in the schedule's own scale.
        alpha: at least 0, the share of clean.
        sigma: at least 0, the share of noise.
    """

    t: Numeric
    alpha: Numeric
    sigma: Numeric

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each field."""
        return np.shape(self.alpha)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Count | slice | np.ndarray | tuple[object, ...]) -> "Level":
        return Level(self.t[index], self.alpha[index], self.sigma[index])

    @property
    def log_snr(self) -> Numeric:
        """log(alpha² / sigma²): +inf at the clean end, -inf where nothing of the clean sample is left."""
        plain = np.ndarray | np.generic | float | int
        xp = np if isinstance(self.alpha, plain) and isinstance(self.sigma, plain) else jnp
        with np.errstate(divide="ignore"):
            return 2.0 * (xp.log(self.alpha) - xp.log(self.sigma))

    def t_for(self, x: jax.Array) -> jax.Array:
        """(b,) the network's time input for x (b, …), in float32 at least: bfloat16 would round 999 to 1000."""
        return jnp.broadcast_to(jnp.asarray(self.t), x.shape[:1]).astype(arrays.at_least_float32(x.dtype))


@records.record
class Prediction:
    """A network's prediction for x (b, …), in both forms, each computed by the formula that stays finite.

    Args:
        clean: (b, …) the clean sample.
        noise: (b, …) the noise.
        variance_share: (b, …) the share v, for a network that answers it as well; None where it does not. The variance
            of a reverse step has logarithm v log large + (1 - v) log small, between the two fixed variances of that
            step. It is the network's answer as it stands: meant for [0, 1], and bound by nothing.

    References:
        Nichol & Dhariwal, 2021, Eq. 15, for `variance_share`.
    """

    clean: jax.Array
    noise: jax.Array
    variance_share: jax.Array | None = None


@records.record
class Batch:
    """Clean samples and what belongs to each of them.

    Args:
        clean: (b, …) floating samples.
        condition: a tuple of conditions, possibly empty; each is a pytree of arrays (b, …).
    """

    clean: ArrayLike
    condition: Condition = ()


@runtime_checkable
class Denoiser(Protocol):
    """The narrow waist between networks and everything that samples."""

    def __call__(self, x: jax.Array, level: Level, /) -> Prediction:
        """The prediction of each sample of x (b, …) at a level of () or (b,)."""
        ...


@runtime_checkable
class Noise(Protocol):
    """Where the randomness of one step comes from: `noise(like, part=0)` is standard normal noise like x (b, …).

    Different parts are independent; a part is drawn at most once per step, since it would be the same noise again. A
    step that draws once uses part 0. A step that draws several times uses parts 1, 2, … and never part 0, whose key is
    the parent of theirs.
    """

    def __call__(self, like: Array, part: Part = 0, /) -> Array:
        """Standard normal noise of the shape and dtype of `like` (b, …)."""
        ...


@records.record
class State:
    """The state of a sampler between steps: x (b, …), and its memory."""

    x: jax.Array
    memory: PyTree = ()


@records.record
class KeyNoise:
    """Noise from the samples' keys (b,) of one step: part 0 from the key, part p from the key folded with p - 1."""

    keys: Keys

    def __call__(self, like: Array, part: Part = 0, /) -> Array:
        """Standard normal noise of the shape and dtype of `like` (b, …)."""
        return arrays.normal(self.within(part).keys, like=like)

    def within(self, part: Part) -> "KeyNoise":
        """The noise whose parts lie within one part of this one."""
        return KeyNoise(functools.reduce(lambda keys, p: arrays.fold_in(keys, p - 1), path(part), self.keys))


class Sampler(abc.ABC):
    """A sampler is a record with `step`; its numbers are its fields. It never sees a key.

    A sampler with memory defines `init`, one that does not cost one evaluation per step defines `evaluations`.
    """

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """The state before the first step. What it remembers must be made from x, so that it lies where x lies."""
        return State(x)

    def begin(self, denoise: Denoiser, x: Float[Array, "b *shape"]) -> State:
        """The state before the first step with this denoiser: `init`, except where it has the denoiser's memory."""
        return self.init(x)

    @abc.abstractmethod
    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """The state at `cleaner`, one step after `level`.

        Args:
            noise: draws standard normal noise for this step.
            denoise: the denoiser.
            state: x (b, …) at `level`, and the memory.
            level: where the step begins, of shape () or (b,).
            cleaner: where it ends.
            left: how many intervals are still to come after this one.
        """

    def evaluations(self, steps: int) -> int:
        """How many evaluations of the denoiser this many steps cost."""
        return steps

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        """Where the randomness of step number `step` comes from, given the samples' keys (b,).

        A wrapper may supply another source.
        """
        return KeyNoise(arrays.fold_in(keys, step + 1))


@records.record
class NextLogits:
    """A language model with its parameters. They are leaves; the function is static.

    Args:
        predict: the network, (params, tokens, cache, every) -> (logits, cache), behind which more may stand.
        params: its parameters.
    """

    predict: Callable[..., tuple[PyTree, ...]] = records.static()
    params: Params = None

    def __call__(
        self, tokens: Int[ArrayLike, "b s"], cache: KVCache, every: bool = False
    ) -> tuple[Float[Array, "b *s v"], KVCache]:
        """Put tokens behind those of the cache.

        Args:
            tokens: (b, s) ids, behind which −1 may stand for none.
            cache: the tokens before these, as `cache` builds it.
            every: True gives the logits after each token (b, s, v), False those after the last one of each text (b, v).
        """
        logits, cache = self.predict(self.params, tokens, cache, every)[:2]
        return logits, cache


def path(part: Part) -> tuple[int, ...]:
    """The part as a path of parts without zeros: () for part 0, the only draw of a step."""
    return tuple(p for p in (part if isinstance(part, tuple) else (part,)) if p)
