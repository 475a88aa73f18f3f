"""The guidance experiment: cures are compared where they are equally faithful, controls can fail."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import guidance, sweeps
from experiments.diffusion.guidance import cures, measures, networks, sets
from experiments.diffusion.guidance import figures as guidance_figures
from experiments.diffusion.guidance.sets import DrawnSets
from experiments.diffusion.image_draws import Draws
from gendiff.commands.images.image_model import Model
from gendiff.diffusion import parameterization, schedules
from gendiff.runs.progress import Progress
from gendiff.runs.study import Measurements
from tests.tables import table

SCALES = (0.0, 1.0, 2.0, 3.0)
CONFIG = guidance.EXPERIMENT.smoke


@table(
    ("adherence", "target", "scale"),
    [((0.5, 0.7, 0.6, 0.9), *each) for each in ((0.6, 0.5), (0.8, 2.5), (0.4, 0.0), (0.95, 3.0))]
    + [((0.5, 0.7, 0.7, 0.7), 0.7, 1.0)],
)
def test_the_matching_scale_is_the_first_that_is_as_faithful(adherence, target, scale):
    assert cures.matching(SCALES, np.array(adherence), target) == pytest.approx(scale)


def of_slopes(adherence, recall, *, scales=SCALES, seeds=2, rows=20):
    slopes = {"adherence": adherence, "recall": recall, "vendi": -1.0, "clipped": 0.1, "contrast": 0.1}
    return sweeps.sweep(
        scales, [[{name: np.full(rows, slope * scale) for name, slope in slopes.items()} for scale in scales]] * seeds
    )


def test_a_cure_that_is_as_faithful_at_half_the_scale_is_compared_there():
    plain, cure = of_slopes(0.1, -0.1), of_slopes(0.2, -0.1)
    cured = cures.at_equal_adherence(cure, plain.at_scales([2.0]), resamples=20)
    assert cured.scale[0] == pytest.approx(1.0) and cured.reached
    assert cured.less["recall"] == pytest.approx((0.1, 0.1, 0.1))
    assert cured.less["adherence"][0] == pytest.approx(0.0)
    assert not cures.at_equal_adherence(of_slopes(0.05, 0.0), plain.at_scales([2.0]), resamples=20).reached


def test_the_same_sweep_differs_by_nothing_since_rows_are_drawn_together():
    noise = np.random.default_rng(0).standard_normal(20)
    noisy = sweeps.sweep((1.0,), [[dict.fromkeys(measures.MEASURES, noise)]])
    compared = cures.at_equal_adherence(noisy, noisy, resamples=20)
    assert compared.less["recall"] == (0.0, 0.0, 0.0) and compared.at["recall"][1] < compared.at["recall"][2]


@pytest.fixture(scope="module")
def shapes():
    return measures.of_shapes(dataclasses.replace(CONFIG, scenes=1600, reference=640))


def test_renders_are_read_as_asked_and_others_are_not(shapes):
    images = networks.rendered(2, 300)
    assert measures.read_as_asked(images.clean, images.labels).mean() > 0.99
    assert measures.read_as_asked(images.clean, np.roll(images.labels, 1)).mean() < 0.2
    noise = np.random.default_rng(0).standard_normal(images.clean.shape).astype(np.float32)
    assert measures.read_as_asked(noise, images.labels).mean() == 0.0


def by_class(count):
    """Renders whose classes are 0, 1, … in turn."""
    images = networks.rendered(3, 2000)
    return np.concatenate(
        [np.stack([images.clean[images.labels == label][i] for label in range(32)]) for i in range(count // 32)]
    )


def test_one_image_per_class_is_faithful_and_not_diverse_and_what_leaves_the_range_is_clipped_and_has_contrast(shapes):
    varied = by_class(128)
    many, one, hard = (shapes.rows(images) for images in (varied, np.tile(varied[:32], (4, 1, 1, 1)), 2 * varied))
    assert many["adherence"].mean() > 0.98 and one["adherence"].mean() > 0.98
    np.testing.assert_allclose(one["vendi"], 1.0)
    assert many["vendi"].mean() > 2.0 and many["recall"].mean() > one["recall"].mean() + 0.3
    assert many["clipped"].max() == 0.0 and hard["clipped"].mean() > 0.5  # renders stay within the range
    np.testing.assert_allclose(hard["contrast"], 2 * many["contrast"], rtol=1e-5)


@pytest.fixture(scope="module")
def draw():
    """By a network without training: the flow to a constant image of each label."""

    def linear(params, x, t, label):
        return x - jnp.where(label < 0, 0.0, 0.1 * label)[:, None, None, None]

    model = Model(linear, None, schedules.flow(), parameterization.flow(), (2, 2, 1), num_classes=3)
    draws = Draws(model, steps=3, together=4, progress=Progress(quiet=True))
    return lambda name, scale, count=4: draws("", {}, count, scale=scale, rule=sets.RULES[name], second={})


def test_a_deaf_network_draws_the_same_at_every_scale_and_plain_guidance_does_not(draw):
    assert (draw("deaf", 1.0) == draw("deaf", 7.5)).all()
    assert not np.allclose(draw("plain", 1.0), draw("plain", 7.5))
    assert draw("plain", 1.0, 6).shape == (6, 2, 2, 1)


@table(("name", "scale"), [(name, float(name != "CFG++")) for name in sets.CURES if name != "thresholding"])
def test_a_cure_at_scale_one_is_plain_guidance_there_and_cfg_plus_plus_at_zero(draw, name, scale):
    np.testing.assert_allclose(draw(name, scale), draw("plain", scale), atol=1e-5)


@pytest.fixture(scope="module")
def sets_drawn():
    scales = CONFIG.scales
    plain = {name: of_slopes(0.1, -0.1, scales=scales) for name in ("digits", "shapes")}
    images = np.random.default_rng(0).uniform(-1, 1, (len(scales), 2, 1, 4, 8, 8, 1)).astype(np.float32)
    return DrawnSets(
        plain=plain,
        deaf={name: of_slopes(0.0, 0.0, scales=(0.0, 1.0, 2.0)) for name in plain},
        cures={name: of_slopes(0.2, -0.1, scales=(1.0, *CONFIG.cure_scales)) for name in sets.CURES},
        short=plain["digits"],
        dropouts=dict.fromkeys((0.0, 0.1), plain["digits"].seed(0)),
        shuffled=of_slopes(0.0, 0.0, scales=scales),
        shown={"digits": images[:, 0, 0], "shapes": np.repeat(images[:, 0, 0], 3, axis=-1)},
        explored={"digits": images},
    )


def claims(sets_drawn, judged):
    return {
        claim.id: claim
        for claim in guidance.STUDY.judge(Measurements(guidance.measured_of(CONFIG, sets_drawn, judged)))
    }


def test_claims_pass_where_the_essay_is_right_and_the_faithful_one_fails_for_a_deaf_network_and_tables_hold_all(
    sets_drawn,
):
    judged = guidance.judge(CONFIG, sets_drawn)
    right = claims(sets_drawn, judged)
    assert all(
        right[f"{subject}-{measure}"].verdict == "PASS" for subject in sets_drawn.plain for measure in guidance.ESSAY
    )
    assert set(right) == {row.id for row in guidance.STUDY.rows} and judged.ignoring["digits"].rho == (0.0, 0.0, 0.0)
    deaf = {**sets_drawn.plain, "digits": of_slopes(0, 0, scales=CONFIG.scales)}
    assert (
        claims(sets_drawn, guidance.judge(CONFIG, dataclasses.replace(sets_drawn, plain=deaf)))[
            "digits-adherence"
        ].verdict
        == "FAIL"
    )
    tables = guidance_figures.tables(CONFIG, sets_drawn, judged)
    assert {len(table.rows) for table in tables} >= {len(judged.trends) + 2}
    assert all(column in tables[2].columns for column in measures.NAMES.values())


@table("config", [guidance.EXPERIMENT.presets["full"], CONFIG])
def test_scales_of_presets_fit_together(config):
    assert {0.0, 1.0, 2.0, 7.5} <= set(config.scales) and 7.5 in config.cure_scales
    assert config.digits.drop_condition in config.dropouts and max(config.explored_steps) <= config.sampling_steps
    assert (
        min(config.samples / 10, config.cure_samples / 10, config.control_samples / 10, config.shape_samples / 32) >= 4
    )
