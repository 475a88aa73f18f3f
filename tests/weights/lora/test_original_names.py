"""LoRA files of FLUX.1 and Stable Diffusion 3 change what they change there, by the names of their authors as by those
of diffusers.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError
from gendiff.weights import lora_files, lora_layers, original_names, rules
from gendiff.weights.lora.lora_layers import Adaptable
from tests.refusals import refusals
from tests.variants import some_slow
from tests.weights.diffusers.tiny_joint_transformers import NAMES, module_of, network_inputs, written
from tests.weights.lora import lora_arrays
from tests.weights.lora.lora_arrays import RANK, factors, in_file, of_kohya, of_peft
from tests.weights.rig import shapes

FLUX, SD3 = "FLUX", "Stable Diffusion 3.5"
OF_XLABS = ("qkv_lora1", "qkv_lora2", "proj_lora1", "proj_lora2", "qkv", "proj")
"""How names end that XLabs has for layers of blocks, beside those of the authors."""
some_names = pytest.mark.parametrize("name", some_slow(NAMES, set(NAMES) - {FLUX, SD3}))


@functools.cache
def adaptable(name):
    config, _, inputs, _ = written(name)
    module = module_of(config)
    network = networks.DiT(**module.network_fields(config))
    unused = module.params.unused(config)
    originals = original_names.BY_CLASS[config["_class_name"]]
    return Adaptable(module.rules(config), shapes(network, *network_inputs(**inputs)), {}, originals, unused)


@functools.cache
def weights(name):
    """Their matrices by the name of the layer, those that no output depends on too."""
    arrays = written(name)[1] | {key: np.zeros(shape) for key, shape in adaptable(name).unused.items()}
    return {key.removesuffix(".weight"): array for key, array in arrays.items() if array.ndim > 1}


@functools.cache
def rows(name):
    """Names of the authors -> layers of diffusers, without what XLabs calls them."""
    model = adaptable(name)
    named = original_names.rows(model.originals, lora_layers.by_name(model))
    xlabs = {row for row in named if "blocks." in row and "attn" not in row and row.endswith(OF_XLABS)}
    return {row: layers for row, layers in named.items() if row not in xlabs}


@functools.cache
def fused(name):
    """Factors by the names of the authors."""
    parts = {row: [weights(name)[layer].shape for layer in layers] for row, layers in rows(name).items()}
    return factors({row: (sum(shape[0] for shape in each), *each[0][1:]) for row, each in parts.items()})


@functools.cache
def split(name):
    """The same factors by the names of diffusers, separated by hand."""
    last = max(int(row.split(".")[1]) for row in rows(name) if row.startswith(("joint_blocks", "double_blocks")))
    scales_first = ("final_layer.adaLN_modulation.1", f"joint_blocks.{last}.context_block.adaLN_modulation.1")
    result = {}
    for row, (down, up) in fused(name).items():
        rest = np.concatenate(np.split(up, 2)[::-1]) if row in scales_first else up
        for layer in rows(name)[row]:
            count = len(weights(name)[layer])
            result[layer], rest = (down, rest[:count]), rest[count:]
        assert not len(rest)
    return result


def read(arrays, name):
    return lora_files.from_arrays(arrays, {"transformer": adaptable(name)})["transformer"]


@some_names
def test_the_authors_have_a_name_for_every_layer_of_diffusers(name):
    layers = [layer for each in rows(name).values() for layer in each]
    assert sorted(layers) == sorted(lora_layers.by_name(adaptable(name))) and len(layers) > 20


@some_names
def test_a_change_of_several_layers_at_once_is_that_of_each(name):
    model, arrays = adaptable(name), written(name)[1]
    plain = {key: array.astype(np.float32) for key, array in arrays.items() if key not in model.unused}
    there = {
        f"{layer}.weight": lora_arrays.changed_there(plain[f"{layer}.weight"], down, up, 3 / RANK)
        for layer, (down, up) in split(name).items()
        if f"{layer}.weight" in plain
    }
    params, expected = rules.to_ours(plain, model.rules, model.like), lora_arrays.returned(model, plain | there)
    here = lora_arrays.changed_here(params, read(of_kohya(fused(name), alpha=3), name), 1.0)
    assert len(there) > 20
    for path, leaf in expected.items():
        np.testing.assert_allclose(here[path], leaf, rtol=1e-5, atol=1e-5, err_msg=path)


@some_names
def test_all_spellings_of_a_file_give_the_same_tree(name):
    tree, theirs, parts = read(of_kohya(fused(name)), name), fused(name), split(name)
    for arrays in (
        in_file(theirs, "diffusion_model.", ".lora_down.weight", ".lora_up.weight"),
        of_peft(theirs, "diffusion_model."),
        of_peft(theirs, "base_model.model."),
        of_peft(theirs, ""),
        of_peft(parts, "transformer."),
        in_file(parts, "transformer.", ".lora_down.weight", ".lora_up.weight"),
        of_kohya(parts, "lora_transformer_"),
        of_kohya(parts, "lycoris_"),
    ):
        assert lora_arrays.same_tree(read(arrays, name), tree)


def test_names_of_xlabs_are_those_of_attention():
    known = {"img_attn.qkv": "qkv_lora1", "txt_attn.qkv": "qkv_lora2"} | {
        "img_attn.proj": "proj_lora1",
        "txt_attn.proj": "proj_lora2",
    }
    changes = {row: change for row, change in fused(FLUX).items() if "attn" in row}
    xlabs = {row: f"{row.rsplit('.', 2)[0]}.processor.{known[row.split('.', 2)[2]]}" for row in changes}
    arrays = in_file(changes, "", ".down.weight", ".up.weight", xlabs.get)
    assert len(arrays) >= 8 and lora_arrays.same_tree(read(arrays, FLUX), read(of_kohya(changes), FLUX))
    single = factors({"single_blocks.0.processor.qkv": (48, 16)})
    tree = read(in_file(single, "diffusion_model.", "_lora.down.weight", "_lora.up.weight"), FLUX)
    assert set(tree) == {"single_block_0"} and set(tree["single_block_0"]) == {"qkv"}


QKV, QUERY = "joint_blocks.0.x_block.attn.qkv", "transformer_blocks.0.attn.to_q"
GOOD = of_peft(factors({QKV: (48, 16)}), "diffusion_model.")
DOWN, UP = (f"diffusion_model.{QKV}.lora_{part}.weight" for part in "AB")


def refused(words, changes, without=()):
    arrays = {key: array for key, array in (GOOD | changes).items() if key not in without}
    return lambda: read(arrays, SD3), words, CheckpointMismatchError


test_what_does_not_fit_is_refused_by_its_name = pytest.mark.fault("weights: names missing or left over")(
    refusals(
        refused(f"1 missing: lora_up of {QKV}", {}, (UP,)),
        refused(rf"lora_up of {QKV} has shape \(16, 2\), and \(48, 2\) is needed", {UP: GOOD[UP][:16]}),
        refused(r"lora_down of .*qkv has shape \(2, 8\), and \(rank, 16\) is needed", {DOWN: GOOD[DOWN][:, :8]}),
        refused(rf"lora_up of {QKV} holds numbers that are not finite", {UP: GOOD[UP] * np.float32(np.nan)}),
        refused(
            r"lora_down of .*qkv holds numbers that are not finite",
            {DOWN: np.full((2, 16), np.inf, jnp.bfloat16)},
        ),
        refused(
            rf"1 given twice: {QUERY} \(by (joint|transformer)_blocks.*too\)",
            of_peft(factors({QUERY: (16, 16)}), "transformer."),
        ),
        refused(
            r"unknown: diffusion_model\.double_blocks\.0\.img_mlp\.0\.lora_A\.weight \(a layer of FLUX\)",
            {"diffusion_model.double_blocks.0.img_mlp.0.lora_A.weight": np.ones((2, 2), np.float32)},
        ),
        refused(r"\(unet was not given\)", {"unet.conv_in.lora_A.weight": np.ones((2, 4), np.float32)}),
        refused(
            r"\(text_encoder_3 was not given\)",
            {"lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight": np.ones((2, 4), np.float32)},
        ),
        refused(r"\(DoRA, which is not supported\)", {f"transformer.{QUERY}.lora_magnitude_vector": np.ones(16)}),
        refused(
            r"lora_up of .*add_q_proj has shape \(8, 2\), and \(16, 2\) is needed",
            of_peft(factors({"transformer_blocks.1.attn.add_q_proj": (8, 16)}), "transformer."),
        ),
    )
)
