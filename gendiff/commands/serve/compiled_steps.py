"""The compiled programs of a server: one begins a picture, one takes a step of many pictures, one shows a picture, and
one puts back what a mask keeps.

Prompts, guidance scale, seed, index, levels, number of steps and how many of them are done are data of a picture on its
way, so one program takes the steps of any mixture; pictures whose network reads others beside the prompt have one for
each number of these. Picture i of a seed is what `diffusion.sample` draws of (parameters,
prompt, key(seed), i), to rounding: the same noise, the same levels, the same sampler. There is one such program for
each power of two up to the most pictures of a step, so that few pictures cost little.

A picture with a mask takes its steps in the same programs, and a small one for itself ends each of them as
`inpainting.repaint` does. So pictures without a mask are drawn by the same programs whatever is drawn beside them.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.core import records, sample_keys
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, KeyNoise, Keys, Numeric, Params
from gendiff.diffusion import inpainting, process
from gendiff.diffusion.sampling import State
from gendiff.diffusion.types import Level
from gendiff.pipelines.stable_diffusion import edits
from gendiff.runs import devices

EXAMPLE = "a"
"""A prompt that fits any network, for the shapes."""
TIMED = 2
"""Steps that are timed, of which the shorter one counts: a picture may be drawn beside them."""


@records.record
class Numbers:
    """scale (), levels (most + 1,) whose last is repeated, steps (), seed () and index () of one picture. edits: ()
    whether it begins from another picture. masked: () whether a mask keeps a part of that.
    """

    scale: Numeric
    levels: Level
    steps: Numeric
    seed: Numeric
    index: Numeric
    edits: Numeric
    masked: Numeric

    @property
    def keys(self) -> Keys:
        """(1,) the key of the picture."""
        return sample_keys.keys_of(jax.random.key(self.seed), self.index[None])


@records.record
class Fixed:
    """What stays while a picture is drawn. condition, away: what the network is told of the prompts, arrays (1, …)."""

    condition: Condition
    away: Condition
    numbers: Numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What a mask keeps. latents: (1, …) of the picture. redrawn: (1, h, w, 1) of latents, 1 where they are drawn anew.

    picture, mask: of the request, so that what is kept is returned as it came.
    """

    latents: jax.Array
    redrawn: jax.Array
    picture: np.ndarray
    mask: np.ndarray


Row = tuple[Fixed, State, Known | None]
"""A picture on its way."""


class CompiledSteps:
    """A `batching.StepProgram`. most_steps: of one picture.

    Raises ConfigError where the network has no grid of as many steps.
    """

    def __init__(self, served: ServedNetwork, together: int, most_steps: int) -> None:
        self.together, self.ready, self.sizes = together, together, batch_sizes(together)
        self._served, self._levels = served, [_grid(served, steps, most_steps) for steps in range(1, most_steps + 1)]
        self._params, self._growth = jax.device_put(served.params), 1.0
        jit = functools.partial(devices.jit, libraries=served.libraries)
        self._begin, self._step = jit(functools.partial(_begun, served)), jit(functools.partial(_stepped, served))
        self._show, self._encode = jit(functools.partial(_shown, served)), jit(served.latents)
        self._put_back = jit(functools.partial(_with_known, served))
        self._zeros = jnp.zeros((1, *served.shape), jnp.float32)
        self._latents: tuple[ImageRequest | None, list[jax.Array]] = None, []  # of the request that begins

    def begin(self, request: ImageRequest, words: ReadTexts, index: int) -> Row:
        """As `batching.StepProgram`."""
        if self._latents[0] is not request:
            self._latents = request, [self._encode(self._params, picture[None]) for picture in request.pictures]
        clean, references = self._zeros, tuple(self._latents[1])
        known = None if request.mask is None else self._known(request, request.mask, references[0])
        if request.picture is not None:
            (clean,), references = references, ()
        levels = jax.tree.map(
            lambda field: np.pad(field[request.first :], (0, request.first), mode="edge"),
            self._levels[request.steps - 1],
        )
        about = np.int32(request.run), np.uint32(request.seed), np.int32(index)
        starts = np.bool_(request.first > 0), np.bool_(known is not None)
        numbers = Numbers(np.float32(request.guidance), levels, *about, *starts)
        return *self._begin(self._params, words.prompt, words.negative, numbers, clean, references), known

    def step(self, rows: Sequence[Row], done: Sequence[int]) -> tuple[list[Row], list[bool]]:
        """As `batching.StepProgram`. It returns when the step is done."""
        alike: dict[object, list[int]] = {}
        for at, row in enumerate(rows):
            alike.setdefault(jax.tree.structure(row[:2]), []).append(at)
        after: dict[int, tuple[Row, bool]] = {}
        for places in alike.values():
            stepped = self._step_alike([rows[at] for at in places], [done[at] for at in places])
            after.update(zip(places, zip(*stepped, strict=True), strict=True))
        return [after[at][0] for at in range(len(rows))], [after[at][1] for at in range(len(rows))]

    def _step_alike(self, rows: Sequence[Row], done: Sequence[int]) -> tuple[list[Row], list[bool]]:
        """The same of pictures that are told the same kinds of things."""
        size = self._size(len(rows))
        fixed, states, _ = zip(*rows, *[rows[-1]] * (size - len(rows)), strict=True)
        counts = np.array([*done, *[done[-1]] * (size - len(rows))], np.int32)
        states, finite = self._step(self._params, fixed, states, counts)
        answers: list[bool] = np.asarray(finite)[: len(rows)].tolist()
        return [self._ended(*each) for each in zip(rows, states, done, strict=False)], answers

    def _ended(self, row: Row, state: State, done: int) -> Row:
        """A picture after step number `done`."""
        fixed, _, known = row
        if known is not None:
            state = self._put_back(fixed.numbers, state, known.latents, known.redrawn, np.int32(done))
        return fixed, state, known

    def _known(self, request: ImageRequest, mask: np.ndarray, latents: jax.Array) -> Known:
        """What the mask of a request keeps. latents: of the picture."""
        redrawn = edits.of_latents(mask[None], self._served.height // self._served.shape[0])
        return Known(latents, redrawn, request.pictures[0], mask)

    def cost(self, count: int) -> float:
        """As `batching.StepProgram`: linear, by what `warm` has measured of one and two pictures."""
        return 1 + (self._size(count) - 1) * self._growth

    def picture(self, row: Row) -> np.ndarray:
        """As `batching.StepProgram`: (h, w, 3) in about [-1, 1]."""
        _, state, known = row
        pixels = np.asarray(self._show(self._params, state))
        return pixels if known is None else np.where(known.mask > 0, pixels, known.picture)

    def warm(self) -> Iterator[int]:
        """Compile all programs, so that nobody waits for it later: first those of one picture at a time.

        Yields the pictures that a step may have from then on, more and more of them. The later ones may be taken by
        another thread, while the first one draws.
        """
        self.ready = self.sizes[0]
        picture = np.zeros((self._served.height, self._served.width, 3), np.float32)
        words = self._served.read(EXAMPLE, "")
        plain = ImageRequest(EXAMPLE, steps=1)
        row = self.begin(plain, words, 0)
        self.begin(dataclasses.replace(plain, picture=picture), words, 0)
        if self._served.masks:
            masked = dataclasses.replace(plain, picture=picture, mask=picture[..., :1])
            self.step([self.begin(masked, words, 0)], [0])
        rows = [
            self.begin(dataclasses.replace(plain, references=(picture,) * count), words, 0)
            for count in range(1, self._served.references + 1)
        ]
        self.picture(row)
        for size in self.sizes:
            for each in (*rows, row):
                self.step([each] * size, [0] * size)
            if (size,) == self.sizes[1:2]:
                one, two = (min(self._seconds(row, each) for _ in range(TIMED)) for each in self.sizes[:2])
                self._growth = max(0.0, two / one - 1) / (size - 1)
            self.ready = size
            yield size

    def _seconds(self, row: Row, size: int) -> float:
        begin = time.monotonic()
        self.step([row] * size, [0] * size)
        return time.monotonic() - begin

    def _size(self, count: int) -> int:
        return next(size for size in self.sizes if size >= count)


def batch_sizes(together: int) -> tuple[int, ...]:
    """The powers of two below the most pictures of a step, and that number."""
    return (*(2**k for k in range(together.bit_length()) if 2**k < together), together)


def most_steps(served: ServedNetwork, most: int) -> int:
    """The largest number of steps, at most `most`, of which the network has a grid; 1 where it has none."""
    for steps in range(most, 1, -1):
        with contextlib.suppress(ValueError):
            served.grid(steps)
            return steps
    return 1


def _grid(served: ServedNetwork, steps: int, most: int) -> Level:
    """The levels (most + 1,) of so many steps, as `grids.padded` makes them, but without compiling for each length."""
    try:
        levels = jax.tree.map(np.asarray, served.grid(steps))
    except ValueError as error:
        raise ConfigError(f"--most-steps {most}: {served.name} cannot take {steps} steps: {error}") from error
    if len(levels) != steps + 1:
        raise ConfigError(
            f"{served.name} takes {len(levels) - 1} steps where {steps} are asked for, as its scheduler counts "
            "otherwise, so it cannot be served: `text-to-image` draws with it"
        )
    padded: Level = jax.tree.map(lambda field: np.pad(field, (0, most - steps), mode="edge"), levels)
    return padded


def _begun(
    served: ServedNetwork,
    params: Params,
    prompt: Condition,
    negative: Condition,
    numbers: Numbers,
    clean: jax.Array,
    references: tuple[jax.Array, ...],
) -> tuple[Fixed, State]:
    """One picture before its first step, as `diffusion.sample` and `editing.from_entry` begin. clean: (1, …) latents of
    the picture that it begins from. references: of those that the network reads beside the prompt.
    """
    condition, away = served.encode(params, prompt, negative)
    if references:
        images = networks.ReferenceImages(references)
        condition, away = (*condition, images), (*away, images) if away else away
    noise = sample_keys.first_noise(numbers.keys, served.shape, numbers.levels.sigma.dtype)
    x = served.temperature * numbers.levels.sigma[0] * noise
    x = jnp.where(numbers.edits, process.add_noise(clean.astype(x.dtype), noise, numbers.levels[0]), x)
    row: tuple[Fixed, State] = jax.tree.map(_strong, (Fixed(condition, away, numbers), served.sampler.init(x)))
    return row


def _strong(leaf: jax.Array) -> jax.Array:
    """Of the type that a step gives, so that no second program is compiled."""
    return leaf.astype(leaf.dtype)


def _stepped(
    served: ServedNetwork, params: Params, fixed: Sequence[Fixed], states: Sequence[State], done: jax.Array
) -> tuple[tuple[State, ...], jax.Array]:
    """(states, whether each row is finite)."""

    def one(fixed: Fixed, state: State, j: jax.Array) -> State:
        numbers = fixed.numbers
        level, cleaner = numbers.levels[j], numbers.levels[j + 1]
        noise = served.sampler.noise_for_step(numbers.keys, j, level, cleaner)
        if isinstance(noise, KeyNoise):
            noise = _inner_noise(noise, numbers.masked)
        denoise = served.guided(params, fixed.condition, fixed.away, numbers.scale)
        return served.sampler.step(noise, denoise, state, level, cleaner, numbers.steps - 1 - j)

    chosen, before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *zip(fixed, states, strict=True))
    after = jax.vmap(one)(chosen, before, done)
    finite = jnp.isfinite(after.x).reshape(len(done), -1).all(axis=1)
    after = jax.tree.map(lambda old, new: new.astype(old.dtype), before, after)
    leaves, shape = jax.tree.flatten(after)
    return tuple(jax.tree.unflatten(shape, [leaf[row] for leaf in leaves]) for row in range(len(done))), finite


def _inner_noise(noise: KeyNoise, masked: Numeric) -> KeyNoise:
    """The noise of a step, within its part 1 where a mask keeps something, which `inpainting.Repaint` leaves to it.

    It is chosen by plain bits: JAX takes a choice between a key and one that is folded from it for a reuse.
    """
    plain, inner = (jax.random.key_data(each.keys) for each in (noise, noise.within(1)))
    return KeyNoise(jax.random.wrap_key_data(jnp.where(masked, inner, plain), impl=jax.random.key_impl(noise.keys)))


def _with_known(
    served: ServedNetwork, numbers: Numbers, state: State, latents: jax.Array, redrawn: jax.Array, done: jax.Array
) -> State:
    """One picture at the end of step number `done`, with what its mask keeps, noised to the level.

    The noise is fresh in each step. A sampler with memory needs one noise for all: that of the beginning.
    """
    level, cleaner = numbers.levels[done], numbers.levels[done + 1]
    noise = served.sampler.noise_for_step(numbers.keys, done, level, cleaner)
    dtype, fixed = state.x.dtype, None
    if jax.tree.leaves(state.memory):
        fixed = sample_keys.first_noise(numbers.keys, served.shape, dtype)
    sampler = inpainting.repaint(served.sampler, latents.astype(dtype), redrawn, fixed)
    return records.replace(state, x=sampler.put_back(noise, state.x, cleaner, numbers.steps - 1 - done))


def _shown(served: ServedNetwork, params: Params, state: State) -> jax.Array:
    return served.decode(params, state.x)[0]
