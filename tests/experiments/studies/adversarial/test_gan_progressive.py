"""What the gan-progressive experiment trains on, spends and measures, on pictures and numbers that are known."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import catalogue
from experiments.adversarial import gan_progressive, mosaics
from experiments.adversarial.gan_progressive import STUDY, budget, networks, pictures, sets
from experiments.adversarial.gan_progressive.budget import StepSeconds
from experiments.adversarial.gan_progressive.config import DIFFUSION, DIGITS, DIRECT, METHODS, PROGRESSIVE, shape
from experiments.adversarial.gan_progressive.pictures import Growing
from experiments.adversarial.gan_progressive.sets import FEW, GENERATOR, MANY, OfSubject, OfTraining, Quality
from gendiff.adversarial import growing
from gendiff.commands import command_line
from gendiff.runs import devices
from gendiff.runs.reporting import intervals
from gendiff.runs.study import Measurements
from tests.experiments.studies import smoke

FULL, SMOKE = STUDY.presets["full"], STUDY.smoke
TIMES = StepSeconds({f"digits {part}": (seconds,) for part, seconds in (("0", 0.5), ("1", 1.0), (DIFFUSION, 0.4))})


@pytest.fixture
def known_costs(monkeypatch):
    """Operations of steps of a pair with two stages, without counting them."""
    monkeypatch.setattr(budget, "stage_flops", lambda config, subject: (1e9, 4e9))
    return dataclasses.replace(FULL, seeds=(0, 1), digits=dataclasses.replace(FULL.digits, flops=1e12))


def test_both_gans_do_equally_many_operations_and_diffusion_takes_as_long_as_the_direct_one(known_costs):
    counts = {method: budget.steps(known_costs, DIGITS, method, TIMES) for method in METHODS}
    assert counts == {PROGRESSIVE: 400, DIRECT: 250, DIFFUSION: 625}
    (grown, seconds), (direct, direct_seconds), (unknown, diffusion_seconds) = (
        budget.spent(known_costs, DIGITS, method, TIMES) for method in METHODS
    )
    assert grown == direct == 1e12 and np.isnan(unknown)
    assert seconds == 300 and direct_seconds == 250 and diffusion_seconds == pytest.approx(250)


def test_a_share_of_a_growing_training_is_one_of_its_operations(known_costs):
    at = [budget.steps_at(known_costs, DIGITS, PROGRESSIVE, share, TIMES) for share in (1e-9, 0.1, 0.2, 0.6, 1.0)]
    assert at == [1, 100, 200, 300, 400]  # the first stage is a fifth of all operations
    assert [budget.steps_at(known_costs, DIGITS, DIRECT, share, TIMES) for share in (0.5, 1.0)] == [125, 250]


def test_batches_fade_in_start_each_stage_anew_and_have_the_rows_of_a_training_that_does_not_grow():
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype(np.float32)
    growth = growing.growth([2, 4], 0.5)
    batches = [pictures.batch(images, 5, 3, growth, step) for step in range(7)]
    assert [float(batch.weight[0]) for batch in batches] == [1, 1, 0, 0.5, 1, 1, 1]
    assert [bool(batch.first.all()) for batch in batches] == [False, False, True, False, False, False, False]
    for step, batch in enumerate(batches):
        plain_batches = pictures.batch(images, 5, 3, None, step)
        np.testing.assert_array_equal(batch.clean, plain_batches.clean)
        assert (plain_batches.weight == 1).all() and not plain_batches.first.any()
        assert batch.weight.shape == batch.first.shape == (5,)


def test_a_stage_sees_means_of_squares_and_at_weight_0_those_of_the_stage_before():
    images = np.arange(2 * 64, dtype=np.float32).reshape(2, 8, 8, 1)
    means = images.reshape(2, 4, 2, 4, 2, 1).mean((2, 4))
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    np.testing.assert_allclose(pictures.at_stage(images, 4, ones), means)
    np.testing.assert_allclose(pictures.at_stage(images, 8, ones), images)
    np.testing.assert_allclose(pictures.at_stage(images, 8, zeros), pictures.enlarged(means, 8))
    np.testing.assert_allclose(pictures.at_stage(images, 8, ones / 2), (images + pictures.enlarged(means, 8)) / 2)
    restored_images = pictures.restored(pictures.stored(images / 64 - 1))
    np.testing.assert_allclose(restored_images, np.clip(images / 64 - 1, -1, 1), atol=1 / 255)


def quality(distance, recall, copied):
    draw = np.random.default_rng(0)
    distances = distance + 0.01 * draw.normal(size=20)
    return Quality(distances, recall + 0.01 * draw.normal(size=20), np.full(20, 0.9), np.arange(400) < 400 * copied)


def claims(known, grown, direct, diffusion_seconds):
    """Of one subject whose sets are these, and whose pictures of diffusion in few steps take so many times a GAN's."""
    settings = {PROGRESSIVE: grown, DIRECT: direct, FEW: direct}
    trainings = {name: (OfTraining(each.distances[None], each),) * 2 for name, each in settings.items()}
    rounds = 1 + 0.01 * np.arange(7)
    seconds = {
        GENERATOR: tuple(rounds),
        FEW: tuple(diffusion_seconds * rounds),
        MANY: tuple(5 * diffusion_seconds * rounds),
    }
    floor = quality(1.0, 0.9, 1.0)
    outcome = OfSubject(trainings, floor, np.arange(450) < 9, 10 * grown.distances, 5 * grown.distances, seconds)
    parts = (gan_progressive.seed_by_seed, gan_progressive.costs)
    rows = Measurements(row for part in parts for row in part(known, TIMES, DIGITS, outcome))
    return {f"{claim.id} {claim.seed}": claim for claim in STUDY.judge(rows)}


def test_a_progressive_gan_that_is_better_and_cheap_pictures_pass_every_claim(known_costs):
    verdicts_by_id = claims(known_costs, quality(2.0, 0.8, 0.02), quality(3.0, 0.6, 0.02), 8.0)
    assert {claim.verdict for claim in verdicts_by_id.values()} == {"PASS"}
    assert {claim.id for claim in verdicts_by_id.values()} == {
        row.id for row in STUDY.rows if row.set.startswith(DIGITS)
    }
    assert verdicts_by_id["few-digits None"].value == pytest.approx(8) and verdicts_by_id[
        "progressive-digits 1"
    ].value == pytest.approx(2 / 3, abs=0.01)
    assert verdicts_by_id["copied-digits None"].alone[0] == pytest.approx(0.98) and verdicts_by_id[
        "untrained-digits None"
    ].value == pytest.approx(10)


def test_a_progressive_gan_that_is_worse_or_copies_and_a_slow_generator_fail_the_claims_about_them(known_costs):
    verdicts_by_id = claims(known_costs, quality(3.0, 0.6, 0.2), quality(2.0, 0.8, 0.02), 2.0)
    failed = {claim.id for claim in verdicts_by_id.values() if claim.verdict == "FAIL"}
    assert failed == {f"{name}-digits" for name in ("progressive", "recall", "copies", "few", "many")}


def test_the_judge_tells_held_out_digits_from_noise_and_sees_copies():
    settings = sets.PictureJudge(
        dataclasses.replace(FULL, draws=3, digits=dataclasses.replace(FULL.digits, draw_size=300)), DIGITS
    )
    training, held_out = pictures.load(FULL, DIGITS)
    assert settings.floor.copied.all() and settings.real.mean() < 0.1 and settings.floor.recall.mean() > 0.7
    noise = np.random.default_rng(0).uniform(-1, 1, (400, 8, 8, 1)).astype(np.float32)
    far = settings.measure(noise)
    assert (
        intervals.interval(intervals.ratio_of_means, far.distances, settings.floor.distances)[1] > 5
        and far.recall.mean() < 0.05
        and not far.copied.any()
    )
    assert (
        settings.floor.copied.mean() - settings.real.mean() > 0.9
        and held_out.shape[1:] == shape(FULL, DIGITS) == training.shape[1:]
    )


def test_pictures_of_either_size_fill_one_mosaic_and_grey_ones_get_three_channels():
    draw = np.random.default_rng(0)
    small, large = draw.uniform(-1, 1, (40, 8, 8, 1)), draw.uniform(-1, 1, (4, 32, 32, 3))
    grey, coloured = mosaics.pictures(small), mosaics.pictures(large)
    assert grey.shape == coloured.shape == (96, 96, 3)
    np.testing.assert_array_equal(grey[:16:2, 16:32:2], np.round((small[1] + 1) * 127.5).repeat(3, -1))
    np.testing.assert_array_equal(coloured[:32, 32:64], np.round((large[1] + 1) * 127.5))
    assert (coloured[64:] == 255).all()
    large = pictures.enlarged(draw.uniform(-1, 1, (4, 32, 32, 3)), 64)
    np.testing.assert_array_equal(mosaics.pictures(large), mosaics.pictures(large[:, ::2, ::2]))


@pytest.mark.slow
def test_the_first_step_of_a_stage_starts_the_optimizer_anew_and_leaves_the_older_layers_in_place():
    settings = dataclasses.replace(SMOKE.digits, width=4, widest=4)
    both = [networks.game(settings, (8, 8, 1), stage, "direct") for stage in (0, 1)]
    draw, key = np.random.default_rng(0), jax.random.key(0)

    def batch(first):
        clean = draw.uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
        return Growing(clean, np.full(4, 0.5, np.float32), np.full(4, first))

    with devices.compiled_quickly():
        old, new = (jax.jit(each.step) for each in both)
        state = both[0].fresh(key)
        before = state.params["stage_1"]
        for _ in range(3):
            state, metrics = old(state, batch(False))
        assert bool(metrics["finite"])
        jax.tree.map(np.testing.assert_array_equal, state.params["stage_1"], before)  # no gradient, no step
        for first, count in ((True, 1), (False, 4)):
            following, metrics = new(state, batch(first))
            assert (
                int(following.generator.optimizer_state[0].count)
                == int(following.critic.optimizer_state[0].count)
                == count
            )
            assert bool(metrics["finite"]) and int(following.step) == 4
        losses = [np.asarray(each.draw(state.ema, key, np.arange(3), np.float32(0))) for each in both]
    np.testing.assert_allclose(losses[1], pictures.enlarged(losses[0], 8), atol=1e-6)


@pytest.mark.slow
def test_emoji_are_loaded_and_one_step_of_each_stage_is_finite():
    config = dataclasses.replace(
        SMOKE, size=8, subjects=("emoji",), emoji=dataclasses.replace(SMOKE.digits, batch=4), pictures=20, held_out=8
    )
    images, held_out = pictures.load(config, "emoji")
    assert (
        images.shape == (20, 8, 8, 3)
        and held_out.shape == (8, 8, 8, 3)
        and networks.stages(shape(config, "emoji")) == 2
    )
    growth = growing.growth([1, 1])
    with devices.compiled_quickly():
        for stage in (0, 1):
            game = networks.trained_game(config, "emoji", stage)
            _, metrics = jax.jit(game.step)(game.fresh(jax.random.key(0)), pictures.batch(images, 4, 0, growth, stage))
            assert bool(metrics["finite"])


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_and_is_sampled(tmp_path, capsys):
    folder = tmp_path / "run"
    run = ["run", "gan-progressive", "--smoke", "--out", str(folder)]
    smoke.run("gan-progressive", folder, capsys)
    samples_path = folder / "digits_progressive" / "seed_0" / "samples_at_1.npz"
    with np.load(samples_path) as stored:
        before = stored["samples"]
    samples_path.unlink()
    (folder / "results.json").unlink()
    assert command_line.main(run, catalogue.EXPERIMENTS) == 0
    with np.load(samples_path) as stored:
        np.testing.assert_array_equal(stored["samples"], before)
    for method in METHODS:
        assert command_line.main(["sample", str(folder), "--method", method, "--num", "5"], catalogue.EXPERIMENTS) == 0
    arrays = [np.load(file)["samples"] for file in sorted(folder.glob("samples_of_*.npz"))]
    assert [each.shape for each in arrays] == [(5, 8, 8, 1)] * 3
