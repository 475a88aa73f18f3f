"""The ddim-steps experiment: the equivalence test finds what is equal and what is not and sets are drawn once."""

import dataclasses
import types

import numpy as np
import pytest

from experiments.diffusion import ddim_steps, equivalence
from experiments.diffusion.ddim_steps import DDIM, FEW, Set
from gendiff.commands.images.image_model import Model
from gendiff.diffusion import parameterization, schedules
from gendiff.metrics import frechet
from gendiff.runs import run_folder
from gendiff.runs.progress import Progress
from tests.tables import table

RNG = np.random.default_rng(0)
HELD_OUT = RNG.standard_normal((300, 3)) + 1.0
ROWS = RNG.standard_normal((2000, 3))


@pytest.fixture(scope="module")
def distances():
    sets = {
        "all": ROWS,
        "again": ROWS.copy(),
        "other": RNG.standard_normal((2000, 3)),
        "moved": ROWS - 0.15,
        "near": ROWS - 0.002,
    }
    return equivalence.resampled(sets, HELD_OUT, resamples=200, seed=0)


def test_equal_sets_differ_by_nothing_others_of_their_law_by_chance_and_moved_ones_by_more(distances):
    again, other, near, moved = (
        equivalence.difference(distances[name], distances["all"]) for name in ("again", "other", "near", "moved")
    )
    assert again == (0, 0, 0)
    assert other[1] < 0 < other[2]
    assert near[2] - near[1] < (other[2] - other[1]) / 10  # pairing narrows the interval
    assert near[0] == pytest.approx(0.004, abs=0.001)  # |1 + 0.002|² / |1|² - 1
    assert moved[0] == pytest.approx(1.15**2 - 1, abs=0.03)
    assert 0.1 < moved[1] <= moved[0] <= moved[2]


def test_resamples_are_fitted_as_their_rows_would_be_and_centre_on_the_distance_of_the_whole_set(distances):
    for distance in distances.values():
        assert distance.centred.mean() == pytest.approx(distance.whole)
        assert distance.resamples.mean() > distance.whole  # fewer distinct rows
    times = equivalence._times(np.random.default_rng(1), 50)
    repeated = frechet.fit(ROWS[:50].repeat(times.astype(int), axis=0))
    assert frechet.frechet_distance(equivalence._fit(ROWS[:50], times), repeated) == pytest.approx(0, abs=1e-10)


def test_sets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="equally many"):
        equivalence.resampled({"a": ROWS, "b": ROWS[1:]}, HELD_OUT, resamples=2, seed=0)


def test_budgets_count_evaluations_and_the_chains_are_not_drawn_twice():
    config = ddim_steps.Config()
    assert [FEW["Heun"].steps_within(budget) for budget in config.budgets] == [3, 5, 10]
    planned = ddim_steps.sets(config, 0)
    assert len(set(planned)) == len(planned) == 2 * 7 + 5 * 3
    assert all(each.evaluations <= 20 for each in planned if each.method.name not in ("DDIM", "DDPM"))


def test_a_set_that_lies_in_the_folder_is_read_and_one_of_other_parameters_is_not(tmp_path):
    calls = []

    def draw(title, params, method, steps, count):
        calls.append(title)
        return np.full((count, 2, 2, 1), params["w"]), 3.0

    config = dataclasses.replace(ddim_steps.Config(), samples=4, together=2)
    programs, folder = types.SimpleNamespace(draw=draw), run_folder.create(tmp_path / "run")
    first, again, other = (
        ddim_steps.stored(config, programs, folder, Set(0, DDIM, 5), {"w": np.float32(value)}) for value in (1, 1, 2)
    )
    assert len(calls) == 2
    assert first[1] == again[1] == 1.5  # a call of `together`
    assert (first[0] == again[0]).all() and (other[0] == 2).all()


def test_samples_are_paired_by_index_whatever_the_steps():
    config = dataclasses.replace(ddim_steps.EXPERIMENT.smoke, together=16)
    process = schedules.linear(config.levels), parameterization.noise()
    model = Model(
        lambda params, x, t, label: params * x + label[:, None, None, None] / 10,
        None,
        *process,
        (2, 2, 1),
        num_classes=10,
    )
    draws = ddim_steps.MethodDraws(config, model, Progress(quiet=True))
    coarse, fine = (draws.draw("", np.float32(0.5), DDIM, steps, 40)[0] for steps in (20, 30))
    same_index, others = (
        np.mean((coarse - images) ** 2, axis=(1, 2, 3)) for images in (fine, np.roll(fine, 10, axis=0))
    )
    assert (same_index < others / 10).all()


@table("config", [ddim_steps.EXPERIMENT.presets["full"], ddim_steps.EXPERIMENT.smoke])
def test_presets_name_steps_that_are_drawn(config):
    assert {*ddim_steps.EQUIVALENT, 250, 5, ddim_steps.FAST, config.levels} <= set(config.steps)
    assert config.samples % config.together == 0
