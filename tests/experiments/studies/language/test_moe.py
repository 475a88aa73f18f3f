"""Mixtures of experts on made-up answers: their loss, and what is measured of them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language import moe
from experiments.language.moe import ACTIVE, BALANCED, EXPERIMENT, FREE, HALF, TOTAL, Judged, RoutedLoss
from gendiff.core.errors import ConfigError
from gendiff.networks.blocks.routing import Routing
from gendiff.networks.texts.language_model import Answer
from gendiff.runs import ranges
from gendiff.training import TrainState

FULL = EXPERIMENT.presets["full"]
CONFIG = dataclasses.replace(FULL, width=16, depth=2, experts=4, length=15, resamples=20)
VOCABULARY = 9
ROWS = np.array([[1, 2, 3, 4], [2, 3, 4, 5]], np.int32)


def predict(params, rows):
    """The token that follows is the next number, with a logit as large as the first token of its row; others have 0."""
    logits = jax.nn.one_hot(rows + 1, VOCABULARY) * rows[:, :1, None].astype(jnp.float32)
    return Answer(logits, None, params)


def routing(logits, chosen):
    """Of one block and one text of two tokens that choose two of four experts each."""
    inputs = [jnp.broadcast_to(jnp.asarray(each, jnp.float32), (1, 2, 4)) for each in (logits, chosen)]
    return Routing(inputs[0], inputs[1] > 0, inputs[1] > 0, inputs[1], jnp.ones((1, 2), bool))


SURE = routing([90, 0, 0, 0], [1, 1, 0, 0])  # f = (½, ½, 0, 0), P = (1, 0, 0, 0): the balance loss is 4 · ½
EVEN = routing([0, 0, 0, 0], [1, 1, 0, 0])  # P = ¼: 4 · (½ · ¼ + ½ · ¼)


def surprise(logit):
    return math.log(math.exp(logit) + VOCABULARY - 1) - logit


def test_the_loss_is_that_of_the_next_token_alone_and_says_how_evenly_experts_are_used():
    nll = (surprise(1) + surprise(2)) / 2
    value, metrics = RoutedLoss(predict)((SURE, EVEN), jax.random.key(0), ROWS)
    np.testing.assert_allclose(metrics.pop("load"), [[0.5, 0.5, 0, 0]] * 2)
    assert value == pytest.approx(nll, abs=1e-6)
    assert {name: float(each) for name, each in metrics.items()} == pytest.approx(
        {"nll": nll, "balance": 1.5, "busiest": 2.0}, abs=1e-6
    )
    value, metrics = RoutedLoss(predict)((), jax.random.key(0), ROWS)
    assert value == metrics["nll"] == pytest.approx(nll, abs=1e-6) and metrics.keys() == {"nll"}


def test_behind_a_step_the_numbers_of_balance_move_towards_experts_with_few_tokens_if_there_are_any():
    load = jnp.array([[0.5, 0.25, 0.25, 0.0]])

    def advance(state, batch):
        return state, {"nll": batch, "load": load}

    for balance, done, rate in (({"balance": jnp.zeros(4)}, 0, 1), ({"balance": jnp.zeros(4)}, 5, 0.5), ({}, 0, 1)):
        params = {"block_0": {"experts": {"router": jnp.ones(2), **balance}}}
        start = TrainState(jnp.array(done), params, {}, (), jax.random.key(0))
        state, metrics = moe.rebalancing(advance, 10)(start, jnp.zeros(()))
        assert metrics.keys() == {"nll"} and np.all(state.params["block_0"]["experts"].pop("router") == 1)
        moved = state.params["block_0"]["experts"]
        assert moved.keys() == balance.keys()
        for numbers in moved.values():
            np.testing.assert_allclose(numbers, rate * moe.BALANCE_RATE * np.array([-1, 0, 0, 1]), atol=1e-8)
    biased = {name: (experts := moe.network(CONFIG, name).experts) and experts.bias_balanced for name in moe.FOLDERS}
    assert biased == {BALANCED: True, HALF: True, FREE: False, ACTIVE: None, TOTAL: None}


def test_held_out_rows_come_from_all_over_other_files():
    trained, held_out = moe.rows(CONFIG)
    _, more = moe.rows(dataclasses.replace(CONFIG, judged=10**6))
    assert held_out.shape == (CONFIG.judged, CONFIG.length + 1) and len(trained) > 4 * len(more)
    np.testing.assert_array_equal(held_out, more[:: len(more) // CONFIG.judged][: CONFIG.judged])
    assert set(np.unique(trained[:1000])) <= set(range(257))


def test_a_network_is_judged_by_row_and_by_block(monkeypatch):
    monkeypatch.setattr(moe.networks, "pure", lambda network: predict)
    losses, shares, balance = moe.judge_of(CONFIG, BALANCED)((SURE, EVEN), ROWS)
    np.testing.assert_allclose(losses, [surprise(1), surprise(2)], atol=1e-6)
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0, 0]] * 2)
    np.testing.assert_allclose(balance, [2.0, 1.0], atol=1e-6)
    _, shares, balance = moe.judge_of(CONFIG, ACTIVE)((), ROWS)
    np.testing.assert_array_equal(shares, [[1.0], [1.0]])
    np.testing.assert_array_equal(balance, [1.0, 1.0])


def test_rows_that_do_not_fill_a_call_are_left_out_and_calls_count_alike():
    calls = []

    def judge(params, rows):
        calls.append(len(rows))
        return rows[:, 0], np.eye(2)[len(calls) % 2], np.array([float(len(calls))])

    scores = moe.judged(judge, None, np.arange(70)[:, None])
    assert calls == [32, 32] and scores.losses.tolist() == list(range(64))
    assert scores.shares.tolist() == [0.5, 0.5] and scores.balance.tolist() == [1.5]
    assert moe.judged(judge, None, np.arange(5)[:, None]).losses.tolist() == list(range(5))


def test_dense_networks_have_the_operations_or_the_parameters_of_the_experts():
    """Per token: the last layer, and in each block four matrices of attention, three of each MLP that it visits, and
    the router.
    """
    width, visited = CONFIG.width, {BALANCED: 2, HALF: 4 / 2, FREE: 2, ACTIVE: 2, TOTAL: 4}
    for name, mlps in visited.items():
        router = width * {BALANCED: 4, HALF: 8, FREE: 4}.get(name, 0)
        entries = 257 * width + 2 * (4 * width**2 + 3 * mlps * width**2 + router)
        assert moe.operations(CONFIG, name) == 2 * entries + 4 * 2 * width * (15 + 1) / 2
    assert moe.operations(FULL, BALANCED) < 0.4 * moe.operations(FULL, TOTAL)
    params = {
        name: sum(leaf.size for leaf in jax.tree.leaves(shape))
        for name, shape in zip(visited, map(shapes, visited), strict=True)
    }
    assert params[HALF] - 2 * 8 == params[TOTAL] + 2 * width * 8
    assert params[BALANCED] - 2 * 4 == params[FREE] == params[TOTAL] + 2 * width * 4
    assert params[TOTAL] - params[ACTIVE] == 2 * 3 * 2 * width**2


def shapes(name):
    return jax.eval_shape(moe.init(CONFIG, name), jax.random.key(0))


def judged(loss=1.0, busiest=1.0, balance=1.0):
    """Of 8 rows and 2 blocks of 4 experts: the second block is the worse one."""
    rest = (4 - busiest) / 3
    return Judged(loss + np.arange(8.0), np.array([[1.0] * 4, [busiest, *[rest] * 3]]) / 4, np.array([1.0, balance]))


def test_experts_are_measured_in_their_worst_block_and_beside_a_dense_network():
    result = {name: [judged()] * 2 for name in moe.FOLDERS}
    result[BALANCED] = [judged(loss=1.125, busiest=1.5, balance=1.05), judged()]
    seeds = {(each.name, each.seed): each.measures for each in moe.of_seeds(CONFIG, result)}
    differences = {"better": (0.125, 0.125, 0.125), "worse": (0.125, 0.125, 0.125)}
    assert seeds[BALANCED, 0] == {"loss": 4.625, "busiest": 1.5, "balance": 1.05, **differences}
    assert (
        seeds[BALANCED, 1]["better"] == seeds[HALF, 0]["worse"] == (0, 0, 0)
        and seeds[ACTIVE, 1] == {"loss": 4.5}
        and seeds[FREE, 0].keys() == {*("loss", "busiest", "balance")}
    )


def test_one_expert_for_a_token_is_refused_as_its_router_would_learn_nothing():
    with pytest.raises(ConfigError, match="--top-k 1"):
        ranges.check(dataclasses.replace(FULL, top_k=1))


def test_the_table_is_of_means_over_seeds():
    result = {name: [judged(loss=loss) for loss in (1.0, 2.0, 3.0)] for name in moe.FOLDERS}
    seconds = {name: np.array([0.001, 0.004, 0.002]) for name in (BALANCED, HALF)} | {
        TOTAL: np.array([0.002, 0.002, 0.002])
    }
    rows = {each.name: each.measures for each in moe.of_all(CONFIG, result, seconds)}
    entries, operations, nats, bits, milliseconds, ratio = rows[BALANCED].values()
    assert entries == pytest.approx(sum(leaf.size for leaf in jax.tree.leaves(shapes(BALANCED))) / 1e6)
    assert operations == moe.operations(CONFIG, BALANCED) / 1e6 and ratio[0] == 1.0
    assert (nats, milliseconds) == (5.5, 2.0) and bits == pytest.approx(5.5 / math.log(2)) and len(rows[FREE]) == 4
