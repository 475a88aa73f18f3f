"""What a training costs: parameters, operations and memory, from shapes alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gendiff import networks
from gendiff.commands.images import image_model
from gendiff.commands.images.image_model import Model
from gendiff.commands.train import facts
from gendiff.commands.train.config import Config
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Params, PyTree
from gendiff.diffusion.types import Batch

MOMENTS = {"adamw": 2, "muon": 1}
"""Numbers per parameter that an optimizer keeps. Muon is counted as if all parameters were in matrices, and nearly all
are.
"""
STATE = 3
"""Numbers per parameter in memory beside those: itself, the average and the gradient."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one training. flops: of the gradient for one picture, as XLA counts them before it optimises.

    parameters: how many. kept: bytes that the backward pass needs of each picture's forward pass, at most.
    """

    flops: float
    parameters: int
    kept: int


def cost(config: Config, network: Model) -> Cost:
    """From shapes alone: nothing is computed. ConfigError for a network that refuses the pictures."""
    return Cost(*over_blocks(network, lambda each: sums(config, each)))


def over_blocks(network: Model, numbers: Callable[[Model], tuple[Any, ...]]) -> tuple[Any, ...]:  # int or float each
    """Sums over a network. The blocks of a transformer are equal, so one and two of them say what all have."""
    network_module = module(network)
    if not isinstance(network_module, networks.DiT) or network_module.depth < 3:
        return numbers(network)
    short = (network_module.clone(depth=depth) for depth in (1, 2))
    conditional = network.num_classes > 0
    one, two = (
        numbers(
            dataclasses.replace(network, predict=networks.pure(each), init=facts.init(each, network.shape, conditional))
        )
        for each in short
    )
    return tuple(first + (network_module.depth - 1) * (second - first) for first, second in zip(one, two, strict=True))


def sums(config: Config, network: Model) -> tuple[float, int, int]:
    """The fields of a `Cost`, each a sum over the layers."""
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    loss = image_model.loss(at_once(network), config.drop_condition)

    def batch(size: int) -> Batch:
        pictures: PyTree = jax.ShapeDtypeStruct((size, *network.shape), jnp.float32)
        condition: Condition = (jax.ShapeDtypeStruct((size,), jnp.int32),) if network.num_classes else ()
        return Batch(clean=pictures, condition=condition)

    def backward(params: Params, key: jax.Array, batch: Batch) -> PyTree:
        return jax.vjp(lambda free: loss(free, key, batch)[0], params)[1]

    def gradient(params: Params, key: jax.Array, batch: Batch) -> tuple[PyTree, PyTree]:
        pullback = backward(params, key, batch)
        return pullback, pullback(jnp.float32(1.0))

    try:
        params = jax.eval_shape(network.init, key)
        traced = jax.jit(gradient).trace(params, key, batch(1))
        twice = jax.eval_shape(backward, params, key, batch(2))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--network {config.network}: {error}") from error
    counted = traced.lower().cost_analysis() or {}
    per_image = _bytes(twice) - _bytes(traced.out_info[0])  # parameters are in both
    return float(counted.get("flops", 0.0)), sum(leaf.size for leaf in jax.tree.leaves(params)), per_image


def at_once(network: Model) -> Model:
    """The same network with attention in no loop, whose body XLA would count once and whose chunks would not grow with
    the batch.
    """
    clone = module(network).clone(attention_implementation="heads_first")
    return dataclasses.replace(network, predict=networks.pure(clone))


def module(network: Model) -> Any:  # Flax is imported in networks/ alone
    """The Linen module of a network."""
    return network.predict.module  # type: ignore[attr-defined]  # of `networks.pure`


def _bytes(tree: PyTree) -> int:
    return sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.number)
    )
