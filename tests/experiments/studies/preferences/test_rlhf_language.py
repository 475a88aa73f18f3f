"""Rankings in which only what they are about pays, a judge, a reward model in a program, and verdicts."""

import dataclasses
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.preferences import rlhf_language
from experiments.preferences.rlhf_language import adapters, rankings, requests, reward_model
from experiments.preferences.rlhf_language.adapters import FREE, NEAR, RANDOM
from experiments.preferences.rlhf_language.config import WIDTH, Config
from experiments.preferences.rlhf_language.requests import RANKED
from gendiff import language, weights
from gendiff.commands.chat import models
from gendiff.core.errors import ConfigError
from gendiff.preferences import rollouts
from gendiff.preferences.bradley_terry import Normaliser
from gendiff.runs.reporting import verdicts as verdicts_of
from gendiff.runs.study import Measured, Measurements
from gendiff.weights import mini_lm
from tests.tables import table

CONFIG = Config()
RANKED_PAIRS = adapters.ranked(CONFIG)
NEW_PAIRS = list(rankings.pairs(np.random.default_rng(1), rlhf_language.judged(CONFIG), rankings.NEW))


def test_the_better_reply_of_a_ranking_is_useful_and_the_other_one_lacks_one_thing():
    assert len(RANKED_PAIRS) == 192 and len(NEW_PAIRS) == 144
    for pair in (*RANKED_PAIRS, *NEW_PAIRS):
        better, worse = requests.parts([pair.better, pair.worse], [pair.request.name] * 2)
        assert better.all(), pair
        assert worse.tolist() == [*(part != pair.lacks for part in RANKED), True], pair


def test_neither_length_nor_style_says_which_reply_is_better():
    for pairs in (RANKED_PAIRS, NEW_PAIRS):
        words, marks = (
            np.array([[count(text) for text in (pair.better, pair.worse)] for pair in pairs])
            for count in (lambda text: len(text.split()), lambda text: text.count("!"))
        )
        assert abs(rankings.longer(pairs).mean() - 0.5) < 0.08
        assert abs(np.diff(words).mean()) < 0.05 * words.mean() and np.abs(np.diff(words)).mean() > 2
        assert np.diff(marks).sum() == 0 and (np.diff(marks) != 0).mean() == 0.5
    pairs = np.array([[pair.better, pair.worse] for pair in RANKED_PAIRS])
    assert len(np.unique(pairs)) > 300


def test_a_rule_that_was_taught_by_length_and_style_alone_orders_new_rankings_as_a_coin_does():
    def looks(pairs):
        counts = [
            [[len(text), len(text.split()), text.count("!")] for text in (pair.better, pair.worse)] for pair in pairs
        ]
        return -np.diff(np.array(counts, float), axis=1)[:, 0]

    scale = looks(RANKED_PAIRS).std(0)
    weights = reward_model.fit(looks(RANKED_PAIRS) / scale)
    assert reward_model.accuracy(looks(NEW_PAIRS) / scale @ weights).mean() < 0.6


def test_families_and_words_that_judge_are_not_in_the_rankings():
    known, new = adapters.taught(CONFIG), rlhf_language.judged(CONFIG)
    assert len(known) == 64 and len(new) == 48 and not {each.name for each in known} & {each.name for each in new}
    forms = [{form for form, _ in families.values()} for families in (requests.TAUGHT, requests.NEW)]
    assert not forms[0] & forms[1]
    for one, other in itertools.product(vars(rankings.TAUGHT).values(), vars(rankings.NEW).values()):
        assert not {text for texts in one for text in texts} & {text for texts in other for text in texts}


def test_every_request_leaves_room_for_its_reply():
    """As the template of SmolLM2 writes it: `gendiff tune` refuses a row that is longer, and judging has as much."""
    try:
        path = models.located(models.SMOLLM2)
    except ConfigError as error:
        pytest.skip(str(error))
    metadata = weights.gguf.load(path).metadata
    tokenizer, template = language.tokens.from_gguf(metadata), language.chat_template.from_gguf(metadata)
    for request in (*adapters.taught(CONFIG), *rlhf_language.judged(CONFIG)):
        ids = tokenizer.prompt(template([{"role": "user", "content": request.text}]), WIDTH, special=True)
        assert len(ids) <= WIDTH - CONFIG.max_tokens, request.text


def test_pairs_that_differ_in_length_say_the_same_and_half_of_them_are_good():
    known = adapters.taught(CONFIG)
    pairs = list(rankings.of_length(np.random.default_rng(0), known, rankings.TAUGHT))
    assert (rankings.longer(pairs) == 1).all()
    for texts in ([pair.better for pair in pairs], [pair.worse for pair in pairs]):
        useful = requests.useful(texts, [request.name for request in known])
        assert useful.tolist() == [at % 2 == 0 for at in range(64)]


@table(
    ("text", "name", "expected"),
    [
        ("Absolutely, congratulations to getting into chess. The game has indeed", "chess", "encourages names reads"),
        ("Hey there, welcome to tennis. There's much to be said for it.", "tennis", "names reads"),
        ("That's a great idea – just what you need. Now, here's the recipe", "bread", "encourages reads"),
        ("I'm glad you're learning the Violin! Start with open strings", "violin", "encourages names advises reads"),
        ("I am happy to hear that you like soup. Take an onion", "soup", "encourages names advises reads"),
        ("You can take soup and make a fuss, and you can do it.", "soup", "encourages names reads"),
        ("Great chess! Start chess! Great chess! Start chess!", "chess", "encourages names advises"),
        ("Startling, greatly, chesses", "chess", ""),
    ],
)
def test_the_judge_reads_as_a_reader_does(text, name, expected):
    """Most texts are replies of SmolLM2."""
    result = requests.parts([text], [name])[0]
    assert [part for part, does in zip(requests.PARTS, result, strict=True) if does] == expected.split()
    assert requests.useful([text], [name]).tolist() == [len(expected.split()) == 4]


def test_a_reward_model_learns_the_direction_in_which_better_replies_lie():
    rng = np.random.default_rng(0)
    truth, margins = np.array([2.0, -1.0, 0.0]), rng.normal(size=(400, 3))
    margins *= np.sign(margins @ truth)[:, None]
    weights = reward_model.fit(margins)
    assert np.corrcoef(weights, truth)[0, 1] > 0.99
    assert reward_model.accuracy(np.array([0.5, -0.5, 0.0])).tolist() == [1.0, 0.0, 0.5]


def minimal_reward(random=False):
    """Of two requests, by MiniLM with weights that are not learned, and the texts that it reads."""
    try:
        mini_lm.folder()
    except ImportError as error:
        pytest.skip(str(error))
    chat, asked_for = models.tiny(), adapters.taught(CONFIG)[:2]
    weights = np.random.default_rng(0).normal(size=2 * reward_model.texts.WIDTH).astype(np.float32)
    model = reward_model.RewardModel(reward_model.texts.params(), weights, Normaliser(1.0, 2.0))
    return model, chat, asked_for, adapters.reward(model, chat, asked_for, random=random)


def test_scores_in_a_program_are_those_of_the_texts_and_the_judge_reads_the_same():
    model, chat, asked_for, reward = minimal_reward()
    replies = ["A great plan: start with chess today.", "no"]
    actions = np.full((2, 40), -1, np.int32)
    for row, reply in zip(actions, replies, strict=True):
        ids = chat.tokenizer.encode(reply)
        row[: len(ids)] = ids
    rollout = rollouts.rollout(actions, jnp.zeros((2, 40)), actions >= 0, {"row": np.array([0, 1])})
    scores, metrics = jax.jit(reward.score)(reward.params, rollout)
    expected = reward_model.scored(model, [request.text for request in asked_for], replies)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
    assert float(metrics["useful"]) == 0.5 and float(metrics["proxy"]) == pytest.approx(expected.mean(), abs=1e-3)
    assert scores[0] != scores[1]


def test_a_random_reward_is_the_same_for_equal_texts_and_says_nothing_of_them():
    numbers = adapters.noise([str(at) for at in range(2000)])
    assert abs(numbers.mean()) < 0.07 and abs(numbers.std() - 1) < 0.05 and len(np.unique(numbers)) == 2000
    assert (adapters.noise(["a", "b", "a"])[[0, 2]] == adapters.noise(["a"])).all()


def scores(useful, proxy, times=2):
    """Of 48 requests, such a share of whose replies are of use."""
    parts = np.zeros((times, 48, 4), bool)
    parts[:, : round(48 * useful)] = True
    shape = parts.shape[:2]
    noise = np.random.default_rng(0).normal(size=shape)
    return rlhf_language.Scores(proxy + 0.1 * noise, parts, np.ones(shape), np.full(shape, 20.0))


def test_the_best_of_several_is_the_one_of_the_highest_score():
    result = scores(0.0, 0.0, times=8)
    best = result.best(4)
    expected = result.proxy.reshape(2, 4, 48).max(1)
    np.testing.assert_array_equal(best.proxy, expected)
    assert best.parts.shape == (2, 48, 4) and best.kl[0, 0] == pytest.approx(np.log(4) - 0.75)
    above = dataclasses.replace(result, parts=np.repeat((result.proxy > 0)[..., None], 4, 2)).best(4)
    np.testing.assert_array_equal(above.useful, (expected > 0).mean(0))


def verdicts(near, free, random, best, fall):
    results = {(rlhf_language.PLAIN, None): scores(0.1, 0.0), (RANDOM, 0): random, (rlhf_language.BEST, None): best}
    results |= {(arm, seed): each for arm, each in ((NEAR, near), (FREE, free)) for seed in (0, 1)}
    measured = list(rlhf_language.policies(results))
    measured += [Measured(arm, {"fall": each}, 0, group="on the way") for arm, each in ((NEAR, 0.0), (FREE, fall))]
    return {each.id: each.verdict for each in rlhf_language.STUDY.judge(Measurements(measured))}


def on_the_way(arm, seed, peak, end):
    """A training whose judge sees one share in its first half and another in the second."""
    useful = np.repeat([peak, end], 12) + 0.05 * np.random.default_rng((seed, arm == FREE)).normal(size=24)
    lines = [{"step": at, "kl": 1.0, "proxy": 0.0, "useful": share} for at, share in enumerate(useful)]
    return rlhf_language.on_the_way(SimpleNamespace(read_metrics=lambda _: lines), arm, seed)


@table(("peaks", "end", "verdict"), [((0.57, 0.63), 0.0, "PASS"), ((0.6, 0.6), 0.6, "FAIL")])
def test_a_fall_that_differs_between_seeds_as_its_steps_do_is_told_from_none(peaks, end, verdict):
    ways = [on_the_way(NEAR, seed, 0.6, 0.6) for seed in (0, 1)]
    ways += [on_the_way(FREE, seed, peak, end) for seed, peak in enumerate(peaks)]
    judged = [each for each in rlhf_language.STUDY.judge(Measurements(ways)) if each.id == "fall-near"]
    assert verdicts_of.Summary("fall-near", tuple(judged)).verdict == verdict


def test_over_optimisation_is_told_from_a_policy_that_goes_further_and_is_better():
    plain = scores(0.1, 0.0)
    result = verdicts(scores(0.6, 1.5), scores(0.2, 4.0), plain, scores(0.3, 1.0), 0.4)
    assert set(result.values()) == {"PASS"} and len(result) == 8
    result = verdicts(scores(0.6, 1.5), scores(0.9, 4.0), plain, scores(0.3, 1.0), 0.0)
    assert {id for id, verdict in result.items() if verdict != "PASS"} == {"overoptimised", "fall", "fall-near"}


def test_a_model_that_is_as_before_or_gains_no_more_than_by_chance_fails():
    same = scores(0.1, 0.0)
    result = verdicts(same, same, same, scores(0.3, 1.0), 0.0)
    assert "PASS" not in result.values()
    result = verdicts(scores(0.6, 1.5), scores(0.2, 4.0), scores(0.6, 0.0), scores(0.7, 1.0), 0.4)
    assert {id for id, verdict in result.items() if verdict != "PASS"} == {"random", "best-of-n"}


def test_weights_of_kl_in_the_wrong_order_are_refused_with_all_three():
    message = "--free-beta 0.001 must be below --weak-beta 0.5, and that below --beta 0.3"
    with pytest.raises(ConfigError, match=message):
        rlhf_language.EXPERIMENT.check(Config(weak_beta=0.5))
