"""Stateful denoisers: they carry memory from one step of a draw to the next, such as features, or a decision.

Memory is data of the draw and never lies on an object: `stateful(sampler)` carries it in the sampler's state. A
`StatefulDenoiser` is also an ordinary denoiser, without memory: every sampler and every rule of guidance takes it.
"""

import abc
from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.core.types import Count, PyTree
from gendiff.diffusion.sampling import Noise, Sampler, State, Wrapper
from gendiff.diffusion.types import Denoiser, Level, Prediction


class StatefulDenoiser(abc.ABC):
    """A denoiser with memory: `init` makes the first memory, `remembered` the prediction and the next memory."""

    @abc.abstractmethod
    def init(self, x: Float[Array, "b *shape"]) -> PyTree:
        """The memory before the first step, a pytree of arrays, which lie where x lies."""

    @abc.abstractmethod
    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: PyTree) -> tuple[Prediction, PyTree]:
        """The prediction of each sample of x (b, …) at a level of () or (b,), and the memory after it."""

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction with the memory before the first step."""
        return self.remembered(x, level, self.init(x))[0]


def first_memory(denoise: Denoiser, x: Float[Array, "b *shape"]) -> PyTree:
    """The memory before the first step: () for a denoiser that has none."""
    return denoise.init(x) if isinstance(denoise, StatefulDenoiser) else ()


def ask(denoise: Denoiser, x: Float[Array, "b *shape"], level: Level, memory: PyTree) -> tuple[Prediction, PyTree]:
    """The prediction, and the memory after it: as it was for a denoiser that has none."""
    if isinstance(denoise, StatefulDenoiser):
        return denoise.remembered(x, level, memory)
    return denoise(x, level), memory


@records.record
class Stateful(Wrapper):
    """A sampler that carries the memory of its denoiser. Built by `stateful`."""

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """Refused: the memory belongs to a denoiser, so a loop calls `begin`."""
        raise TypeError(
            f"{type(self.sampler).__name__} with a memory begins with its denoiser, and this loop does not give it "
            "one: use diffusion.sample, or sampler.begin(denoise, x)"
        )

    def begin(self, denoise: Denoiser, x: Float[Array, "b *shape"]) -> State:
        """The memories of the sampler and of the denoiser.

        Raises:
            TypeError: for a denoiser without memory.
        """
        if not isinstance(denoise, StatefulDenoiser):
            raise TypeError(
                f"{type(denoise).__name__} has no memory, so that it needs no stateful(sampler). A rule of "
                "guidance loses the memory of its denoisers: build it by stateful_denoiser.guided(rule, denoisers, …)"
            )
        state = self.sampler.begin(denoise, x)
        return State(state.x, (state.memory, first_memory(denoise, state.x)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        sampler_memory, memory = state.memory
        after: list[PyTree] = []

        def with_memory(x: jax.Array, level: Level) -> Prediction:
            prediction, updated = ask(denoise, x, level, memory)
            after.append(updated)
            return prediction

        moved = self.sampler.step(noise, with_memory, State(state.x, sampler_memory), level, cleaner, left)
        if len(after) != 1:
            raise TypeError(
                f"{type(self.sampler).__name__} asked its denoiser {len(after)} times in a step: memory needs exactly 1"
            )
        return State(moved.x, (moved.memory, after[0]))


def stateful(sampler: Sampler) -> Stateful:
    """The same sampler, which carries the memory of a `StatefulDenoiser` from step to step.

    It refuses any other denoiser.

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
    return Stateful(sampler)


@records.record
class Answered:
    """A denoiser whose prediction is known already: a rule of guidance takes it in place of a stateful denoiser.

    Args:
        prediction: for every x and level.
    """

    prediction: Prediction

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction."""
        return self.prediction


@records.record
class Guided(StatefulDenoiser):
    """A rule of guidance over denoisers, some of them stateful. Built by `guided`."""

    rule: Callable[..., Denoiser] = records.static()
    denoisers: tuple[Denoiser, ...]
    numbers: tuple[PyTree, ...]
    options: dict[str, PyTree]

    def init(self, x: Float[Array, "b *shape"]) -> tuple[PyTree, ...]:
        """The memory of each denoiser."""
        return tuple(first_memory(denoise, x) for denoise in self.denoisers)

    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: PyTree) -> tuple[Prediction, PyTree]:
        """The rule's prediction, of one prediction per denoiser."""
        pairs = [ask(denoise, x, level, before) for denoise, before in zip(self.denoisers, memory, strict=True)]
        answered = [Answered(prediction) for prediction, _ in pairs]
        return self.rule(*answered, *self.numbers, **self.options)(x, level), tuple(after for _, after in pairs)


def guided(rule: Callable[..., Denoiser], denoisers: Sequence[Denoiser], *numbers: PyTree, **options: PyTree) -> Guided:
    """The denoiser `rule(*denoisers, *numbers, **options)`, where each denoiser has its memory.

    Each denoiser is called once at each level, also outside of the interval of a scale.

    Args:
        rule: a plain function from denoisers to a denoiser, such as `guidance.classifier_free`.
        denoisers: in the order of the rule; stateful ones and others.
        *numbers: what the rule takes besides, such as the scale: data under jit.
        **options: likewise, by name, such as rescale.

    Raises:
        ValueError: without denoisers, and for numbers that the rule refuses.
        TypeError: for what the rule refuses, and so for batched=True: each denoiser is asked alone.
    """
    if not denoisers:
        raise ValueError("denoisers is empty: a rule needs those that it combines")
    # so that the rule checks its numbers here and not in the loop
    rule(*[lambda x, level: Prediction(x, x)] * len(denoisers), *numbers, **options)
    return Guided(rule, tuple(denoisers), numbers, options)
