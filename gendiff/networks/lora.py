"""Low-rank adaptation (LoRA) of any network here: small trained matrices beside frozen parameters.

Also known as: parameter-efficient fine-tuning (PEFT).

    y = x (W + scale · A B), with W (in, out) frozen, A (in, r) random and B (r, out) from 0, so that a fresh one
    changes nothing.

`unmerged` computes x W + scale · (x A) B: neither A B nor a gradient of W is ever made, so W may be packed too
(`weights.quantised`). `merge` adds A B to W once, after training.

References:
    Hu et al., 2021, section 4.1; Dettmers et al., 2023, section 3, for packed W (from memory).
"""

import math
import re
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks, packed, trees
from gendiff.core.low_rank import LowRank
from gendiff.core.packed import PackedKernel
from gendiff.core.records import record
from gendiff.core.renamed import renamed
from gendiff.core.types import ArrayLike, DType, Loss, Metrics, Params, PyTree, Scalar
from gendiff.networks import fast

Lora = Params
"""A nested dict like that of the parameters, with a LowRank at the path of each adapted kernel."""


@record
class AdaptedKernel(PackedKernel):
    """A kernel or a table and its change, which stay unmerged. Built by `unmerged`.

    Attributes:
        base: an array, or a packed kernel.
        change: its factors.
        scale: () by which their product is multiplied.
    """

    base: jax.Array | PackedKernel
    change: LowRank
    scale: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the base."""
        return tuple(self.base.shape)

    @property
    def dtype(self) -> np.dtype:
        """That of the base, at least float32."""
        return jnp.promote_types(self.base.dtype, jnp.float32)

    def dense(self, dtype: DType) -> jax.Array:
        """Return base + scale · A B."""
        return packed.as_array(self.base, dtype) + _product(self.change, self.scale, self.shape).astype(dtype)

    def product(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, in) by the base, and by one factor after the other."""
        y = fast.product_of_rows(fast.product_of_rows(x, self._down(x), precision), self._up(x), precision)
        return fast.product_of_rows(x, self._base(x), precision) + y

    def rows(self, ids: jax.Array) -> jax.Array:
        """Return rows of the table."""
        base_rows = self.base.rows(ids) if isinstance(self.base, PackedKernel) else self.base[ids]
        return base_rows + fast.product_of_rows(self.change.down[ids], self.change.up * self.scale).astype(
            base_rows.dtype
        )

    def product_with_rows(self, x: jax.Array, precision: str | None = None) -> jax.Array:
        """Multiply (…, d) by each row of the table."""
        y = fast.product_with_rows(fast.product_of_rows(x, self._up(x).T, precision), self._down(x), precision)
        return fast.product_with_rows(x, self._base(x), precision) + y

    def _base(self, x: jax.Array) -> jax.Array | PackedKernel:
        return self.base if isinstance(self.base, PackedKernel) else self.base.astype(x.dtype)

    def _down(self, x: jax.Array) -> jax.Array:
        return self.change.down.astype(x.dtype)

    def _up(self, x: jax.Array) -> jax.Array:
        return (self.change.up * self.scale).astype(x.dtype)


def start(key: jax.Array, params: Params, rank: int, paths: str) -> Lora:
    """Build a fresh tree, which changes nothing: A is normal with variance 1 / in, B is 0.

    Args:
        key: one typed key.
        params: of any network, or their shapes; its kernels may be packed.
        rank: r, at least 1.
        paths: a regular expression, searched for in the path of a kernel, as in "qkv/kernel$" or
            "(qkv|output|mlp_[01])/kernel$".

    Raises:
        ValueError: for a rank that is not below both sides of a kernel, for paths that fit nothing, or that fit what
            has less than 2 axes.
        TypeError: for a key that is not typed.
    """
    checks.one_key("key", key)
    checks.integer("rank", rank, 1)
    kernels = {
        path: leaf for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items() if re.search(paths, path)
    }
    if not kernels:
        raise ValueError(f"no parameter fits paths = {paths!r}: they are such as {list(trees.paths(params))[:3]}")
    changes: dict[str, LowRank] = {}
    for base_rows, (path, kernel) in zip(jax.random.split(key, len(kernels)), kernels.items(), strict=True):
        inputs, outputs = math.prod(kernel.shape[:-1]), kernel.shape[-1] if kernel.shape else 0
        if len(kernel.shape) < 2 or rank >= min(inputs, outputs):
            raise ValueError(
                f"rank = {rank} does not fit {path} of shape {tuple(kernel.shape)}: it must be below both sides of a "
                "kernel"
            )
        dtype = jnp.promote_types(kernel.dtype, jnp.float32)
        down = jax.random.normal(base_rows, (inputs, rank), dtype) * inputs**-0.5
        changes[path] = LowRank(down, jnp.zeros((rank, outputs), dtype))
    return trees.nested(changes)


def unmerged(params: Params, lora: Lora, scale: Scalar = 1.0) -> Params:
    """Return parameters whose adapted kernels stay in two parts; the network computes with them as with others.

    Args:
        params: of the network, which stay as they are.
        lora: as `start` built it.
        scale: () of the change; α / r of the paper.

    Raises:
        ValueError: for a path that the parameters lack.
    """
    return _joined(params, lora, lambda base, change: AdaptedKernel(base, change, jnp.asarray(scale, change.up.dtype)))


def merge(params: Params, lora: Lora, scale: Scalar = 1.0) -> Params:
    """Return parameters with scale · A B added to the adapted kernels, in their dtype.

    Packed kernels become float32 arrays. Arguments and errors are those of `unmerged`.
    """

    def add(base: ArrayLike | PackedKernel, change: LowRank) -> jax.Array:
        product = _product(change, scale, base.shape)
        dense = packed.as_array(base, jnp.promote_types(base.dtype, product.dtype))
        return (dense + product).astype(base.dtype)

    return _joined(params, lora, add)


def loss(full_loss: Loss, params: Params, scale: Scalar = 1.0) -> Loss:
    """Turn a loss of all parameters into one of the small tree: (lora, key, batch) -> (scalar, metrics).

    Its gradient has the leaves of the tree alone. Where `jit` is around it, pass `params` through as an argument, so
    that they are no constants of the program:
    `jit(lambda params, state, batch: training.make_step(lora.loss(full_loss, params), optimizer)(state, batch))`.

    Args:
        full_loss: (params, key, batch) -> (scalar, metrics).
        params: those that stay, packed or not.
        scale: as for `unmerged`.
    """

    def of_lora(tree: Lora, key: jax.Array, batch: PyTree) -> tuple[jax.Array, Metrics]:
        return full_loss(unmerged(params, tree, scale), key, batch)

    return of_lora


def _product(change: LowRank, scale: Scalar, shape: tuple[int, ...]) -> jax.Array:
    """Multiply the factors and the scale, in the shape of the kernel."""
    return (jnp.matmul(change.down, change.up, precision="highest") * jnp.asarray(scale, change.up.dtype)).reshape(
        shape
    )


def _joined(params: Params, lora: Lora, join: Callable[[PyTree, LowRank], PyTree], path: str = "") -> Params:
    if isinstance(lora, LowRank):
        return join(params, lora)
    unknown = sorted(set(lora) - set(params)) if isinstance(params, Mapping) else sorted(lora)
    if unknown:
        raise ValueError(
            f"the parameters have no {path}{unknown[0]}, which the tree adapts: was it started for another network?"
        )
    return {
        name: _joined(value, lora[name], join, f"{path}{name}/") if name in lora else value
        for name, value in params.items()
    }


__getattr__ = renamed(
    "networks.lora", {"apart": ("networks.lora.unmerged", unmerged), "merged": ("networks.lora.merge", merge)}
)
