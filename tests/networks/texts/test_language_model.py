"""The trunk of the language chapter, against its formulas written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language, networks
from gendiff.core import trees
from gendiff.networks import attention, language_model, rotary
from gendiff.networks.layers import ACTIVATIONS
from gendiff.training import sharding
from tests.networks import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

pytestmark = pytest.mark.numbers

TOKENS = np.random.default_rng(0).integers(0, 50, (3, 12)).astype(np.int32)
SMALL = {"vocabulary": 50, "context": 16, "width": 16, "depth": 2, "heads": 4}
STRETCHED = rotary.Rotary(100.0, rotary.LongContext(2.0, 0.5, 2.0, 8))
STRETCH = {"rotary_base": 100.0, "rotary_stretch": (2.0, 0.5, 2.0, 8)}
KINDS = {
    "llama": networks.LanguageModel(**SMALL | {"depth": 1}, key_value_heads=2, mlp_width=20),
    "qwen2": networks.LanguageModel(**SMALL, key_value_heads=1, qkv_bias=True, tied=False, **STRETCH),
    "qwen3": networks.LanguageModel(**SMALL, key_value_heads=2, head_size=6, norm_heads=True, window=5),
    "gpt2": language_model.gpt2(**SMALL | {"depth": 1}),
    "gemma": networks.LanguageModel(
        **SMALL | {"depth": 3},
        key_value_heads=2,
        head_size=6,
        activation="gelu_tanh",
        norm="rms_from_one",
        norm_after=True,
        norm_heads=True,
        query_scalar=3.0,
        score_cap=2.0,
        logit_cap=3.0,
        rotary_base=100.0,
        rotary_stretch=4.0,
        local_rotary_base=20.0,
        window=5,
        global_blocks=(1,),
        scaled_tokens=True,
    ),
}

every_kind = pytest.mark.parametrize("kind", some_slow(KINDS, ("qwen2", "gemma")))


@functools.cache
def random_params(network):
    return rig.random_params(network, TOKENS)


@functools.partial(quickly, static_argnums=0)
def both(predict, params, tokens):
    """Logits of all tokens, and those of the last ones alone."""
    return predict(params, tokens).logits, predict(params, tokens, None, False).logits


def answers(predict, params, tokens):
    return np.asarray(both(predict, params, tokens)[0])


@functools.cache
def activate(name):
    return quickly(ACTIVATIONS[name])


def turned(x, places, rotary):
    """Each pair of channels (i, i + n) as a complex number, times e^(i · angle)."""
    half = x.shape[-1] // 2
    spun = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * places[:, None, None] * rotary.frequencies(half))
    return np.concatenate([spun.real, spun.imag], -1)


def by_formula(network, params, tokens):
    """One text (s,) -> (s, v), in float64, token by token and head by head."""
    weights = {name: np.asarray(value, np.float64) for name, value in trees.paths(params).items()}

    def linear(name, x):
        return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)

    def norm(name, x):
        if network.norm == "layer":
            x = x - x.mean(-1, keepdims=True)
        unit = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + network.epsilon)
        gain = weights[f"{name}/scale"] + (network.norm == "rms_from_one")
        return unit * gain + weights.get(f"{name}/bias", 0.0)

    def summed(name, x, y):
        return x + (norm(f"{name}_after", y) if network.norm_after else y)

    def capped(x, cap):
        return x if cap is None else cap * np.tanh(x / cap)

    heads, shared = network.heads, network.key_value_heads or network.heads
    size = network.head_size or network.width // heads
    places = np.arange(len(tokens))
    x = weights["token"][tokens] * (network.width**0.5 if network.scaled_tokens else 1)
    x = x + (weights["position"][places] if network.positions == "learned" else 0)
    for number in range(network.depth):
        window = None if number in network.global_blocks else network.window
        block = f"block_{number}"
        y = linear(f"{block}/qkv", norm(f"{block}/norm_0", x)).reshape(len(tokens), -1, size)
        query, key, value = y[:, :heads], y[:, heads : heads + shared], y[:, heads + shared :]
        if network.norm_heads:
            query, key = (norm(f"{block}/norm_{name}", part) for name, part in (("query", query), ("key", key)))
        if network.positions == "rotary":
            turns = STRETCHED if network.rotary_stretch else rotary.Rotary(network.rotary_base)
            if network.local_rotary_base is not None:
                turns = rotary.Rotary(100.0, 4.0) if window is None else rotary.Rotary(20.0)
            query, key = turned(query, places, turns), turned(key, places, turns)
        mixed = np.zeros_like(query)
        for at in places:
            first = 0 if window is None else max(0, at + 1 - window)
            for head in range(heads):
                group = head // (heads // shared)
                scores = key[first : at + 1, group] @ query[at, head] / np.sqrt(network.query_scalar or size)
                scores = capped(scores, network.score_cap)
                shares = np.exp(scores - scores.max())
                mixed[at, head] = (shares / shares.sum()) @ value[first : at + 1, group]
        x = summed(f"{block}/norm_0", x, linear(f"{block}/output", mixed.reshape(len(tokens), -1)))
        y = linear(f"{block}/mlp_0", norm(f"{block}/norm_1", x))
        gate, up = np.split(y, 2, -1) if network.gated else (y, 1.0)
        narrow = linear(f"{block}/mlp_1", np.asarray(activate(network.activation)(gate), np.float64) * up)
        x = summed(f"{block}/norm_1", x, narrow)
    x = norm("output_norm", x)
    return capped(x @ weights["token"].T if network.tied else linear("output", x), network.logit_cap)


@every_kind
def test_logits_are_those_of_the_formulas(kind):
    network = KINDS[kind]
    params = random_params(network)
    result = answers(networks.pure(network), params, TOKENS)
    for text, logits in zip(TOKENS, result, strict=True):
        np.testing.assert_allclose(logits, by_formula(network, params, text), rtol=2e-4, atol=2e-4)


@every_kind
def test_a_token_does_not_see_later_ones_and_padding_changes_nothing(kind):
    network = KINDS[kind]
    predict, params = networks.pure(network), random_params(network)
    full = answers(predict, params, TOKENS)
    later = np.concatenate([TOKENS[:, :7], (TOKENS[:, 7:] + 1) % 50], 1)
    padded = np.where(np.arange(12)[None] < 7, TOKENS, language_model.PADDING)
    for changed in (later, padded):
        np.testing.assert_allclose(answers(predict, params, changed)[:, :7], full[:, :7], atol=1e-5)
    np.testing.assert_allclose(both(predict, params, padded)[1], full[:, 6], atol=1e-5)


LENGTHS = np.array([[5, 4, 1], [12, 0, 0], [2, 3, 7]])
"""Of the texts that are packed into each row of TOKENS; the first row has two of padding."""


@table("kind", ["qwen3", "gpt2"])
def test_logits_of_packed_texts_are_those_of_each_text_alone(kind):
    network = KINDS[kind]
    predict, params = networks.pure(network), random_params(network)
    segments = np.stack([np.append(np.repeat([4, 2, 4], row), [-1] * (12 - row.sum())) for row in LENGTHS]).astype(
        np.int32
    )
    packed = quickly(lambda params, tokens, segments: predict(params, tokens, None, True, segments).logits)
    result = packed(params, np.where(segments < 0, language_model.PADDING, TOKENS), segments)
    for row, lengths in enumerate(LENGTHS):
        texts = np.split(TOKENS[row, : lengths.sum()], np.cumsum(lengths)[:-1])
        padded = [np.pad(text, (0, 12 - len(text)), constant_values=language_model.PADDING) for text in texts]
        alone = answers(predict, params, np.stack(padded))
        expected = np.concatenate([logits[:length] for logits, length in zip(alone, lengths, strict=True)])
        np.testing.assert_allclose(result[row, : lengths.sum()], expected, atol=1e-5)


def test_last_tokens_and_packed_texts_are_answered_on_explicit_axes():
    network = KINDS["llama"]
    predict, params = networks.pure(network), random_params(network)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    last = quickly(lambda params, tokens: predict(params, tokens, None, False, tokens * 0).logits)
    placed = sharding.replicate(params, mesh), sharding.shard(TOKENS, mesh)
    np.testing.assert_allclose(last(*placed), last(params, TOKENS), atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_segments_that_do_not_fit_are_refused():
    predict, params = networks.pure(KINDS["llama"]), random_params(KINDS["llama"])
    for segments, cache, error, message in (
        (TOKENS[:, 1:], None, ValueError, r"segments has shape \(3, 11\)"),
        (TOKENS / 1.0, None, TypeError, "segments must hold integers"),
        (TOKENS, language.cache.full(KINDS["llama"], 3, 12), ValueError, "segments with a cache"),
    ):
        with pytest.raises(error, match=message):
            jax.eval_shape(lambda segments=segments, cache=cache: predict(params, TOKENS, cache, True, segments))


def test_a_window_of_five_reaches_as_far_back_as_its_blocks_times_four():
    network = KINDS["qwen3"]
    predict, params = networks.pure(network), random_params(network)
    changed = TOKENS.copy()
    changed[:, 0] = (changed[:, 0] + 1) % 50
    moved_by = np.abs(answers(predict, params, changed) - answers(predict, params, TOKENS)).max((0, 2))
    assert (moved_by[:9] > 0).all() and not moved_by[9:].any()  # two blocks, each four tokens


def test_the_last_layer_is_the_table_of_tokens_unless_it_is_free():
    assert "output" not in random_params(KINDS["llama"]) and random_params(KINDS["qwen2"])["output"][
        "kernel"
    ].shape == (16, 50)


def test_the_scalar_head_is_a_linear_layer_in_place_of_the_one_of_logits_and_reads_the_last_token_of_each_text():
    network = KINDS["llama"].clone(head="scalar")
    params = rig.random_params(network, TOKENS)
    assert params["scalar"]["kernel"].shape == (16, 1) and "output" not in params
    kernel = np.zeros((16, 50), np.float32)
    kernel[:, :1], bias = (np.asarray(params["scalar"][name]) for name in ("kernel", "bias"))
    as_logits = {name: leaf for name, leaf in params.items() if name != "scalar"} | {
        "output": {"kernel": jax.device_put(kernel)}
    }
    padded = np.where(np.arange(12)[None] < 7, TOKENS, language_model.PADDING)
    numbers, last = map(np.asarray, both(networks.pure(network), params, padded))
    logits = answers(networks.pure(network.clone(head="tokens", tied=False)), as_logits, padded)
    assert numbers.shape == (3, 12) and last.shape == (3,)
    np.testing.assert_allclose(numbers[:, :7], logits[:, :7, 0] + bias, atol=1e-5)
    np.testing.assert_allclose(last, numbers[:, 6], atol=1e-6)


def test_stretched_frequencies_keep_fast_pairs_and_divide_slow_ones():
    plain, slow = rotary.Rotary(100.0).frequencies(8), STRETCHED.frequencies(8)
    turns = 8 * plain / (2 * np.pi)
    np.testing.assert_array_equal(slow[turns >= 2.0], plain[turns >= 2.0])
    np.testing.assert_allclose(slow[turns <= 0.5], plain[turns <= 0.5] / 2)


def test_attention_with_shared_keys_is_attention_with_each_key_repeated():
    rng = np.random.default_rng(3)
    query, key, value = (rng.normal(size=(2, 5, heads, 4)).astype(np.float32) for heads in (6, 2, 2))
    mask = rng.random((2, 1, 5, 5)) < 0.6
    attend = quickly(attention.attend, static_argnames="implementation")
    for implementation in ("heads_first", "xla"):
        shared = attend(query, key, value, mask, implementation=implementation)
        repeated = attend(query, np.repeat(key, 3, 2), np.repeat(value, 3, 2), mask, implementation=implementation)
        np.testing.assert_allclose(shared, repeated, atol=1e-6)
    with pytest.raises(ValueError, match="6 heads share 4 keys"):
        attention.attend(*map(jnp.asarray, (query, np.repeat(key, 2, 2), np.repeat(value, 2, 2))))


def test_under_jit_an_unknown_id_makes_its_own_text_not_a_number():
    network = KINDS["llama"]
    tokens = TOKENS.copy()
    tokens[1, 4] = 50
    result = answers(networks.pure(network), random_params(network), tokens)
    assert np.isfinite(result[[0, 2]]).all() and np.isnan(result[1]).all()


def called(tokens=TOKENS, **changes):
    def call():
        network = networks.LanguageModel(**(SMALL | changes))
        jax.eval_shape(lambda: networks.init(network, jax.random.key(0), tokens))
        network.apply({"params": random_params(KINDS["llama"])}, tokens)

    return call


test_what_does_not_fit_is_refused = refusals(
    (called(np.full((1, 4), 50, np.int32)), "tokens holds 50, which is none of 0 … 49"),
    (called(np.full((1, 4), -2, np.int32)), "tokens holds -2"),
    (called(np.zeros((1, 4), np.float32)), "tokens must hold integers", TypeError),
    (called(np.zeros((1, 17), np.int32)), "1 to 16 tokens is needed"),
    (called(key_value_heads=3), "key_value_heads = 3 does not divide heads = 4"),
    (called(heads=3, key_value_heads=1), "heads = 3 does not divide the width 16"),
    (called(norm="batch"), "norm = 'batch'"),
    (called(positions="relative"), "positions = 'relative'"),
    (called(head="values"), "head = 'values' is none of tokens, scalar"),
    (called(window=0), "window = 0"),
    (called(global_blocks=(0,)), r"global_blocks = \(0,\) are those without a window"),
    (called(global_blocks=(2,), window=3), r"global_blocks = 2 is outside \[0, 1\]"),
    (called(score_cap=0.0), "cap = 0 is outside"),
    (called(logit_cap=-1.0), "logit_cap = -1 is outside"),
    (called(rotary_stretch=0.5), "stretched = 0.5 is outside"),
    (called(width=15, heads=5), "head size 3"),
)
