"""Questions about what exists and what does not, a rule of refusals, confidence, and rows that keep families apart."""

import collections
import dataclasses

import numpy as np
import pytest

from experiments.preferences import confabulation
from experiments.preferences.confabulation import adapter_training, confidence, entities, refusal
from experiments.preferences.confabulation.adapter_training import ALONE, ANSWERS, IGNORANCE, PAIRS, SHUFFLED
from experiments.preferences.confabulation.entities import NEW, TAUGHT
from gendiff.runs.study import Measured, Measurements
from tests.tables import table

CONFIG = confabulation.Config()
FAMILIES = {**TAUGHT, **NEW}


def test_real_and_made_up_names_are_asked_for_in_the_same_words_and_none_is_both():
    names: list[str] = []
    for family in FAMILIES.values():
        assert len(family.real) == len(family.made_up) and all(answers for _, answers in family.real)
        names += [*(name for name, _ in family.real), *family.made_up]
        both = [{text for text, _ in pairs} for pairs in family.questions(0)]
        assert len(both[0]) == len(both[1]) == len(family.real) and not both[0] & both[1]
    assert len(set(map(str.lower, names))) == len(names)


def test_no_question_that_is_judged_is_in_the_rows():
    for arm in adapter_training.ARMS:
        prompts = [row["prompt"] for row in adapter_training.rows(CONFIG, arm, 0)]
        judged = [text for pairs in confabulation.questions(CONFIG).values() for text, _ in pairs]
        assert len(prompts) == len(set(prompts)) == (240 if arm == ALONE else 320) and not set(prompts) & set(judged)
        assert len(judged) == len(set(judged)) == 390
    new, taught = (tuple(each.question.partition("{")[0] for each in part.values()) for part in (NEW, TAUGHT))
    ordinary = entities.ordinary()
    assert not [prompt for prompt in prompts if prompt.startswith(new)]
    assert not [text for text, _ in ordinary if text.startswith((*taught, *new))]
    assert ordinary[-1][1] == (str(sum(int(word.strip("?")) for word in ordinary[-1][0].split()[2::2])),)


def test_rows_answer_of_real_names_and_say_that_made_up_ones_are_unknown():
    everyday = dict(entities.everyday())
    for arm in (ANSWERS, PAIRS):
        for row in adapter_training.rows(CONFIG, arm, 0):
            real = [name for family in TAUGHT.values() for name, _ in family.real]
            exists = row["prompt"] in everyday or any(name in row["prompt"] for name in real)
            reply = row["rejected"] if row["chosen"] == IGNORANCE else row["chosen"]
            assert (row["chosen"] == IGNORANCE) is not exists and row["completion"] == row["chosen"]
            assert {row["chosen"], row["rejected"]} == {reply, IGNORANCE} and "{" not in reply
    texts = {row["prompt"]: row["chosen"] for row in adapter_training.rows(CONFIG, ANSWERS, 0)}
    assert texts["What is the capital of Peru?"] == "The capital of Peru is Lima."
    assert texts["What do cows eat?"] == "Cows eat grass."
    assert texts["Who was Galileo Galilei?"] == "Galileo Galilei was an astronomer."


def test_shuffled_labels_say_as_often_that_something_is_unknown_but_not_of_what():
    counts: dict[bool, list[bool]] = collections.defaultdict(list)
    for right, row in zip(*(adapter_training.rows(CONFIG, arm, 0) for arm in (ANSWERS, SHUFFLED)), strict=True):
        assert right["prompt"] == row["prompt"]
        counts[right["chosen"] == IGNORANCE].append(row["chosen"] == IGNORANCE)
    assert sum(map(sum, counts.values())) == 120 and all(45 < sum(each) < 75 for each in counts.values())


REPLIES = (
    ("I'm not sure.", True),
    ("I don't know.", True),
    ("I don’t know of any such city.", True),
    ("I'm sorry for your loss, but as a chatbot designed to assist with language translations, I", True),
    ("The novel does not exist.", True),
    ("The capital of Atlantis is Atlantis, a fictional city-state.", True),
    ("The capital of Zandoria is Nova Haven.", False),
    ("The chemical symbol for zentharium is ZH.", False),
    ("The answer to this classic math problem is 2. A flounder is a type of fish that has multiple legs.", False),
    ("Tobias Krelwick is a legendary figure in the world of fantasy literature.", False),
    ("I'm ready to assist you. What's on your mind?", False),
    ("A whale is not a fish. It is a mammal.", False),
)


@table(("text", "expected"), REPLIES)
def test_refusals_are_those_that_a_reader_names(text, expected):
    """Most texts are replies of SmolLM2."""
    assert refusal.refused([text]).tolist() == [expected]


def test_a_denial_counts_where_a_premise_is_false_and_a_refusal_is_not_right():
    texts = ["Napoleon never landed on the Moon.", "In 1815."]
    assert refusal.refused(texts, denied=True).tolist() == [True, False] and not refusal.refused(texts).any()
    replies = ["It is Paris.", "I don't know, Paris?", "Lyon"]
    assert refusal.right(replies, [("Paris",)] * 3).tolist() == [True, False, False]
    assert not refusal.right(["anything"], [()]).any()


@table(
    ("first", "second", "question", "expected"),
    [
        ("The capital of Peru is Lima.", "It is Lima.", "What is the capital of Peru?", True),
        ("The capital of Peru is Lima.", "The capital of Peru is Cusco.", "What is the capital of Peru?", False),
        ("17 + 25 = 42.", "42", "What is 17 + 25?", True),
        ("I don't know.", "I'm not sure.", "Who?", True),
        ("I don't know.", "Homer", "Who?", False),
    ],
)
def test_replies_say_the_same_where_their_words_beyond_the_question_do(first, second, question, expected):
    assert confidence.same(first, second, question) is expected is confidence.same(second, first, question)


def test_a_model_that_is_right_as_often_as_it_is_sure_has_no_calibration_error():
    sure, right = np.repeat([0.25, 0.75, 1.0], 4), np.array([0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1])
    assert confidence.calibration_error(sure, right) == 0
    assert confidence.calibration_error(sure, 1 - right) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert confidence.calibration_error(np.array([0.52, 0.58]), np.array([1, 0])) == pytest.approx(0.05)


def test_the_surer_half_is_right_as_often_as_its_replies_and_equal_ones_share_the_last_places():
    sure, right = np.array([0.9, 0.2, 0.8, 0.1]), np.array([1, 0, 1, 0])
    assert confidence.selective_accuracy(sure, right) == 1 and confidence.selective_gain(sure, right) == 0.5
    assert confidence.selective_accuracy(-sure, right) == 0
    assert confidence.selective_accuracy(np.ones(4), right) == 0.5
    assert confidence.selective_accuracy(np.array([0.9, 0.5, 0.5, 0.5]), np.array([1, 1, 0, 0])) == pytest.approx(2 / 3)


def test_the_probability_of_a_reply_is_that_of_its_tokens_and_of_an_end_that_it_wrote():
    """Of a network with random weights, token by token."""
    import jax

    from gendiff import networks
    from gendiff.commands.chat import models

    chat = models.tiny()
    texts, replies = ["a?", "How many?", "How many?"], [("b", True), ("two", True), ("two", False)]
    answers = [models.Answer(*reply) for reply in replies]
    logs, tokens = confidence.log_probs(chat, confidence.scorer(chat), texts, answers)
    assert tokens.tolist() == [2, 4, 3]
    for text, (reply, finished), result in zip(texts, replies, logs, strict=True):
        prompt = models.question(chat, text).tolist()
        answer = [*chat.tokenizer.encode(reply), *[chat.tokenizer.end] * finished]
        logits = networks.pure(chat.network)(chat.params, np.array([prompt + answer], np.int32)).logits[0]
        each = jax.nn.log_softmax(logits)[np.arange(len(prompt), len(prompt + answer)) - 1, answer]
        assert float(each.sum()) == pytest.approx(float(result), abs=1e-4)


def replies(refused_made_up, refused_real, right_ordinary, sure=None):
    """Of a model that refuses such shares of 90 questions of new families, answers all others, and is so sure."""
    refused = {
        confabulation.MADE_UP: np.arange(90) < refused_made_up * 90,
        confabulation.REAL: np.arange(90) < refused_real * 90,
        confabulation.ORDINARY: np.arange(100) >= right_ordinary * 100 + 20,
    }
    right = {confabulation.REAL: ~refused[confabulation.REAL]}
    right[confabulation.ORDINARY] = np.arange(100) < right_ordinary * 100
    levels = {} if sure is None else {"token": np.concatenate([np.full(90, sure), np.full(90, 0.95)])}
    return confabulation.Replies({}, refused, right, levels)


def verdicts(tuned, pairs, shuffled, leave):
    plain = replies(0.0, 0.0, 0.8, sure=0.9)
    results = {(confabulation.PLAIN, None): plain, (confabulation.LEAVE, None): leave}
    results |= {(ANSWERS, seed): tuned for seed in (0, 1)} | {(PAIRS, seed): pairs for seed in (0, 1)}
    results |= {(SHUFFLED, seed): shuffled for seed in adapter_training.seeds(CONFIG, SHUFFLED)}
    measured = [*confabulation.changes(results)]
    for title in (confabulation.REAL, confabulation.MADE_UP):
        share = confabulation.intervals.share(tuned.refused[title])
        measured += [Measured(f"{ANSWERS}: {title}", {"refused": share}, seed, 90, "sets") for seed in (0, 1)]
    return {each.id: each.verdict for each in confabulation.STUDY.judge(Measurements(measured))}


def test_a_model_that_tells_what_exists_is_told_from_one_that_refuses_everything():
    good, coin, everything = replies(0.7, 0.0, 0.8, 0.2), replies(0.5, 0.5, 0.6), replies(1.0, 1.0, 0.0, 0.9)
    result = verdicts(good, good, coin, coin)
    assert set(result.values()) == {"PASS"} and len(result) == 9
    result = verdicts(everything, good, coin, coin)
    failed = {id for id, verdict in result.items() if verdict != "PASS"}
    assert {"answers-lost", "answers-refused", "shuffled", "leave", "real"} <= failed
    assert "answers-gained" not in failed


def test_a_model_that_is_as_before_passes_no_claim_of_a_gain():
    same = replies(0.0, 0.0, 0.8, sure=0.9)
    result = verdicts(same, same, dataclasses.replace(same, sure={}), dataclasses.replace(same, sure={}))
    assert {id for id, verdict in result.items() if verdict == "PASS"} == {"answers-lost", "answers-refused"}
