"""Denoisers that keep something from one step of a draw for the next, such as features of a network, or a decision.

Memory is data of the draw and never lies on an object: `remember(sampler)` carries it in the sampler's state. A
`Remembering` denoiser that is asked as any other denoiser remembers nothing, so that every sampler and every rule of
guidance takes it.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.core.types import Count, Keys
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction


class Remembering(abc.ABC):
    """A denoiser with memory: a record that says what it remembers first, and what it answers and remembers then."""

    @abc.abstractmethod
    def init(self, x: Float[Array, "b *shape"]) -> Any:
        """The memory before the first step, a pytree of arrays, which lie where x lies."""

    @abc.abstractmethod
    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: Any) -> tuple[Prediction, Any]:
        """The prediction of each sample of x (b, …) at a level of () or (b,), and the memory after it."""

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction with the memory before the first step."""
        return self.remembered(x, level, self.init(x))[0]


def first_memory(denoise: Denoiser, x: Float[Array, "b *shape"]) -> Any:
    """The memory before the first step: () for a denoiser that has none."""
    return denoise.init(x) if isinstance(denoise, Remembering) else ()


def ask(denoise: Denoiser, x: Float[Array, "b *shape"], level: Level, memory: Any) -> tuple[Prediction, Any]:
    """The prediction, and the memory after it: as it was for a denoiser that has none."""
    return denoise.remembered(x, level, memory) if isinstance(denoise, Remembering) else (denoise(x, level), memory)


@records.record
class Remember(Sampler):
    """A sampler whose denoiser remembers. Built by `remember`."""

    sampler: Sampler

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """Refused: what is remembered belongs to a denoiser, so a loop calls `begin`."""
        raise TypeError(
            f"{type(self.sampler).__name__} with a memory begins with its denoiser, and this loop does not give it "
            "one: use diffusion.sample, or sampler.begin(denoise, x)"
        )

    def begin(self, denoise: Denoiser, x: Float[Array, "b *shape"]) -> State:
        """The memories of the sampler and of the denoiser.

        Raises:
            TypeError: for a denoiser that remembers nothing.
        """
        if not isinstance(denoise, Remembering):
            raise TypeError(
                f"{type(denoise).__name__} remembers nothing, so that it needs no remember(sampler). A rule of "
                "guidance loses the memory of its denoisers: build it by remembering.guided(rule, denoisers, …)"
            )
        state = self.sampler.begin(denoise, x)
        return State(state.x, (state.memory, first_memory(denoise, state.x)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        own, memory = state.memory
        after: list[Any] = []

        def with_memory(x: jax.Array, level: Level) -> Prediction:
            prediction, kept = ask(denoise, x, level, memory)
            after.append(kept)
            return prediction

        moved = self.sampler.step(noise, with_memory, State(state.x, own), level, cleaner, left)
        if len(after) != 1:
            raise TypeError(
                f"{type(self.sampler).__name__} asked its denoiser {len(after)} times in a step: memory needs exactly 1"
            )
        return State(moved.x, (moved.memory, after[0]))

    def evaluations(self, steps: int) -> int:
        """The sampler's own. How much of the network an evaluation computes is the denoiser's affair."""
        return self.sampler.evaluations(steps)

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        """The sampler's own."""
        return self.sampler.noise_for_step(keys, step, level, cleaner)


def remember(sampler: Sampler) -> Remember:
    """The same sampler, which gives a `Remembering` denoiser its memory back at each step. Another denoiser is refused.

    It works under `scan`, `while_loop`, `vmap` and reverse mode as the sampler does. Under `vmap` over the number of
    steps, a decision that saves work is taken for each draw, and then the work is done all the same.

    Args:
        sampler: one that asks its denoiser exactly once in a step, such as `ddim()` or `dpm_solver_multistep(2)`.

    Raises:
        TypeError: for what is no sampler, and for one with another number of evaluations, such as `heun()`.
    """
    if not isinstance(sampler, Sampler):
        raise TypeError(f"sampler must be a record such as samplers.ddim(), got {type(sampler).__name__}")
    if any(sampler.evaluations(steps) != steps for steps in (1, 2, 7)):
        raise TypeError(
            f"sampler = {type(sampler).__name__} needs {sampler.evaluations(7)} evaluations in 7 steps: memory needs "
            "one per step, as in ddim() or dpm_solver_multistep(2)"
        )
    return Remember(sampler)


@records.record
class Answered:
    """A denoiser that has answered already, as rules of guidance are given it where its memory is kept beside.

    Args:
        prediction: for every x and level.
    """

    prediction: Any

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction."""
        return self.prediction


@records.record
class Guided(Remembering):
    """A rule of guidance over denoisers of which some remember. Built by `guided`."""

    rule: Callable[..., Denoiser] = records.static()
    denoisers: tuple[Denoiser, ...]
    numbers: tuple[Any, ...]
    options: dict[str, Any]

    def init(self, x: Float[Array, "b *shape"]) -> tuple[Any, ...]:
        """The memory of each denoiser."""
        return tuple(first_memory(denoise, x) for denoise in self.denoisers)

    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: Any) -> tuple[Prediction, Any]:
        """What the rule makes of the predictions, each of which is asked for once."""
        asked = [ask(denoise, x, level, kept) for denoise, kept in zip(self.denoisers, memory, strict=True)]
        answered = [Answered(prediction) for prediction, _ in asked]
        return self.rule(*answered, *self.numbers, **self.options)(x, level), tuple(kept for _, kept in asked)


def guided(rule: Callable[..., Denoiser], denoisers: Sequence[Denoiser], *numbers: Any, **options: Any) -> Guided:
    """The denoiser `rule(*denoisers, *numbers, **options)`, but each of its denoisers keeps its memory.

    Each denoiser is asked once, at every level, about the x and level of the whole: also outside of the interval of a
    scale.

    Args:
        rule: a plain function from denoisers to a denoiser, such as `guidance.classifier_free`.
        denoisers: in the order of the rule; some remember, others need not.
        *numbers: what the rule takes besides, such as the scale: data under jit.
        **options: likewise, by name, such as rescale.

    Raises:
        ValueError: without denoisers, and for numbers that the rule refuses.
        TypeError: for what the rule refuses, and so for batched=True: each denoiser is asked alone.
    """
    if not denoisers:
        raise ValueError("denoisers is empty: a rule needs those that it combines")
    # so that the rule checks its numbers here and not in the loop
    rule(*[Answered(None)] * len(denoisers), *numbers, **options)
    return Guided(rule, tuple(denoisers), numbers, options)
