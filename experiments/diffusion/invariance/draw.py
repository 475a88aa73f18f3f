"""Ways to draw the same samples, and the programs that do: batch, order, padding, chunks and devices vary, indices do
not.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.diffusion.invariance.config import Config
from gendiff.commands.images.image_model import Model
from gendiff.core import records
from gendiff.core.types import Count, Params
from gendiff.data import digits
from gendiff.diffusion import grids, oracles, samplers, sampling
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level
from gendiff.runs import devices
from gendiff.training import sharding

KEY = 0
"""Seed of the key that all draws share."""


@dataclass(frozen=True)
class Way:
    """One way to draw samples 0 … n - 1.

    how: in words. order (n,): the samples in the order of drawing. together: samples in one call (None: all). others:
    indices that are drawn along. chunk: samples in a chunk of `in_chunks`. padding: intervals that the grid is longer.
    fixed: the step count is no data. mapped: each sample under `vmap`.
    """

    how: str
    order: np.ndarray
    together: int | None = None
    others: tuple[int, ...] = ()
    chunk: int | None = None
    padding: int = 0
    fixed: bool = False
    mapped: bool = False


def ways(config: Config) -> dict[str, Way]:
    """Those of `config.WAYS` by name, and the reference."""
    n, small, steps = config.samples, config.small, config.sampling_steps
    rising, shuffled = np.arange(n), np.random.default_rng(0).permutation(n)
    return {
        "reference": Way(f"{n} at once", rising),
        "alone": Way("one by one", rising[: config.alone], together=1),
        "small batches": Way(f"in batches of {small}", rising, together=small),
        "shuffled batches": Way(f"in shuffled batches of {small}", shuffled, together=small),
        "crowd": Way(f"in a batch of {config.crowd}", rising, others=tuple(range(n, config.crowd))),
        "falling": Way("in falling order", rising[::-1]),
        "shuffled": Way("shuffled", shuffled),
        "padded batch": Way("with sample 0 repeated 7 times", rising, others=(0,) * 7),
        "padded grid": Way(f"on a grid padded to {2 * steps} steps", rising, padding=steps),
        "fixed count": Way("with a fixed step count", rising, fixed=True),
        "chunks": Way(f"in chunks of {config.chunk}", rising, chunk=config.chunk),
        "vmap": Way("each under vmap", rising, mapped=True),
    }


@dataclass(eq=False)
class Programs:
    """Draws from the denoisers `build(numbers, label)`, compiled once for each shape and way. label: index modulo
    `classes`.
    """

    build: Callable[[Any, jax.Array], Denoiser]
    schedule: Schedule
    shape: tuple[int, ...]
    classes: int
    steps: int

    def __post_init__(self) -> None:
        self.levels = grids.trailing(self.schedule, self.steps)
        self.draw = devices.jit(self._draw, static_argnames=("trajectory", "chunk", "fixed", "mapped"))

    def _draw(
        self, numbers: Any, sampler: Sampler, key: Any, index: Any, levels: Level, steps: Count,
        *, trajectory: bool, chunk: int | None = None, fixed: bool = False, mapped: bool = False,
    ) -> jax.Array:  # fmt: skip
        count = self.steps if fixed else steps

        def some(index: jax.Array) -> jax.Array:
            denoise = self.build(numbers, index % self.classes)
            x = sampling.sample(
                key, denoise, sampler, levels, self.shape, index, num_steps=count, trajectory=trajectory
            )
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
        """(n, …) the samples in the order of their index, or (n, steps + 1, …) their trajectories."""
        steps, together = self.programs.steps, way.together or len(way.order)
        levels = grids.padded(self.programs.levels, steps + way.padding) if way.padding else self.programs.levels
        parts = []
        for begin in range(0, len(way.order), together):
            part = way.order[begin : begin + together]
            index = np.concatenate([part, np.asarray(way.others, part.dtype)])
            result = self._call(self.numbers, index, levels, chunk=way.chunk, fixed=way.fixed, mapped=way.mapped)
            parts.append(np.asarray(result)[: len(part)])  # others are left out
        samples = np.concatenate(parts)[np.argsort(way.order)]
        return samples[:, : steps + 1] if self.trajectory else samples

    def draw_split(self, count: int, mesh: jax.sharding.Mesh) -> np.ndarray:
        """The same, split over the devices of the mesh, which must divide the count."""
        index = sharding.shard(np.arange(count, dtype=np.int32), mesh)
        samples = self._call(sharding.replicate(self.numbers, mesh), index, self.programs.levels)
        if len(samples.sharding.device_set) != mesh.size:
            raise RuntimeError(f"the samples lie on {len(samples.sharding.device_set)} of {mesh.size} devices")
        return np.asarray(samples)

    def _call(self, numbers: Any, index: Any, levels: Level, **way: Any) -> jax.Array:
        key, steps = jax.random.key(KEY), np.int32(self.programs.steps)
        return self.programs.draw(numbers, self.sampler, key, index, levels, steps, trajectory=self.trajectory, **way)


def network_programs(config: Config, model: Model) -> Programs:
    """Guided draws of the model; numbers are (params, scale)."""

    def build(numbers: tuple[Params, Any], label: jax.Array) -> Denoiser:
        params, scale = numbers
        return model.guided(params, label, scale)

    return Programs(build, model.schedule, model.shape, model.num_classes, config.sampling_steps)


def oracle_programs(config: Config, schedule: Schedule) -> Programs:
    """Draws of an oracle, which is all of the numbers."""
    return Programs(lambda oracle, label: oracle, schedule, (8, 8, 1), digits.CLASSES, config.sampling_steps)


def oracle() -> oracles.Mixture:
    """A Gaussian of standard deviation 0.3 around the mean digit of each class."""
    split = digits.load()
    means = np.stack([split.train_images[split.train_labels == digit].mean(axis=0) for digit in range(digits.CLASSES)])
    return oracles.mixture(np.full(digits.CLASSES, 1 / digits.CLASSES), means, np.full(digits.CLASSES, 0.3))


def cases(config: Config, model: Model, params: dict[int, Params]) -> list[Case]:
    """Noise alone, DDIM with an oracle, and DDIM with the network of every seed at every guidance. params: by seed."""
    exact, gaussians, network = oracle_programs(config, model.schedule), oracle(), network_programs(config, model)
    return [
        Case("noise", exact, gaussians, Recorder(), trajectory=True),
        *(Case(f"oracle, eta {eta:g}", exact, gaussians, samplers.ddim(eta)) for eta in config.etas),
        *(
            Case(
                f"seed {seed}, guidance {scale:g}, eta {eta:g}",
                network,
                (values, np.float32(scale)),
                samplers.ddim(eta),
                seed,
                scale,
            )
            for (seed, values), scale, eta in itertools.product(params.items(), config.guidance, config.etas)
        ),
    ]


@records.record
class Recorder(Sampler):
    """A step is the noise that it draws, so its trajectory is the noise of every step, after that of x_T."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        return State(noise(state.x))
