"""Operations and bytes, against the networks themselves, against sums over every token, and against the public scaling
book.
"""

import jax
import numpy as np
import pytest

from gendiff import networks, scaling
from gendiff.scaling import cost, quantities
from tests.refusals import refusals
from tests.tables import table

LLAMA_13B = scaling.DecoderSize(32000, 5120, 40, 40, 128, 13824, tied=False)


@table("changes", [{}, {"tied": False, "gated": False}, {"key_value_heads": 2}])
def test_a_size_counts_the_parameters_of_the_network_that_has_it(changes):
    size = scaling.DecoderSize(30, 12, 2, 4, 6, 7, **changes)
    network = networks.LanguageModel(30, 8, 12, 2, 4, head_size=6, mlp_width=7, **changes)
    shapes = jax.eval_shape(lambda key: networks.init(network, key, np.zeros((1, 4), np.int32)), jax.random.key(0))
    assert size.parameters == networks.count(shapes)
    tables_and_norms = sum(leaf.size for leaf in jax.tree.leaves(shapes) if leaf.ndim == 1) + 30 * 12 * (not size.tied)
    assert size.active == size.parameters - tables_and_norms


def test_llama_2_13b_has_the_parameters_and_the_cache_of_the_book():
    assert LLAMA_13B.parameters == pytest.approx(13e9, rel=0.01)
    assert LLAMA_13B.cache_bytes(8192) == pytest.approx(6.7e9, rel=0.01)
    grouped = cost.cache_bytes(8192, 40, 8, 128)
    assert grouped == pytest.approx(1.34e9, rel=0.01) and 5 * grouped == LLAMA_13B.cache_bytes(8192)
    assert cost.cache_bytes(8192, 40, 40, 128, 1) * 2 == LLAMA_13B.cache_bytes(8192)


def test_experts_add_to_the_parameters_of_memory_and_only_top_k_to_those_of_a_token():
    sizes = {"vocabulary": 30, "width": 12, "depth": 2, "heads": 4, "head_size": 3}
    dense, wide = (scaling.DecoderSize(**sizes, mlp_width=width) for width in (8, 16))
    mixed = scaling.DecoderSize(**sizes, mlp_width=8, experts=4, top_k=2)
    router = 2 * 12 * 4
    assert mixed.active == wide.active + router
    assert mixed.parameters == dense.parameters + 3 * (wide.parameters - dense.parameters) + router


def test_training_is_three_forward_passes_and_both_grow_with_attention():
    assert cost.training_flops(70e9, 1.4e12) == pytest.approx(6 * 70e9 * 1.4e12)
    assert cost.training_flops(10, 7, attention=3) == 3 * cost.forward_flops(10, 7, attention=3) == 3 * 7 * 23


@table("window", [1, 3, 9, 100, np.inf])
def test_the_mean_number_of_seen_tokens_is_that_of_the_causal_mask(window):
    mask = np.tri(9) - np.tri(9, k=-window if window < 9 else -9)
    assert cost.mean_seen(9, window) == pytest.approx(mask.sum(1).mean())


def test_attention_is_two_products_with_every_seen_key_of_every_head():
    queries, keys, heads, size = 6, 6, 4, 5
    two_products = 2 * (2 * queries * keys * heads * size)
    assert queries * cost.attention_flops(keys, 1, heads, size) == two_products
    assert LLAMA_13B.attention_flops(8192) == cost.attention_flops(8192, 40, 40, 128)
    book = 12 * 8192 * 40 * 128 * 40  # per token in training, without a mask
    assert cost.training_flops(0, 1, LLAMA_13B.attention_flops(8192)) == book


def test_a_group_of_32_int4_weights_with_one_scale_takes_four_and_a_half_bits_each():
    assert cost.weight_bytes(1000, 4, 32, 16) == 1000 * 4.5 / 8
    assert cost.weight_bytes(1000) == 2000


def test_a_picture_takes_two_evaluations_per_step_with_guidance():
    plain = cost.image_flops(675e6, 256, 250, guided=False)
    assert plain == 250 * 2 * 675e6 * 256
    assert cost.image_flops(675e6, 256, 250, guided=True, decoder=7.0) == 2 * plain + 7
    assert cost.image_flops(0, 4, 1, guided=False, attention=cost.attention_flops(4, 1, 1, 3)) == 4 * 48


test_mistakes_are_refused = refusals(
    (lambda: cost.forward_flops(-1), r"parameters = -1 is outside \[0"),
    (lambda: cost.training_flops(1, np.array([1, -2])), "tokens"),
    (lambda: cost.mean_seen(0), "tokens = 0"),
    (lambda: cost.weight_bytes(1, float("nan")), "bits = nan"),
    (lambda: quantities.positive(1.0, share=2.0), r"share = 2 is outside \(0, 1\]"),
    (lambda: quantities.not_negative(share=-2.0), "share"),
    (lambda: scaling.DecoderSize(30, 12, 2, 4, 6, 7, experts=2, top_k=3), "top_k = 3"),
    (lambda: scaling.DecoderSize(30, 12.0, 2, 4, 5, 7), "width must be an integer", TypeError),
)
