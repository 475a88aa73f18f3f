"""A language model as a loop over its blocks: the same numbers by a program of one block."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language, networks
from gendiff.networks import language_model
from gendiff.weights import quantised
from tests.networks import rig
from tests.quickly import quickly
from tests.refusals import refusals

TOKENS = np.random.default_rng(0).integers(0, 50, (3, 12)).astype(np.int32)
SMALL = {"vocabulary": 50, "context": 32, "width": 32, "depth": 3, "heads": 4, "key_value_heads": 2}
KINDS = {
    "llama": networks.LanguageModel(**SMALL),
    "windows": networks.LanguageModel(**SMALL, norm_heads=True, window=5, norm="rms_from_one", norm_after=True),
    "gpt2": language_model.gpt2(**SMALL),
}
PLAIN = KINDS["llama"]


def scan(network):
    return network.clone(scan_blocks=True)


@functools.cache
def params_of(network):
    return rig.random_params(network, TOKENS)


def logits(network, params, *inputs):
    return quickly(networks.pure(network))(params, *inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_blocks_one_by_one(kind):
    network, params = KINDS[kind], params_of(KINDS[kind])

    def loss(network, params):
        return jnp.mean(jnp.square(networks.pure(network)(params, TOKENS).logits))

    value, slope = quickly(jax.value_and_grad(functools.partial(loss, network)))(params)
    stacked = language_model.stack_blocks(params)
    for saved in (False, True):
        other = scan(network).clone(remat=saved)
        again, slopes = quickly(jax.value_and_grad(functools.partial(loss, other)))(stacked)
        np.testing.assert_allclose(again, value, rtol=1e-5)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
            slopes,
            language_model.stack_blocks(slope),
        )


def test_parameters_are_drawn_as_one_stack_and_blocks_differ():
    params = networks.init(scan(PLAIN), jax.random.key(0), TOKENS)
    expected = jax.eval_shape(language_model.stack_blocks, params_of(PLAIN))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    kernels = params["blocks"]["qkv"]["kernel"]
    assert float(jnp.abs(kernels[0] - kernels[1]).max()) > 1e-3


def test_donated_blocks_are_deleted_and_others_stay():
    params = jax.tree.map(jnp.copy, params_of(PLAIN))
    stacked = language_model.stack_blocks(params, donate=True)
    jax.tree.map(np.testing.assert_array_equal, stacked, language_model.stack_blocks(params_of(PLAIN)))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves([params[f"block_{number}"] for number in range(3)]))


PAGED = {"pages": 13, "page": 4, "order": np.random.default_rng(1).permutation(12) + 1}
CACHES = {"full": language.cache.full, "paged": functools.partial(language.cache.paged, **PAGED)}


def parts(network, params, texts, kind):
    """Logits of texts of unlike lengths that come in parts, after one of which a token is taken back."""
    cache = CACHES[kind](network, 3, 16)
    call = quickly(networks.pure(network))
    first = call(params, np.where(np.arange(6) < np.array([[6], [3], [5]]), texts[:, :6], -1), cache)
    second = call(params, texts[:, 6:7], first.cache)
    third = call(params, texts[:, 7:9], second.cache.rewound(second.cache.length - np.array([0, 1, 0])))
    swapped = third.cache if kind == "paged" else third.cache.reordered(np.array([1, 0, 2]))
    fourth = call(params, texts[:, 9:10], swapped)
    alone = call(params, texts[:1, :1], fourth.cache.row(1))
    last = call(params, texts[:, 10:11], fourth.cache.with_row(1, alone.cache))
    again = call(params, texts[:, :2], last.cache.cleared())
    return [answer.logits for answer in (first, second, third, fourth, alone, last, again)]


@pytest.mark.parametrize(("kind", "cache"), [("llama", "paged"), ("windows", "full")])
def test_a_cache_holds_all_blocks_and_does_what_others_do(kind, cache):
    network, params = KINDS[kind], params_of(KINDS[kind])
    expected = parts(network, params, TOKENS, cache)
    results = parts(scan(network), language_model.stack_blocks(params), TOKENS, cache)
    for result, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-4, atol=1e-4)


def test_a_stacked_cache_has_the_bytes_of_others():
    full, plain = (language.cache.full(network, 3, 16) for network in (scan(PLAIN), PLAIN))
    assert language.cache.nbytes(full) == language.cache.nbytes(plain)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(full)} == {3}
    paged, separate = (CACHES["paged"](network, 3, 16) for network in (scan(PLAIN), PLAIN))
    assert paged.page == separate.page == 4 and paged.narrowed(2).layers[0].table.shape == (3, 2)


def test_packed_weights_give_the_same_text_bit_for_bit():
    packed = quantised.quantise(params_of(PLAIN), quantised.linear(quantised.int4(), tables=True))
    write = quickly(language.generate, static_argnames="max_tokens")

    def written(network, params):
        cache = language.cache.full(network, 3, 24)
        next_logits = language.from_network(networks.pure(network), params)
        return write(jax.random.key(0), next_logits, cache, TOKENS, np.arange(3), max_tokens=8)

    one, other = written(PLAIN, packed), written(scan(PLAIN), language_model.stack_blocks(packed))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)


def test_a_program_is_as_large_for_many_blocks_as_for_two():
    def size(depth):
        network = scan(PLAIN).clone(depth=depth)
        like = jax.eval_shape(functools.partial(networks.init, network), jax.random.key(0), TOKENS)
        cache = language.cache.full(network, 3, 16)
        return jax.jit(networks.pure(network)).lower(like, TOKENS[:, :1], cache).as_text().count("\n")

    assert size(2) == size(9)


def unlike(params):
    kernel = jnp.pad(params["block_1"]["mlp_0"]["kernel"], ((0, 0), (0, 1)))
    return params | {"block_1": params["block_1"] | {"mlp_0": {"kernel": kernel}}}


def called(network, cache_of=None, build=language.cache.full):
    return lambda: networks.init(
        network, jax.random.key(0), TOKENS[:, :4], None if cache_of is None else build(cache_of, 3, 16)
    )


test_what_makes_no_loop_is_refused = refusals(
    (called(scan(PLAIN).clone(experts=networks.Experts(2))), "scan_blocks is for equal blocks"),
    (called(scan(PLAIN).clone(window=4, global_blocks=(1,))), "scan_blocks is for equal blocks"),
    (called(scan(PLAIN), cache_of=PLAIN), "built for a network with scan_blocks = False"),
    (called(PLAIN, cache_of=scan(PLAIN)), "built for a network with scan_blocks = True"),
    (called(scan(PLAIN), cache_of=scan(PLAIN), build=language.cache.int8), "scan_blocks = False"),
    (lambda: language_model.stack_blocks(unlike(params_of(PLAIN))), "unlike kinds"),
    (lambda: language_model.stack_blocks({"token": params_of(PLAIN)["token"]}), "no blocks"),
)
