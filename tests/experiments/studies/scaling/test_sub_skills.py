"""Skills and the ability that needs them: what a network is told, what a rule reads, and what their shares say."""

import dataclasses
import functools

import numpy as np
import pytest

from experiments.scaling import sub_skills
from experiments.scaling.sub_skills import ALL, BLIND, MEAN, PRODUCT, WEAKEST, WIDEST
from experiments.tasks import shapes, shapes_oracle
from gendiff.core.errors import ConfigError
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from tests.tables import table

CONFIG = sub_skills.Config()


def test_a_quarter_of_all_objects_is_held_out_and_every_two_attributes_are_seen_together():
    known = sub_skills.scenes(sub_skills.TRAINING, 3000, unseen=False)[1]
    unseen = sub_skills.scenes(sub_skills.JUDGED, 400, unseen=True)[1]
    assert not set(map(tuple, known)) & set(map(tuple, unseen)) and len(set(map(tuple, unseen))) == 64
    counts = [len(values) for values in shapes.VOCABULARY.values()]
    for first in range(4):
        for second in range(first):
            assert len(set(map(tuple, known[:, [first, second]]))) == counts[first] * counts[second]


def test_each_attribute_has_a_word_and_no_two_share_one():
    attributes = np.array([[0, 0, 0, 0], [7, 3, 1, 3]])
    text = sub_skills.words(attributes)
    assert text.tokens.shape == (2, 4, 18) and text.mask.all() and (text.tokens.sum(-1) == 1).all()
    assert text.tokens.argmax(-1).tolist() == [[0, 8, 12, 14], [7, 11, 13, 17]]


def test_the_rule_reads_every_attribute_of_real_scenes_and_each_by_itself():
    images, truth = sub_skills.scenes(sub_skills.JUDGED, 200, unseen=True)
    noise = np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    assert (shapes_oracle.guess(images) == truth).mean(0).min() >= 0.99
    noisy = shapes_oracle.guess(images + 1.0 * noise) == truth
    assert noisy[:, 3].mean() > 0.7 and 0.35 < noisy[:, 1].mean() < 0.6, "places are read where shapes are not"
    chance = (shapes_oracle.guess(noise) == truth).mean(0)
    assert (np.abs(chance - [1 / 8, 1 / 4, 1 / 2, 1 / 4]) < [0.1, 0.2, 0.5, 0.15]).all()


def rights(shares, pictures=400, together=False):
    """(moments, pictures, 4): skills of such shares (moments, 4), independent, or all in the same pictures."""
    rng = np.random.default_rng(0)
    uniform = rng.random((pictures, 1 if together else 4))
    return uniform[None] < np.asarray(shares)[:, None]


def rising(starts):
    """Shares of skills that come at these moments."""
    return np.stack([np.clip((np.arange(len(CONFIG.moments)) - start) / 4 + 0.5, 0.1, 1.0) for start in starts], 1)


def measured(shares, **options):
    """Numbers of the widest network with such skills, by the set."""
    name = sub_skills.named(CONFIG.widths[-1])
    rows = sub_skills.of_training(CONFIG, name, 0, rights(shares, **options), np.zeros((1, 16, 16, 3)))
    return {each.name: each.measures for each in rows if each.group != "skills"}


def test_independent_skills_are_as_often_right_together_as_their_product_says():
    numbers = measured(rising([1, 2, 6, 8]))
    assert numbers[PRODUCT]["off"][0] < 0.03 < 0.1 < numbers[MEAN]["off"][0]
    assert numbers[ALL]["later"][0] > 1.5 and numbers[WIDEST]["all"][0] > 0.9


def test_skills_that_come_in_the_same_pictures_are_no_product_but_the_weakest_one():
    numbers = measured(rising([4, 4, 5, 5]), together=True)
    assert numbers[WEAKEST]["off"][0] == pytest.approx(0, abs=1e-9)
    assert numbers[PRODUCT]["off"][0] > 0.05


def test_skills_that_come_at_once_bring_the_ability_as_early():
    shares = np.repeat(np.linspace(0.0, 1.0, len(CONFIG.moments))[:, None] > 0.5, 4, 1).astype(float)
    assert measured(shares)[ALL]["later"][0] == pytest.approx(1.0)


def test_a_network_that_is_not_told_the_shape_has_the_others():
    shares = rising([0, 0, 0, 0])
    shares[:, sub_skills.SHAPE] = 0.25
    rows = list(sub_skills.of_training(CONFIG, BLIND, 0, rights(shares), np.zeros((1, 16, 16, 3))))
    final = rows[-1].measures
    assert final["others"][0] > 0.95 and final["all"][0] < 0.35


@functools.cache
def study_rows():
    images = np.zeros((10, 16, 16, 3), np.float32)
    rows = [sub_skills.Measured(sub_skills.REAL, sub_skills._shares(np.ones((400, 4), bool)), None, 400, "skills")]
    blind = rising([1, 2, 6, 8])
    blind[:, sub_skills.SHAPE] = 0.25
    for name, (_, seeds) in sub_skills.trainings(CONFIG).items():
        shares = blind if name == BLIND else rising([1, 2, 6, 8])
        for seed in seeds:
            rows += sub_skills.of_training(CONFIG, name, seed, rights(shares), images)
    return Measurements(rows)


def test_skills_that_multiply_hold_and_figures_are_drawn(tmp_path):
    result = {each.id: each.verdict for each in sub_skills.STUDY.judge(study_rows())}
    assert set(result.values()) == {"PASS"} and len(result) == 7
    folder = RunFolder(tmp_path)
    for figure in sub_skills.STUDY.figures:
        assert figure(study_rows(), folder).file


@table(
    ("options", "words"),
    [
        ({"moments": (30, 800)}, "--moments 30: --checkpoint-every 25 must divide it"),
        ({"moments": (50, 25)}, "--moments 50 25 must ascend to at most --train-steps 800"),
        ({"moments": (825,)}, "must ascend to at most --train-steps 800"),
    ],
)
def test_moments_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        sub_skills.check(dataclasses.replace(CONFIG, **options))
