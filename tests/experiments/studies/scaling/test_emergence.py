"""Emergence on made-up curves whose answer is known, and on a small network whose answers are sampled."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.scaling import emergence
from experiments.scaling.emergence import STUDY, answers, train
from experiments.scaling.emergence.answers import METRICS, NLL, Scores, Sweep
from experiments.scaling.emergence.train import PLAIN, REVERSED, SHUFFLED
from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import networks
from gendiff.runs import devices
from gendiff.runs.study import Measured, Measurements

FULL = STUDY.presets["full"]
FEW = dataclasses.replace(FULL, seeds=(0, 1), judged=400)
SIZES = train.parameters(FEW)
CARRIED = addition.carries(train.held_out(FEW), 3)


def scores(loss, number, ranks):
    """Of a network whose mean loss per digit this is. Its first answers by rank are right, and their digits are the
    easier ones.
    """
    rng, easy = np.random.default_rng(number), np.where(ranks < len(ranks) / 2, 0.5, 1.5)
    exact, log_probs = (
        ranks < np.round(len(ranks) * np.exp(-4 * loss)),
        -loss * easy[:, None] * np.array([[0.5, 1.5, 1.0, 1.0]]),
    )
    digits = np.where(exact, 1.0, rng.binomial(3, 0.55, len(ranks)) / 4)
    right = int(rng.binomial(FEW.samples, np.exp(log_probs.sum(1))).sum())
    return Scores(exact, digits, 4 - 4 * digits, log_probs, np.full(len(ranks), loss), right, FEW.samples * len(ranks))


CONTROL = Scores(
    exact=np.zeros(400, bool),
    digits=np.full(400, 0.2),
    edits=np.full(400, 3.0),
    log_probs=np.full((400, 4), -1.83),
    brier=np.full(400, 0.9),
    right=3,
    sampled=4000,
)
"""Of a network that knows how common each answer is."""


def sweep_of(losses, ranks=None):
    """Of made-up losses per digit (sizes,), which are those of every kind of answers; the control stays where it
    was.
    """
    ranks = np.random.default_rng(9).permutation(len(CARRIED)) if ranks is None else ranks
    runs = [[scores(loss, 10 * at + seed, ranks) for seed in FEW.seeds] for at, loss in enumerate(losses)]
    return {REVERSED: runs, PLAIN: runs, SHUFFLED: [[CONTROL]] * len(losses)}


SMOOTH = 5.0 * (SIZES / SIZES[0]) ** -2.5
BENT = (np.minimum(SIZES, SIZES[3]) / SIZES[0]) ** -0.1 * (np.maximum(SIZES, SIZES[3]) / SIZES[3]) ** -4.0


def judged(scores):
    """Claims and controls."""
    return list(STUDY.judge(Measurements(emergence.measured(Sweep(FEW, scores)))))


def test_a_loss_that_falls_steadily_while_exact_match_jumps_passes_every_claim():
    verdicts_by_id = judged(sweep_of(SMOOTH))
    assert {claim.verdict for claim in verdicts_by_id} == {"PASS"}, [
        claim for claim in verdicts_by_id if claim.verdict != "PASS"
    ]
    assert {claim.id for claim in verdicts_by_id} == {row.id for row in STUDY.rows} and len(
        verdicts_by_id
    ) == 2 * 2 * 6 + 2


def test_networks_that_learn_nothing_fail_what_is_claimed_of_size_and_a_control_that_learns_fails():
    stuck = judged(sweep_of(np.full(len(SIZES), 1.2) + 1e-3 * np.arange(len(SIZES))))
    failed = {
        claim.id.removesuffix("-plain") for claim in stuck if claim.verdict == "FAIL" and claim.id.endswith("-plain")
    }
    assert {"spearman", "end", "narrower"} <= failed and "chain-rule" not in failed
    untaught = sweep_of(SMOOTH) | {SHUFFLED: [[runs[0]] for runs in sweep_of(SMOOTH)[REVERSED]]}
    assert {claim.id for claim in judged(untaught) if claim.verdict == "FAIL"} >= {"shuffled", "shuffled-end"}


def test_sampled_answers_that_do_not_follow_the_chain_rule_are_seen():
    good = sweep_of(SMOOTH)[REVERSED][2][0]
    assert abs(good.z) < 4 < abs(good.z_without_a_digit)
    assert abs(dataclasses.replace(good, right=good.right + 400).z) > 4
    sure = dataclasses.replace(good, log_probs=np.zeros((400, 4)), right=4000)
    assert sure.z == sure.z_without_a_digit == 0 and dataclasses.replace(sure, right=3999).z == -np.inf


def test_each_hypothesis_holds_on_the_curve_that_it_describes_and_on_no_other():
    def says(losses, ranks=None):
        rows = emergence.hypotheses(Sweep(FEW, sweep_of(losses, ranks)), REVERSED)
        return {each.name.removeprefix("reversed answers, "): each.measures["verdict"] for each in rows}

    by_carries = np.argsort(np.argsort(CARRIED, kind="stable"))  # sums with few carries are the easy ones
    assert says(SMOOTH, by_carries) == {
        "metric": "holds",
        "transition": "does not hold",
        "percolation": "does not hold",
    }
    assert says(BENT) == {"metric": "does not hold", "transition": "holds", "percolation": "holds"}
    flat = np.full(len(SIZES), 1.2) * (1 + 1e-3 * np.arange(len(SIZES)))
    assert says(flat)["percolation"] == "open"  # no group of sums is learned


def test_digit_accuracy_that_begins_above_a_tenth_rises_from_the_smallest_size_on():
    sizes, floor = 10.0 ** np.arange(5), (0.2, 0.0)
    digits, exact = 0.2 + 0.8 * np.array([0.3, 0.5, 0.7, 0.9, 1.0]), np.array([0.0, 0.0, 0.1, 0.9, 1.0])
    assert emergence.bands(sizes, digits, exact, floor) == pytest.approx((3.0, 1.0))
    assert np.isnan(emergence.bands(sizes, digits, exact + 0.2, floor)[1]) and np.isnan(
        emergence.bands(sizes, digits, exact / 2, floor)[1]
    )


def test_a_rise_that_begins_below_the_smallest_size_has_a_width_with_an_open_end():
    """A lower bound below the threshold decides nothing: INCONCLUSIVE, where a number as if it were known would be
    FAIL.
    """

    def narrower(runs):
        measures = emergence.rise(SIZES, [scores_of_run[0] for scores_of_run in runs[PLAIN]], Sweep(FEW, runs).floor)
        return next(
            row
            for row in STUDY.judge(Measurements([Measured("plain answers", measures)]))
            if row.id == "narrower-plain"
        )

    above = sweep_of(SMOOTH)  # digits that are right by luck are more than the control's
    assert narrower(above).interval[1] == np.inf
    steep = {
        kind: [[_by_luck(scores_of_run, 0.2) for scores_of_run in runs] for runs in each]
        for kind, each in above.items()
    }
    assert np.isfinite(narrower(steep).interval).all()
    early = {
        kind: [[_by_luck(scores_of_run, 0.9) for scores_of_run in runs] for runs in each]
        for kind, each in above.items()
    }
    early[SHUFFLED] = above[SHUFFLED]
    assert narrower(early).value < 0 and narrower(early).verdict == "INCONCLUSIVE"


def _by_luck(scores_of_run, share):
    """The scores with this share of digits right where the answer is wrong."""
    return dataclasses.replace(scores_of_run, digits=np.where(scores_of_run.exact, 1.0, share))


def test_the_steepest_doubling_is_that_of_a_step_and_of_a_line():
    flops = 2.0 ** np.array([0, 2, 4, 5, 6, 8])
    assert emergence.steepest_doubling(flops, np.log2(flops) / 8)[0] == pytest.approx(1 / 8)
    gain, start = emergence.steepest_doubling(flops, np.array([0, 0, 0.1, 0.9, 1, 1.0]))
    assert gain == pytest.approx(0.8) and start == pytest.approx(16)
    across = emergence.steepest_doubling(2.0 ** np.array([0, 2, 2.5, 3, 5]), np.array([0, 0, 0.5, 1, 1]))
    assert across == pytest.approx((1.0, 4.0))
    assert np.isnan(emergence.steepest_doubling(flops[3:4] * np.array([1, 1.5]), np.array([0.0, 1.0]))).all()


def test_texts_of_a_step_are_right_sums_without_held_out_pairs_and_shuffled_answers_are_those_of_other_sums():
    config = dataclasses.replace(FULL, digits=1, judged=27, batch=500)
    rows = train.rows_at(config, REVERSED, (3, 5), 7)
    assert rows.shape == (500, 2, 6) and rows.dtype == np.int32
    np.testing.assert_array_equal(rows[:, 0], train.rows_at(config, REVERSED, (3,), 7)[:, 0])
    assert not np.array_equal(rows[:, 0], rows[:, 1])
    pairs = rows[:, 0][:, [0, 2]]
    assert not addition.same(pairs, train.held_out(config)).any()
    np.testing.assert_array_equal(SumFormat(1, reverse=True).rows(pairs), rows[:, 0])
    shuffled = train.rows_at(config, SHUFFLED, (3,), 7)[:, 0]
    np.testing.assert_array_equal(shuffled[:, :4], rows[:, 0, :4])
    right = (shuffled[:, 4:] == rows[:, 0, 4:]).all(1).mean()
    assert 0.01 < right < 0.2  # two sums of digits are equal with chance 0.067
    assert all(np.isin(answer, np.unique(rows[:, 0, 4:] @ [1, 10])) for answer in shuffled[:, 4:] @ [1, 10])


def test_all_sizes_rise_and_cost_what_their_parameters_do():
    for number, width in zip(SIZES, FULL.widths, strict=True):
        params = jax.eval_shape(
            lambda key, width=width: networks.init(train.network(FULL, width), key, np.zeros((1, 2), np.int32)),
            jax.random.key(0),
        )
        norms = (2 * FULL.depth + 1) * width
        assert number == networks.count(params) - (addition.VOCABULARY + SumFormat(3).length) * width - norms
    assert np.all(np.diff(SIZES) > 0) and np.log10(SIZES[-1] / SIZES[0]) > 1.5
    # below, attention costs more
    assert train.flops(FULL)[-1] / train.flops(FULL)[2] == pytest.approx(SIZES[-1] / SIZES[2], rel=0.3)


def test_a_network_s_loss_metrics_and_sampled_answers_agree():
    """The chain rule ties the loss of training, the chance of an answer, and how often it is sampled; a wrong alignment
    breaks the tie.
    """
    config = dataclasses.replace(FULL, widths=(4, 8), depth=1, digits=1, judged=27, samples=80)
    module, pairs = train.network(config, 8), train.held_out(config)
    one = networks.init(module, jax.random.key(3), np.zeros((1, 2), np.int32))
    sharp = jax.tree.map(lambda leaf: 6 * leaf, one)  # fresh networks are nearly sure of nothing
    params = jax.tree.map(lambda *leaves: np.stack(leaves), one, sharp)
    with devices.compiled_quickly():
        fresh, taught = answers.ask(module, params, SumFormat(1), pairs, config.samples)
        moved = answers.ask(module, params, SumFormat(1, reverse=True), pairs, 0)[1]
    assert abs(fresh.z) < 4 and abs(taught.z) < 4
    rows = np.asarray(SumFormat(1).rows(pairs))
    loss = train.AnswerLoss(networks.pure(module), SumFormat(1).prompt_length)(sharp, jax.random.key(0), rows)[0]
    np.testing.assert_allclose(loss, METRICS[NLL](taught), rtol=1e-4)
    assert taught.exact.shape == (27,) and np.all(taught.digits >= taught.exact)
    assert abs(METRICS[NLL](moved) - METRICS[NLL](taught)) > 0.1
