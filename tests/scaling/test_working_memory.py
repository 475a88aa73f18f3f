"""Working memory by liveness on a jaxpr, held against what XLA allocates and against sums by hand."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import pytest

from gendiff import networks
from gendiff.core import records
from gendiff.networks.layers import attention
from gendiff.pipelines.stable_diffusion import model_parts, part_readers
from gendiff.scaling import working_memory
from gendiff.scaling.working_memory import working_bytes
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly
from tests.tables import table
from tests.variants import some_slow

WIDE = {"attention_head_dim": 32, "num_attention_heads": 4}
LEVELS = [16, 32, 64, 64]
PARTS = {
    "tiny autoencoder": (tiny_folders.AUTOENCODER, {}, 8),
    "autoencoder": (
        tiny_folders.AUTOENCODER,
        {
            "block_out_channels": LEVELS,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "norm_num_groups": 8,
        },
        32,
    ),
    "tiny unet": (tiny_folders.UNET, {}, 8),
    "unet": (tiny_folders.UNET, {"block_out_channels": [32, 64], "norm_num_groups": 8, "attention_head_dim": 4}, 32),
    "dit": (tiny_folders.DIT, WIDE | {"num_layers": 3, "sample_size": 32}, 32),
    "flux": (tiny_folders.FLUX, WIDE | {"axes_dims_rope": [8, 8, 16]}, 32),
    "sd3": (tiny_folders.SD3, WIDE | {"caption_projection_dim": 128, "pos_embed_max_size": 64}, 32),
    "z_image": (tiny_folders.Z_IMAGE, {"dim": 128, "n_heads": 4, "n_kv_heads": 4, "axes_dims": [8, 8, 16]}, 32),
    "clip": (tiny_folders.TEXT, {"hidden_size": 64, "intermediate_size": 256, "max_position_embeddings": 77}, 77),
    "t5": (tiny_folders.T5, {"d_model": 64, "d_kv": 16, "d_ff": 160, "num_heads": 4, "num_layers": 3}, 77),
}
FACTOR = 1.5
"""XLA may fuse more, write in place, or begin early what it needs late; with jax 0.12 the ratios are 0.83 … 1.4."""


@functools.cache
def part(name):
    """(function, shapes of its parameters, its inputs as shapes) of a part of a folder with wider settings."""
    config, more, side = PARTS[name]
    config = config | more
    reader = part_readers.READERS[tiny_folders.kind_of(config)]
    network = reader.network(config, {}, {}).clone(attention_implementation="heads_first")
    opened = model_parts.Part(name, pathlib.Path(), config, network, {}, reader)
    shapes = opened.shapes()
    if name in ("clip", "t5"):
        return networks.pure(network), shapes, (jax.ShapeDtypeStruct((2, side), jnp.int32),)
    if name.endswith("autoencoder"):
        return networks.pure(network, "decode"), shapes, (jax.ShapeDtypeStruct((1, side, side, 4), jnp.float32),)
    x, t, *conditions = reader.example(network, opened.channels)
    inputs = [jax.ShapeDtypeStruct((1, side, side, x.shape[-1]), x.dtype), t]
    for each in conditions:
        if isinstance(each, networks.Text):
            tokens = jax.ShapeDtypeStruct((1, 64, each.tokens.shape[-1]), jnp.float32)
            each = records.replace(each, tokens=tokens, mask=jax.ShapeDtypeStruct((1, 64), jnp.bool_))
        inputs.append(each)
    guided = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2 * leaf.shape[0], *leaf.shape[1:]), leaf.dtype), inputs)
    return networks.pure(network), shapes, tuple(guided)


def temporaries(function, *arguments):
    """Bytes that XLA takes beside arguments and results."""
    return quickly(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", some_slow(PARTS, set(PARTS) - {"tiny autoencoder", "clip", "t5"}))
def test_working_memory_is_that_of_the_compiled_program_within_a_factor(name):
    function, params, inputs = part(name)
    kernels = working_memory.attention_kernels("cpu")
    estimate = working_bytes(function, params, *inputs, one_kernel=kernels)
    assert estimate / FACTOR < temporaries(function, params, *inputs) < estimate * FACTOR


@pytest.mark.slow
def test_working_memory_in_tiles_is_that_of_the_compiled_program_within_a_factor():
    function, params, inputs = part("autoencoder")
    tiled = networks.tiles.tiled(function, 16, 4)
    estimate, full = working_bytes(tiled, params, *inputs), working_bytes(function, params, *inputs)
    assert estimate < 0.5 * full
    assert estimate / FACTOR < temporaries(tiled, params, *inputs) < estimate * FACTOR


SIZE = 4 * 64 * 64
"""Bytes of a matrix."""
A = jax.ShapeDtypeStruct((64, 64), jnp.float32)


def loop(a, b):
    return jax.lax.scan(lambda carry, _: ((carry @ a) @ b, None), a, length=3)[0]


@table(
    ("function", "matrices"),
    [
        (lambda a, b: a @ b, 0),  # a result is not counted
        (lambda a, b: jnp.tanh(a + b) * 2, 0),  # fused
        (lambda a, b: (a @ b) @ a, 1),
        (lambda a, b: ((a @ b) @ a) @ b, 2),  # the first one leaves when the second is there
        (lambda a, b: jnp.tanh(a @ b) @ a, 2),  # a product reads from memory
        (lambda a, b: (a @ b + b @ a).sum(), 2),
        (lambda a, b: jnp.tanh(a).reshape(32, 128).sum() + (a @ b)[0, 0] * 0, 1),
        (loop, 1),
    ],
)
def test_arrays_that_live_at_once_are_counted(function, matrices):
    assert working_bytes(function, A, A) // SIZE == matrices


QUERY = {size: jax.ShapeDtypeStruct((1, 256, 2, size), jnp.bfloat16) for size in (64, 256)}
MASK = jax.ShapeDtypeStruct((1, 1, 1, 256), jnp.bool_)


@table(
    ("backend", "size", "masked", "scores"),
    [
        ("gpu", 64, True, False),
        ("gpu", 256, True, True),  # no cuDNN for such heads
        ("tpu", 64, False, True),
        ("cpu", 64, False, False),
        ("cpu", 64, True, True),
    ],
)
def test_scores_are_counted_where_no_kernel_computes_attention_at_once(backend, size, masked, scores):
    def attend(query, *mask):
        return attention.attend(query, query, query, *mask, implementation="heads_first")

    inputs = (QUERY[size], *((MASK,) if masked else ()))
    taken = working_bytes(attend, *inputs, one_kernel=working_memory.attention_kernels(backend))
    assert (taken >= 4 * 2 * 256 * 256) == scores
