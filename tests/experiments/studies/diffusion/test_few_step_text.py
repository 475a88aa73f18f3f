"""The few-step experiment on pictures with text: evaluations are counted as they are made, sets are drawn once, and
claims can fail.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import captioned_emoji, few_evaluations, few_step_text, text_to_image
from experiments.diffusion.few_step_text import draw, measures, students, subjects
from experiments.diffusion.few_step_text.config import EMOJI, NETWORKS, SHAPES, Guiding
from experiments.diffusion.few_step_text.measures import Answer, Answers
from experiments.diffusion.few_step_text.methods import (
    ADAPTIVE,
    CACHED,
    DDIM,
    GUIDED,
    GUIDED_DDIM,
    GUIDED_MULTISTEP,
    INTERVAL,
    LEARNED,
    METHODS,
    SAVING,
    UNIPC,
    UNTRAINED,
    Counted,
    Tally,
)
from experiments.diffusion.students import MATCHING, REFLOW, SHORTCUT, STUDENTS
from experiments.diffusion.students import METHODS as METHODS_OF_STUDENTS
from experiments.diffusion.text_to_image import drawings as emoji_sets
from gendiff.commands import drawing_programs
from gendiff.commands.text_to_image import networks
from gendiff.commands.text_to_image.options import FROM_NOISE, TRAILING
from gendiff.diffusion import denoiser, grids, guidance, parameterization, samplers, sampling, schedules
from gendiff.diffusion.learned.learned_grid import LearnedGrid
from gendiff.networks import NO_TEXT, DeepFeatures
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from tests.quickly import quickly
from tests.tables import table

CONFIG = few_step_text.Config()
FLOW = schedules.flow()
STEPS, PICTURES = 6, 4


def toy(params, x, t, words, *features):
    """A network whose prediction and deep features are the same."""
    output = params * x + words.reshape(-1, 1)
    if not features:
        return output
    return (
        (output, features[0].with_features(output))
        if features[0].features is None
        else (features[0].features, features[0])
    )


@functools.lru_cache
def program(name):
    """(the evaluations so far, a draw of STEPS steps on a log-SNR grid from 10 to 0.1)."""
    tally, levels = Tally(), grids.log_snr(FLOW, STEPS, sigma_min=0.1, sigma_max=10.0)
    predict = Counted(toy, tally)

    @quickly
    def sample(numbers):
        network = denoiser.from_network(predict, jnp.float32(0.5), parameterization.flow(), jnp.ones(PICTURES))
        denoise = METHODS[name].rule(network, network.with_condition(jnp.zeros(())), numbers)
        return sampling.sample(jax.random.key(0), denoise, METHODS[name].sampler, levels, (2,), jnp.arange(PICTURES))

    return tally, sample


def counted(name, guiding):
    """(whole, shallow) evaluations per picture of one draw."""
    tally, sample = program(name)
    before = tally.whole, tally.shallow
    sample(METHODS[name].numbers(guiding, interval=3)).block_until_ready()
    jax.effects_barrier()
    return (tally.whole - before[0]) / PICTURES, (tally.shallow - before[1]) / PICTURES


# 2 of the 6 levels lie within; adaptive guidance stops after one step
GUIDING = Guiding(scale=2.0, low=0.5, high=3.0, stop=-1.0)


@table(("name", "evaluations", "shallow"), [(INTERVAL, 8, 0), (ADAPTIVE, 7, 0), (CACHED, 4, 8)])
def test_evaluations_are_counted_where_they_are_made(name, evaluations, shallow):
    assert counted(name, GUIDING) == (evaluations, shallow)


def test_guidance_that_never_ends_makes_every_evaluation():
    assert counted(ADAPTIVE, dataclasses.replace(GUIDING, stop=1.0))[0] == 2 * STEPS
    assert counted(INTERVAL, dataclasses.replace(GUIDING, low=0.0, high=20.0))[0] == 2 * STEPS


def test_methods_without_guidance_share_a_program_with_those_that_guide_everywhere():
    numbers = [METHODS[name].numbers(GUIDING, interval=3) for name in (UNIPC, GUIDED)]
    tally, sample = program(INTERVAL)
    outputs = []
    for each in numbers:
        before = tally.whole
        sample(each).block_until_ready()
        jax.effects_barrier()
        outputs.append((tally.whole - before) / PICTURES)
    assert outputs == [STEPS, 2 * STEPS]
    assert (
        len(
            {
                (method.rule, method.sampler, method.second_time)
                for name, method in METHODS.items()
                if name not in STUDENTS
            }
        )
        == 5
    )
    assert len({(method.rule, method.sampler, method.second_time) for method in METHODS.values()}) == 8


def test_a_folded_network_hands_on_what_it_keeps():
    x = np.ones((1, 4, 4, 1), np.float32)
    folded = networks.Folded(lambda params, y, t, features: (2 * y, features.with_features(y)))
    image, features = folded({}, x, None, DeepFeatures(1))
    assert image.shape == x.shape and np.all(image == 2) and features.features.shape == (1, 2, 2, 4)


@table("network", NETWORKS)
def test_every_set_is_drawn_once_and_all_that_is_compared_is_drawn(network):
    all_sets = draw.sets(CONFIG, network, 0)
    assert len(set(all_sets)) == len(all_sets)
    there = {(each.method, each.steps) for each in all_sets}
    judged = {(name, CONFIG.judged) for name in (UNIPC, LEARNED, DDIM, GUIDED, GUIDED_DDIM, UNTRAINED)}
    judged |= {(DDIM, CONFIG.distilled), (GUIDED_MULTISTEP, CONFIG.default), *CONFIG.judged_at().items()}
    saved = {(name, max(CONFIG.saving)) for name in (GUIDED, UNIPC, *SAVING)}
    assert judged | saved | set(measures.reference_steps(CONFIG).items()) <= there
    assert METHODS.keys() == {each.method for each in all_sets}


def test_the_default_of_prompts_is_the_one_that_is_judged():
    method = METHODS[GUIDED_MULTISTEP]
    assert drawing_programs.sampler(FROM_NOISE.sampler, None, FLOW) == method.sampler
    assert (FROM_NOISE.steps, FROM_NOISE.levels) == (CONFIG.default, TRAILING) and not method.resolved


def test_both_references_make_as_many_evaluations():
    steps = measures.reference_steps(CONFIG)
    assert steps[DDIM] == 2 * steps[GUIDED_DDIM] == CONFIG.reference


SMALL = dataclasses.replace(CONFIG, seeds=(0, 1), networks=(SHAPES,), pictures=100, subset=100, resamples=20, shown=2)


def answered(*, bad=(), lost=None, evaluations=19.0):
    """Answers of exact methods; those of `bad` draw pictures that are too wide, and those of `lost` lose a share of the
    captions.
    """
    lost = {DDIM: 0.2, UNIPC: 0.2, LEARNED: 0.2} | (lost or {})
    rng = np.random.default_rng(0)
    real, wrong = rng.standard_normal((300, 3)), (DDIM, GUIDED_DDIM, UNTRAINED)
    shared = {seed: 2 + rng.standard_normal((SMALL.pictures, 3)) for seed in SMALL.seeds}
    right, answers = np.arange(SMALL.pictures), {}
    for seed in SMALL.seeds:
        for each in draw.sets(SMALL, SHAPES, seed):
            wide = each.method in bad or (each.method in wrong and each.steps <= SMALL.judged)
            rows = shared[seed] * (3.0 if wide else 1.0) + 1e-3 * rng.standard_normal((SMALL.pictures, 3))
            share = 0.9 - lost.get(each.method, 0.0) - 0.2 * (each.method == GUIDED and each.steps == 1)
            hits, count = (
                (right < share * SMALL.pictures).astype(float),
                evaluations if each.method == INTERVAL else 2.0 * each.steps,
            )
            answers[each] = Answer((1.0, 0.9, 1.1), 0.5, hits, count, 0.1, rows, np.zeros((2, 4, 4, 3)))
    named = dataclasses.make_dataclass("Named", ["name", "real", "captions", "mean", "adherence"])
    subject = named(SHAPES, real, ("a", "b"), np.zeros((4, 4, 3)), lambda images: np.zeros(len(images)))
    errors = {"trailing": 2.0, "resolved": 1.0, "learned": 0.5}
    learned = LearnedGrid(None, None, None, None, errors, True)
    return Answers(subject, answers, {steps: learned for steps in SMALL.learned})


def measured(answers):
    return Measurements([*measures.compare(SMALL, answers), *measures.adherence(SMALL, answers)])


def verdicts_of(answers):
    return {claim.id: claim.verdict for claim in few_step_text.STUDY.judge(measured(answers))}


NEAR = {
    LEARNED: ("shapes-ddim-worse", "shapes-ddim-coarse-worse"),
    GUIDED: ("shapes-guided-ddim-worse", "shapes-guided-ddim-coarse-worse"),
    REFLOW: ("shapes-ddim-not-distilled-worse",),
}
"""Controls that are compared with each method."""


def test_exact_methods_pass_and_controls_miss():
    assert set(verdicts_of(answered()).values()) == {"PASS"}


@table(
    ("planted", "failing"),
    [
        ({"bad": (UNIPC,)}, {"shapes-unipc-2-resolved-levels-equal", "shapes-unipc-2-resolved-levels-no-worse"}),
        (
            {"bad": (LEARNED,)},
            {"shapes-unipc-2-learned-levels-equal", "shapes-unipc-2-learned-levels-no-worse", *NEAR[LEARNED]},
        ),
        ({"bad": (GUIDED,)}, {"shapes-guided-unipc-2-equal", "shapes-guided-unipc-2-no-worse", *NEAR[GUIDED]}),
        ({"bad": (GUIDED_MULTISTEP,)}, {"shapes-guided-dpm-solver-2m-no-worse"}),
        ({"lost": {GUIDED_MULTISTEP: 0.1}}, {"shapes-guided-dpm-solver-2m-adheres"}),
        ({"bad": (REFLOW,)}, {"shapes-reflow-no-worse", *NEAR[REFLOW]}),
        ({"bad": (SHORTCUT,)}, set()),
        ({"lost": {INTERVAL: 0.05}}, {"shapes-interval-adheres"}),
        ({"lost": {REFLOW: 0.1, SHORTCUT: 0.1}}, {"shapes-reflow-adheres"}),
    ],
)
def test_what_is_wrong_fails_and_nothing_else(planted, failing):
    assert {id for id, verdict in verdicts_of(answered(**planted)).items() if verdict != "PASS"} == failing


def test_a_set_that_is_better_than_the_reference_is_no_worse_and_not_equal():
    answers = answered()
    nearer = {
        each: dataclasses.replace(answer, points=answer.points - 1) if each.method == UNIPC else answer
        for each, answer in answers.sets.items()
    }
    verdicts = verdicts_of(dataclasses.replace(answers, sets=nearer))
    assert {id for id, verdict in verdicts.items() if verdict != "PASS"} == {"shapes-unipc-2-resolved-levels-equal"}


def test_tables_show_what_is_saved_and_lost():
    tables = {each.title: each.rows for each in few_step_text.STUDY.show(measured(answered(lost={INTERVAL: 0.1})))}
    compared, saved, taught, default = tables.values()
    assert len(compared) == (10 + len(METHODS_OF_STUDENTS)) * len(SMALL.seeds) and len(default) == 1
    assert [row[0] for row in taught] == [f"shapes: {name}" for name in METHODS_OF_STUDENTS]
    assert dict(SMALL.judged_at())[MATCHING] == 1
    assert (
        saved[0][:2] == (f"shapes: {INTERVAL}", 19 / 32)
        and saved[0][2][0] == pytest.approx(0.1)
        and saved[1][2][0] == 0.0
    )


def test_guidance_on_the_interval_of_scenes_makes_three_in_five_of_the_evaluations():
    config = dataclasses.replace(CONFIG, fresh=True, features="random-convolutions")
    levels = subjects.opened(config, SHAPES, Progress(quiet=True)).resolved(max(CONFIG.saving))
    ratio = np.asarray(levels.sigma[:-1] / levels.alpha[:-1])
    assert (1 + np.mean((ratio > CONFIG.shapes.low) & (ratio <= CONFIG.shapes.high))) / 2 == 0.59375


def test_a_student_learns_what_the_guided_network_draws_of_captions_that_are_not_judged():
    config = dataclasses.replace(few_step_text.EXPERIMENT.smoke, pairs=12, pair_steps=3)
    subject, rng = subjects.opened(config, SHAPES, Progress(quiet=True)), np.random.default_rng(0)
    moved = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.05, leaf.shape).astype(np.float32), subject.params)
    subject = dataclasses.replace(subject, params=moved)  # a fresh network reads nothing
    taught = students.pairs(config, subject, Progress(quiet=True))
    captions = subject.taught(config.pairs)
    assert len(captions) == len(taught.clean) == 12
    words = subjects.read(captions).rows(np.arange(12))
    model = subject.model

    @quickly
    def sample(scale):
        network = denoiser.from_network(model.predict, subject.params, model.parameterization, words)
        guided = guidance.classifier_free(network, network.with_condition(NO_TEXT), scale)
        key = jax.random.fold_in(jax.random.key(0), students.NOISE)
        return sampling.sample(key, guided, samplers.unipc(2), subject.resolved(3), model.shape, jnp.arange(12))

    np.testing.assert_allclose(taught.clean, sample(subject.guiding.scale), atol=1e-4)
    assert np.abs(taught.clean - sample(1.0)).max() > 1e-3
    np.testing.assert_array_equal(taught.condition[0].tokens, words.tokens)
    assert 0.9 < np.std(taught.noise) < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS_OF_STUDENTS)
def test_a_student_keeps_an_average_of_its_own_and_is_trained_once(tmp_path, monkeypatch, name):
    config = dataclasses.replace(few_step_text.EXPERIMENT.smoke, students=(name,), student_rate=0.1, student_steps=8)
    subject = subjects.opened(config, SHAPES, Progress(quiet=True))
    subject = dataclasses.replace(subject, model=dataclasses.replace(subject.model, ema=0.5))
    monkeypatch.setattr(subjects, "opened", lambda *_: subject)
    folder = RunFolder(tmp_path)
    students.train(config, folder, Progress(quiet=True))
    params = students.restore(config, subject, folder, name, 1)
    like = STUDENTS[name].model(students.teaching(config, subject)).init(jax.random.key(0))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, like)
    if not STUDENTS[name].second_time:
        changes = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), params, subject.params)
        assert 0 < max(jax.tree.leaves(changes)) < 1
    monkeypatch.setattr(
        students, "pairs", lambda *_: pytest.fail("pairs are drawn again for a student that is trained")
    )
    students.train(config, folder, Progress(quiet=True))


def test_a_student_of_two_times_draws_in_as_many_evaluations_as_steps(tmp_path, monkeypatch):
    config = dataclasses.replace(few_step_text.EXPERIMENT.smoke, students=(SHORTCUT,))
    subject = subjects.opened(config, SHAPES, Progress(quiet=True))
    monkeypatch.setattr(students, "restore", lambda *_: subject.two_times.init(jax.random.key(1)))
    result = draw.MethodDraws(config, subject, RunFolder(tmp_path), Progress(quiet=True))(
        draw.Set(SHAPES, 0, SHORTCUT, 2)
    )
    assert result.evaluations == 2 and result.pictures.shape == (8, 32, 32, 3) and np.isfinite(result.pictures).all()


def test_students_make_as_many_evaluations_of_the_network_as_reflow():
    subject = subjects.opened(
        dataclasses.replace(few_step_text.EXPERIMENT.smoke, pictures=8), SHAPES, Progress(quiet=True)
    )
    teaching = students.teaching(CONFIG, subject)
    assert STUDENTS[REFLOW].steps(teaching) == CONFIG.student_steps
    for student in STUDENTS.values():
        of_step = student.evaluations(teaching) * CONFIG.student_batch * max(1, len(student.rounds))
        assert abs(student.steps(teaching) * of_step - teaching.budget) <= of_step / 2


@pytest.mark.parametrize("name", [SHAPES, pytest.param(EMOJI, marks=pytest.mark.slow)])
def test_no_caption_that_is_judged_is_taught(name):
    config = dataclasses.replace(few_step_text.EXPERIMENT.smoke, pictures=32)
    subject = subjects.opened(config, name, Progress(quiet=True))
    taught = subject.taught(4096)
    assert len(taught) == 4096 and len(subject.captions) in (12, 32)
    assert not set(taught) & set(subject.captions) and len(set(taught)) >= 16  # drawings may have no keywords


@pytest.mark.slow
def test_no_drawing_that_chose_the_guidance_scale_is_judged():
    config = dataclasses.replace(few_step_text.EXPERIMENT.smoke, pictures=12)
    subject, drawings = subjects.opened(config, EMOJI, Progress(quiet=True)), text_to_image.SMOKE.drawings
    choosing = emoji_sets.chosen(*captioned_emoji.load(drawings), drawings.prompts)[0]
    assert len(subject.captions) == 12 and not set(subject.captions) & set(choosing.captions)


def test_a_method_is_named_in_ids_without_spaces():
    assert few_evaluations.word("UniPC 2, cut levels") == "unipc-2-cut-levels"
