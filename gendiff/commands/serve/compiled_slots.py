"""The compiled programs of a server: one puts a picture into a slot, one takes a step of many slots, one shows a slot.

Prompts, guidance scale, seed, index, levels, number of steps and how many of them are done are data of a slot, so one
program takes the steps of any mixture. Picture i of a seed is what `diffusion.sample` draws of (parameters, prompt,
key(seed), i), to rounding: the same noise, the same levels, the same sampler. There is one such program for each power
of two up to the number of slots, so that few pictures cost little.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.core import records, sample_keys
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Keys, Numeric, Params
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import State
from gendiff.diffusion.types import Level
from gendiff.runs import devices

EXAMPLE = "a"
"""A prompt that fits any network, for the shapes."""


@records.record
class SlotNumbers:
    """scale (), levels (most + 1,) whose last is repeated, steps (), seed () and index () of one picture."""

    scale: Numeric
    levels: Level
    steps: Numeric
    seed: Numeric
    index: Numeric

    @property
    def keys(self) -> Keys:
        """(1,) the key of the picture."""
        return sample_keys.keys_of(jax.random.key(self.seed), self.index[None])


@records.record
class Fixed:
    """What stays while a picture is drawn. condition, away: what the network is told of the prompts, arrays (1, …)."""

    condition: Condition
    away: Condition
    numbers: SlotNumbers


class CompiledSlots:
    """A `batching.StepProgram`. most_steps: of one picture. Raises ConfigError where the network has no grid of as many
    steps.
    """

    def __init__(self, served: ServedNetwork, slots: int, most_steps: int) -> None:
        self.slots, self.sizes = slots, batch_sizes(slots)
        self._served, self._levels = served, [_grid(served, steps, most_steps) for steps in range(1, most_steps + 1)]
        self._params = jax.device_put(served.params)
        self._fixed: Fixed
        self._states: State
        jit = functools.partial(devices.jit, libraries=served.libraries)
        self._enter = jit(functools.partial(_entered, served), donate_argnums=(1, 2))
        self._step = jit(functools.partial(_stepped, served), donate_argnums=(2,))
        self._show = jit(functools.partial(_shown, served))
        self.restart()

    def enter(self, slot: int, request: ImageRequest, words: ReadTexts, index: int) -> None:
        """As `batching.StepProgram`."""
        inputs = words.prompt, words.negative, self._numbers(request, index)
        self._fixed, self._states = self._enter(self._params, self._fixed, self._states, np.int32(slot), *inputs)

    def step(self, slots: Sequence[int], done: Sequence[int]) -> list[bool]:
        """As `batching.StepProgram`. It returns when the step is done."""
        size = next(size for size in self.sizes if size >= len(slots))
        rows, counts = (np.array([*each, *[each[-1]] * (size - len(each))], np.int32) for each in (slots, done))
        self._states, finite = self._step(self._params, self._fixed, self._states, rows, counts)
        answers: list[bool] = np.asarray(finite)[: len(slots)].tolist()
        return answers

    def picture(self, slot: int) -> np.ndarray:
        """As `batching.StepProgram`: (h, w, 3) in about [-1, 1]."""
        return np.asarray(self._show(self._params, self._states, np.int32(slot)))

    def restart(self) -> None:
        """As `batching.StepProgram`."""
        words = self._served.read(EXAMPLE, "")
        numbers = self._numbers(ImageRequest(EXAMPLE, steps=1), 0)
        row = jax.eval_shape(functools.partial(_row, self._served), self._params, words.prompt, words.negative, numbers)
        self._fixed, self._states = jax.tree.map(
            lambda leaf: jax.device_put(np.zeros((self.slots, *leaf.shape), leaf.dtype)), row
        )

    def warm(self) -> None:
        """Compile all programs, so that nobody waits for it later."""
        self.enter(0, ImageRequest(EXAMPLE, steps=1), self._served.read(EXAMPLE, ""), 0)
        for size in self.sizes:
            self.step([0] * size, [0] * size)
        self.picture(0)
        self.restart()

    def _numbers(self, request: ImageRequest, index: int) -> SlotNumbers:
        numbers = np.int32(request.steps), np.uint32(request.seed), np.int32(index)
        return SlotNumbers(np.float32(request.guidance), self._levels[request.steps - 1], *numbers)


def batch_sizes(slots: int) -> tuple[int, ...]:
    """The powers of two below the number of slots, and that number."""
    return (*(2**k for k in range(slots.bit_length()) if 2**k < slots), slots)


def _grid(served: ServedNetwork, steps: int, most: int) -> Level:
    """The levels (most + 1,) of so many steps, as `grids.padded` makes them, but without compiling for each length."""
    try:
        levels = jax.tree.map(np.asarray, served.grid(steps))
    except ValueError as error:
        raise ConfigError(f"--most-steps {most}: {served.name} cannot take {steps} steps: {error}") from error
    if len(levels) != steps + 1:
        raise ConfigError(
            f"{served.name} takes {len(levels) - 1} steps where {steps} are asked for, as its scheduler counts "
            "otherwise"
        )
    padded: Level = jax.tree.map(lambda field: np.pad(field, (0, most - steps), mode="edge"), levels)
    return padded


def _row(
    served: ServedNetwork, params: Params, prompt: Condition, negative: Condition, numbers: SlotNumbers
) -> tuple[Fixed, State]:
    """One picture before its first step, as `diffusion.sample` begins."""
    condition, away = served.encode(params, prompt, negative)
    noise = sampling.first_noise(numbers.keys, served.shape, numbers.levels.sigma.dtype)
    x = served.temperature * numbers.levels.sigma[0] * noise
    return Fixed(condition, away, numbers), served.sampler.init(x)


def _entered(
    served: ServedNetwork,
    params: Params,
    fixed: Fixed,
    states: State,
    slot: jax.Array,
    prompt: Condition,
    negative: Condition,
    numbers: SlotNumbers,
) -> tuple[Fixed, State]:
    row = _row(served, params, prompt, negative, numbers)
    rows: tuple[Fixed, State] = jax.tree.map(lambda rows, one: rows.at[slot].set(one), (fixed, states), row)
    return rows


def _stepped(
    served: ServedNetwork, params: Params, fixed: Fixed, states: State, rows: jax.Array, done: jax.Array
) -> tuple[State, jax.Array]:
    """(states, whether each row is finite). A row that stands twice in `rows` is the same twice."""

    def one(fixed: Fixed, state: State, j: jax.Array) -> State:
        numbers = fixed.numbers
        level, cleaner = numbers.levels[j], numbers.levels[j + 1]
        noise = served.sampler.noise_for_step(numbers.keys, j, level, cleaner)
        denoise = served.guided(params, fixed.condition, fixed.away, numbers.scale)
        return served.sampler.step(noise, denoise, state, level, cleaner, numbers.steps - 1 - j)

    chosen, before = jax.tree.map(lambda leaf: leaf[rows], (fixed, states))
    after = jax.vmap(one)(chosen, before, done)
    finite = jnp.isfinite(after.x).reshape(len(rows), -1).all(axis=1)
    return jax.tree.map(lambda old, new: old.at[rows].set(new), states, after), finite


def _shown(served: ServedNetwork, params: Params, states: State, slot: jax.Array) -> jax.Array:
    return served.decode(params, states.x[slot])[0]
