"""Progressive growing: train on small pictures first, then fade in a block that doubles the size."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar


def fade_in(
    old: Float[ArrayLike, "b *shape"], new: Float[ArrayLike, "b *shape"], weight: Scalar
) -> Float[Array, "b *shape"]:
    """(1 − weight) old + weight new, in the dtype of `old`.

    In a generator, `old` is the picture of the stage before, made twice as large. In a critic it is what the smaller
    picture gives.

    Args:
        old: (b, …) what is faded out.
        new: (b, …) what is faded in.
        weight: () or (b,) in [0, 1], data under jit. 0 returns `old` and 1 `new`, as long as both are finite.

    Raises:
        ValueError: for different shapes, and for a concrete weight outside [0, 1].
        TypeError: for arrays that are not floating.

    References:
        Karras et al., 2018, Fig. 2 (from memory).
    """
    checks.same_shape("old", old, "new", new)
    checks.in_range("weight", weight, 0.0, 1.0)
    share = arrays.expand(weight, old)
    return (1 - share) * jnp.asarray(old) + share * jnp.asarray(new).astype(share.dtype)


@records.record
class Growth:
    """The schedule of a growing pair: the steps of each stage, and the weight of its newest block. Built by `growth`.

    Attributes:
        steps: of each stage.
        fading: the share of a stage during which its block fades in.
    """

    steps: tuple[int, ...] = records.static()
    fading: float = records.static()

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.steps)

    @property
    def total(self) -> int:
        """Steps of all stages together."""
        return sum(self.steps)

    def at(self, step: Count) -> tuple[int, float]:
        """The stage of a step, and the weight of its newest block for `fade_in`.

        The first stage has nothing to fade in. In the others the weight is 0 at the first step, grows by equal amounts,
        and is 1 when the share `fading` of the stage is over. After the last step the last stage goes on. It is a
        function of the step alone, so a run that is resumed goes on with the same weight.

        Args:
            step: the number of steps done, at least 0. A concrete number: each stage is a program of its own.

        Returns:
            The stage, 0 … stages − 1, and the weight in [0, 1].

        Raises:
            ValueError: for a step below 0.
            TypeError: for a step that is no concrete integer.
        """
        if not arrays.is_concrete(step):
            raise TypeError(
                "step is traced, but the stage chooses the program: call at(int(state.step)) outside of jit"
            )
        checks.integer("step", step)
        stage, within = 0, int(step)
        while stage + 1 < self.stages and within >= self.steps[stage]:
            stage, within = stage + 1, within - self.steps[stage]
        fade = self.fading * self.steps[stage]
        return stage, 1.0 if stage == 0 or within >= fade else within / fade


def growth(steps: Sequence[int], fading: float = 0.5) -> Growth:
    """The schedule of progressive growing.

    Args:
        steps: of each stage, the smallest pictures first, at least 1 each; `[1000] * 4` for four equal ones.
        fading: the share of a stage, in [0, 1], during which its block fades in; the rest of it trains with the whole
            block. 0 does not fade.

    Raises:
        ValueError: for no stage, steps below 1, and a share outside [0, 1].
        TypeError: for steps that are no integers.

    References:
        Karras et al., 2018, App. A: 800,000 pictures fade in, 800,000 more follow (from memory).
    """
    counts = tuple(steps)
    if not counts:
        raise ValueError("steps is empty: give the number of steps of each stage, such as [1000, 1000]")
    for count in counts:
        checks.integer("steps", count, 1)
    checks.in_range("fading", fading, 0.0, 1.0)
    return Growth(tuple(map(int, counts)), float(fading))
