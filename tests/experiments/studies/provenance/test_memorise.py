"""What the memorise experiment measures, on answers that are known."""

import dataclasses

import numpy as np
import pytest

from experiments.provenance import memorise
from experiments.provenance.memorise import training
from gendiff.commands.images.image_training import IMAGES
from gendiff.runs import devices, run_folder
from gendiff.runs.progress import Progress

SMOKE = memorise.EXPERIMENT.smoke
FULL = memorise.EXPERIMENT.presets["full"]


def test_sets_are_nested_halves_are_disjoint_and_copies_stand_as_often_as_they_say():
    learned = training.sets(FULL, 3)
    for small, large in zip(FULL.sizes, FULL.sizes[1:], strict=False):
        assert set(learned[f"{small}"]) < set(learned[f"{large}"]) <= set(range(IMAGES))
    for size in FULL.halves:
        assert len(set(learned[f"{size}"]) | set(learned[f"{size}, second half"])) == 2 * size
    repeated = learned[training.REPEATED]
    np.testing.assert_array_equal(training.distinct(repeated), learned[f"{FULL.inside}"])  # the de-duplicated set
    values, counts = np.unique(repeated, return_counts=True)
    np.testing.assert_array_equal(counts[np.argsort(np.argsort(training.distinct(repeated)))], training.times(FULL))
    assert len(values) == 512 and counts.sum() == 416 + 16 * (1 + 2 + 4 + 8 + 16 + 32)


def test_the_grid_ends_at_the_last_step_and_grows_by_half_an_octave():
    steps = training.grid(FULL)
    assert steps[0] == FULL.first and steps[-1] == FULL.train_steps
    np.testing.assert_allclose(np.diff(np.log2(steps[:-1])), 0.5, atol=0.01)


def test_a_crossing_lies_between_steps_and_is_missing_where_there_is_none():
    steps, shares = (100, 200, 400), np.array([0.0, 0.25, 0.75])
    assert memorise.crossing(steps, shares, 0.5) == pytest.approx(200 * 2**0.5)
    assert memorise.crossing(steps, shares + 0.5, 0.5) == 100.0
    assert np.isnan(memorise.crossing(steps, shares, 0.9))


def test_a_power_is_found_and_a_size_that_some_seed_has_not_reached_is_left_out():
    sizes, noise = (64, 128, 256, 512), np.exp(np.random.default_rng(0).normal(0, 0.05, (3, 4)))
    times = 3.0 * np.array(sizes) ** 1.2 * noise
    value, low, high = memorise.power(sizes, times)
    assert low < 1.2 < high and value == pytest.approx(1.2, abs=0.1)
    times[1, 3] = np.nan
    assert memorise.power(sizes, times) == memorise.power(sizes[:3], times[:, :3])
    assert np.isnan(memorise.power(sizes, np.where(np.arange(4) > 0, np.nan, times))).all()


def test_only_pictures_that_are_copied_are_regenerated():
    rows = np.random.default_rng(0).normal(size=(12, 6))
    between = (rows[4] + rows[5]) / 2
    copies = memorise.regenerated(np.stack([rows[2] + 0.01, between, rows[7]]), rows)
    np.testing.assert_array_equal(np.flatnonzero(copies), [2, 7])


def test_equal_samples_agree_and_independent_ones_do_not():
    rng, mean = np.random.default_rng(0), np.full(64, 0.3)
    first, second = (mean + rng.normal(size=(400, 64)) for _ in range(2))
    assert np.mean(memorise.agreement(first, first, mean)) == pytest.approx(1.0, abs=0.05)
    assert np.mean(memorise.agreement(first, second, mean)) == pytest.approx(0.0, abs=0.05)


@pytest.mark.slow
def test_a_training_that_was_cut_off_draws_the_same_and_controls_know_the_sets_of_their_treatments(
    tmp_path, monkeypatch
):
    folder, quiet = run_folder.create(tmp_path / "run"), Progress(quiet=True)
    with devices.compiled_quickly():
        training.train(SMOKE, folder, quiet)
        before = training.read(folder, 0, SMOKE.train_steps)
        (folder.path / f"samples_seed_0_step_{SMOKE.train_steps}.npz").unlink()
        lines = folder.read_metrics()
        training.train(SMOKE, folder, quiet)
        after = training.read(folder, 0, SMOKE.train_steps)
        exact = dataclasses.replace(SMOKE, sampling_steps=20)
        images = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype(np.float32)
        hits = {name: memorise.untrained(exact, name, images) for name in (memorise.MEMORISER, memorise.GAUSSIAN)}
        sizes = {}
        monkeypatch.setattr(memorise, "untrained", lambda _, name, x: np.arange(2) > sizes.setdefault(name, len(x)))
        list(memorise.measure(SMOKE, folder, quiet))
    for first, second in zip(dataclasses.astuple(before), dataclasses.astuple(after), strict=True):
        np.testing.assert_array_equal(first, second)
    assert folder.read_metrics() == lines
    assert sizes == {memorise.MEMORISER: 64, memorise.GAUSSIAN: 16}
    assert hits[memorise.MEMORISER].mean() == 1.0 and hits[memorise.GAUSSIAN].mean() == 0.0
