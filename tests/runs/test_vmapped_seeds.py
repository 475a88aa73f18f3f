"""Seeds that train side by side train as each does alone, and the framework trains, resumes and restores a GAN as any
other state.
"""

import jax
import numpy as np
import pytest

from gendiff import adversarial
from gendiff.runs import devices, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import sharding
from tests.adversarial import game
from tests.quickly import quickly

SEEDS = (3, 5)


def fresh(key):
    params = {"kernel": jax.random.normal(jax.random.fold_in(key, 9), (2, 2)), "bias": np.zeros(2, np.float32)}
    critic = {"inner": jax.random.normal(jax.random.fold_in(key, 8), (2, 4)), "outer": np.ones(4, np.float32)}
    return adversarial.start(params, critic, game.MOMENTUM, game.MOMENTUM, key, ema=(0.9,))


@pytest.fixture(scope="module")
def together():
    with devices.compiled_quickly():
        return vmapped_seeds.compile_step(game.noisy(), fresh, SEEDS, sharding.mesh())


def rows(step):
    return np.stack([game.batch(10 * step + seed) for seed in SEEDS], axis=1)


def test_seeds_that_train_together_train_as_each_does_alone(together):
    states, alone = together.fresh(jax.random.key(0)), [quickly(fresh)(jax.random.key(seed)) for seed in SEEDS]
    assert states.step.shape == () and states.generator.key.shape == (2,)
    for step in range(2):
        states, metrics = together.step(states, rows(step))
        ones = []
        for number, state in enumerate(alone):
            alone[number], one = game.NOISY(state, rows(step)[:, number])
            ones.append(one)
        for name in ("loss", "generator_loss"):
            np.testing.assert_allclose(
                [metrics[f"{name}_{number}"] for number in (0, 1)], [one[name] for one in ones], rtol=2e-4
            )
        np.testing.assert_allclose(metrics["grad_norm"], np.mean([one["grad_norm"] for one in ones]), rtol=2e-4)
    for number, state in enumerate(alone):
        one_seed = jax.tree.map(
            lambda leaf, number=number: leaf[number], (states.params, states.ema, states.critic.params)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
            one_seed,
            (state.params, state.ema, state.critic.params),
        )
    assert bool(metrics["finite"]) and int(metrics["stopped"]) == 0 and int(states.step) == 2


@pytest.mark.fault("NaN loss or gradient")
def test_a_seed_with_nan_skips_its_step_and_the_other_goes_on(together):
    batch = rows(0)
    batch[:, 1] = np.nan
    before = jax.tree.map(np.asarray, together.fresh(jax.random.key(0)).critic.params)
    states, metrics = together.step(together.fresh(jax.random.key(0)), batch)
    assert not np.array_equal(states.critic.params["inner"][0], before["inner"][0])
    np.testing.assert_array_equal(states.critic.params["inner"][1], before["inner"][1])
    assert (
        bool(metrics["finite"])
        and int(metrics["stopped"]) == 1
        and np.isfinite(metrics["loss"])
        and np.isnan(metrics["loss_1"])
    )
    assert not together.step(states, np.full_like(batch, np.nan))[1]["finite"]


@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_gan_that_died_and_went_on_ends_bitwise_as_one_that_did_not_and_its_average_is_found(together, tmp_path):
    def run(name, died=None):
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir(exist_ok=True)

        def on_step(step, metrics):
            if step == died:
                raise RuntimeError("died")

        more = {"seed": 3, "steps": 5, "folder": folder, "progress": Progress(quiet=True)}
        return folder, training_loop.train(together, rows, checkpoint_every=2, log_every=1, on_step=on_step, **more)

    unbroken, state = run("whole")
    with pytest.raises(RuntimeError, match="died"):
        run("cut", died=3)
    cut, resumed = run("cut")
    one, other = game.leaves(state), game.leaves(resumed)
    assert all(leaf.tobytes() == other[path].tobytes() for path, leaf in one.items()) and len(one) >= 12
    assert unbroken.metrics.read_bytes() == cut.metrics.read_bytes() and len(unbroken.read_metrics()) == 5

    average = vmapped_seeds.restore(fresh, len(SEEDS), cut, seed=SEEDS[0])
    jax.tree.map(np.testing.assert_array_equal, average, state.ema)
    assert not np.array_equal(average["kernel"], state.params["kernel"])
