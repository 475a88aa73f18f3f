"""Precision settings: the dtype that a network computes in, and the precision of matrix products.

Also known as: mixed precision (bfloat16 computation with float32 parameters). On TPU and on GPUs since Ampere, JAX's
default multiplies float32 matrices in fewer bits, which costs measurable sample quality.
"""

import dataclasses
import platform
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import checks, trees
from gendiff.core.types import ArrayLike, Condition, Params, Scalar

COMPUTE = ("float32", "bfloat16", "float16", "float64")
MATMUL = ("default", "high", "highest")


@dataclasses.dataclass(frozen=True)
class Precision:
    """The dtype that a network computes in, and the precision of its matrix products.

    Also known as: mixed precision, with compute = "bfloat16" or "float16".

    Args:
        compute: dtype of params and activations inside the network: "float32", "bfloat16", "float16" or "float64".
        matmul: "highest" is full float32, "default" the choice of the backend, "high" between them.

    Raises:
        ValueError: for any other name.
    """

    compute: str = "float32"
    matmul: str = "highest"

    def __post_init__(self) -> None:
        checks.choice("compute", self.compute, COMPUTE)
        checks.choice("matmul", self.matmul, MATMUL)


def apply(predict: Callable[..., jax.Array], precision: Precision) -> "InPrecision":
    """Return the network (params, x, t, *condition) -> output in this precision.

    It computes on copies, and the output has x's dtype.
    """
    return InPrecision(predict, precision)


def describe(precision: Precision) -> dict[str, str | bool]:
    """Return what to report beside a result: both settings, whether JAX allows 64 bits, and the backend."""
    return {
        **dataclasses.asdict(precision),
        "x64": _has_float64(),
        "backend": jax.default_backend(),
        "machine": platform.machine(),
    }


@dataclasses.dataclass(frozen=True)
class InPrecision:
    """A network at a precision.

    Equal networks at equal precisions compare equal, so rebuilding one does not retrace.
    """

    predict: Callable[..., jax.Array]
    precision: Precision

    def __call__(self, params: Params, x: ArrayLike, t: Scalar, *condition: Condition) -> jax.Array:
        """Call the network in this precision.

        Raises:
            ValueError: for "float64" where JAX has 32 bits.
        """
        dtype = jnp.dtype(self.precision.compute)
        if dtype == jnp.float64 and not _has_float64():
            raise ValueError("compute = 'float64' needs 64-bit JAX: set jax_enable_x64 or use jax.enable_x64()")
        with jax.default_matmul_precision(self.precision.matmul):
            # t stays: bfloat16 tells only 507 of the 1000 steps of a table apart
            output = self.predict(trees.cast(params, dtype), trees.cast(x, dtype), t, *trees.cast(condition, dtype))
        return output.astype(x.dtype)


def _has_float64() -> bool:
    return jnp.result_type(float) == jnp.float64
