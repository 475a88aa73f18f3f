"""The multimodal experiment: its documents, what it finds of networks that are made up, and its claims."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import multimodal
from experiments.multimodal import STUDY, documents, measures, tasks
from experiments.multimodal.config import BOTH, CAPTIONS, NETWORKS, OBJECTS, PAIRS, PICTURES, SCENES
from experiments.multimodal.measures import Answered, Judged
from experiments.tasks import scene_questions
from gendiff.language import Texts
from gendiff.runs.study import Measurements
from tests.tables import table

FULL = STUDY.presets["full"]
FEW = dataclasses.replace(STUDY.smoke, asked=400)


def written(task, row):
    return task.words.decode(task.texts[row][None, 1:])[0]


def test_documents_of_digits_are_captions_and_pictures_in_both_orders_and_captions_behind_pictures_are_learned():
    described, answered = tasks.documents(FULL, BOTH, 3)
    (captions, pictures), (again, same) = described.parts, answered.parts[::-1]
    assert pictures.shape == (64, 2, 8, 8, 1) and captions.tokens.shape == (64, 2, 4)
    np.testing.assert_array_equal(pictures, same)
    np.testing.assert_array_equal(captions.tokens, again.tokens)
    task = tasks.known_digits()
    row = int(np.flatnonzero((task.pictures == pictures[5, 1]).all((1, 2, 3)))[0])
    np.testing.assert_array_equal(captions.tokens[5, 1], task.texts[row])
    assert written(task, row) == task.answers[row] and not captions.weight.any()
    twin = tasks.documents(FULL, CAPTIONS, 3)[0].parts[1]
    np.testing.assert_array_equal(again.weight, twin.weight)
    assert again.weight.any() and not again.weight[..., 0].any()


@pytest.mark.parametrize(("name", "kinds"), [(CAPTIONS, [False]), (PICTURES, [True]), (OBJECTS, [False])])
def test_twins_have_one_kind_of_document_and_the_one_that_draws_learns_no_token(name, kinds):
    batches = tasks.documents(FEW, name, 0)
    assert [isinstance(document.parts[0], Texts) for document in batches] == kinds
    learned = next(part for part in batches[0].parts if isinstance(part, Texts)).weight
    assert learned.any() != (name == PICTURES)


@table("name", SCENES)
def test_answers_alone_are_learned_of_scenes_and_what_is_held_out_is_asked_about_nowhere_else(name):
    known, unseen = tasks.scenes(FEW, name, 0, np.arange(200)), tasks.unseen_scenes(FEW, name)
    for row in range(10):
        learned = known.texts[row][known.weight[row] > 0]
        assert known.words.decode(learned[None])[0] == known.answers[row] and (learned == tasks.END).sum() == 1
        assert tasks.questions(known)[row] + " " + known.answers[row] == written(known, row)
    if name == PAIRS:
        named = [f" {colour} {shape}" for colour, shape in SCENES[PAIRS]]
        assert not [row for row in range(len(known)) if any(pair in written(known, row) for pair in named)]
    assert {scene_questions.kind(question) for question in tasks.questions(unseen)} == set(scene_questions.BY_PLACE)
    assert known.words == unseen.words and known.texts.shape[1] == unseen.texts.shape[1]


@table("name", SCENES)
def test_a_quarter_is_held_out_of_every_network_of_scenes(name):
    known, out = (
        tasks.shapes.draw(tasks.shapes.Recipe(held_out=SCENES[name]), 0, np.arange(300), unseen=unseen).attributes
        for unseen in (False, True)
    )
    table = {len(SCENES[OBJECTS]): 4 * 8 * 2 * 4, len(SCENES[PAIRS]): 4 * 8}
    assert table[len(SCENES[name])] == 4 * len(SCENES[name])
    columns = 4 if name == OBJECTS else 2
    seen_once, held = ({tuple(one[:columns]) for one in scene.reshape(-1, 4) if one[0] >= 0} for scene in (known, out))
    assert (
        len(held - seen_once) > 5
        and not {
            tuple(
                next(values.index(word) for values in tasks.shapes.VOCABULARY.values() if word in values)
                for word in each
            )
            for each in SCENES[name]
        }
        & seen_once
    )


def test_a_question_of_scenes_names_no_half_of_a_pair_but_a_count():
    for question in tasks.questions(tasks.seen_scenes(FEW, PAIRS)):
        named = [word for word in (*tasks.shapes.COLOURS, *tasks.shapes.SHAPES) if f" {word} " in f"{question} "]
        assert not named or scene_questions.kind(question) == "count"


def test_no_step_repeats_a_scene_and_each_seed_has_its_own():
    config = dataclasses.replace(FEW, seeds=(0, 1))
    first, second = (tasks.documents(config, OBJECTS, step)[0].parts for step in (0, 1))
    pictures = np.concatenate([first[0].reshape(8, -1), second[0].reshape(8, -1)])
    assert len(np.unique(pictures, axis=0)) == 16 and first[1].tokens.shape == second[1].tokens.shape == (
        4,
        2,
        first[1].tokens.shape[-1],
    )
    again = tasks.documents(dataclasses.replace(config, seeds=(1,)), OBJECTS, 1)[0].parts
    np.testing.assert_array_equal(again[0][:, 0], second[0][:, 1])


def test_the_language_model_of_a_network_has_its_fields_and_parameters():
    network, plain = documents.network(FEW, BOTH), documents.language(FEW, BOTH)
    assert (plain.width, plain.vocabulary, plain.context) == (network.width, network.vocabulary, network.context)
    assert type(plain).__name__ == "LanguageModel"


@pytest.mark.slow
def test_what_networks_find_has_the_right_shapes_and_ids_alone_are_a_language_model():
    config = dataclasses.replace(FEW, samples=10, asked=10)
    params = {name: documents.init(config, name, jax.random.key(0)) for name in NETWORKS}
    judgement = measures.judge(config, params)
    assert judgement.language == 0.0 and judgement.drawn.shape == judgement.mismatched.shape == (10,)
    assert judgement.captioned.shape == (450,) and judgement.scenes.keys() == SCENES.keys()
    np.testing.assert_allclose(judgement.text_loss[CAPTIONS], judgement.text_loss[BOTH], rtol=1e-4)  # from one key
    for name, answered in judgement.scenes.items():
        assert answered.unseen.shape == answered.blind.shape == answered.trained.shape == (10,)
        questions = tasks.questions(tasks.unseen_scenes(config, name))
        assert all(
            answer in scene_questions.choices(question)
            for question, answer in zip(questions, answered.answers, strict=True)
        )


RNG = np.random.default_rng(0)


def right(share):
    return np.arange(400) < 400 * share


def answered(unseen=0.97, blind=0.3):
    return Answered(right(unseen), right(blind), right(0.9), ("red",) * 20)


def made_up(**changes):
    """Of a seed in which all is well."""
    losses = {name: 1 + 0.1 * RNG.random(450) for name in (BOTH, CAPTIONS, PICTURES)}
    good = {"drawn": 0.97, "mismatched": 0.02, "captioned": 0.97}
    shares = {name: right(share) for name, share in good.items()}
    scenes = {"scenes": {OBJECTS: answered(), PAIRS: answered(unseen=0.4)}}
    fields = {"text_loss": losses, "picture_loss": losses, "language": 0.0, "pictures": np.zeros((20, 8, 8, 1))}
    return Judged(**shares | scenes | fields | {"captions": ("a one",) * 20} | changes)


def judged(**changes):
    """Claims and controls of one seed."""
    return list(STUDY.judge(Measurements(multimodal.seed_by_seed(0, made_up(**changes)))))


def test_claims_pass_where_all_is_well_and_are_those_of_every_row():
    assert {claim.verdict for claim in judged()} == {"PASS"} and [claim.id for claim in judged()] == [
        row.id for row in STUDY.rows
    ]


WORSE = {BOTH: np.full(450, 1.2), CAPTIONS: np.ones(450), PICTURES: np.ones(450)}


@table(
    ("changes", "failed"),
    [
        ({"drawn": np.arange(400) < 300}, "drawn"),
        ({"captioned": np.arange(400) < 300}, "captioned"),
        ({"scenes": {OBJECTS: answered(unseen=0.75), PAIRS: answered(unseen=0.4)}}, "answered"),
        ({"text_loss": WORSE}, "text-loss"),
        ({"picture_loss": WORSE}, "picture-loss"),
        ({"language": 1e-7}, "language"),
        ({"mismatched": np.arange(400) < 399}, "mismatched"),
        ({"scenes": {OBJECTS: answered(blind=1.0), PAIRS: answered(unseen=0.4)}}, "blind"),
        ({"scenes": {OBJECTS: answered(), PAIRS: answered(unseen=1.0)}}, "pairs"),
    ],
)
def test_each_claim_fails_where_what_it_says_is_not_so(changes, failed):
    assert [claim.id for claim in judged(**changes) if claim.verdict == "FAIL"] == [failed]


def test_tables_show_losses_of_all_networks_captions_and_questions():
    for runs in ({0: made_up()}, {0: made_up(), 1: made_up()}):
        parts = (multimodal.losses(runs), multimodal.kinds(FEW, runs), multimodal.examples(FEW, runs[0]))
        rows = Measurements(row for part in parts for row in part)
        assert [len(table.rows) for table in STUDY.show(rows)] == [3, 6, 20, 20]
