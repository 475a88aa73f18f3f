"""Decoders in GGUF files: fields, names, the order of the rows of queries and keys, and gains of norms."""

import functools

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.core.packed import is_packed
from gendiff.networks import rotary
from gendiff.weights import gguf, gguf_llama, language_models, packed_reading, quantised, rules
from tests.quickly import quickly
from tests.refusals import changed_rows, refusals
from tests.tables import table
from tests.variants import some_slow
from tests.weights import rig
from tests.weights.quantised import converted_models, gguf_files

pytest.importorskip("gguf", reason="needs the extra [language]")

METADATA = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "llama.context_length": 16,
    "llama.embedding_length": 16,
    "llama.block_count": 2,
    "llama.feed_forward_length": 24,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": 4,
    "llama.vocab_size": 20,
}
TOKENS = np.random.default_rng(0).integers(0, 20, (2, 8)).astype(np.int32)


def packed(array):
    return gguf.Packed(
        "F32", array.shape, np.ascontiguousarray(array, np.float32).view(np.uint8).reshape(*array.shape[:-1], -1)
    )


def opened(metadata, arrays):
    return gguf.Gguf(metadata, {name: packed(np.asarray(array)) for name, array in arrays.items()})


TABLE = {"token_embd.weight": np.zeros((20, 16))}
TIED = networks.LanguageModel(**gguf_llama.network_fields(opened(METADATA, TABLE)))


@functools.cache
def shapes(network):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS))


@functools.cache
def random_pair(tied=True):
    """(our parameters, the file with them)."""
    stand_in = opened(METADATA, TABLE if tied else TABLE | {"output.weight": np.zeros((20, 16))})
    network = networks.LanguageModel(**gguf_llama.network_fields(stand_in))
    ours, theirs = rig.random_pair(shapes(network), gguf_llama.rules(stand_in))
    return ours, opened(METADATA, theirs)


def permuted(weight, heads):
    """As llama.cpp's converter writes the rows of queries and keys (from memory)."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def test_fields_are_those_of_the_metadata_and_numbers_of_32_bits_are_the_short_ones():
    metadata = METADATA | {"llama.attention.layer_norm_rms_epsilon": float(np.float32(1e-5))}
    assert networks.LanguageModel(**gguf_llama.network_fields(opened(metadata, TABLE))) == TIED
    assert (TIED.epsilon, TIED.vocabulary, TIED.key_value_heads, TIED.head_size, TIED.tied) == (1e-5, 20, 2, None, True)
    wide = METADATA | {
        f"llama.{name}": 6 for name in ("attention.key_length", "attention.value_length", "rope.dimension_count")
    }
    assert gguf_llama.network_fields(opened(wide, TABLE))["head_size"] == 6
    assert not gguf_llama.network_fields(random_pair(tied=False)[1])["tied"]


@table("tied", [True, False])
def test_our_parameters_return_from_a_file_bit_for_bit(tmp_path, tied):
    ours, file = random_pair(tied)
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_files.gguf_bytes(METADATA, file.arrays()))
    again = gguf.load(path)
    network = networks.LanguageModel(**gguf_llama.network_fields(again))
    assert rig.equal(gguf_llama.params(again, shapes(network)), ours)
    assert sum(array.size for array in again.arrays().values()) == networks.count(ours)


def test_names_and_shapes_are_those_of_llama_cpp():
    named = {name: tensor.shape for name, tensor in random_pair(tied=False)[1].tensors.items()}
    assert len(named) == 3 + 2 * 9
    assert (
        named["blk.1.attn_k.weight"] == (8, 16)
        and named["blk.0.ffn_down.weight"] == (16, 24)
        and named["output.weight"] == (20, 16)
    )


def test_rows_of_queries_and_keys_are_put_back_as_llama_cpp_permuted_them():
    ours, file = random_pair()
    straight = rules.to_theirs({"x": ours["block_1"]["qkv"]}, rules.linear("q k v", "x", shares=(4, 2, 2)))
    for name, part, heads in (("q", "q.weight", 4), ("k", "k.weight", 2)):
        np.testing.assert_array_equal(
            file.tensors[f"blk.1.attn_{name}.weight"].numbers(), permuted(straight[part], heads)
        )
    np.testing.assert_array_equal(file.tensors["blk.1.attn_v.weight"].numbers(), straight["v.weight"])


def test_left_permuted_they_are_another_model():
    ours, file = random_pair()
    left = {path: leaf for path, leaf in ours.items()}
    for name in ("block_0", "block_1"):
        kernel = ours[name]["qkv"]["kernel"]
        swapped = np.concatenate(
            [permuted(part.T, heads).T for part, heads in zip(np.split(kernel, (16, 24), -1), (4, 2), strict=False)], -1
        )
        left[name] = ours[name] | {"qkv": {"kernel": np.concatenate([swapped, kernel[:, 24:]], -1)}}
    predict = quickly(lambda params: networks.pure(TIED)(params, TOKENS).logits)
    right, wrong = predict(gguf_llama.params(file, shapes(TIED))), predict(left)
    np.testing.assert_allclose(predict(ours), right, rtol=1e-6)
    assert np.abs(right - wrong).max() > 0.1 * np.abs(right).max()


@pytest.mark.parametrize("name", some_slow(converted_models.NAMES, ("Mistral", "Qwen 2", "Gemma 2")))
def test_a_model_that_llama_cpp_converts_is_that_of_its_folder(name):
    config, metadata, arrays = converted_models.model(name)
    file = opened(metadata, arrays)
    network = networks.LanguageModel(**gguf_llama.network_fields(file))
    folder = networks.LanguageModel(**language_models.module_of(config).network_fields(config))
    ours = gguf_llama.params(file, shapes(network))
    expected = quickly(lambda params: networks.pure(folder)(params, TOKENS).logits)(converted_models.params(config))
    logits = quickly(lambda params: networks.pure(network)(params, TOKENS).logits)(ours)
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())
    again = gguf_llama.tensors(file, ours)
    assert again.keys() == file.tensors.keys()
    assert all(np.array_equal(again[each].numbers(), file.tensors[each].numbers()) for each in again)


def test_llama_3_s_long_contexts_are_read_from_the_divisors_of_frequencies():
    stretch = (8.0, 1.0, 4.0, 8192)
    plain, slow = (
        rotary.Rotary(500_000.0, stretched).frequencies(8) for stretched in (None, rotary.LongContext(*stretch))
    )
    metadata = METADATA | {
        "llama.rope.freq_base": 500_000.0,
        "llama.attention.head_count": 1,
        "llama.attention.head_count_kv": 1,
    }
    metadata["llama.rope.dimension_count"] = 16
    fields = gguf_llama.network_fields(opened(metadata, TABLE | {"rope_freqs.weight": plain / slow}))
    assert fields["rotary_stretch"] == stretch and fields["rotary_base"] == 500_000.0
    with pytest.raises(ConfigError, match="rope_freqs.weight = 'divisors up to 8' is not supported"):
        gguf_llama.network_fields(opened(metadata, TABLE | {"rope_freqs.weight": np.linspace(1, 8, 8)}))
    linear = METADATA | {"llama.rope.scaling.factor": 4.0}
    for kind, stretch in (("linear", 4.0), (None, 4.0), ("none", None)):
        changed = linear if kind is None else linear | {"llama.rope.scaling.type": kind}
        assert gguf_llama.network_fields(opened(changed, TABLE))["rotary_stretch"] == stretch


def fields(metadata):
    return gguf_llama.network_fields(
        opened({key: value for key, value in metadata.items() if value is not None}, TABLE)
    )


UNMATCHED = [
    ({"general.architecture": "mamba"}, "= 'mamba': these rules are for llama, qwen2, qwen3, gemma2, gemma3"),
    ({"llama.rope.scaling.factor": 0.5}, "rope.scaling.factor = 0.5 is not supported, at least 1"),
    ({"llama.block_count": None}, "llama: block_count is missing"),
    ({"llama.block_count": 0}, "block_count = 0 is not supported"),
    ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type = 'yarn'"),
    ({"llama.expert_count": 8}, "expert_count = 8"),
    ({"llama.attention.sliding_window": 4}, "attention.sliding_window = 4 is a setting that these rules do not know"),
    ({"llama.rope.dimension_count": 2}, "rope.dimension_count = 2 is not supported, only 4"),
    ({"llama.attention.head_count": 3}, "attention.head_count = 3 is not supported, it must divide 16"),
    ({"llama.vocab_size": 21}, "vocab_size = 21 is not supported, token_embd.weight has 20 rows"),
    ({"llama.attention.head_count": "4"}, "attention.head_count = '4'"),
    *(({"llama.attention.head_count_kv": n}, f"kv = {n} is not supported, it must divide 4") for n in (3, 0, -1)),
    ({"llama.block_count": 10_000}, "block_count = 10000 is more than its weights have arrays"),
]
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(refusals(*changed_rows(fields, METADATA, UNMATCHED, ConfigError)))


KINDS = {"token_embd": "Q8_0", "attn_q": "Q5_0", "attn_k": "Q5_0", "attn_v": "Q8_0"}
KINDS |= {"ffn_gate": "F16", "ffn_up": "IQ4_NL", "ffn_down": "Q4_K"}
"""As in a file of Q4_K whose width 256 does not divide, and attn_output as plain numbers."""


@functools.cache
def mixed():
    """(network, file) of one block of 64 channels."""
    wide = {"embedding_length": 64, "feed_forward_length": 256, "block_count": 1, "rope.dimension_count": 16}
    metadata = METADATA | {f"llama.{name}": value for name, value in wide.items()}
    stand_in = opened(metadata, {"token_embd.weight": np.zeros((20, 64))})
    network = networks.LanguageModel(**gguf_llama.network_fields(stand_in))
    plain = opened(metadata, rig.random_pair(shapes(network), gguf_llama.rules(stand_in))[1])
    rng, tensors = np.random.default_rng(0), dict(plain.tensors)
    for name, tensor in plain.tensors.items():
        kind = KINDS.get(name.removeprefix("blk.0.").removesuffix(".weight"))
        if kind is not None:
            raw = np.frombuffer(gguf_files.blocks(rng, kind, tensor.shape)[2], np.uint8)
            tensors[name] = gguf.Packed(kind, tensor.shape, raw.reshape(tensor.shape[0], -1))
    return network, gguf.Gguf(metadata, tensors)


def test_packed_matrices_are_those_of_the_file_in_our_order_and_the_rest_is_as_before():
    network, file = mixed()
    loose = gguf_llama.params(file, shapes(network))
    packed = gguf_llama.params(file, shapes(network), maker=packed_reading.as_stored)
    assert {path for path, leaf in trees.paths(packed, is_leaf=is_packed).items() if is_packed(leaf)} == {
        "token",
        *(f"block_0/{name}/kernel" for name in ("qkv", "mlp_0", "mlp_1")),
    }
    for path, leaf in trees.paths(quickly(quantised.dequantise)(packed)).items():
        expected = trees.paths(loose)[path]
        np.testing.assert_allclose(leaf, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(), err_msg=path)
    assert networks.count(packed) == networks.count(loose) and quantised.nbytes(packed) < 0.5 * quantised.nbytes(loose)
    predict = quickly(lambda params: networks.pure(network)(params, TOKENS).logits)
    expected = predict(loose)
    assert np.abs(predict(packed) - expected).max() < 0.02 * expected.std()


def test_packed_or_not_the_same_files_are_refused():
    network, file = mixed()
    few = gguf.Gguf(file.metadata, {name: tensor for name, tensor in file.tensors.items() if "attn_v" not in name})
    with pytest.raises(CheckpointMismatchError, match="1 missing: blk.0.attn_v.weight"):
        gguf_llama.params(few, shapes(network), maker=packed_reading.as_stored)


@pytest.mark.fault("weights: names missing or left over")
def test_every_tensor_is_used_once():
    file = random_pair()[1]
    more = gguf.Gguf(METADATA, dict(file.tensors) | {"blk.0.attn_q.bias": packed(np.ones(16))})
    with pytest.raises(CheckpointMismatchError, match="1 left over: blk.0.attn_q.bias"):
        gguf_llama.params(more, shapes(TIED))
    with pytest.raises(ConfigError, match="the file has no token_embd.weight"):
        gguf_llama.network_fields(gguf.Gguf(METADATA, {}))
