"""test-time on made-up answers whose law is known, on the texts that are learned, and on real digits that verifiers
choose.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from experiments.preferences import test_time
from experiments.preferences.test_time import answers, choosing, findings, pictures, train, verifier
from experiments.preferences.test_time.choosing import (
    BOTH,
    COVERAGE,
    LABELS,
    LEARNED,
    LIKELY,
    MAJORITY,
    ORACLE,
    PAIRED,
    PAIRED_BOTH,
    UNPAIRED,
    WEIGHTED,
)
from experiments.preferences.test_time.config import counts
from experiments.preferences.test_time.findings import BUDGETS, DOUBLINGS, FILLER, LARGE, SCRATCH, SMALL
from experiments.preferences.test_time.pictures import GOOD, JUDGE, SHUFFLED, UNCHOSEN, WEAK, Chosen
from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import networks
from gendiff.data import digits
from gendiff.runs import devices

FULL = dataclasses.replace(test_time.EXPERIMENT.presets["full"], digits=3)
FEW = dataclasses.replace(FULL, seeds=(0, 1), questions=300, samples=8, doublings=2, noises=(0.25, 1.0, 16.0))
PAIRS = train.held_out(FEW)
TRUTH = PAIRS.sum(1)


def sampled(seed, tilt=2.5):
    """(replies, scores): questions of unequal difficulty with six answers each, a verifier with little noise, and one
    that knows no more than the question.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (300, 6)) + tilt * (np.arange(6) == 0)
    noise = rng.gumbel(size=(300, 8, 6))
    replies = TRUTH[:, None] + np.argmax(logits[:, None] + noise, 2)
    knows = np.where(replies == TRUTH[:, None], 1.0, 0.0) + rng.normal(0, 0.4, replies.shape)
    noise = rng.normal(size=replies.shape)
    same = dict.fromkeys((LEARNED, PAIRED, UNPAIRED, BOTH, PAIRED_BOTH, LIKELY), knows)
    return replies, same | {LABELS: logits[:, :1] + noise}


@functools.cache
def searched(arm, tilt=2.5, right=0.5):
    of_seed = []
    for seed in range(2):
        replies, scores = sampled(seed, tilt)
        greedy = np.random.default_rng(seed).random(300) < right
        with devices.compiled_quickly():
            of_seed.append(findings.searched(FEW, TRUTH, replies, scores, greedy))
    return findings.stacked(arm, of_seed)


def chances(*shares, count=300):
    """(len(shares), seeds, n) whether questions are right, with these shares."""
    ranks = np.stack([np.random.default_rng(seed).permutation(count) / count for seed in range(2)])
    return np.stack([ranks < share for share in shares])


def steered(claimed, judged):
    """Of choices from 1, 2, 4 and 8 pictures: nothing at first, these shares at the end."""
    ends = [chances(0.1, share, count=200)[:, 0].astype(float) for share in (claimed, judged)]
    return Chosen(*(np.stack([pair[0]] * 3 + [pair[1]]) for pair in ends))


def measures(rows):
    """By name of the set and of the measure, the mean over seeds."""
    means = {}
    for each in rows:
        for name, number in each.measures.items():
            if isinstance(number, tuple | float | np.floating):
                means.setdefault((each.name, name), []).append(number[0] if isinstance(number, tuple) else number)
    return {name: float(np.mean(numbers)) for name, numbers in means.items()}


def test_what_scratch_work_brings_is_a_difference_over_the_same_questions():
    greedy = {SMALL: chances(0.5)[0], SCRATCH: chances(0.95)[0], FILLER: chances(0.4)[0]}
    usual = measures(findings.thinking(FEW, greedy, chances(0.2, 0.4, 0.7, 0.95, 0.6), chances(0.8)[0]))
    assert (
        usual[SCRATCH, "over direct"] == pytest.approx(0.45)
        and usual[SCRATCH, "p"] < 1e-9
        and usual[FILLER, "likeliest"] == 0.4
    )
    assert (
        usual[BUDGETS, "thinking"] == pytest.approx(0.75) and usual[BUDGETS, "fall"] < 0 and usual["8", "seed 1"] == 0.6
    )
    flat = measures(
        findings.thinking(FEW, greedy | {SCRATCH: greedy[SMALL]}, chances(0.9, 0.5, 0.7, 0.6, 0.6), chances(0.8)[0])
    )
    assert flat[SCRATCH, "over direct"] == 0 and flat[SCRATCH, "p"] == 1 and flat[BUDGETS, "fall"] == pytest.approx(0.4)


def test_samples_are_held_against_votes_size_and_training():
    arms = {arm.name: searched(arm) for arm in (train.direct(FEW), train.large(FEW))}
    shorter = chances(0.3, 0.42, 0.43).astype(float)
    rows = [*findings.searching(FEW, arms), *findings.scaling(FEW, arms, shorter)]
    numbers, small = measures(rows), arms[SMALL]
    assert (
        numbers[findings.LEAST, "over vote"] > 0 > numbers[findings.MOST, "over vote"]
        and numbers[LEARNED, "over one"] > 0
    )
    assert abs(numbers[LABELS, "over one"]) < 0.1 and numbers[LEARNED, "drop"] < 0 < numbers[LEARNED, "over vote"]
    within, over = (numbers[f"{SMALL}: {LABELS}", measure] for measure in ("pairs", "area"))
    assert within == pytest.approx(0.5, abs=0.03) and over > 0.6 < numbers[f"{SMALL}: {LEARNED}", "pairs"]
    assert numbers[findings.FIRST, "voted"] > 0 and numbers[findings.COVERAGE, "formula"] < 0.02
    assert numbers[DOUBLINGS, "over training"] == pytest.approx(numbers[DOUBLINGS, "per doubling"] - 0.01)
    groups = [each.group for each in rows]
    assert (
        groups.count("methods") == 2 * (11 + len(FEW.noises))
        and groups.count("carries") == 5
        and groups.count("doublings") == 3
    )
    assert numbers[LARGE, "training"] > 1 and numbers["all", MAJORITY] <= small.shares[COVERAGE].max()


def test_choices_are_counted_in_the_eyes_of_verifier_and_judge():
    chosen = {GOOD: steered(1.0, 0.96), WEAK: steered(1.0, 0.7), SHUFFLED: steered(0.9, 0.1), JUDGE: steered(1.0, 1.0)}
    best = dict.fromkeys((GOOD, WEAK, SHUFFLED, UNCHOSEN), np.zeros((10, 8, 8, 1), np.float32))
    rows = list(findings.steering(FEW, (chosen, chosen), dict.fromkeys(chosen, 0.9), best))
    numbers = measures(rows)
    assert numbers[GOOD, "over one"] == pytest.approx(0.86) and numbers[WEAK, "gamed"] == pytest.approx(0.3)
    assert numbers[SHUFFLED, "judged"] == pytest.approx(0.1) and numbers[JUDGE, "n = 8: own"] == 1.0


def test_methods_agree_on_one_sample_and_the_oracle_is_coverage():
    shares = searched(train.direct(FEW)).shares
    assert len({tuple(share[:, 0].ravel()) for share in shares.values()}) == 1
    np.testing.assert_array_equal(shares[ORACLE], shares[COVERAGE])
    assert (np.diff(shares[COVERAGE], axis=1) >= 0).all()
    for method in (MAJORITY, LEARNED, WEIGHTED, choosing.noisy(0.25)):
        assert (shares[method] <= shares[COVERAGE]).all() and shares[method][:, -1].mean() > shares[method][:, 0].mean()
    of_noise = [shares[choosing.noisy(noise)][:, -1].mean() for noise in FEW.noises]
    assert (np.diff(of_noise) < 0).all() and of_noise[-1] < shares[MAJORITY][:, -1].mean() < of_noise[0]
    low, high = (FEW.noises[at] for at in (0, -1))
    assert all(low < findings.crossover(FEW, searched(train.direct(FEW)), number) < high for number in range(2))
    formula = findings.coverage_by_formula(FEW, searched(train.direct(FEW)))
    np.testing.assert_allclose(formula, shares[COVERAGE].mean(2), atol=0.02)
    np.testing.assert_allclose(formula[:, [0, -1]], shares[COVERAGE].mean(2)[:, [0, -1]], atol=1e-12)


def test_statistics_are_those_of_counting():
    first, second = np.array([1, 1, 1, 1, 1, 1, 0, 0]) > 0, np.array([0, 0, 0, 0, 0, 1, 1, 0]) > 0
    assert findings.mcnemar(first, second) == pytest.approx(2 * (1 + 6) / 2**6)
    assert findings.mcnemar(first, first) == 1
    right, scores = np.array([[True, False], [True, False]]), np.array([[2.0, 1.0], [1.0, 0.0]])
    assert findings.area(right, scores) == pytest.approx(3.5 / 4) and np.isnan(findings.area(right | True, scores))
    replies = np.array([[7, 7, 7, 5, 7, 7, 7, 6], [7, 7, 7, 5, 7, 7, 7, 5]])
    with devices.compiled_quickly():
        lead, gain = choosing.majority_gain(np.array([7, 5]), replies)
    assert lead.tolist() == [1, -1] and gain.tolist() == [0.25, -0.25]


def test_pairs_are_counted_within_a_question_and_a_constant_per_question_changes_nothing():
    replies, scores = sampled(1)
    right, values = (replies == TRUTH[:, None])[:40], scores[LABELS][:40]
    by_hand = [
        [(a > b) + (a == b) / 2 for a in row[hits] for b in row[~hits]] for hits, row in zip(right, values, strict=True)
    ]
    share = np.mean([np.mean(each) for each in by_hand if each])
    moved = values + 8 * np.arange(40)[:, None]
    assert choosing.pair_accuracy(right, values) == pytest.approx(share)
    assert choosing.pair_accuracy(right, moved) == pytest.approx(share)
    np.testing.assert_allclose(choosing.chances(moved), choosing.chances(values), rtol=1e-9)
    assert findings.area(right, moved) != pytest.approx(findings.area(right, values))
    unread = np.array([[-np.inf, 0.0, np.log(3)], [-np.inf] * 3])
    np.testing.assert_allclose(choosing.chances(unread), [[0, 1 / 3, 1], [0, 0, 0]])
    assert np.isnan(choosing.pair_accuracy(right | True, values))


def test_the_best_by_log_probability_is_that_of_all_texts_by_brute_force():
    config = dataclasses.replace(FULL, digits=1, questions=20)
    network, pairs = train.network(config, 8), train.held_out(config)
    params = networks.init(network, jax.random.key(0), np.zeros((1, 2), np.int32))
    params = jax.tree.map(lambda leaf: leaf + 0.3 * np.random.default_rng(0).normal(size=leaf.shape), params)
    two = np.stack(np.divmod(np.arange(144), 12), 1).astype(np.int32)  # every text of two tokens
    prompts = SumFormat(1).prompts(pairs)
    texts = np.concatenate([np.repeat(prompts, 144, 0), np.tile(two, (20, 1))], 1)
    with devices.compiled_quickly():
        logits = np.asarray(jax.jit(networks.pure(network))(params, texts).logits, np.float64)
        scores = np.asarray(verifier.log_prob_of(network, 2)(params, texts)).reshape(20, 144)
    law = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    by_hand = (law[np.arange(2880), 3, texts[:, 4]] * law[np.arange(2880), 4, texts[:, 5]]).reshape(20, 144)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)  # a law of all answers
    with devices.compiled_quickly():
        np.testing.assert_array_equal(choosing.best(scores), by_hand.argmax(1))


def test_the_part_of_pairs_does_not_know_how_hard_a_question_is(monkeypatch):
    network = train.network(FEW, 8)
    right, wrong = np.random.default_rng(0).normal(size=(2, 6))
    texts, hard = np.zeros((6, 2, 3), np.int32), 5 * np.arange(6.0)

    def loss(constant):
        values = (np.stack([right, wrong], 1) + constant[:, None]).reshape(-1)
        monkeypatch.setattr(verifier, "log_probs", lambda *_: jax.numpy.asarray(values))
        return verifier.PairLoss(network, 4, 2.0, 3.0)({}, jax.random.key(0), texts)

    with devices.compiled_quickly():
        (value, metrics), (_, moved) = loss(0 * hard), loss(hard)
    of_pairs = np.mean(np.log1p(np.exp(wrong - right)))
    assert metrics["pairs"] == pytest.approx(of_pairs, rel=1e-5) and metrics["accuracy"] == np.mean(right > wrong)
    assert moved["pairs"] == pytest.approx(of_pairs, rel=1e-4) and value == pytest.approx(
        2 * of_pairs - 3 * right.mean(), rel=1e-5
    )


def test_a_pair_is_the_right_answer_and_a_wrong_one_to_the_same_question():
    replies = np.stack([TRUTH, TRUTH + 1, np.full(300, -1), TRUTH + 2], 1)
    replies[0] = TRUTH[0]
    sums_format, pairs = SumFormat(3), verifier.pairs_of(FEW, PAIRS, replies)
    behind = sums_format.prompt_length
    assert pairs.shape == (2 * 299, 2, sums_format.length)
    np.testing.assert_array_equal(pairs[:, 0, :behind], pairs[:, 1, :behind])
    better, worse = (sums_format.read(pairs[:, at, behind:]) for at in range(2))
    np.testing.assert_array_equal(better, np.repeat(TRUTH[1:], 2))
    np.testing.assert_array_equal(worse - better, np.tile([1, 2], 299))
    batch = verifier.pairs_at(FEW, [pairs, pairs], 3)
    assert batch.shape == (128, 2, *pairs.shape[1:]) and not np.array_equal(batch[:, 0], batch[:, 1])


def test_operations_grow_with_samples_and_size_and_the_verifier_counts():
    direct, large = train.direct(FULL), train.large(FULL)
    spent = np.array([findings.spent(FULL, direct, count) for count in counts(FULL)])
    np.testing.assert_allclose(np.diff(spent), (spent[1] - spent[0]) * 2.0 ** np.arange(len(spent) - 1))
    assert findings.spent(FULL, large, 1) > findings.spent(FULL, direct, 1)
    assert findings.spent(FULL, direct, 8, verified=True) == pytest.approx(2 * spent[3])
    plain, verified = (findings.matched(FULL, reads) for reads in (False, True))
    assert 1 <= verified <= plain and findings.spent(FULL, direct, plain) <= findings.spent(FULL, large, 1)
    assert findings.spent(FULL, direct, 2 * plain) > findings.spent(FULL, large, 1)


def test_texts_are_right_sums_that_no_one_is_asked_and_only_what_stands_behind_a_question_counts():
    sums_format = SumFormat(3, scratch=True)
    texts = {kind: train.texts_at(FULL, kind, (3, 5), 7) for kind in (train.DIRECT, train.SCRATCH, train.FILLER)}
    for kind, batch in texts.items():
        assert batch.tokens.shape[:2] == (128, 2) == batch.weight.shape[:2] and batch.tokens.dtype == np.int32
        assert batch.weight[0, 0].tolist() == [0] * sums_format.prompt_length + [1] * (
            batch.tokens.shape[2] - sums_format.prompt_length
        )
        rows = batch.tokens[:, 0]
        pairs = np.stack([rows[:, :3] @ [100, 10, 1], rows[:, 4:7] @ [100, 10, 1]], 1)
        assert not addition.same(pairs, train.held_out(FULL)).any()
        np.testing.assert_array_equal(
            train.written(FULL, kind).read(rows[:, sums_format.prompt_length :]), pairs.sum(1)
        )
    scratch, filler = texts[train.SCRATCH].tokens, texts[train.FILLER].tokens
    length = (scratch >= 0).sum(2)
    assert (
        set(length.ravel().tolist()) == {sums_format.length - 2 * places for places in range(4)}
        and 0.4 < (length < sums_format.length).mean() < 0.6
    )
    finished = scratch[:, 0][length[:, 0] == sums_format.length]
    np.testing.assert_array_equal(
        finished, sums_format.rows(np.stack([finished[:, :3] @ [100, 10, 1], finished[:, 4:7] @ [100, 10, 1]], 1))
    )
    assert (filler[:, :, 8:14] == train.ZERO).all() and (filler[:, :, 14] == addition.EQUALS).all()
    assert max(each.tokens.shape[2] for each in texts.values()) + 2 * train.EXTRA <= train.context(FULL)


def test_an_answer_as_text_is_what_the_verifier_learns_to_judge():
    replies = np.where(np.arange(300) % 3 == 0, TRUTH, np.where(np.arange(300) % 3 == 1, TRUTH - 1, -1))
    text = answers.as_text(FEW, PAIRS, replies)
    sums_format = SumFormat(3)
    np.testing.assert_array_equal(sums_format.read(text[:, sums_format.prompt_length :]), replies)
    pool = np.stack([np.concatenate([text, np.ones((300, 1), np.int32)], 1)] * 2)
    batch = verifier.texts_at(FEW, pool, 3)
    assert (
        batch.tokens.shape == (128, 2, sums_format.length + 1)
        and (batch.weight.sum(2) == 1).all()
        and (batch.weight[:, :, -1] == 1).all()
    )
    assert not np.array_equal(batch.tokens[:, 0], batch.tokens[:, 1])


@pytest.fixture(scope="module")
def choices():
    """Real digits in the place of pictures that were drawn: 30 sets of 8."""
    split = digits.load()
    return split.held_out_images[:240].reshape(30, 8, 8, 8, 1), split.held_out_labels[:240].reshape(30, 8)


def test_verifiers_that_saw_more_are_better_and_share_no_digit_with_the_judge():
    real = pictures.real()
    theirs = {row.tobytes() for row in real.verifiers.astype(np.float32)}
    assert len(theirs & {row.tobytes() for row in real.judge_images}) <= 1  # two people may write alike
    right = pictures.accuracies(FEW)
    assert right[JUDGE] > 0.95 > right[WEAK] > 0.5 > 0.3 > right[SHUFFLED] and right[GOOD] > right[WEAK]


def test_choices_are_steered_by_a_verifier_that_knows_and_exploited_by_one_that_does_not(choices):
    images, labels = choices
    chosen, best = pictures.choose(FEW, images)
    there = np.array([[digit in row for digit in range(10)] for row in labels]).mean()
    for choice in chosen.values():
        assert choice.claimed.shape == choice.judged.shape == (4, 300)
        np.testing.assert_allclose(choice.judged[0].mean(), chosen[GOOD].judged[0].mean())  # one picture is no choice
    assert (
        chosen[GOOD].judged[-1].mean() > 0.9 * there and chosen[GOOD].judged[-1].mean() > chosen[WEAK].judged[-1].mean()
    )
    gaps = [(chosen[name].claimed[-1] - chosen[name].judged[-1]).mean() for name in (GOOD, SHUFFLED)]
    assert gaps[1] > 0.2 > gaps[0] and chosen[SHUFFLED].judged[-1].mean() < 0.3
    np.testing.assert_array_equal(chosen[JUDGE].claimed, chosen[JUDGE].judged)
    assert (np.diff(chosen[JUDGE].judged.mean(1)) >= 0).all() and best.pictures[GOOD].shape == (10, 8, 8, 1)
