"""The text-to-image experiment: held-out combinations are held out, failures are told apart, and claims can fail."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import encoded_captions, scenes, sweeps, text_to_image
from experiments.diffusion.scenes import Prompts
from experiments.diffusion.text_to_image import STUDY, failures, sets
from experiments.diffusion.text_to_image.sets import (
    FROZEN,
    HELD_OUT,
    SCRATCH,
    SCRATCH_SEEN,
    SEEN,
    SHUFFLED,
    UNTRAINED,
    Answers,
)
from experiments.tasks import captions, rendering, shapes
from gendiff.commands.text_to_image import networks, texts
from gendiff.core.errors import ConfigError
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from gendiff.weights import mini_lm
from tests.networks import rig
from tests.quickly import quickly
from tests.tables import table

CONFIG = dataclasses.replace(text_to_image.EXPERIMENT.smoke, seeds=(0, 1), scales=(0.0, 1.0, 2.0, 4.0))
RED_CIRCLE = "a small red circle at the top left"
TWO = "a small cyan circle at the top left and a large white square at the bottom right"


def attributes(text):
    return captions.read([text])


def has_held_out(scene):
    words = [{captions.phrase(one).split()[2], captions.phrase(one).split()[3]} for one in scene if one[0] >= 0]
    return [any(set(pair) == word for pair in scenes.RECIPE.held_out) for word in words]


def test_training_scenes_and_seen_prompts_show_no_held_out_combination_and_held_out_prompts_show_one():
    images, written = scenes.training(300)
    assert images.shape == (300, 32, 32, 3) and images.dtype == np.float32
    for rows in (captions.read(written), scenes.prompts(300, held_out=False).attributes):
        assert not any(any(has_held_out(scene)) for scene in rows)
    assert all(sum(has_held_out(scene)) == 1 for scene in scenes.prompts(100, held_out=True).attributes)


def test_every_word_of_captions_is_known():
    assert not [word for text in scenes.training(300)[1] for word in texts.unknown_words(text, scenes.words())]


def changed(scene, row, **values):
    columns = {name: shapes.ATTRIBUTES.index(name) for name in values}
    other = scene.copy()
    for name, value in values.items():
        other[0, row, columns[name]] = shapes.VOCABULARY[name].index(value)
    return other


TWO_OBJECTS = attributes(TWO)


@table(
    ("reading", "kinds"),
    [
        (TWO_OBJECTS, set()),
        (np.full_like(TWO_OBJECTS, -2), {"unclear"}),
        (np.full_like(TWO_OBJECTS, shapes.ABSENT), {"count"}),
        (attributes(RED_CIRCLE), {"count"}),
        (changed(TWO_OBJECTS, 1, position="top right"), {"position"}),
        (changed(TWO_OBJECTS, 1, position="top right", shape="cross"), {"position"}),
        (changed(changed(TWO_OBJECTS, 0, colour="white"), 1, colour="cyan"), {"colour swapped"}),
        (changed(changed(TWO_OBJECTS, 0, colour="white", size="large"), 1, colour="cyan"), {"colour swapped", "size"}),
        (changed(TWO_OBJECTS, 0, colour="white"), {"colour"}),
        (changed(TWO_OBJECTS, 1, shape="cross", size="small"), {"shape", "size"}),
    ],
)
def test_each_failure_has_its_kind(reading, kinds):
    assert {kind for kind, matches in failures.kinds(reading, TWO_OBJECTS).items() if matches[0]} == kinds


def test_every_inexact_reading_has_a_kind_and_no_exact_one():
    requested = scenes.prompts(200, held_out=False).attributes
    readings = np.roll(requested, 1, axis=0)
    missed = np.any(list(failures.kinds(readings, requested).values()), axis=0)
    assert np.array_equal(missed, np.any(readings != requested, axis=(1, 2)))
    one = attributes(RED_CIRCLE)
    assert failures.kinds(changed(one, 0, colour="blue"), one)["colour"][0]


def test_renders_are_exact_repeats_are_one_picture_and_what_leaves_the_range_is_clipped():
    scene_attributes = shapes.draw(scenes.RECIPE, 5, np.arange(40))
    prompts, images = (
        Prompts(tuple(captions.write(scene_attributes.attributes)), scene_attributes.attributes),
        rendering.render(scene_attributes, scenes.SIDE),
    )
    rows, hard = (sets.measured(each, sets.shapes_oracle.read(each), prompts) for each in (images, 3 * images))
    assert rows["accuracy"].mean() == 1.0 and rows["clipped"].max() == 0.0 < hard["clipped"].min()
    others = Prompts(prompts.captions, np.roll(scene_attributes.attributes, 1, axis=0))
    assert sets.measured(images, sets.shapes_oracle.read(images), others)["accuracy"].mean() < 0.1
    np.testing.assert_allclose(sets.distinct(np.repeat(images[:5], 4, axis=0), 4)["vendi"], 1.0)
    assert sets.distinct(images, 4)["vendi"].min() > 1.5


def test_folding_is_undone_and_a_network_sees_two_by_two_pixels_as_channels():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)

    @quickly
    def there_and_back(x):
        images = []
        same = networks.Folded(lambda params, folded, t: images.append(folded) or folded)({}, x, None)
        return same, images[0]

    same, images = map(np.asarray, there_and_back(x))
    assert np.array_equal(same, x)
    assert np.array_equal(images[1, 1, 2], x[1, 2:4, 4:6].reshape(12))


def test_a_dropped_text_leaves_every_gradient_finite_and_says_nothing_to_network_and_encoder():
    encoder = networks.networks.TextEncoder(
        vocabulary=9, positions=3, width=8, depth=1, heads=2, causal=False, pooling="mean"
    )
    sums = networks.WithEncoder(networks.networks.pure(encoder), lambda params, x, t, text: x + params * masked(text))
    params = {"text": rig.random_params(encoder, np.zeros((1, 3), np.int32)), "network": np.float32(1)}
    x, ids = jnp.ones((2, 2, 2, 1)), np.array([[1, 2, 3], [0, 0, 0]])
    words = {"ids": ids, "mask": np.array([[True, True, False], [False] * 3])}

    def total(params, words, row):
        return sums(params, x, None, words)[row].sum()

    slope = quickly(jax.grad(total))
    grads = [slope(params, words, row)["text"] for row in (0, 1)]
    with_text, dropped = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grad)]) for grad in grads)
    assert np.isfinite(with_text).all() and np.abs(with_text).max() > 0 and not dropped.any()


def masked(text):
    return jnp.where(text.mask[..., None], text.tokens**2, 0).sum((1, 2))[:, None, None, None]


def test_shuffled_captions_are_the_same_ones_elsewhere():
    read = encoded_captions.Encoded({"ids": np.arange(4)}, np.repeat(np.arange(4), 25))
    other = read.shuffled(0)
    rows = np.arange(100)
    assert np.array_equal(np.sort(other.rows(rows)["ids"]), np.sort(read.rows(rows)["ids"]))
    assert (other.rows(rows)["ids"] != read.rows(rows)["ids"]).mean() > 0.5


def answers(accuracy, *, seeds=2, scales=CONFIG.scales, count=100):
    """Of networks that are right about the first `accuracy` share of the prompts, one share per scale."""
    prompts = scenes.prompts(count, held_out=True)
    right = np.arange(count) < np.array(accuracy)[:, None] * count
    readings = np.where(right[..., None, None], prompts.attributes, -2)
    slope = np.array(scales)[:, None] * np.ones(count)
    rows = [
        {"accuracy": hits.astype(float), "clipped": more, "contrast": more}
        for hits, more in zip(right, slope, strict=True)
    ]
    return Answers(prompts, (readings,) * seeds, sweeps.sweep(scales, [rows] * seeds))


def measured(**changes):
    images = np.random.default_rng(0).uniform(-1, 1, (4, 2, 4, 8, 8, 3)).astype(np.float32)
    right, scratch = answers((0.0, 0.8, 1.0, 0.9)), answers((0.0, 0.5, 0.9, 0.9), seeds=1)
    fewer = [[{"vendi": np.full(4, 3.0 - 0.1 * scale)} for scale in CONFIG.scales]] * 2
    by_set = {
        HELD_OUT: right,
        SEEN: right,
        SCRATCH: scratch,
        SCRATCH_SEEN: scratch,
        SHUFFLED: answers((0.0,) * 3, seeds=1, scales=CONFIG.scales[1:]),
        UNTRAINED: answers((0.0,), seeds=1, scales=CONFIG.scales[1:2]),
    }
    arrays = {"shown": images[:, 0], "explored": images, "steps": CONFIG.explored_steps}
    return Measurements(sets.judge(CONFIG, by_set | changes, sweeps.sweep(CONFIG.scales, fewer), arrays))


def test_claims_pass_where_pictures_are_as_asked_and_fail_where_they_are_not():
    good = measured()
    assert {claim.verdict for claim in STUDY.judge(good)} == {"PASS"}
    assert good[0].measures["w"] == CONFIG.scales[2] and good.mean(FROZEN, "gain")[0] == pytest.approx(0.1)
    changes = {HELD_OUT: answers((0.5, 0.4, 0.3, 0.2)), SHUFFLED: answers((0.9,) * 4), UNTRAINED: answers((0.9,) * 4)}
    bad = {claim.id: claim.verdict for claim in STUDY.judge(measured(**changes))}
    assert {
        bad[id] for id in ("held-out", "held-out-rising", "shuffled-chance", "untrained-chance", "frozen-less-scratch")
    } == {"FAIL"}


def test_a_share_that_rises_to_its_best_scale_and_falls_behind_it_has_no_rising_trend():
    peaked = answers((0.0, 1.0, 0.5, 0.3))
    judged = {claim.id: claim.verdict for claim in STUDY.judge(measured(**{HELD_OUT: peaked, SEEN: peaked}))}
    assert judged["held-out-rising"] == "FAIL"


def test_the_scale_is_chosen_by_seen_prompts():
    assert measured(**{SEEN: answers((0.0, 0.9, 0.8, 0.7))})[0].measures["w"] == CONFIG.scales[1]


@pytest.mark.slow
def test_tables_hold_every_scale_and_kind_of_failure(tmp_path):
    rows = measured()
    _, _, swept, diverse, missed = STUDY.show(rows)
    assert len(swept.rows) == 4 * 4 + 3 + 1 and len(diverse.rows) == 4 and missed.columns[2:] == failures.KINDS
    assert missed.rows[0][2] == 0.0 and missed.rows[-1][2] == 1.0
    left = {draw(rows, RunFolder(tmp_path)).file for draw in STUDY.figures[:3]}
    assert left == {"curves.png", "encoders.png", "pictures.png"} == {path.name for path in tmp_path.iterdir()}


@table(
    ("change", "message"),
    [
        ({"scales": (1.0,)}, "a trend needs two"),
        ({"scales": (2.0, 1.0)}, "above the one before"),
        ({"repeated": 9}, "--repeated 9 is above --prompts 8"),
        ({"explored_steps": (3,)}, "--explored-steps 3 is above --sampling-steps 2"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        sets.check(dataclasses.replace(CONFIG, **change))


@pytest.fixture
def installed():
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    try:
        mini_lm.folder()
    except ImportError as error:
        pytest.skip(str(error))


def test_every_caption_fits_and_has_no_unknown_token(installed):
    attributes = scenes.prompts(400, held_out=True).attributes
    read = texts.tokens(captions.write(attributes))
    assert not read.truncated.any() and not read.unknown.any()


def test_a_run_may_be_checked_where_the_encoder_is_there(installed):
    sets.check(CONFIG)
    sets.check(text_to_image.EXPERIMENT.presets["full"])
