"""Samples that an experiment draws: none that is not finite goes on to be judged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion.image_draws import Draws
from gendiff.commands import command_line
from gendiff.core.types import NO_LABEL
from gendiff.runs import errors
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from tests.runs import toy
from tests.tables import table


def broken(params, x, t, label):
    """Class 1 is not finite."""
    return toy.predict(params, x, t, label) + jnp.where(label == 1, jnp.nan, 0.0)[:, None, None, None]


@pytest.mark.fault("NaN while sampling")
@table("trajectory", [False, True])
def test_samples_that_are_not_finite_end_a_run_with_3_and_are_named(trajectory, tmp_path, capsys):
    def evaluate(config, folder, progress):
        model = toy.model(config, predict=broken)
        draws, params = Draws(model, 2, 4, Progress(quiet=True)), model.init(jax.random.key(0))
        if trajectory:
            draws.trajectory(params, 4, 2.0)
        draws("seed 0", params, 4)
        return Outcome(())

    experiment = dataclasses.replace(toy.EXPERIMENT, train=None, evaluate=evaluate)
    assert command_line.main(["run", "toy", "--out", str(tmp_path / "run")], {"toy": experiment}) == errors.NON_FINITE
    assert (
        f"{'trajectory' if trajectory else 'seed 0'}: 2 of 4 samples are not finite"
        in (message := capsys.readouterr().err)
        and "indices: 1, 3" in message
    )
    assert not (tmp_path / "run" / "results.json").exists()


def test_guidance_leads_each_sample_away_from_the_second_condition_of_a_pair():
    model = toy.model(toy.Config())
    params, labels = model.init(jax.random.key(0)), jnp.array([0, 1, 1, 0])
    one, pairs = (Draws(model, 3, 4, Progress(quiet=True), absent=absent) for absent in (NO_LABEL, None))
    same = pairs("pairs", params, 4, scale=2.0, condition=(labels, jnp.full(4, NO_LABEL)))
    np.testing.assert_array_equal(same, one("one", params, 4, scale=2.0, condition=labels))
    other = pairs("pairs", params, 4, scale=2.0, condition=(labels, labels))  # away from itself is no guidance
    np.testing.assert_array_equal(other, one("one", params, 4, scale=1.0, condition=labels))
