"""The output of a layer inside a network, beside the network's output: tokens to align, or features to inspect."""

import dataclasses

import flax.linen as nn
import jax

from gendiff.core.types import Params, PyTree
from gendiff.networks.module import PureFunction, pure


@dataclasses.dataclass(frozen=True)
class WithIntermediate(PureFunction):
    """(params, *inputs) -> (output, intermediate), built by `with_intermediate`.

    Equal modules and layers make equal functions.

    Args:
        layer: the path of the layer's parameters.
    """

    layer: str = ""

    def _apply(self, params: Params, inputs: tuple[PyTree, ...], key: jax.Array | None) -> PyTree:
        def selected(module: nn.Module, method: str) -> bool:
            return method == "__call__" and "/".join(module.path) == self.layer

        output, state = self.module.apply(
            {"params": params},
            *inputs,
            rngs=None if key is None else {"dropout": key},
            method=self.method,
            mutable=["intermediates"],
            capture_intermediates=selected,
        )
        answers = jax.tree.leaves(state)
        if not answers:
            known = ", ".join(sorted(params)[:8])
            raise ValueError(
                f"layer = {self.layer!r}: {type(self.module).__name__} calls no layer of that path; it has {known}"
            )
        return output, answers[0]


def with_intermediate(module: nn.Module, layer: str, method: str | None = None) -> WithIntermediate:
    """Return the module as a function (params, *inputs, key=None) -> (output, intermediate).

    It computes nothing twice: under `jit` it costs what `pure` does, and the gradient goes through both answers.

    Args:
        module: any Linen module without state.
        layer: the path of the layer's parameters, as in "block_3" of a `DiT`, whose answer is the tokens (b, s, width)
            after four blocks. Of several arrays that the layer answers the first counts, and of several calls the
            first.
        method: see `pure`.

    Raises:
        TypeError: see `pure`.
        ValueError: see `pure`; also, when it is called, for a layer that the network does not call.
    """
    function = pure(module, method)
    return WithIntermediate(function.module, function.method, layer)
