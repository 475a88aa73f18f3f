"""Mixtures of experts on made-up answers: what is measured, and claims that hold and fail on the two sides of their thresholds."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language.moe import EXPERIMENT, judge
from experiments.language.moe import networks as compared
from experiments.language.moe.judge import Measured
from experiments.language.moe.networks import ACTIVE, BALANCED, FREE, TOTAL, RoutedLoss
from gendiff.core.errors import ConfigError
from gendiff.networks.language_model import Answer
from gendiff.networks.routing import Routing
from gendiff.runs import ranges

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
    every = [jnp.broadcast_to(jnp.asarray(each, jnp.float32), (1, 2, 4)) for each in (logits, chosen)]
    return Routing(every[0], every[1] > 0, every[1] > 0, every[1], jnp.ones((1, 2), bool))


SURE = routing([90, 0, 0, 0], [1, 1, 0, 0])  # f = (½, ½, 0, 0), P = (1, 0, 0, 0): the balance loss is 4 · ½
EVEN = routing([0, 0, 0, 0], [1, 1, 0, 0])  # P = ¼: 4 · (½ · ¼ + ½ · ¼)


def surprise(logit):
    return math.log(math.exp(logit) + VOCABULARY - 1) - logit


def test_the_loss_is_that_of_the_next_token_and_the_mean_of_the_blocks_by_its_weight():
    nll = (surprise(1) + surprise(2)) / 2
    value, metrics = RoutedLoss(predict, 0.01)((SURE, EVEN), jax.random.key(0), ROWS)
    assert value == pytest.approx(nll + 0.01 * 1.5, abs=1e-6)
    assert {name: float(each) for name, each in metrics.items()} == pytest.approx({"nll": nll, "balance": 1.5, "busiest": 2.0}, abs=1e-6)
    value, metrics = RoutedLoss(predict, 0.01)((), jax.random.key(0), ROWS)
    assert value == metrics["nll"] == pytest.approx(nll, abs=1e-6) and metrics.keys() == {"nll"}
    assert [compared.loss(CONFIG, name).weight for name in compared.FOLDERS] == [0.01, 0.0, 0.0, 0.0]


def test_a_network_is_judged_by_row_and_by_block(monkeypatch):
    monkeypatch.setattr(judge.networks, "pure", lambda network: predict)
    losses, shares, balance = judge.judge_of(CONFIG, BALANCED)((SURE, EVEN), ROWS)
    np.testing.assert_allclose(losses, [surprise(1), surprise(2)], atol=1e-6)
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0, 0]] * 2)
    np.testing.assert_allclose(balance, [2.0, 1.0], atol=1e-6)
    _, shares, balance = judge.judge_of(CONFIG, ACTIVE)((), ROWS)
    np.testing.assert_array_equal(shares, [[1.0], [1.0]])
    np.testing.assert_array_equal(balance, [1.0, 1.0])


def test_rows_that_do_not_fill_a_call_are_left_out_and_calls_count_alike():
    calls = []

    def judged(params, rows):
        calls.append(len(rows))
        return rows[:, 0], np.eye(2)[len(calls) % 2], np.array([float(len(calls))])

    found = judge.measured(judged, None, np.arange(70)[:, None])
    assert calls == [32, 32] and found.losses.tolist() == list(range(64))
    assert found.shares.tolist() == [0.5, 0.5] and found.balance.tolist() == [1.5]
    assert judge.measured(judged, None, np.arange(5)[:, None]).losses.tolist() == list(range(5))


def test_dense_networks_have_the_operations_or_the_parameters_of_the_experts():
    """Per token: the last layer, and in each block four matrices of attention, three of each MLP that it visits, and the router."""
    width, visited = CONFIG.width, {BALANCED: 2, FREE: 2, ACTIVE: 2, TOTAL: 4}
    for name, mlps in visited.items():
        router = width * 4 if name in (BALANCED, FREE) else 0
        entries = 257 * width + 2 * (4 * width**2 + 3 * mlps * width**2 + router)
        assert compared.operations(CONFIG, name) == 2 * entries + 4 * 2 * width * (15 + 1) / 2
    params = {name: sum(leaf.size for leaf in jax.tree.leaves(of)) for name, of in zip(visited, map(shapes, visited), strict=True)}
    assert params[BALANCED] == params[FREE] == params[TOTAL] + 2 * width * 4 and params[TOTAL] - params[ACTIVE] == 2 * 3 * 2 * width**2


def shapes(name):
    return jax.eval_shape(compared.init(CONFIG, name), jax.random.key(0))


def measured(loss=1.0, busiest=1.0, balance=1.0):
    """Of 8 rows and 2 blocks of 4 experts: the second block is the worse one."""
    rest = (4 - busiest) / 3
    return Measured(loss + np.arange(8.0), np.array([[1.0] * 4, [busiest, *[rest] * 3]]) / 4, np.array([1.0, balance]))


def claims(experts, free=(2.0, 1.0, 2.5), seconds=0.9):
    found = {
        BALANCED: [measured(**experts), measured(), measured()],
        FREE: [measured(busiest=each) for each in free],
        ACTIVE: [measured()] * 3,
        TOTAL: [measured()] * 3,
    }
    spent = {BALANCED: np.full(3, seconds), ACTIVE: np.ones(3), TOTAL: np.ones(3)}
    return {(each.id, each.seed): each for each in judge.claims(CONFIG, found, spent)}


def test_every_claim_holds_at_its_threshold_and_fails_beyond():
    held = claims({"balance": 1.05, "busiest": 1.5})
    assert {each.verdict for name, each in held.items() if name[0] != "operations"} == {"PASS"} and len(held) == 3 * 3 + 3
    assert [held[name, 0].value for name in ("balance", "busiest", "better")] == [1.05, 1.5, 0.0]
    assert [held[name, None].value for name in ("collapsed", "seconds")] == [2.0, 0.9] and held["collapsed", None].kind == "control"
    failed = claims({"balance": 1.051, "busiest": 1.51, "loss": 1.125}, free=(1.9, 1.0, 4.0), seconds=0.91)
    verdicts = {name: each.verdict for name, each in failed.items() if each.seed in (0, None) and name[0] != "operations"}
    assert set(verdicts.values()) == {"FAIL"} and len(verdicts) == 5
    assert failed["better", 0].value == 0.125 and failed["collapsed", None].value == 1.9
    assert {each.verdict for (_, seed), each in failed.items() if seed in (1, 2)} == {"PASS"}


@pytest.mark.parametrize(("experts", "top_k", "verdict"), [(4, 3, "FAIL"), (16, 2, "PASS")])
def test_operations_are_spared_where_few_of_many_experts_are_visited(experts, top_k, verdict):
    found = judge.claims(
        dataclasses.replace(CONFIG, experts=experts, top_k=top_k, seeds=(0,)),
        {name: [measured()] for name in compared.FOLDERS},
        {BALANCED: np.ones(2), TOTAL: np.ones(2)},
    )
    (claim,) = (each for each in found if each.id == "operations")
    ends = [2 * (257 * 16 + 2 * (4 * 256 + 3 * mlps * 256 + router)) + 1024 for mlps, router in ((top_k, 16 * experts), (experts, 0))]
    assert claim.value == ends[0] / ends[1] and claim.verdict == verdict


def test_one_expert_for_a_token_is_refused_as_its_router_would_learn_nothing():
    with pytest.raises(ConfigError, match="--top-k 1"):
        ranges.check(dataclasses.replace(FULL, top_k=1))


def test_the_table_is_of_means_over_seeds():
    found = {name: [measured(loss=loss) for loss in (1.0, 2.0, 3.0)] for name in compared.FOLDERS}
    rows = {row[0]: row[1:] for row in judge.table(CONFIG, found, {BALANCED: np.array([0.001, 0.004, 0.002])}).rows}
    entries, operations, nats, bits, milliseconds = rows[BALANCED]
    assert entries == pytest.approx(sum(leaf.size for leaf in jax.tree.leaves(shapes(BALANCED))) / 1e6)
    assert operations == compared.operations(CONFIG, BALANCED) / 1e6
    assert (nats, milliseconds) == (5.5, 2.0) and bits == pytest.approx(5.5 / math.log(2)) and rows[FREE][-1] is None
