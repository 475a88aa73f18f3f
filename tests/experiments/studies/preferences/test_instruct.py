"""The instruct experiment: its texts by hand, its sets under the library's checker, and what it measures of replies
that are made up.
"""

import dataclasses

import numpy as np

from experiments.language import questions, replies
from experiments.preferences import instruct
from experiments.preferences.instruct import ENDLESS, FRAME, OTHERS, PLAIN, SHUFFLED, TEMPLATE, TUNED, TUNINGS
from experiments.tasks import addition
from gendiff.commands.chat.models import Answer
from gendiff.preferences import instruction

FULL = instruct.EXPERIMENT.presets["full"]
FEW = dataclasses.replace(FULL, pairs=300)
VERBS, PAIRS = np.array([0, 1, 2]), np.array([[12, 34], [7, 60], [99, 9]])


def tokens(*texts):
    """(n, LONGEST) replies; ∎ ends one."""
    rows = np.full((len(texts), instruct.LONGEST), -1)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = [instruct.END if letter == "∎" else ord(letter) for letter in text]
    return rows


def test_orders_facts_and_responses_are_these_texts():
    assert [instruct.text(row) for row in instruct.orders(VERBS, PAIRS)] == [
        "add 12 34?↵",
        "max 07 60?↵",
        "min 99 09?↵",
    ]
    assert [instruct.text(row) for row in instruct.right_responses(VERBS, PAIRS)] == ["046", "060", "009"]
    assert [instruct.text(row) for row in instruct.facts(VERBS, PAIRS)] == [
        "add 12 34 is 046.↵",
        "max 07 60 is 060.↵",
        "min 99 09 is 009.↵",
    ]


def test_documents_are_facts_or_sheets_without_held_out_pairs_and_no_order_in_them_is_answered():
    _, judged = instruct.held_out(FULL)
    texts = [instruct.text(row) for row in instruct.documents(40, 1, 2, without=judged)]
    assert all(text.endswith("↵∎") and text.count("∎") == 1 for text in texts)
    lines = [text[:-1].split("↵")[:-1] for text in texts]
    assert all(len(each) == 2 and all(" is " in line for line in each) for each in lines[:20])
    assert all(len(each) == 3 and all(line.endswith("?") for line in each) for each in lines[20:])
    pairs = np.array([[int(line[4:6]), int(line[7:9])] for each in lines for line in each])
    assert not addition.same(pairs, judged).any()
    assert {line[:3] for each in lines for line in each} == set(instruct.VERBS)


def test_replies_are_told_apart():
    rows = tokens("046∎", "046.∎", "04∎", "04a∎", "046", "max 07 60?\nm", "max 07 6 ?\nm", "∎")
    finished = np.array([True, True, True, True, False, False, False, True])
    right = np.tile(instruct.right_responses(VERBS[:1], PAIRS[:1]), (8, 1))
    marks = instruct.marks(rows, finished, right)
    assert marks["responds"].tolist() == marks["right"].tolist() == [True] + [False] * 7
    assert marks["continues"].tolist() == [False] * 5 + [True, False, False]
    assert marks["begins"].tolist() == [True, True, False, False, True, False, False, False]
    other = instruct.marks(rows, finished, right + 1)
    assert other["responds"].sum() == 1 and not other["right"].any()
    assert instruct.text(rows[5]) == "max 07 60?↵m"


def test_the_checker_finds_the_set_without_loss_on_the_end_and_nothing_else():
    rows = {name: instruct.examples(FEW, name, 0) for name in TUNINGS}
    says = {name: instruction.findings(each.tokens, each.weight, end=instruct.END) for name, each in rows.items()}
    assert (
        says[TUNED] == says[SHUFFLED] == () and len(says[ENDLESS]) == 1 and "no weight on their end" in says[ENDLESS][0]
    )
    np.testing.assert_array_equal(rows[TUNED].tokens, rows[ENDLESS].tokens)
    assert rows[TUNED].weight.sum(1).tolist() == [4] * 300


def test_shuffled_responses_are_those_of_other_orders_and_tuned_ones_are_right():
    good, bad = (instruct.examples(FEW, name, 0).tokens for name in (TUNED, SHUFFLED))
    np.testing.assert_array_equal(good[:, : instruct.ORDER], bad[:, : instruct.ORDER])
    texts = [instruct.text(row) for row in good]
    results = [instruct.VERBS[text[:3]](int(text[4:6]), int(text[7:9])) for text in texts]
    assert [text[11:] for text in texts] == [f"{result:03}∎" for result in results]
    answers = [rows[:, instruct.ORDER :] for rows in (good, bad)]
    assert (answers[0] == answers[1]).all(1).mean() < 0.05
    np.testing.assert_array_equal(*(np.sort(each @ [10**6, 10**3, 1, 0]) for each in answers))


def test_smollm2_is_judged_by_right_replies_that_end_and_by_the_answers_of_other_questions():
    all_questions = questions.questions()
    right = replies.marks([Answer(f"It is {answers[0]}.", True) for _, answers in all_questions], all_questions)
    mute = replies.marks([Answer("", True) for _ in all_questions], all_questions)

    def shares(**marked):
        rows = {each.name: each.measures for each in instruct.judge(FULL, marked) if each.group == "questions"}
        return rows[TEMPLATE]["holds"][0], rows[TEMPLATE]["gained"][0], rows[OTHERS]["holds"][0]

    assert shares(**{PLAIN: mute, FRAME: mute, TEMPLATE: right})[:2] == (1.0, 1.0)
    assert shares(**{PLAIN: right, FRAME: mute, TEMPLATE: mute}) == (0.0, -1.0, 0.0)
    everything = replies.of_others([" ".join(answers[0] for _, answers in all_questions)] * 2, all_questions[:2])
    assert everything.tolist() == [1.0, 1.0]
