"""The constitution experiment: its rules on every answer there is, its rows read back, and what it measures of runs
that are made up.
"""

import dataclasses
import itertools

import jax
import numpy as np

from experiments.preferences import constitution, responses
from experiments.preferences.constitution import (
    BASE,
    PREFERENCE,
    SHUFFLED,
    SUPERVISED,
    UNREVISED,
    Compared,
    feedback,
    grammar,
    skills,
)
from experiments.preferences.constitution.feedback import Judged
from gendiff import networks
from gendiff.preferences.constitutional_critique import Revised
from gendiff.runs import devices
from tests.quickly import quickly

FULL = constitution.EXPERIMENT.presets["full"]
EVERY = np.array(list(itertools.product(range(len(grammar.SIGNS)), repeat=grammar.WORD)))
"""All signs of an answer."""


def closed(signs):
    """Whether brackets fit, by taking pairs away."""
    text = "".join(grammar.SIGNS[sign] for sign in signs if sign in (grammar.OPEN, grammar.CLOSE))
    while "()" in text:
        text = text.replace("()", "")
    return not text


def test_principles_say_what_their_sentences_say_of_every_answer():
    texts = ["".join(grammar.SIGNS[sign] for sign in signs) for signs in EVERY]
    by_hand = [
        [
            any(loud in text for loud in "!?"),
            not closed(signs),
            any(2 * sign in text for sign in "!?()~."),
            text[-1] != ".",
        ]
        for text, signs in zip(texts, EVERY, strict=True)
    ]
    np.testing.assert_array_equal(grammar.violated(EVERY), by_hand)


def test_a_revision_keeps_its_principle_changes_no_sign_that_does_not_offend_and_all_together_keep_all():
    for number in range(len(grammar.PRINCIPLES)):
        revised = grammar.revised(EVERY, np.full(len(EVERY), number))
        assert not grammar.violated(revised)[:, number].any()
        np.testing.assert_array_equal(revised != EVERY, grammar.offending(EVERY)[:, number])
    clean = grammar.clean(EVERY)
    assert not grammar.violated(clean).any()
    fine = ~grammar.violated(EVERY).any(1)
    np.testing.assert_array_equal(clean[fine], EVERY[fine])
    assert 0 < fine.sum() < len(EVERY) / 4


def test_a_critique_names_the_first_sign_that_offends():
    signs = np.array(
        [[grammar.SIGNS.index(sign) for sign in text] for text in ("_!?.", "(_).", ")((.", "~~~.", "..._")]
    )
    criticisms = [grammar.critiques(signs, np.full(len(signs), number)).tolist() for number in range(4)]
    assert criticisms == [[1, -1, -1, -1, -1], [-1, -1, 0, -1, -1], [-1, -1, 1, 0, 0], [-1, -1, -1, -1, 3]]


def test_rows_read_back_are_what_the_rules_say():
    numbers = np.random.default_rng(0).integers(grammar.REQUESTS, size=400)
    rows = skills.rows(np.random.default_rng(1), numbers)
    assert rows.tokens.shape == rows.weight.shape == (400, skills.LENGTH) and rows.tokens.max() < skills.VOCABULARY
    start = skills.PROMPT + skills.RESPONSE
    drafts = rows.tokens[:, skills.PROMPT : start]
    assert skills.solved(numbers, drafts).all()
    critics, revisers, judges = np.split(np.arange(400), [100, 200])

    tags, words, places = (rows.tokens[critics, start + part : start + 12 : 3] for part in range(3))
    assert (np.sort(tags, 1) - skills.CRITIQUE == np.arange(4)).all()
    for column in range(4):
        expected = skills.criticisms(
            grammar.critiques(skills.signs_of(drafts[critics]), tags[:, column] - skills.CRITIQUE)
        )
        np.testing.assert_array_equal(expected, np.stack([words[:, column], places[:, column]], 1))
    assert (rows.tokens[critics, start + 12 :] == -1).all()

    principle, after = rows.tokens[revisers, start] - skills.CRITIQUE, rows.tokens[revisers, start + 4 : start + 12]
    assert (rows.tokens[revisers, start + 3] == skills.REVISE).all() and skills.solved(numbers[revisers], after).all()
    np.testing.assert_array_equal(skills.signs_of(after), grammar.revised(skills.signs_of(drafts[revisers]), principle))

    second = rows.tokens[judges, start + 1 : start + 9]
    tags, choices = (
        rows.tokens[judges, start + 9 + part :: 2] - base for part, base in ((0, skills.JUDGE), (1, skills.FIRST))
    )
    assert (np.sort(tags, 1) == np.arange(4)).all() and np.isin(choices, (0, 1)).all()
    one, other = (np.take_along_axis(skills.violated(signs), tags, 1) for signs in (drafts[judges], second))
    np.testing.assert_array_equal(choices[one != other], one[one != other])
    assert 0.4 < choices[one == other].mean() < 0.6
    learned = np.isin(rows.tokens, np.arange(skills.FINE, skills.VOCABULARY))
    assert (
        (rows.weight[learned] == 1).all()
        and (rows.weight[:, : skills.PROMPT] == 0).all()
        and (rows.weight[rows.tokens < 0] == 0).all()
    )


def test_requests_of_every_stage_are_not_held_out():
    held_out = set(constitution.held_out(FULL).tolist())
    assert len(held_out) == FULL.judged
    tokens = constitution.skill_rows_at(FULL, 3).tokens
    assert tokens.shape == (FULL.batch, len(FULL.seeds), skills.LENGTH)
    learned = tokens[..., : grammar.WORD].reshape(-1, grammar.WORD) @ len(grammar.LETTERS) ** np.arange(grammar.WORD)
    for numbers in (
        learned,
        constitution.stage_requests(FULL, 1, FULL.revised, 1),
        constitution.stage_requests(FULL, 1, FULL.pairs, 2),
    ):
        assert not held_out & set(numbers.tolist())


def pairs(judge_well):
    """Drafts of the rules in pairs, with labels that are right or wrong."""
    rng, count = np.random.default_rng(2), 300
    numbers = rng.integers(grammar.REQUESTS, size=count)
    letters = grammar.task(grammar.requests(numbers))
    first, second = (skills.responses(letters, grammar.drafts(rng, count)) for _ in range(2))
    better = np.sign(skills.violated(second).sum(1) - skills.violated(first).sum(1)) * (1 if judge_well else -1)
    return Compared(numbers, first, second, Judged(0.5 + 0.2 * better, 0.5 + 0.1 * better, np.ones((4, count), bool)))


def test_agreement_is_counted_on_pairs_that_the_rules_tell_apart_and_undecided_pairs_have_no_label():
    good, bad = pairs(True), pairs(False)
    remaining = good.labelled(0.09, 8)
    assert np.abs(good.judged.probability[remaining] - 0.5).min() > 0.1 and 100 < len(remaining) < 300
    right, wrong, all_pairs = (
        constitution.agreement(0, pairs, rows).measures
        for pairs, rows in ((good, remaining), (bad, remaining), (good, np.arange(300)))
    )
    assert (right["agreement"][0], right["one order"], wrong["agreement"][0], wrong["one order"]) == (
        1.0,
        1.0,
        0.0,
        0.0,
    )
    assert all_pairs["decided"] == len(remaining) == right["labelled"] and all_pairs["labelled"] == 300
    assert len(good.labelled(0.49, 8)) == 8


def test_pairs_for_preference_tuning_have_the_label_in_front_and_a_coin_has_not(monkeypatch):
    monkeypatch.setattr(feedback, "log_probs", lambda network, params, rows: rows.sum(1).astype(np.float32))
    config = dataclasses.replace(FULL, preference_batch=8)
    by_model, coin = (
        constitution.preferred(config, pairs(True), None, 5, by_coin=by_coin) for by_coin in (False, True)
    )
    fewer = [
        np.subtract(*(skills.violated(rows[:, skills.PROMPT :]).sum(1) for rows in (each.rejected, each.chosen)))
        for each in (by_model, coin)
    ]
    assert (fewer[0] > 0).all() and 0.3 < (fewer[1] > 0).mean() < 0.7
    np.testing.assert_array_equal(by_model.reference_chosen, by_model.chosen.sum(1))
    np.testing.assert_array_equal(
        np.sort(by_model.chosen.sum(1) + by_model.rejected.sum(1)), np.sort(coin.chosen.sum(1) + coin.rejected.sum(1))
    )


def test_a_critic_that_follows_the_rules_is_right_and_drafts_without_signs_are_left_out():
    rng, numbers = np.random.default_rng(4), np.arange(100) * 37
    letters, signs, principle = (
        grammar.task(grammar.requests(numbers)),
        grammar.drafts(rng, 100),
        rng.integers(4, size=100),
    )
    draft, after = (skills.responses(letters, each) for each in (signs, grammar.revised(signs, principle)))
    draft[:10, 1] = skills.FINE
    criticism = skills.criticisms(grammar.critiques(signs, principle))
    one = constitution.critic(0, Revised(np.stack([draft, after]), criticism[None], principle[None]))
    assert one.n == 90 and one.measures == {"verdict": 1.0, "position": 1.0, "revision": 1.0}
    wrong = constitution.critic(
        0, Revised(np.stack([draft, draft]), criticism[None, :, [0, 0]], principle[None])
    ).measures
    offends = grammar.critiques(signs, principle)[10:] >= 0
    assert wrong == {"verdict": 1.0, "position": 0.0, "revision": (~offends).mean()}


def test_answers_are_compared_with_those_of_the_network_before_them():
    numbers = np.arange(1000)
    letters, calm = grammar.task(grammar.requests(numbers)), np.tile([0, 0, 0, grammar.STOP], (1000, 1))

    def answers(share, lost=0):
        signs = np.where((numbers < 1000 * share)[:, None], 0, calm)  # these lack the full stop
        return skills.responses(np.where((numbers < lost)[:, None], (letters + 1) % 10, letters), signs)

    shares = {BASE: 0.7, SUPERVISED: 0.2, PREFERENCE: 0.1, UNREVISED: 0.68, SHUFFLED: 0.2}
    replies = {name: answers(share, lost=30 * (name == PREFERENCE)) for name, share in shares.items()}
    rows = {each.name: each.measures for each in constitution.judge(0, numbers, replies)}
    assert {name: row["broken"][0] for name, row in rows.items()} == shares
    np.testing.assert_allclose([rows[SUPERVISED]["left"][0], rows[PREFERENCE]["lost"][0]], [2 / 7, 0.03])
    assert rows[SUPERVISED]["p"] < 1e-9 and rows[PREFERENCE]["p"] < 1e-9 and rows[SHUFFLED]["p"] == 1.0
    fine = {each.name: each.measures for each in constitution.judge(0, numbers, dict.fromkeys(shares, answers(0)))}
    assert np.isnan(fine[SUPERVISED]["left"]), "nothing can fall where nothing is broken"


def test_a_network_s_answers_have_the_probability_that_tuning_sees_and_its_judgement_knows_no_order():
    config = dataclasses.replace(FULL, width=16, depth=1)
    module = constitution.network(config)
    params = jax.tree.map(lambda leaf: 6 * leaf, networks.init(module, jax.random.key(1), np.zeros((1, 2), np.int32)))
    prompt, key = skills.prompts(np.arange(5) * 77), jax.random.key(2)

    def write(params):
        return responses.write(module, params, key, prompt, np.arange(5), skills.RESPONSE, temperature=1.0)

    with devices.compiled_quickly():
        written = quickly(write)(params)
        rows = np.concatenate([prompt, np.asarray(written.tokens)], 1)
        np.testing.assert_allclose(
            feedback.log_probs(module, params, rows), np.asarray(written.log_probs).sum(1), rtol=1e-4
        )
        first, second = rows[:, skills.PROMPT :], rows[::-1, skills.PROMPT :]
        there, back = (
            feedback.judgements(module, params, prompt, *pair) for pair in ((first, second), (second, first))
        )
    np.testing.assert_allclose(there.probability, 1 - back.probability, atol=1e-5)
    assert np.abs(there.probability - 0.5).max() > 1e-3
