"""A step of a GAN is the steps of its critic and of its generator, done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import adversarial, training
from gendiff.adversarial import losses, penalties, spectral, step
from gendiff.core.errors import ConfigError
from gendiff.diffusion.types import Batch
from gendiff.training.checkpoints import Checkpoints
from tests.adversarial import game
from tests.quickly import quickly
from tests.refusals import Ends, ends, refusals
from tests.training import linear


def test_a_step_is_the_steps_of_the_critic_each_clipped_and_then_that_of_the_generator():
    """In closed form: the gradient of a linear critic on the Wasserstein loss is a difference of means."""
    state = game.exact_start()
    for number in range(3):
        shift, slope = game.by_hand(state, game.batch(number))
        before, (state, metrics) = state, game.EXACT(state, game.batch(number))
        np.testing.assert_allclose(state.params["shift"], shift, rtol=1e-5)
        np.testing.assert_allclose(state.critic.params["slope"], slope, rtol=1e-5)
        np.testing.assert_allclose(state.ema["shift"], (before.ema["shift"] + state.params["shift"]) / 2, rtol=1e-6)
        assert np.abs(slope).max() <= game.LIMIT and bool(metrics["finite"])
    assert np.abs(slope).max() == game.LIMIT  # it was needed
    assert int(state.step) == 3 and int(state.critic.step) == 3 * game.STEPS and state.critic.tracks == {}


def test_metrics_are_means_over_the_steps_of_the_critic():
    state, rows = game.exact_start(), game.batch()
    slopes, reals, fakes = [], [], []
    slope, fake = (
        np.asarray(state.critic.params["slope"]),
        np.asarray(game.levels(None, 8) + state.params["shift"][None]),
    )
    for number in range(game.STEPS):
        real = rows[number :: game.STEPS].mean(0)
        slopes.append(np.linalg.norm(real - fake.mean(0)))
        reals.append(real @ slope)
        fakes.append(fake.mean(0) @ slope)
        slope = np.clip(slope + game.CRITIC_RATE * (real - fake.mean(0)), -game.LIMIT, game.LIMIT)
    _, metrics = game.EXACT(state, rows)
    expected = {"real_logit": reals, "fake_logit": fakes, "grad_norm": slopes, "penalty": [0.0]}
    expected |= {
        "loss": np.subtract(fakes, reals),
        "generator_loss": [-fake.mean(0) @ slope],
        "generator_grad_norm": [np.linalg.norm(slope)],
    }
    assert metrics.keys() == {*expected, "finite"}
    for name, values in expected.items():
        np.testing.assert_allclose(metrics[name], np.mean(values), rtol=1e-4, err_msg=name)


@pytest.mark.fault("NaN loss or gradient")
def test_a_slice_with_nan_is_skipped_and_all_other_steps_go_on():
    state, rows = game.exact_start(), game.batch()
    rows[1] = np.nan  # of the critic's second step
    shift, slope = game.by_hand(state, rows, skipped=(1,))
    after, metrics = game.EXACT(state, rows)
    np.testing.assert_allclose(after.params["shift"], shift, rtol=1e-5)
    np.testing.assert_allclose(after.critic.params["slope"], slope, rtol=1e-5)
    assert not metrics["finite"] and np.isnan(metrics["loss"]) and int(after.critic.step) == game.STEPS
    rows[:] = np.nan  # the critic stays, and the generator goes on against it
    after, metrics = game.EXACT(state, rows)
    np.testing.assert_array_equal(after.critic.params["slope"], state.critic.params["slope"])
    np.testing.assert_allclose(
        after.params["shift"], state.params["shift"] + game.RATE * state.critic.params["slope"], rtol=1e-6
    )
    assert not metrics["finite"] and np.isfinite(metrics["generator_loss"])


def test_a_skipped_step_of_the_critic_leaves_what_its_constraint_counts_alone():
    """One that moves the parameters at each call, as `spectral.iterate` moves its vectors."""

    def moved(params):
        return {"slope": params["slope"] + 1.0}

    state, rows = game.exact_start(), game.batch()
    program = quickly(game.exact(constraint=moved))
    fake = np.asarray(game.levels(None, 8) + state.params["shift"][None]).mean(0)
    steps = game.CRITIC_RATE * np.stack([rows[number :: game.STEPS].mean(0) - fake for number in range(game.STEPS)])
    for skipped in ((1,), (0, 1, 2)):
        damaged = rows.copy()
        damaged[list(skipped)] = np.nan
        after, _ = program(state, damaged)
        went = np.delete(steps, skipped, axis=0)
        np.testing.assert_allclose(
            after.critic.params["slope"], state.critic.params["slope"] + went.sum(0) + len(went), rtol=1e-5
        )


def test_both_kinds_of_samples_are_augmented_and_generated_ones_pass_the_gradient():
    state, rows = game.exact_start(), game.batch()
    shift, slope = game.by_hand(state, rows, factor=0.5)
    after, _ = quickly(game.exact(augment=lambda key, x: 0.5 * x))(state, rows)
    np.testing.assert_allclose(after.params["shift"], shift, rtol=1e-5)
    np.testing.assert_allclose(after.critic.params["slope"], slope, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_noise_augmentations_and_penalties_have_keys_of_their_own():
    """One key for two of them would tie what is generated to how real samples are changed."""
    keys = []

    def recorded(result):
        return lambda key, *arguments: (keys.append(tuple(jax.random.key_data(key).tolist())), result(*arguments))[1]

    how = {"noise": recorded(lambda count: jnp.zeros((count, 2))), "augment": recorded(lambda x: x)}
    two = [recorded(lambda criticise, real, fake: jnp.zeros(())) for _ in range(2)]
    params, rows = game.exact_start(), game.batch(rows=4)
    build = step.critic_loss(game.shifted, game.linear, losses.wasserstein(), penalties=two, **how)
    build(params.critic.params, jax.random.key(0), (params.params, rows, ()))
    assert len(keys) == len(set(keys)) == 5


def test_equal_seeds_give_equal_metrics_and_other_seeds_others():
    one, again, other = (game.train(game.noisy_start(seed), 0, 2)[1] for seed in (0, 0, 1))
    assert one.keys() == again.keys() and all(np.array_equal(one[name], again[name]) for name in one)
    assert one["loss"] != other["loss"] and one["penalty"] > 0


def test_the_steps_of_the_critic_are_those_of_its_loss_alone():
    """With noise and penalties: each step has the key of its own number."""
    state, rows = game.noisy_start(), game.batch()
    both = {"noise": step.normal_noise(2), "penalties": (penalties.gradient(1.0),)}
    alone = training.make_step(
        step.critic_loss(game.generate, game.criticise, losses.relativistic(), **both), game.MOMENTUM, clip=1.0
    )
    critic = state.critic
    alone = quickly(alone)
    for number in range(2):
        critic, _ = alone(critic, (state.params, rows[number::2], ()))
    together, metrics = game.NOISY(state, rows)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), together.critic.params, critic.params
    )
    assert not np.array_equal(jax.random.key_data(state.critic.key), jax.random.key_data(state.generator.key))
    value, _ = quickly(step.generator_loss(game.generate, game.criticise, losses.relativistic(), noise=both["noise"]))(
        state.params, jax.random.fold_in(state.generator.key, 0), (critic.params, rows[1::2], ())
    )
    np.testing.assert_allclose(metrics["generator_loss"], value, rtol=1e-4)


def test_a_step_called_again_with_the_first_state_answers_the_same():
    """Nothing is kept outside of the state, neither a count of steps nor a key, and what is in it goes on."""
    state, rows = game.noisy_start(), game.batch()
    (first, _), (second, _) = (game.NOISY(state, rows) for _ in range(2))
    (later, _), (again, _) = (game.NOISY(each, rows) for each in (first, second))
    assert all(
        np.array_equal(one, other)
        for one, other in zip(*(game.leaves(each).values() for each in (later, again)), strict=True)
    )
    assert int(later.step) == 2 and int(later.critic.step) == 4
    same = {path for path, leaf in game.leaves(first).items() if np.array_equal(leaf, game.leaves(later)[path])}
    assert all(path.endswith(".key") for path in same), same


@pytest.mark.fault("kill -9 anywhere, then resume")
@pytest.mark.slow  # the tests of seeds that train together resume one at every change
def test_a_resumed_training_ends_bitwise_as_an_unbroken_one(tmp_path):
    unbroken, _ = game.train(game.noisy_start(), 0, 4)
    half, _ = game.train(game.noisy_start(), 0, 2)
    with Checkpoints(tmp_path) as store:
        store.save(2, half)
        restored = store.restore(2, jax.eval_shape(game.noisy_start)).state
    resumed, _ = game.train(restored, 2, 4)
    one, other = game.leaves(unbroken), game.leaves(resumed)
    assert one.keys() == other.keys() and len(one) >= 12
    for path, leaf in one.items():
        assert leaf.dtype == other[path].dtype and leaf.tobytes() == other[path].tobytes(), path


def shapes(batch, critic_steps=1, **options):
    """The shapes that the critic sees, without a computation."""
    shapes_met = []

    def criticise(params, x, *condition):
        shapes_met.append((x.shape, *(each.shape for each in condition)))
        return jnp.sum(x, -1) * params["scale"]

    def generate(params, noise, *condition):
        return noise * params["scale"] + sum(condition[0][:, None] for _ in condition)

    pair = (optax.sgd(0.1), optax.sgd(0.1))
    build = adversarial.make_step(
        generate,
        criticise,
        losses.relativistic(),
        *pair,
        noise=step.normal_noise(2),
        critic_steps=critic_steps,
        **options,
    )
    params = {"scale": jnp.ones(())}
    jax.eval_shape(build, jax.eval_shape(lambda: adversarial.start(params, params, *pair, jax.random.key(0))), batch)
    return shapes_met


def test_the_critic_sees_packs_of_its_share_of_the_batch_or_the_conditions_beside_it():
    rows = game.batch(rows=12)
    assert set(shapes(rows)) == {((12, 2),)}
    assert set(shapes(rows, packing=3, critic_steps=2)) == {((2, 6),)}
    labelled = Batch(rows, (np.arange(12, dtype=np.float32),))
    assert set(shapes(labelled, critic_steps=2)) == {((6, 2), (6,))}
    assert set(shapes(Batch(rows, labelled.condition[0]))) == {((12, 2), (12,))}  # a condition without a tuple


@pytest.mark.slow
def test_a_normalised_critic_stays_normalised():
    """The vectors follow the kernels, and the optimizer leaves them alone."""
    draw = np.random.default_rng(0)
    params = {
        "inner": jnp.asarray(draw.normal(size=(2, 4)), jnp.float32),
        "outer": jnp.asarray(draw.normal(size=(4, 1)), jnp.float32),
    }
    tree = quickly(spectral.start)(jax.random.key(1), params)

    def flat(params, x):
        return (jax.nn.relu(x @ params["inner"]) @ params["outer"])[:, 0]

    pair = (optax.sgd(0.1), optax.adam(0.05))
    build = adversarial.make_step(
        game.shifted,
        spectral.normalised(flat),
        losses.hinge(),
        *pair,
        noise=game.levels,
        critic_steps=2,
        constraint=spectral.iterate,
    )
    state = adversarial.start({"shift": jnp.zeros(2)}, tree, *pair, jax.random.key(0))
    build = quickly(build)
    for number in range(10):
        state, _ = build(state, game.batch(number))
    network = state.critic.params["network"]
    assert not np.allclose(network["inner"], params["inner"])
    for path, norm in spectral.norms(state.critic.params).items():
        np.testing.assert_allclose(norm, np.linalg.svd(network[path])[1][0], rtol=0.02)


def misfit(**options):
    return lambda: jax.eval_shape(game.exact(**options), game.exact_start(), game.batch())


def column(params, x):
    return x[:, :1]


test_numbers_are_taken_up_to_the_ends_of_their_ranges_and_refused_beyond_them = ends(
    Ends(lambda value: game.exact(clip=value), "clip", 0.0, None, open_low=True),
    Ends(lambda value: game.exact(critic_steps=value), "critic_steps", 1),
    Ends(lambda value: game.exact(packing=value), "packing", 1),
    Ends(step.normal_noise, "size", 1),
)
test_mistakes_are_refused = refusals(
    (lambda: game.exact(critic_steps=0), "critic_steps = 0 must be at least 1", ConfigError),
    (lambda: game.exact(packing=0), "packing = 0 must be at least 1", ConfigError),
    (lambda: game.exact(clip=0.0), "clip = 0.0 must be positive", ConfigError),
    (misfit(critic_steps=5), "critic_steps = 5 does not divide the batch of 24", ConfigError),
    (
        misfit(noise=lambda key, count: jnp.zeros((count + 1, 2))),
        r"answered shape \(9, 2\) where the real samples have \(8, 2\)",
        TypeError,
    ),
    (
        lambda: shapes(Batch(game.batch(), (np.zeros(24, np.float32),)), packing=2),
        "packing = 2 with conditions",
        ConfigError,
    ),
    (lambda: step.normal_noise(0), "size = 0 is outside"),
    (lambda: adversarial.start({}, {}, optax.sgd(1.0), optax.sgd(1.0), jax.random.split(jax.random.key(0))), "key"),
)


@pytest.mark.usefixtures("unchecked")
def test_a_critic_that_answers_no_logit_per_sample_is_refused():
    build = adversarial.make_step(
        game.shifted, column, losses.hinge(), optax.sgd(1.0), optax.sgd(1.0), noise=game.levels
    )
    with pytest.raises(TypeError, match=r"answered shape \(24, 1\) to x of shape \(24, 2\)"):
        jax.eval_shape(build, game.exact_start(), game.batch())


def test_equal_noises_are_one():
    assert step.normal_noise(3) == step.normal_noise(3) and hash(step.normal_noise(3)) == hash(step.normal_noise(3))
    assert step.normal_noise(3)(jax.random.key(0), 4).shape == (4, 3)


EIGHT_DEVICES = """
import warnings
warnings.simplefilter("error")
import jax, numpy as np
from gendiff.training import sharding
from tests.adversarial import game

assert len(jax.local_devices()) == 8
mesh, results = sharding.mesh(), []
for shared in (False, True):
    state = sharding.replicate(game.noisy_start(), mesh) if shared else game.noisy_start()
    for number in range(3):
        rows = game.batch(number, 48)
        state, metrics = game.NOISY(state, sharding.shard(rows, mesh) if shared else rows)
    results.append((game.leaves(state), {name: np.asarray(value) for name, value in metrics.items()}))
assert len(state.params["kernel"].devices()) == 8
for one, many in zip(*map(jax.tree.leaves, results)):
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
def test_a_batch_over_eight_devices_gives_the_step_of_one_device():
    assert "equal" in linear.finish(
        linear.python(EIGHT_DEVICES, flags="--xla_force_host_platform_device_count=8"), timeout=300
    )
