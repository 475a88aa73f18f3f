"""What is asked off the edge: each set differs from what was learned as its name says; nothing else counts as right."""

import jax
import numpy as np
import pytest

from experiments import edge
from experiments.edge import adders, changed_digits, new_scenes, word_order
from experiments.edge.adders import Adder
from experiments.language import replies
from experiments.tasks import addition, shapes
from gendiff.core.types import NO_LABEL
from gendiff.runs.study import Measured, Measurements
from tests.tables import table

SMALL = Adder(seeds=(0, 1), batch=64, judged=50)


def texts(step, member):
    batch = adders.batch_at(SMALL, step)
    tokens = np.asarray(batch.tokens)[:, member]
    return addition.text(tokens), np.asarray(batch.weight)[:, member]


def test_an_adder_sees_short_sums_the_smaller_number_first_and_the_other_one_sees_all():
    lines, weights = texts(3, member=0)
    pairs = [tuple(map(int, line.split("=")[0].split("+"))) for line in lines]
    assert all(first <= second < 1000 for first, second in pairs)
    assert {len(line) for line in lines} == {6, 9, 12} and sum(len(line) == 12 for line in lines) == 32
    for line, weight, (first, second) in zip(lines, weights, pairs, strict=True):
        answer = "".join(letter for letter, each in zip(line, weight[: len(line)], strict=True) if each)
        assert int(answer[::-1]) == first + second and weight.sum() == len(answer)
    others = [tuple(map(int, line.split("=")[0].split("+"))) for line in texts(3, member=2)[0]]
    assert any(first > second for first, second in others) and max(max(pair) for pair in others) >= 1000


def test_no_adder_sees_a_sum_that_is_judged_in_either_order():
    judged = np.concatenate(adders.held_out(SMALL))
    for member in range(4):
        pairs = np.array([line.split("=")[0].split("+") for step in range(4) for line in texts(step, member)[0]], int)
        assert not addition.same(pairs, judged).any()


def test_sums_are_asked_further_and_further_from_what_was_seen():
    near, turned, padded, longer = (addition.text(each.prompts(pairs)) for each, pairs in adders.asked_sums(SMALL))
    for first, second, third, fourth in zip(near, turned, padded, longer, strict=False):
        left, right = first.removesuffix("=").split("+")
        assert left < right and second == f"{right}+{left}=" and third == f"0{left}+0{right}="
        assert len(fourth) == len(third) and all(int(number) >= 1000 for number in fourth.removesuffix("=").split("+"))


def test_changed_digits_lie_on_the_levels_of_the_digits_and_keep_their_labels():
    sets = changed_digits.sets(30)
    images, labels = sets[changed_digits.HELD_OUT]
    for name, (pictures, truth) in sets.items():
        levels = (pictures + 1) * 8
        assert np.array_equal(levels, np.round(levels)) and pictures.min() >= -1 and pictures.max() <= 1, name
        assert (truth == NO_LABEL).all() == (name in (changed_digits.BLANK, changed_digits.NOISE)), name
    half_turn = sets[changed_digits.TURNED.format(180)][0]
    np.testing.assert_allclose(half_turn, images[:, ::-1, ::-1], atol=1e-5)
    assert np.array_equal(sets[changed_digits.INVERTED][0], -images)
    fonts, names = sets[changed_digits.PRINTED]
    assert len(fonts) >= 100 and np.bincount(names).tolist() == [len(fonts) // 10] * 10
    assert (fonts.reshape(len(fonts), -1).std(1) > 0.2).all() and len(labels) == 30


@table(
    "first, second, share", [([1, 2], [0, 0], 1.0), ([0, 0], [1, 2], 0.0), ([1, 1], [1, 1], 0.5), ([0, 2], [1], 0.5)]
)
def test_larger_is_the_area_under_the_curve(first, second, share):
    assert changed_digits.larger(np.array(first), np.array(second)) == share


def test_a_network_that_knows_what_it_sees_is_right_and_its_errors_say_so():
    """One that answers with the mean digit of the label it is told, whatever it sees."""
    means = np.stack([np.full((8, 8, 1), value, np.float32) for value in np.linspace(-1, 1, 11)])

    class MeanDigit:
        schedule = changed_digits.schedules.flow()

        def denoiser(self, params, label):
            def denoise(x, level):
                from gendiff.diffusion.types import Prediction

                clean = params[label + 1]
                return Prediction(clean, x)

            return denoise

    config = edge.Config(together=4, levels=2, draws=2)
    labels = np.array([3, 0, 9, 5, 5, 1])
    _, errors = changed_digits.read(config, MeanDigit(), jax.numpy.asarray(means), means[labels + 1])
    assert errors.shape == (6, 11) and (errors[:, 1:].argmin(1) == labels).all()


def test_sums_of_a_length_stand_behind_right_examples():
    prompts, answers = word_order.sums(3, 5)
    for prompt, answer in zip(prompts, answers, strict=True):
        *examples, question = prompt.split("\n")
        assert len(examples) == word_order.EXAMPLES
        assert all(eval(left) == int(right) for left, right in (line.split("=") for line in examples))
        assert eval(question.removesuffix("=")) == answer and answer >= 200


def test_questions_keep_their_words_and_capitals_come_first_in_all():
    sets = word_order.facts()
    for (text, answers), (mixed, same) in zip(sets[word_order.ASKED], sets[word_order.SHUFFLED], strict=True):
        assert sorted(text.removesuffix("?").split()) == sorted(mixed.removesuffix("?").split()) and answers == same
    turned = sets[word_order.TURNED]
    assert turned[0] == ("Paris is the capital of which country?", ("France",)) and len(turned) == 25
    assert all(row[1][0] in text for row, (text, _) in zip(sets[word_order.ASKED], turned, strict=False))


@table(
    ("question", "reply", "right"),
    [
        ("Washington", "Washington, D.C. is the capital of the United States of America.", True),
        ("Washington", "It is the capital of the USA.", True),
        ("Washington", "The U.S.", True),
        ("Washington", "It is in South America, and tells us much.", False),
        ("London", "London is the capital of the United Kingdom.", True),
        ("Paris", "Paris is the capital of the United Kingdom.", False),
    ],
)
def test_a_country_may_have_several_names(question, reply, right):
    answers = next(each for text, each in word_order.facts()[word_order.TURNED] if text.startswith(question))
    assert replies.right([reply], [answers]).tolist() == [right]


def scene(*objects):
    rows = np.full((3, 4), shapes.ABSENT)
    rows[: len(objects)] = objects
    return rows


RED, BLUE = (0, 1, 0), (2, 0, 1)


@table(
    "name, read, right",
    [
        (new_scenes.SEEN, scene((*RED, 0), (*BLUE, 1)), True),
        (new_scenes.SEEN, scene((*BLUE, 0), (*RED, 1)), False),
        (new_scenes.SEEN, scene((*RED, 0)), False),
        (new_scenes.UNPLACED, scene((*BLUE, 0), (*RED, 3)), True),
        (new_scenes.UNPLACED, scene((*RED, 0), (*RED, 3)), False),
        (new_scenes.RELATION, scene((*RED, 0), (*BLUE, 3)), True),
        (new_scenes.RELATION, scene((*BLUE, 0), (*RED, 3)), False),
        (new_scenes.RELATION, scene((*BLUE, 1), (*RED, 2)), True),
        (new_scenes.RELATION, scene((*RED, 0), (*BLUE, 2)), False),
        (new_scenes.SEEN, np.full((3, 4), -2), False),
    ],
)
def test_a_picture_is_right_where_it_shows_what_was_asked_for(name, read, right):
    request = scene((*RED, 0), (*BLUE, 1))
    if name not in (new_scenes.SEEN, new_scenes.UNSEEN):
        request[..., 3] = shapes.ABSENT
    assert new_scenes.right(name, read[None], request[None]).tolist() == [right]


def test_captions_name_what_their_set_says():
    captions = {name: new_scenes.requests(name, 6).captions for name in new_scenes.SETS}
    assert all(" at the " in text for name in (new_scenes.SEEN, new_scenes.UNSEEN) for text in captions[name])
    assert all(" at the " not in text for name in new_scenes.SETS[2:] for text in captions[name])
    assert all(text.count(" to the left of ") == 1 for text in captions[new_scenes.RELATION])
    assert all(text.count(",") == 1 and text.count(" and ") == 1 for text in captions[new_scenes.THREE])


@pytest.mark.parametrize("right", (0.2, 0.95))
def test_who_knows_the_rule_fails_the_claims_of_the_edge(right):
    rows = [row for row in edge.STUDY.claims if row.measure == "right" and row.role == "E45"]
    number = (right, right - 0.02, right + 0.02)
    claims = edge.STUDY.judge(Measurements(Measured(row.set, {"right": number}, n=100) for row in rows))
    assert {each.verdict for each in claims if each.kind == "claim"} == {"PASS" if right < 0.5 else "FAIL"}
