"""Arrays of LoRA files for the tests, by the names of kohya, peft and diffusers, and what they do to the weights that
they change.
"""

import functools

import jax
import numpy as np

from gendiff import networks
from gendiff.core import trees
from gendiff.core.low_rank import LowRank
from gendiff.weights import latent_diffusion, lora_layers, rules, transformers_clip
from tests.weights.diffusers.tiny_text_unets import converted, written

RANK = 2
CLIP = {
    "architectures": ["CLIPTextModel"],
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 6,
    "eos_token_id": 19,
}


@functools.cache
def unet(name):
    """The U-Net of a tiny Stable Diffusion, which a file may change."""
    return lora_layers.unet(written(name)[0], converted(name)[1])


@functools.cache
def text_encoder():
    """A tiny text tower, which a file may change."""
    network = networks.TextEncoder(**transformers_clip.network_fields(CLIP))
    example = np.zeros((1, 4), np.int32)
    return lora_layers.text_encoder(CLIP, jax.eval_shape(lambda: networks.init(network, jax.random.key(0), example)))


def weights(name):
    """What a tiny U-Net of theirs multiplies by: the matrices of its linear layers and convolutions, by the name of the
    layer.
    """
    arrays = written(name)[1]
    return {key.removesuffix(".weight"): array.astype(np.float32) for key, array in arrays.items() if array.ndim > 1}


def factors(shapes, rank=RANK):
    """Layer -> (down, up), drawn for the shape of its weight."""
    rng = np.random.default_rng(5)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return {
        layer: (normal(rank, *shape[1:]), normal(shape[0], rank, *(1,) * (len(shape) - 2)))
        for layer, shape in shapes.items()
    }


def in_file(changes, start, down, up, name=lambda layer: layer, alpha=None):
    """The arrays of a file: names begin with `start`, then comes the name of the layer."""
    arrays = {}
    for layer, (first, second) in changes.items():
        arrays |= {f"{start}{name(layer)}{down}": first, f"{start}{name(layer)}{up}": second}
        if alpha is not None:
            arrays[f"{start}{name(layer)}.alpha"] = np.array(alpha, np.float32)
    return arrays


def of_kohya(changes, start="lora_unet_", alpha=None, elsewhere=lambda layer: layer):
    return in_file(
        changes, start, ".lora_down.weight", ".lora_up.weight", lambda layer: elsewhere(layer).replace(".", "_"), alpha
    )


def of_peft(changes, start="unet."):
    return in_file(changes, start, ".lora_A.weight", ".lora_B.weight")


def of_diffusers(changes, start="unet."):
    """As diffusers wrote U-Nets before it took the names of peft."""

    def name(layer):
        layer = (
            layer.replace("attn1.", "attn1.processor.")
            .replace("attn2.", "attn2.processor.")
            .replace("to_out.0", "to_out")
        )
        return f"{layer}_lora" if ".processor." in layer else f"{layer}.lora"

    return in_file(changes, start, ".down.weight", ".up.weight", name)


def in_single_file(name):
    """From a layer of a tiny U-Net to its name in a single file, written without a look at `lora_names`."""
    before = {here: there for there, here in latent_diffusion.unet_names(written(name)[0]).items()}

    def elsewhere(layer):
        head = max((each for each in before if f"{layer}.".startswith(f"{each}.")), key=len)
        return before[head] + layer.removeprefix(head)

    return elsewhere


def changed_there(weight, down, up, scale):
    """W + scale · up · down in their layout."""
    rank = down.shape[0]
    return weight + np.float32(scale) * (up.reshape(-1, rank) @ down.reshape(rank, -1)).reshape(weight.shape)


def changed_here(params, tree, scale):
    """Parameters of ours with a tree in them, by `networks.lora`'s formula."""
    changes = trees.paths(tree, is_leaf=lambda leaf: isinstance(leaf, LowRank))
    return {
        path: np.asarray(leaf)
        + (
            scale * (np.asarray(changes[path].down) @ np.asarray(changes[path].up)).reshape(leaf.shape)
            if path in changes
            else 0
        )
        for path, leaf in trees.paths(params).items()
    }


def returned(model, arrays):
    """Arrays of theirs as parameters of ours, by path."""
    return {
        path: np.asarray(leaf) for path, leaf in trees.paths(rules.to_ours(arrays, model.rules, model.like)).items()
    }


def same_tree(first, second):
    """Bit for bit."""
    one, other = trees.paths(first), trees.paths(second)
    return one.keys() == other.keys() and all(np.array_equal(one[path], other[path]) for path in one)
