"""test-time on made-up answers whose law is known, on the texts that are learned, and on real digits that verifiers choose."""

import dataclasses
import functools

import numpy as np
import pytest

from experiments.preferences import test_time
from experiments.preferences.test_time import answers, choosing, findings, judge, pictures, tables, train, verifier
from experiments.preferences.test_time.choosing import COVERAGE, LEARNED, MAJORITY, ORACLE, WEIGHTED
from experiments.preferences.test_time.config import counts
from experiments.preferences.test_time.findings import Found, Searched
from experiments.preferences.test_time.pictures import GOOD, JUDGE, SHUFFLED, WEAK, Chosen, Shown
from gendiff.data import digits, sums
from gendiff.data.sums import SumFormat
from gendiff.runs import devices

FULL = dataclasses.replace(test_time.EXPERIMENT.presets["full"], digits=3)
FEW = dataclasses.replace(FULL, seeds=(0, 1), questions=300, samples=8, doublings=2, noises=(0.25, 1.0, 16.0), resamples=100)
PAIRS = train.held_out(FEW)
TRUTH = PAIRS.sum(1)


def sampled(seed, tilt=2.5):
    """(given, scores): questions of unequal difficulty with six answers each, and a verifier with little noise."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (300, 6)) + tilt * (np.arange(6) == 0)
    noise = rng.gumbel(size=(300, 8, 6))
    given = TRUTH[:, None] + np.argmax(logits[:, None] + noise, 2)
    return given, np.where(given == TRUTH[:, None], 1.0, 0.0) + rng.normal(0, 0.4, given.shape)


@functools.cache
def searched(arm, tilt=2.5, right=0.5):
    of_seed = []
    for seed in range(2):
        given, scores = sampled(seed, tilt)
        hits, greedy = given == TRUTH[:, None], np.random.default_rng(seed).random(300) < right
        with devices.compiled_quickly():
            votes, shares = choosing.majority_gain(TRUTH, given), choosing.shares(FEW, TRUTH, given, scores)
        of_seed.append((shares, greedy, hits.sum(1), *votes, findings.area(hits, scores)))
    methods, *rest = zip(*of_seed, strict=True)
    return Searched(arm, {name: np.stack([each[name] for each in methods]) for name in methods[0]}, *map(np.stack, rest))


def chances(*shares, count=300):
    """(len(shares), seeds, n) whether questions are right, with these shares."""
    ranks = np.stack([np.random.default_rng(seed).permutation(count) / count for seed in range(2)])
    return np.stack([ranks < share for share in shares])


def steered(claimed, judged):
    """Of choices from 1, 2, 4 and 8 pictures: nothing at first, these shares at the end."""
    ends = [chances(0.1, share, count=200)[:, 0].astype(float) for share in (claimed, judged)]
    return Chosen(*(np.stack([of[0]] * 3 + [of[1]]) for of in ends))


def found(**changes):
    arms = {arm.name: searched(arm) for arm in (train.direct(FEW), train.large(FEW))}
    thinking = train.scratch(FEW)
    arms[thinking.name] = dataclasses.replace(searched(train.direct(FEW)), arm=thinking, greedy=chances(0.95)[0])
    chosen = {GOOD: steered(1.0, 0.96), WEAK: steered(1.0, 0.7), SHUFFLED: steered(0.9, 0.1), JUDGE: steered(1.0, 1.0)}
    shown = Shown({GOOD: np.zeros((10, 8, 8, 1), np.float32)})
    shorter, budgets = chances(0.3, 0.42, 0.43), chances(0.2, 0.4, 0.7, 0.95, 0.6)
    made = Found(arms, chances(0.5)[0], shorter.astype(float), budgets, chances(0.8)[0], [chosen, chosen], shown)
    return dataclasses.replace(made, **changes)


def verdicts_of(found):
    return {claim.id: claim.verdict for claim in judge.claims(FEW, found)}


def test_what_is_expected_passes_every_claim_and_names_every_threshold():
    made = judge.claims(FEW, found())
    others = [claim for claim in made if claim.verdict != "PASS"]
    assert {(claim.id, claim.verdict) for claim in others} <= {("other-mode", "INCONCLUSIVE")}, others  # few questions are of that kind
    assert {claim.threshold_name for claim in made} == set(dataclasses.asdict(FEW.thresholds)) and len(made) == 2 * 16


def test_what_is_not_expected_fails_the_claim_about_it():
    usual = found()
    direct, thinking = train.direct(FEW).name, train.scratch(FEW).name
    same = usual.searched | {thinking: dataclasses.replace(usual.searched[thinking], greedy=usual.searched[direct].greedy)}
    failed = verdicts_of(found(searched=same, filler=chances(0.95)[0]))
    assert failed["mcnemar"] == failed["filler"] == "FAIL" and failed["scratch-work"] == "PASS"  # equal shares are no loss
    flat = verdicts_of(found(budgets=chances(0.9, 0.5, 0.7, 0.6, 0.6), shorter=chances(0.1, 0.2, 0.7).astype(float)))
    assert flat["thinking"] == flat["budget-falls"] == flat["continues"] == "FAIL"
    chosen = usual.chosen[0] | {GOOD: steered(1.0, 0.2), WEAK: steered(0.5, 0.9), SHUFFLED: steered(0.9, 0.9)}
    told = verdicts_of(found(chosen=[chosen, chosen]))
    assert told["steered"] == told["gamed"] == told["shuffled"] == "FAIL"


def test_methods_agree_on_one_sample_and_the_oracle_is_coverage():
    shares = searched(train.direct(FEW)).shares
    assert len({tuple(of[:, 0].ravel()) for of in shares.values()}) == 1
    np.testing.assert_array_equal(shares[ORACLE], shares[COVERAGE])
    assert (np.diff(shares[COVERAGE], axis=1) >= 0).all()
    for method in (MAJORITY, LEARNED, WEIGHTED, choosing.noisy(0.25)):
        assert (shares[method] <= shares[COVERAGE]).all() and shares[method][:, -1].mean() > shares[method][:, 0].mean()
    of_noise = [shares[choosing.noisy(noise)][:, -1].mean() for noise in FEW.noises]
    assert (np.diff(of_noise) < 0).all() and of_noise[-1] < shares[MAJORITY][:, -1].mean() < of_noise[0]
    low, high = (FEW.noises[at] for at in (0, -1))
    assert low < findings.crossover(FEW, searched(train.direct(FEW)))[0] < high
    formula = findings.coverage_by_formula(FEW, searched(train.direct(FEW)))
    np.testing.assert_allclose(formula, shares[COVERAGE].mean(2), atol=0.02)
    np.testing.assert_allclose(formula[:, [0, -1]], shares[COVERAGE].mean(2)[:, [0, -1]], atol=1e-12)


def test_statistics_are_those_of_counting():
    first, second = np.array([1, 1, 1, 1, 1, 1, 0, 0]) > 0, np.array([0, 0, 0, 0, 0, 1, 1, 0]) > 0
    assert findings.mcnemar(first, second) == pytest.approx(2 * (1 + 6) / 2**6)
    assert findings.mcnemar(first, first) == 1
    right, scores = np.array([[True, False], [True, False]]), np.array([[2.0, 1.0], [1.0, 0.0]])
    assert findings.area(right, scores) == pytest.approx(3.5 / 4) and np.isnan(findings.area(right | True, scores))
    given = np.array([[7, 7, 7, 5, 7, 7, 7, 6], [7, 7, 7, 5, 7, 7, 7, 5]])
    with devices.compiled_quickly():
        lead, gain = choosing.majority_gain(np.array([7, 5]), given)
    assert lead.tolist() == [1, -1] and gain.tolist() == [0.25, -0.25]


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
    of = SumFormat(3, scratch=True)
    texts = {kind: train.texts_at(FULL, kind, (3, 5), 7) for kind in (train.DIRECT, train.SCRATCH, train.FILLER)}
    for kind, batch in texts.items():
        assert batch.tokens.shape[:2] == (128, 2) == batch.weight.shape[:2] and batch.tokens.dtype == np.int32
        assert batch.weight[0, 0].tolist() == [0] * of.prompt_length + [1] * (batch.tokens.shape[2] - of.prompt_length)
        rows = batch.tokens[:, 0]
        pairs = np.stack([rows[:, :3] @ [100, 10, 1], rows[:, 4:7] @ [100, 10, 1]], 1)
        assert not sums.same(pairs, train.held_out(FULL)).any()
        np.testing.assert_array_equal(train.written(FULL, kind).read(rows[:, of.prompt_length :]), pairs.sum(1))
    scratch, filler = texts[train.SCRATCH].tokens, texts[train.FILLER].tokens
    length = (scratch >= 0).sum(2)
    assert set(length.ravel().tolist()) == {of.length - 2 * places for places in range(4)} and 0.4 < (length < of.length).mean() < 0.6
    whole = scratch[:, 0][length[:, 0] == of.length]
    np.testing.assert_array_equal(whole, of.rows(np.stack([whole[:, :3] @ [100, 10, 1], whole[:, 4:7] @ [100, 10, 1]], 1)))
    assert (filler[:, :, 8:14] == train.ZERO).all() and (filler[:, :, 14] == sums.EQUALS).all()
    assert max(each.tokens.shape[2] for each in texts.values()) + 2 * FULL.extra <= train.context(FULL)


def test_an_answer_as_text_is_what_the_verifier_learns_to_judge():
    given = np.where(np.arange(300) % 3 == 0, TRUTH, np.where(np.arange(300) % 3 == 1, TRUTH - 1, -1))
    text = answers.as_text(FEW, PAIRS, given)
    of = SumFormat(3)
    np.testing.assert_array_equal(of.read(text[:, of.prompt_length :]), given)
    pool = np.stack([np.concatenate([text, np.ones((300, 1), np.int32)], 1)] * 2)
    batch = verifier.texts_at(FEW, pool, 3)
    assert batch.tokens.shape == (128, 2, of.length + 1) and (batch.weight.sum(2) == 1).all() and (batch.weight[:, :, -1] == 1).all()
    assert not np.array_equal(batch.tokens[:, 0], batch.tokens[:, 1])


@pytest.fixture(scope="module")
def drawn():
    """Real digits in the place of pictures that were drawn: 30 sets of 8."""
    split = digits.load()
    return split.held_out_images[:240].reshape(30, 8, 8, 8, 1), split.held_out_labels[:240].reshape(30, 8)


def test_verifiers_that_saw_more_are_better_and_share_no_digit_with_the_judge():
    real = pictures.real()
    theirs = {row.tobytes() for row in real.verifiers.astype(np.float32)}
    assert len(theirs & {row.tobytes() for row in real.judge_images}) <= 1  # two people may write alike
    right = pictures.accuracies(FEW)
    assert right[JUDGE] > 0.95 > right[WEAK] > 0.5 > 0.3 > right[SHUFFLED] and right[GOOD] > right[WEAK]


def test_choices_are_steered_by_a_verifier_that_knows_and_exploited_by_one_that_does_not(drawn):
    images, labels = drawn
    chosen, shown = pictures.choose(FEW, images)
    there = np.array([[digit in row for digit in range(10)] for row in labels]).mean()
    for of in chosen.values():
        assert of.claimed.shape == of.judged.shape == (4, 300)
        np.testing.assert_allclose(of.judged[0].mean(), chosen[GOOD].judged[0].mean())  # one picture is no choice
    assert chosen[GOOD].judged[-1].mean() > 0.9 * there and chosen[GOOD].judged[-1].mean() > chosen[WEAK].judged[-1].mean()
    gaps = [(chosen[name].claimed[-1] - chosen[name].judged[-1]).mean() for name in (GOOD, SHUFFLED)]
    assert gaps[1] > 0.2 > gaps[0] and chosen[SHUFFLED].judged[-1].mean() < 0.3
    np.testing.assert_array_equal(chosen[JUDGE].claimed, chosen[JUDGE].judged)
    assert (np.diff(chosen[JUDGE].judged.mean(1)) >= 0).all() and shown.pictures[GOOD].shape == (10, 8, 8, 1)


def test_tables_hold_a_row_for_each_method_difficulty_and_budget():
    made = tables.every(FEW, found(), dict.fromkeys((GOOD, WEAK, SHUFFLED, JUDGE), 0.9))
    assert [len(table.rows) for table in made] == [3 * (5 + len(FEW.noises)), 5, 3, 6, 4]
