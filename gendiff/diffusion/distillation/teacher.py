"""Teachers: denoisers as frozen trees, with the conditions of a batch; and students that begin as their teacher."""

from collections.abc import Callable

import jax.numpy as jnp

from gendiff.core import trees
from gendiff.core.types import Condition, Params, PyTree
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Denoiser

Tell = Callable[[PyTree, tuple[Condition, ...]], Denoiser]
"""(frozen tree, conditions) -> the teacher under these conditions."""


def with_condition(denoise: Denoiser, condition: tuple[Condition, ...]) -> Denoiser:
    """A denoiser under the conditions of a batch; without any it stays as it is.

    Args:
        denoise: any denoiser that is a pytree, where there is no condition; one of `from_network`, where there is.
        condition: aligned with the samples.

    Raises:
        TypeError: for a condition that the denoiser does not take.
    """
    if not condition:
        return denoise
    if not isinstance(denoise, NetworkDenoiser):
        raise TypeError(
            f"the batch has {len(condition)} conditions, and a {type(denoise).__name__} takes none: make the teacher "
            "by diffusion.from_network, or pass tell=(frozen, condition) -> denoiser"
        )
    return denoise.with_condition(*condition)


def init_from_teacher(params: Params, teacher: Params) -> Params:
    """Fresh parameters of a student with those of its teacher in them.

    What the student alone has, such as the layers of `DiT(guidance=True)`, stays fresh. Those layers begin without
    effect, so that the student begins as the teacher.

    Args:
        params: of the student, a nested dict.
        teacher: of the teacher, a nested dict.

    Raises:
        ValueError: for parameters of the teacher that the student has not, or has in another shape.
    """
    fresh, inherited = trees.paths(params), trees.paths(teacher)
    strange = [
        path for path, leaf in inherited.items() if path not in fresh or jnp.shape(fresh[path]) != jnp.shape(leaf)
    ]
    if strange:
        raise ValueError(
            f"the student has no room for {len(strange)} arrays of the teacher, such as {strange[0]} of shape "
            f"{jnp.shape(inherited[strange[0]])}: build both by the same fields"
        )
    return trees.nested(fresh | inherited)
