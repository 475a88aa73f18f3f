"""The losses that keep experts evenly used, by closed forms, and the mistakes of well-known code, each of which a test
tells apart.
"""

import functools

import jax
import numpy as np
import pytest

from gendiff.networks import routing
from gendiff.networks.blocks.mixture_of_experts import Experts, token_choice
from gendiff.networks.blocks.routing import Routing
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

GIVEN = np.arange(8)[None] < np.array([8, 5])[:, None]
SWITCH = Experts(4, 1, normalised=False)


WHOLE = np.ones((2, 8), bool)
MEASURES = {
    measure.__name__: functools.partial(lambda program, layers: np.asarray(program(layers)), quickly(measure))
    for measure in (routing.balance_loss, routing.z_loss, routing.load, routing.dropped)
}
balance_loss, z_loss, load, dropped = MEASURES.values()


@functools.partial(quickly, static_argnums=2)
def choice(logits, present, experts, balance=None):
    return token_choice(logits, present, experts, balance)[0]


@functools.partial(quickly, static_argnums=(0, 3))
def gradient(loss, logits, present, experts):
    return jax.grad(lambda logits: loss(token_choice(logits, present, experts)[0])[0])(logits)


def slope_of(loss, logits, present=GIVEN):
    return np.asarray(gradient(loss, logits, present, SWITCH))


def routed(logits, experts=SWITCH, present=GIVEN, balance=None):
    return jax.tree.map(np.asarray, choice(np.asarray(logits, np.float32), present, experts, balance))


def random_logits(seed=0, spread=2.0):
    return spread * np.random.default_rng(seed).normal(size=(2, 8, 4)).astype(np.float32)


COLLAPSED = 50.0 * np.eye(4, dtype=np.float32)[np.zeros((2, 8), int)]
SPREAD = 50.0 * np.eye(4, dtype=np.float32)[np.arange(8)[None].repeat(2, 0) % 4]


@table("experts", [SWITCH, Experts(4, 2), Experts(4, 3, 0.5)])
def test_the_balance_loss_of_a_router_that_knows_nothing_is_one(experts):
    np.testing.assert_allclose(balance_loss(routed(np.zeros((2, 8, 4)), experts)), [1.0], rtol=1e-6)


def test_the_balance_loss_is_one_for_even_use_and_the_number_of_experts_for_one_that_gets_all():
    even, collapsed = routed(SPREAD, present=WHOLE), routed(COLLAPSED, present=WHOLE)
    np.testing.assert_allclose(balance_loss((even, collapsed)), [1.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(load((even, collapsed)), [[0.25] * 4, [1, 0, 0, 0]])


def by_hand(logits, counts, present=GIVEN):
    """E · Σ f P in NumPy, by these counts."""
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return 4 * np.sum(counts / counts.sum() * shares[present].mean(0))


@table("top_k", [1, 2])
def test_the_balance_loss_counts_choices_before_any_is_dropped_and_leaves_padding_out(top_k):
    """Counted after the drop, f is even however a router collapses (Megatron-LM#1513)."""
    experts = Experts(4, top_k, 0.5, normalised=top_k > 1)
    logits = random_logits() + np.array([3, 0, 0, 0], np.float32)
    result = routed(logits, experts)
    best = np.argsort(-logits, -1)[..., :top_k][GIVEN]
    before = np.bincount(best.ravel(), minlength=4)
    after = result.kept.sum((0, 1))
    loss = balance_loss(result)[0]
    assert loss == pytest.approx(by_hand(logits, before), rel=1e-5)
    assert abs(loss - by_hand(logits, after)) > 0.1, "the mistake would be seen"
    assert dropped(result)[0] == pytest.approx(1 - after.sum() / before.sum()) and after.sum() < before.sum()
    with_padding = np.bincount(np.argsort(-logits, -1)[..., :top_k].ravel(), minlength=4)
    assert abs(loss - by_hand(logits, with_padding, WHOLE)) > 1e-3


def test_the_balance_loss_is_made_of_probabilities_and_not_of_logits():
    """A mean of logits has no scale: adding a number to all of a token's logits must change nothing
    (transformers#28255).
    """
    logits, shift = random_logits(), 10 * np.random.default_rng(5).normal(size=(2, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(balance_loss(routed(logits + shift)), balance_loss(routed(logits)), rtol=1e-4)
    assert z_loss(routed(logits + shift))[0] > 2 * z_loss(routed(logits))[0]


def test_opposite_imbalances_of_two_blocks_do_not_cancel():
    """Pooled over blocks, four that each use one expert of their own would look even (transformers#31464)."""
    blocks = tuple(routed(np.roll(COLLAPSED, shift, -1), present=WHOLE) for shift in range(4))
    np.testing.assert_allclose(balance_loss(blocks), [4.0] * 4, rtol=1e-6)
    pooled = Routing(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    np.testing.assert_allclose(balance_loss(pooled), [1.0], rtol=1e-6)


def test_the_loss_is_no_constant_but_pushes_a_busy_expert_down():
    logits = random_logits() + np.array([2, 0, 0, 0], np.float32)
    slope = slope_of(routing.balance_loss, logits)
    assert np.all(slope[GIVEN][:, 0] > 0), "lower logits of the busy expert lower the loss"
    assert not np.any(slope[~GIVEN])


def test_the_z_loss_is_the_mean_square_of_the_logarithm_of_the_sum():
    logits = random_logits()
    expected = np.mean(np.log(np.exp(logits).sum(-1))[GIVEN] ** 2)
    assert z_loss(routed(logits))[0] == pytest.approx(expected, rel=1e-5)
    assert z_loss(routed(np.zeros((2, 8, 4))))[0] == pytest.approx(np.log(4) ** 2)
    assert np.isfinite(z_loss(routed(np.full((2, 8, 4), 1e4))))


@table("loss", [routing.balance_loss, routing.z_loss])
@table("present", [WHOLE, 0 * WHOLE > 0])
def test_gradients_are_finite_where_experts_are_equal_and_where_no_token_is_given(loss, present):
    slope = slope_of(loss, np.zeros((2, 8, 4), np.float32), present)
    assert np.all(np.isfinite(slope))
    assert np.isfinite(MEASURES[loss.__name__](routed(np.zeros((2, 8, 4)), present=present))).all()


def test_the_balance_of_an_expert_rises_by_the_rate_where_it_got_less_than_the_mean():
    move, none = quickly(routing.balanced), np.zeros(4, np.float32)
    moved = move(none, np.array([0.7, 0.1, 0.2, 0.25], np.float32) * np.float32(0.8), 0.01)
    np.testing.assert_allclose(moved, [-0.01, 0.01, 0.01, 0.01], rtol=1e-6)
    assert not np.any(move(none, np.full(4, 0.25, np.float32), 0.01))


def test_moving_the_balance_evens_out_a_router_that_prefers_one_expert():
    experts, logits = (
        Experts(4, 1, normalised=False, bias_balanced=True),
        random_logits(spread=0.5) + np.array([1, 0, 0, 0], np.float32),
    )
    params = {"block_0": {"experts": {"balance": np.zeros(4, np.float32)}, "other": 1}, "token": 2}
    first = routed(logits, experts, balance=np.zeros(4, np.float32))
    move = quickly(routing.rebalanced)
    for _ in range(60):
        current = routed(logits, experts, balance=params["block_0"]["experts"]["balance"])
        params = move(params, (current,), 0.01)
    assert np.max(load(first)) > 0.6 and np.max(load(current)) < 0.4
    by_load = move(params, load((current,)), 0.01)["block_0"]["experts"]["balance"]
    np.testing.assert_array_equal(by_load, move(params, (current,), 0.01)["block_0"]["experts"]["balance"])
    assert params["token"] == 2 and params["block_0"]["other"] == 1


test_mistakes_are_refused = refusals(
    *[(functools.partial(getattr(routing, name), ()), "no block has a router") for name in MEASURES],
)
