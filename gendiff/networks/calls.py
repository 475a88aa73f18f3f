"""Recorded calls of a network's layers, with their shapes.

Only shapes are traced: it takes milliseconds, and no memory for parameters.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.linen.module import InterceptorContext

from gendiff.core.types import Config, Params, PyTree
from gendiff.networks.module import pure

Shapes = Any  # nested to any depth, which no check of types at run time follows
"""The shape of an array; numbers, texts and None are themselves, and of anything else it is the type.

A tuple or a list is a tuple of these.
"""


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of one method of a layer.

    Args:
        path: of the layer's parameters, as in "block_0/qkv"; "" is the network itself.
        layer: its class. A layer that is computed again in the backward pass has a class of its own, below this one.
        method: the name of the method.
        fields: of the layer, by name.
        arguments: by name, those that were given.
        output: what it returned.
    """

    path: str
    layer: type
    method: str
    fields: Config
    arguments: dict[str, Shapes]
    output: Shapes


def recorded(module: nn.Module, params: Params, *inputs: PyTree, method: str | None = None) -> list[Call]:
    """Return every call of a forward pass, those of private methods too, in the order in which they end.

    Args:
        module: any Linen module without state.
        params: of it, arrays or `jax.ShapeDtypeStruct`s.
        *inputs: those of the method; arrays may be `jax.ShapeDtypeStruct`s.
        method: the name of the method that is called; None is `__call__`.

    Raises:
        TypeError: for what is no Linen module.
        ValueError: for a method that the module lacks.
    """
    function = pure(module, method)
    calls: list[Call] = []
    open_calls: set[tuple[str, str]] = set()

    def note(
        call: Callable[..., PyTree],
        arguments: tuple[PyTree, ...],
        named: dict[str, PyTree],
        context: InterceptorContext,
    ) -> PyTree:
        method = "/".join(context.module.path), context.method_name
        # a layer that is computed again in the backward pass calls its own method once more inside
        if method in open_calls:
            return call(*arguments, **named)
        open_calls.add(method)
        try:
            output = call(*arguments, **named)
        finally:
            open_calls.discard(method)
        bound = inspect.signature(context.orig_method).bind(*arguments, **named).arguments
        fields = {field.name: getattr(context.module, field.name) for field in dataclasses.fields(context.module)}
        shapes = {name: _shapes(value) for name, value in bound.items()}
        settings = {name: value for name, value in fields.items() if name not in ("parent", "name")}
        calls.append(Call(method[0], type(context.module), method[1], settings, shapes, _shapes(output)))
        return output

    leaves, structure = jax.tree.flatten(inputs)
    arrays = {at: leaf for at, leaf in enumerate(leaves) if _is_array(leaf)}

    def run(params: Params, arrays: dict[int, PyTree]) -> PyTree:
        filled = [arrays.get(at, leaf) for at, leaf in enumerate(leaves)]
        return function(params, *jax.tree.unflatten(structure, filled))

    with nn.intercept_methods(note):
        jax.eval_shape(run, params, arrays)  # a function of its own, so that no earlier trace takes its place
    return calls


def _is_array(value: object) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _shapes(value: PyTree) -> Shapes:
    if _is_array(value):
        return tuple(value.shape)
    if isinstance(value, tuple | list):
        return tuple(_shapes(each) for each in value)
    return value if value is None or isinstance(value, str | bool | int | float) else type(value)
