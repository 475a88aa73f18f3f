"""The instruct experiment: its texts by hand, its sets under the library's checker, and its claims on replies that are made up."""

import dataclasses

import numpy as np

from experiments.language import replies
from experiments.preferences import instruct
from experiments.preferences.instruct import findings, judge, orders, train
from experiments.preferences.instruct.findings import FRAME, PLAIN, TEMPLATE, Replies, Small
from experiments.preferences.instruct.train import BASE, ENDLESS, SHUFFLED, TUNED, TUNINGS
from gendiff.commands.chat.models import Answer
from gendiff.data import sums
from gendiff.preferences import instruction
from tests.tables import table

FULL = instruct.EXPERIMENT.presets["full"]
FEW = dataclasses.replace(FULL, pairs=300, resamples=50)
VERBS, PAIRS = np.array([0, 1, 2]), np.array([[12, 34], [7, 60], [99, 9]])


def tokens(*texts):
    """(n, LONGEST) replies; ∎ ends one."""
    rows = np.full((len(texts), findings.LONGEST), -1)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = [orders.END if letter == "∎" else ord(letter) for letter in text]
    return rows


def test_orders_facts_and_responses_are_these_texts():
    assert [orders.text(row) for row in orders.orders(VERBS, PAIRS)] == ["add 12 34?↵", "max 07 60?↵", "min 99 09?↵"]
    assert [orders.text(row) for row in orders.responses(VERBS, PAIRS)] == ["046", "060", "009"]
    assert [orders.text(row) for row in orders.facts(VERBS, PAIRS)] == ["add 12 34 is 046.↵", "max 07 60 is 060.↵", "min 99 09 is 009.↵"]


def test_documents_are_facts_or_sheets_without_held_out_pairs_and_no_order_in_them_is_answered():
    _, kept = train.held_out(FULL)
    texts = [orders.text(row) for row in orders.documents_at(40, 1, 2, without=kept)]
    assert all(text.endswith("↵∎") and text.count("∎") == 1 for text in texts)
    lines = [text[:-1].split("↵")[:-1] for text in texts]
    assert all(len(each) == 2 and all(" is " in line for line in each) for each in lines[:20])
    assert all(len(each) == 3 and all(line.endswith("?") for line in each) for each in lines[20:])
    pairs = np.array([[int(line[4:6]), int(line[7:9])] for each in lines for line in each])
    assert not sums.same(pairs, kept).any()
    assert {line[:3] for each in lines for line in each} == set(orders.VERBS)


def test_replies_are_told_apart():
    given = tokens("046∎", "046.∎", "04∎", "04a∎", "046", "max 07 60?\nm", "max 07 6 ?\nm", "∎")
    finished = np.array([True, True, True, True, False, False, False, True])
    assert orders.is_response(given, finished).tolist() == [True] + [False] * 7
    assert orders.is_order(given).tolist() == [False] * 5 + [True, False, False]
    right = np.tile(orders.responses(VERBS[:1], PAIRS[:1]), (8, 1))
    assert orders.is_right(given, right).tolist() == [True, True, False, False, True, False, False, False]
    of = findings.marked(Replies(given, finished, np.zeros(8)), right)
    assert of.right.tolist() == [True] + [False] * 7 and of.begins.sum() == 3 and of.shown[5] == "max 07 60?↵m"


def test_the_checker_finds_the_set_without_loss_on_the_end_and_nothing_else():
    made = {name: train.examples(FEW, name, 0) for name in TUNINGS}
    said = {name: instruction.findings(of.tokens, of.weight, end=orders.END) for name, of in made.items()}
    assert said[TUNED] == said[SHUFFLED] == () and len(said[ENDLESS]) == 1 and "no weight on their end" in said[ENDLESS][0]
    np.testing.assert_array_equal(made[TUNED].tokens, made[ENDLESS].tokens)
    assert made[TUNED].weight.sum(1).tolist() == [4] * 300


def test_shuffled_responses_are_those_of_other_orders_and_tuned_ones_are_right():
    good, bad = (train.examples(FEW, name, 0).tokens for name in (TUNED, SHUFFLED))
    np.testing.assert_array_equal(good[:, : orders.ORDER], bad[:, : orders.ORDER])
    texts = [orders.text(row) for row in good]
    results = [list(orders.VERBS.values())[list(orders.VERBS).index(text[:3])](int(text[4:6]), int(text[7:9])) for text in texts]
    assert [text[11:] for text in texts] == [f"{result:03}∎" for result in results]
    answers = [of[:, orders.ORDER :] for of in (good, bad)]
    assert (answers[0] == answers[1]).all(1).mean() < 0.05
    np.testing.assert_array_equal(*(np.sort(of @ [10**6, 10**3, 1, 0]) for of in answers))


def small(replied, stated=1.0):
    """Of made-up replies to 300 held-out orders, by network."""
    config = dataclasses.replace(FEW, judged=300)
    right = orders.responses(*train.held_out(config))
    texts = {"goes on": ["max 07 60?\nm"] * 300, "answers": [orders.text(row) + "∎" for row in right]}
    texts |= {"other": [*texts["answers"][3:], *texts["answers"][:3]], "endless": [text[:3] + "." for text in texts["answers"]]}
    marked = {}
    for name, kind in replied.items():
        given = tokens(*texts[kind])
        marked[name] = findings.marked(Replies(given, (given == orders.END).any(1), np.full(300, 0.5)), right)
    return Small(marked, np.arange(300) < 300 * stated)


GOOD = {BASE: "goes on", TUNED: "answers", SHUFFLED: "other", ENDLESS: "endless"}


def test_a_model_that_answers_after_tuning_passes_every_claim():
    made = list(judge.of_seed(FEW, 0, small(GOOD)))
    assert {claim.verdict for claim in made} == {"PASS"} and len(made) == 6


@table(
    ("changes", "failed"),
    [
        ({BASE: "answers"}, {"continues", "before"}),
        ({TUNED: "goes on"}, {"answers", "right"}),
        ({TUNED: "other"}, {"right"}),
        ({SHUFFLED: "answers"}, {"shuffled"}),
        ({ENDLESS: "answers"}, {"endless"}),
    ],
)
def test_each_claim_fails_where_what_it_says_is_not_so(changes, failed):
    assert {claim.id for claim in judge.of_seed(FEW, 0, small(GOOD | changes)) if claim.verdict == "FAIL"} == failed


def test_smollm2_is_judged_by_right_replies_that_end_and_by_the_answers_of_other_questions():
    asked = findings.asked(FULL)
    right = replies.marks([Answer(f"It is {answers[0]}.", True) for _, answers in asked], asked)
    mute = replies.marks([Answer("", True) for _ in asked], asked)
    made = list(judge.of_smollm2(FEW, {PLAIN: mute, FRAME: mute, TEMPLATE: right}))
    assert {claim.verdict for claim in made} == {"PASS"}
    swapped = list(judge.of_smollm2(FEW, {PLAIN: right, FRAME: mute, TEMPLATE: mute}))
    assert [claim.verdict for claim in swapped] == ["FAIL", "FAIL", "PASS"]
    names = {claim.threshold_name for claim in (*made, *judge.of_seed(FEW, 0, small(GOOD)))}
    assert names == set(dataclasses.asdict(FULL.thresholds))
    everything = replies.of_others([" ".join(answers[0] for _, answers in asked)] * 2, asked[:2])
    assert everything.tolist() == [1.0, 1.0]


def test_tables_have_a_row_per_network_and_question():
    config = dataclasses.replace(FEW, judged=300)
    marks = replies.marks([Answer("a\nb", False)] * 100, findings.asked(config))
    made = judge.tables(config, [small(GOOD)] * 2, dict.fromkeys((PLAIN, FRAME, TEMPLATE), marks))
    assert [len(table.rows) for table in made] == [4, 3, 6, 12]
