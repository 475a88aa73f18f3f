"""The ddim-steps experiment: the equivalence test finds what is equal and what is not and sets are drawn once."""

import dataclasses

import numpy as np
import pytest

from experiments.diffusion import ddim_steps
from experiments.diffusion.ddim_steps import draw, equivalence
from experiments.diffusion.ddim_steps.draw import DDIM, FEW, Set
from experiments.diffusion.image_model import Model
from experiments.framework import run_folder
from experiments.framework.progress import Progress
from gendiff.diffusion import parameterization, schedules
from gendiff.metrics import frechet

RNG = np.random.default_rng(0)
HELD_OUT = RNG.standard_normal((300, 3)) + 1.0
ROWS = RNG.standard_normal((2000, 3))


@pytest.fixture(scope="module")
def distances():
    sets = {"all": ROWS, "again": ROWS.copy(), "other": RNG.standard_normal((2000, 3)), "moved": ROWS - 0.15, "near": ROWS - 0.002}
    return equivalence.resampled(sets, HELD_OUT, resamples=200, seed=0)


def test_a_set_equals_itself_exactly(distances):
    found = equivalence.difference(distances["again"], distances["all"])
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_set_of_the_same_law_differs_by_chance_and_pairing_narrows_the_interval(distances):
    other, near = (equivalence.difference(distances[name], distances["all"]) for name in ("other", "near"))
    assert other.low < 0 < other.high and other.size[1] == 0.0
    assert near.high - near.low < (other.high - other.low) / 10
    assert near.value == pytest.approx(0.004, abs=0.001)  # |1 + 0.002|² / |1|² - 1


def test_a_moved_set_is_different(distances):
    found = equivalence.difference(distances["moved"], distances["all"])
    assert found.value == pytest.approx(1.15**2 - 1, abs=0.03)
    assert 0.1 < found.size[1] <= found.value <= found.size[2]


def test_the_size_of_a_difference_has_the_ends_of_its_absolute_value():
    size = equivalence.Difference(-0.2, -0.3, -0.1).size
    assert size == (0.2, 0.1, 0.3)
    assert equivalence.Difference(0.01, -0.05, 0.03).size == (0.01, 0.0, 0.05)


def test_resamples_centre_on_the_distance_of_the_whole_set(distances):
    for of in distances.values():
        assert of.centred.mean() == pytest.approx(of.whole)
        assert of.resamples.mean() > of.whole  # fewer distinct rows


def test_a_resample_is_fitted_as_its_rows_would_be():
    times = equivalence._times(np.random.default_rng(1), 50)
    rows = ROWS[:50]
    repeated = frechet.fit(rows.repeat(times.astype(int), axis=0))
    assert frechet.between(equivalence._fit(rows, times), repeated) == pytest.approx(0, abs=1e-10)


def test_sets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="equally many"):
        equivalence.resampled({"a": ROWS, "b": ROWS[1:]}, HELD_OUT, resamples=2, seed=0)


def test_budgets_count_evaluations_and_the_chains_are_not_drawn_twice():
    config = ddim_steps.Config()
    assert [FEW["Heun"].steps_within(budget) for budget in config.budgets] == [3, 5, 10]
    wanted = draw.sets(config, 0)
    assert len(set(wanted)) == len(wanted) == 2 * 7 + 5 * 3
    assert all(each.evaluations <= 20 for each in wanted if each.method.name not in ("DDIM", "DDPM"))


def test_a_set_that_lies_in_the_folder_is_read_and_one_of_other_parameters_is_not(tmp_path):
    class Counted:
        calls = 0

        def draw(self, title, params, method, steps, count):
            self.calls += 1
            return np.full((count, 2, 2, 1), params["w"]), 3.0

    config, programs = dataclasses.replace(ddim_steps.Config(), samples=4, together=2), Counted()
    kept = draw.Kept(config, programs, run_folder.create(tmp_path / "run"))
    first, again, other = (kept(Set(0, DDIM, 5), {"w": np.float32(value)}) for value in (1, 1, 2))
    assert programs.calls == 2
    assert first[1] == again[1] == 1.5  # a call of `together`
    assert (first[0] == again[0]).all() and (other[0] == 2).all()


def test_samples_are_paired_by_index_whatever_the_steps():
    def predict(params, x, t, label):
        return params * x + label[:, None, None, None] / 10

    config = dataclasses.replace(ddim_steps.EXPERIMENT.smoke, together=16)
    model = Model(predict, None, schedules.linear(config.levels), parameterization.noise(), (2, 2, 1), num_classes=10)
    draws = draw.MethodDraws(config, model, Progress(quiet=True))
    coarse, fine = (draws.draw("", np.float32(0.5), DDIM, steps, 40)[0] for steps in (20, 30))
    apart = np.mean((coarse - fine) ** 2, axis=(1, 2, 3))
    assert (apart < np.mean((coarse - np.roll(fine, 10, axis=0)) ** 2, axis=(1, 2, 3)) / 10).all()


def test_presets_name_steps_that_are_drawn():
    full, smoke = ddim_steps.EXPERIMENT.presets["full"], ddim_steps.EXPERIMENT.smoke
    for config in (full, smoke):
        assert {*config.equivalent, config.same, config.coarse, config.coarse_chain, config.fast, config.levels} <= set(config.steps)
        assert config.samples % config.together == 0
