"""Ways to draw the same samples, and the programs that do: batch, order, padding, chunks and devices vary, indices do not."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.diffusion.image_model import Model
from experiments.framework import devices
from gendiff.core import records
from gendiff.core.types import NO_LABEL, Count, Params
from gendiff.data import digits
from gendiff.diffusion import denoiser, grids, guidance, oracles, samplers, sampling
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level
from gendiff.training import sharding

if TYPE_CHECKING:  # the numbers name the samplers, which draw by this file
    from experiments.diffusion.invariance.config import Config

KEY = 0
"""Seed of the key that all draws share."""


@dataclass(frozen=True)
class Way:
    """One way to draw samples 0 … count - 1.

    how: in words. together: samples in one call (None: all). order: a permutation of a count. others: indices that are drawn along.
    chunk: samples in a chunk of `in_chunks`. padding: intervals that the grid is longer. fixed: the step count is no data.
    mapped: each sample under `vmap`.
    """

    how: str
    count: int
    together: int | None = None
    order: Callable[[int], np.ndarray] = np.arange
    others: tuple[int, ...] = ()
    chunk: int | None = None
    padding: int = 0
    fixed: bool = False
    mapped: bool = False


def _falling(count: int) -> np.ndarray:
    return np.arange(count)[::-1]


def _shuffled(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count)


def ways(config: "Config") -> dict[str, Way]:
    """Those of `config.WAYS` by name, and the reference."""
    n, small, steps = config.samples, config.small, config.sampling_steps
    way = functools.partial(Way, count=n)
    return {
        "reference": way(f"{n} at once"),
        "alone": Way("one by one", config.alone, together=1),
        "small batches": way(f"in batches of {small}", together=small),
        "shuffled batches": way(f"in shuffled batches of {small}", together=small, order=_shuffled),
        "crowd": way(f"in a batch of {config.crowd}", others=tuple(range(n, config.crowd))),
        "falling": way("in falling order", order=_falling),
        "shuffled": way("shuffled", order=_shuffled),
        "padded batch": way("with sample 0 repeated 7 times", others=(0,) * 7),
        "padded grid": way(f"on a grid padded to {2 * steps} steps", padding=steps),
        "fixed count": way("with a fixed step count", fixed=True),
        "chunks": way(f"in chunks of {config.chunk}", chunk=config.chunk),
        "vmap": way("each under vmap", mapped=True),
    }


class Programs:
    """Draws from the denoisers `build(numbers, label)`, compiled once for each shape and way. label: index modulo `classes`."""

    def __init__(
        self, build: Callable[[Any, jax.Array], Denoiser], schedule: Schedule, shape: tuple[int, ...], classes: int, steps: int
    ) -> None:
        self._build, self._shape, self._classes, self._steps = build, shape, classes, steps
        self._levels = grids.trailing(schedule, steps)
        statics = ("chunk", "fixed", "mapped", "trajectory")
        self._draw = jax.jit(self._one_call, static_argnames=statics, compiler_options=devices.compiler_options())

    def draw(self, numbers: Any, sampler: Sampler, way: Way, *, trajectory: bool = False) -> np.ndarray:
        """(count, …) the samples in the order of their index, or (count, steps + 1, …) their trajectories."""
        order = way.order(way.count)
        together = way.together or way.count
        options = {"chunk": way.chunk, "fixed": way.fixed, "mapped": way.mapped, "trajectory": trajectory}
        levels = grids.padded(self._levels, self._steps + way.padding) if way.padding else self._levels
        drawn: list[Any] = [None] * way.count
        for begin in range(0, way.count, together):
            part = order[begin : begin + together]
            index = np.concatenate([part, np.asarray(way.others, part.dtype)]).astype(np.int32)
            samples = np.asarray(self._draw(numbers, sampler, jax.random.key(KEY), index, levels, np.int32(self._steps), **options))
            for which, sample in zip(part, samples, strict=False):  # others are left out
                drawn[which] = sample[: self._steps + 1] if trajectory else sample
        return np.stack(drawn)

    def draw_split(self, numbers: Any, sampler: Sampler, count: int, mesh: jax.sharding.Mesh, *, trajectory: bool = False) -> np.ndarray:
        """The same, split over the devices of the mesh, which must divide the count."""
        index = sharding.shard(np.arange(count, dtype=np.int32), mesh)
        options = {"chunk": None, "fixed": False, "mapped": False, "trajectory": trajectory}
        key, whole = jax.random.key(KEY), sharding.replicate(numbers, mesh)
        samples = self._draw(whole, sampler, key, index, self._levels, np.int32(self._steps), **options)
        if len(samples.sharding.device_set) != mesh.size:
            raise RuntimeError(f"the samples lie on {len(samples.sharding.device_set)} of {mesh.size} devices")
        return np.asarray(samples)

    def _one_call(
        self, numbers: Any, sampler: Sampler, key: Any, index: Any, levels: Level, steps: Count,
        *, chunk: int | None, fixed: bool, mapped: bool, trajectory: bool,
    ) -> jax.Array:  # fmt: skip
        count = self._steps if fixed else steps

        def some(index: jax.Array) -> jax.Array:
            denoise = self._build(numbers, index % self._classes)
            x = sampling.sample(key, denoise, sampler, levels, self._shape, index, num_steps=count, trajectory=trajectory)
            return x.swapaxes(0, 1) if trajectory else x

        if chunk is not None:
            return sampling.in_chunks(some, chunk)(index)
        return jax.vmap(lambda one: some(one[None])[0])(index) if mapped else some(index)


@dataclass(frozen=True)
class Case:
    """Something to draw: which denoiser and sampler, and for which claim. seed, scale: None without a network."""

    id: str
    programs: Programs
    numbers: Any
    sampler: Sampler
    seed: int | None = None
    scale: float | None = None
    trajectory: bool = False

    def draw(self, way: Way) -> np.ndarray:
        return self.programs.draw(self.numbers, self.sampler, way, trajectory=self.trajectory)

    def draw_split(self, count: int, mesh: jax.sharding.Mesh) -> np.ndarray:
        return self.programs.draw_split(self.numbers, self.sampler, count, mesh, trajectory=self.trajectory)


def network_programs(config: "Config", model: Model) -> Programs:
    """Guided draws of the model; numbers are (params, scale)."""

    def build(numbers: tuple[Params, Any], label: jax.Array) -> Denoiser:
        params, scale = numbers
        given = denoiser.from_network(model.predict, params, model.parameterization, label)
        return guidance.classifier_free(given, given.with_condition(NO_LABEL), scale, batched=True)

    return Programs(build, model.schedule, model.shape, model.num_classes, config.sampling_steps)


def oracle_programs(config: "Config", schedule: Schedule) -> Programs:
    """Draws of an oracle, which is all of the numbers."""
    return Programs(lambda oracle, label: oracle, schedule, (8, 8, 1), digits.CLASSES, config.sampling_steps)


def oracle() -> oracles.Mixture:
    """A Gaussian of standard deviation 0.3 around the mean digit of each class."""
    split = digits.load()
    means = np.stack([split.train_images[split.train_labels == digit].mean(axis=0) for digit in range(digits.CLASSES)])
    return oracles.mixture(np.full(digits.CLASSES, 1 / digits.CLASSES), means, np.full(digits.CLASSES, 0.3))


def cases(config: "Config", model: Model, params: dict[int, Params]) -> list[Case]:
    """Noise alone, DDIM with an oracle, and DDIM with the network of every seed at every guidance. params: by seed."""
    exact, network = oracle_programs(config, model.schedule), network_programs(config, model)
    listed = [Case("noise", exact, oracle(), RECORDER, trajectory=True)]
    listed += [Case(f"oracle, eta {eta:g}", exact, oracle(), samplers.ddim(eta)) for eta in config.etas]
    for seed, values in params.items():
        for scale in config.guidance:
            for eta in config.etas:
                name = f"seed {seed}, guidance {scale:g}, eta {eta:g}"
                listed.append(Case(name, network, (values, np.float32(scale)), samplers.ddim(eta), seed, scale))
    return listed


@records.record
class Recorder(Sampler):
    """A step is the noise that it draws."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        return State(noise(state.x))


RECORDER = Recorder()
"""Its trajectory is the noise of every step, after that of x_T."""
