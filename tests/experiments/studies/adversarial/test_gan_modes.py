"""What the gan-modes experiment measures, on samples whose modes are known."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from experiments.adversarial import gan_modes, methods, mosaics, targets, waves
from experiments.adversarial.gan_modes import config, findings, train
from experiments.adversarial.gan_modes.config import EXACT, NEEDED, NOISE
from experiments.adversarial.gan_modes.train import Drawn
from gendiff import networks, training
from gendiff.adversarial import step
from gendiff.runs import devices, program_costs, run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.study import Measurements

FULL, SMOKE = gan_modes.EXPERIMENT.presets["full"], gan_modes.EXPERIMENT.smoke


def finding(numbers, target, name, samples):
    """As if every place of the training had given these samples (seeds, n, size)."""
    return findings.summed_up(
        numbers, target, name, [Drawn(samples, np.zeros((len(samples), 0), np.int16))] * len(numbers.shares)
    )


def exact(target, seeds, count, modes=None):
    """Samples of the law, or of its first modes alone."""
    law = targets.POINTS[target]()
    draw = np.random.default_rng(0)
    which = draw.integers(modes or len(law.centres), size=(seeds, count))
    return (law.centres[which] + law.std * draw.normal(size=(seeds, count, 2))).astype(np.float32)


SEEDS, COUNT = (0, 1, 2), 3000


def claims(vanilla):
    """Those of a run in which all but the plain GAN is an exact sampler."""
    points = dataclasses.replace(FULL.points, samples=10, last_samples=COUNT)
    few = dataclasses.replace(FULL, seeds=SEEDS, points=points, transported=10, shares=(1.0,))
    results = {}
    for target in targets.POINTS:
        full = exact(target, len(few.seeds), COUNT)
        results[target] = {name: finding(few, target, name, full) for name in NEEDED}
        results[target] |= {
            name: findings.summed_up(few, target, name, [findings.control(few, target, name)])
            for name in (EXACT, NOISE)
        }
    results[targets.GRID][methods.VANILLA] = finding(few, targets.GRID, methods.VANILLA, vanilla)
    noise = results[targets.GRID][NOISE].reports[0]
    assert noise.touched > 15 and noise.modes == 0 and noise.good < 0.03  # by the rule of one good sample it would pass
    measured = Measurements(gan_modes.measured(few, results))
    return {claim.id: claim for claim in gan_modes.STUDY.judge(measured)}


def test_a_plain_gan_that_loses_modes_passes_every_claim_and_one_that_does_not_fails_those_about_it():
    lost = claims(exact(targets.GRID, len(SEEDS), COUNT, modes=20))
    assert {id: claim.value for id, claim in lost.items() if claim.verdict != "PASS"} == {}
    assert lost["collapsed"].value == 1.0 and lost["noise-modes"].value == -25 and lost["p-value"].value < 0.05
    passed = claims(exact(targets.GRID, len(SEEDS), COUNT))
    assert {id for id, claim in passed.items() if claim.verdict == "FAIL"} == {"collapsed", "p-value", "exact-modes"}


def test_stacked_digits_are_read_as_the_digits_that_were_stacked():
    split = targets._split()
    rows = np.random.default_rng(0).integers(len(split.held_out_labels), size=(50, 3))
    pictures = np.stack([split.held_out_images[rows[:, channel], :, :, 0] for channel in range(3)], -1).reshape(50, -1)
    labels = split.held_out_labels[rows] @ np.array([100, 10, 1])
    assert np.mean(targets.modes_of(pictures) == labels) > 0.9
    assert targets.report(targets.STACKED, pictures, labels, 50).known == 1000


def test_batches_of_a_seed_do_not_depend_on_the_other_seeds():
    for target in (targets.GRID, targets.STACKED):
        with devices.compiled_quickly():
            both, one = (np.asarray(targets.batches(target, seeds, 6)(3)) for seeds in ((4, 7), (7,)))
        assert both.shape == (6, 2, targets.PICTURES if target == targets.STACKED else 2)
        np.testing.assert_array_equal(both[:, 1], one[:, 0])
        assert not np.array_equal(both[:, 0], both[:, 1])


def test_a_step_with_five_steps_of_the_critic_is_counted_as_five_of_them_and_one_of_the_generator():
    method, recipe = methods.METHODS[methods.CLIPPED], train.recipe(SMOKE, targets.RING, methods.CLIPPED)
    generate, criticise = networks.pure(networks.DenseGenerator(16, 1)), networks.pure(networks.DenseCritic(16, 1))
    state, batch = jax.eval_shape(recipe.fresh, jax.random.key(0)), jax.ShapeDtypeStruct((16, 2), np.float32)

    def criticise_waves(params, x):
        return criticise(params, waves.beside(x, SMOKE.points.waves))

    def flops(loss, state, other):
        return program_costs.flops(
            jax.jit(training.make_step(loss, optax.rmsprop(1e-3))).lower(state, (other, batch, ()))
        )

    noise = {"noise": step.normal_noise(2)}
    of_critic = flops(step.critic_loss(generate, criticise_waves, method.loss, **noise), state.critic, state.params)
    of_generator = flops(
        step.generator_loss(generate, criticise_waves, method.loss, **noise), state.generator, state.critic.params
    )
    assert recipe.rows == 80 and recipe.flops == pytest.approx(5 * of_critic + of_generator, rel=0.03)
    steps = {target: train.steps(SMOKE, target, methods.CLIPPED) for target in targets.POINTS}
    for target, share in ((targets.RING, SMOKE.ring_share), (targets.GRID, 1.0)):
        assert steps[target] * recipe.flops == pytest.approx(share * SMOKE.points.flops, rel=0.5 / steps[target])


def test_a_cloud_shows_points_where_they_are_and_a_mosaic_the_pictures_themselves():
    cloud = mosaics.cloud(np.array([[-targets.WIDE + 0.01, targets.WIDE - 0.01]] * 9))
    assert cloud.shape == (96, 96, 3) and (cloud[0, 0] < 255).any() and (cloud.reshape(-1, 3)[1:] == 255).all()
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, targets.PICTURES))
    sheet = mosaics.digits(pictures)
    np.testing.assert_array_equal(sheet[:16:2, 16:32:2], np.round((pictures[1].reshape(8, 8, 3) + 1) * 127.5))
    assert (sheet[16:] == 255).all() and mosaics.named(sheet, "WGAN-GP").shape == (110, 96, 3)


@pytest.mark.slow
@pytest.mark.parametrize("target", [targets.GRID, targets.STACKED])
@pytest.mark.parametrize("method", FULL.methods)
def test_every_method_takes_a_step_and_draws(method, target):
    small = dataclasses.replace(SMOKE, methods=FULL.methods)
    recipe = train.recipe(small, target, method)
    key = jax.random.key(0)
    with devices.compiled_quickly():
        batch = np.asarray(targets.batches(target, (0,), recipe.rows)(0))[:, 0]
        state, metrics = jax.jit(recipe.step)(jax.jit(recipe.fresh)(key), batch)
        samples = jax.jit(recipe.draw)(state.ema, key, np.arange(3))
    assert (
        bool(metrics["finite"])
        and samples.shape == (3, config.shape(small, target).size)
        and np.isfinite(samples).all()
    )
    again = jax.jit(recipe.draw)(state.ema, key, np.array([7, 2]))
    np.testing.assert_allclose(again[1], samples[2], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_training_that_was_cut_off_before_its_samples_draws_the_same_and_trains_no_more(tmp_path):
    folder, quiet = run_folder.create(tmp_path / "run"), Progress(quiet=True)
    few = dataclasses.replace(SMOKE, methods=(methods.VANILLA,), targets=(targets.STACKED,))
    with devices.compiled_quickly():
        train.train(few, folder, quiet)
        before = train.read(folder, targets.STACKED, methods.VANILLA, 1.0)
        where = train.inside(folder, targets.STACKED, methods.VANILLA)
        (where.path / "samples_at_1.npz").unlink()
        lines = where.read_metrics()
        train.train(few, folder, quiet)
        after = train.read(folder, targets.STACKED, methods.VANILLA, 1.0)
    np.testing.assert_array_equal(before.samples, after.samples)
    np.testing.assert_array_equal(before.labels, after.labels)
    assert where.read_metrics() == lines
