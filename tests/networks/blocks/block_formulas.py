"""The layers of a transformer block in NumPy, in float64, and a block with parameters away from 0."""

import functools

import flax.linen as nn
import jax
import numpy as np

from gendiff import networks
from tests.networks.rig import moved, quickly


def built(block, *inputs):
    """The output of a fresh block, and parameters away from 0."""
    output, variables = quickly(block.init_with_output)(jax.random.key(0), *inputs)
    return output[0], moved(nn.meta.unbox(variables)["params"])


@functools.cache
def program(block):
    return quickly(networks.pure(block))


def run(block, params, *inputs):
    return program(block)(params, *inputs)[0]


def started(params):
    """Parameters whose condition changes nothing yet, as those of a fresh block."""
    return params | {
        name: jax.tree.map(np.zeros_like, layer) for name, layer in params.items() if name.endswith("modulation")
    }


class Formula:
    """The layers of one stream of a block."""

    def __init__(self, params, stream=""):
        self.params, self.stream = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params), stream

    def linear(self, name, x):
        layer = self.params[self.stream + name]
        return x @ layer["kernel"] + layer["bias"]

    def norm(self, name, x):
        layer = self.params[self.stream + name]
        return normalised(x) * layer["scale"] + layer["bias"]

    def normed_heads(self, name, x):
        """Each head of 4 channels over the root of its mean square."""
        heads = x.reshape(*x.shape[:2], -1, 4)
        scale = self.params[f"{self.stream}norm_{name}"]["scale"]
        return (heads / np.sqrt(np.mean(heads**2, -1, keepdims=True) + 1e-6) * scale).reshape(x.shape)

    def changes(self, condition, number):
        """What the condition gives the stream, each (b, 1, d)."""
        return np.split(self.linear("modulation", np.asarray(condition, np.float64))[:, None], number, -1)

    def mlp(self, x):
        return self.narrowed(self.linear("mlp_0", self.norm("norm_1", x)))

    def narrowed(self, wide):
        return self.linear("mlp_1", gelu(wide))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def normalised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def mixed(query, key, value, mask=None):
    """Attention of two heads, one query after the other."""
    out = np.zeros_like(query)
    for b, s, head in np.ndindex(*query.shape[:2], 2):
        part = slice(4 * head, 4 * head + 4)
        keys = np.arange(key.shape[1]) if mask is None else np.flatnonzero(mask[b])
        if keys.size:
            scores = np.exp(key[b, keys, part] @ query[b, s, part] / 2)
            out[b, s, part] = scores / scores.sum() @ value[b, keys, part]
    return out
