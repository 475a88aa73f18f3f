"""The race to equal quality: what each side draws, in parts of any size, and what counts as an evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import cases, config, duel, image_networks, race, race_draws, single_calls, weights
from experiments.bench.side import OurSide
from experiments.bench.workloads import Workload
from experiments.diffusion.few_step import draws
from gendiff import networks
from gendiff.diffusion import denoiser, grids, parameterization, sampling, schedules
from tests.tables import table

TINY, LATENTS = (Workload("race", f"tiny_{name}", steps=3) for name in ("digits", "latents"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder of weights, and noise and labels."""
    rng = np.random.default_rng(0)
    arrays = {"noise": rng.normal(size=(7, 8, 8, 1)).astype(np.float32), "label": np.arange(7, dtype=np.int32)}
    return weights.folder(TINY, tmp_path_factory.mktemp("race")), arrays


@pytest.mark.slow
def test_parts_of_any_size_are_the_samples_of_the_method_on_its_grid(inputs, tmp_path):
    folder, arrays = inputs
    side, request = (
        OurSide(),
        duel.request(TINY, arrays, tmp_path, folder=folder) | {"resolution": draws.RESOLUTION, "norm": draws.norm()},
    )
    results = {}
    for together in (7, 3):
        assert (
            side.prepare(**request, together=together, method=draws.CUT, name="ours", to=str(tmp_path / "out.npz"))[
                "first"
            ]
            > 0
        )
        with np.load(tmp_path / "out.npz") as stored:
            results[together] = stored["output"]
    network, noise, label = image_networks.build(TINY), arrays["noise"], arrays["label"]
    sampler, grid = draws.FIXED[draws.CUT]
    levels = grid(schedules.flow(), 3)
    params = weights.read(TINY, folder)
    flow = denoiser.from_network(networks.pure(network), params, parameterization.flow(), label)
    start = np.asarray(levels.sigma)[0] * noise
    exact = jax.jit(
        lambda start: sampling.sample(jax.random.key(0), flow, sampler, levels, (8, 8, 1), np.arange(7), start=start)
    )(start)
    for each in results.values():
        np.testing.assert_allclose(each, exact, atol=2e-5)


@table(("method", "evaluations"), [("DDIM", 6), ("FlowMatchHeun", 11)])
def test_heun_asks_the_network_twice_but_at_the_last_step(method, evaluations):
    assert race.Choice(method, 6, 0.0).evaluations == evaluations


def test_no_method_is_tried_in_more_evaluations_than_one_that_is_enough():
    counts, methods, steps = [], ("DDIM", "FlowMatchHeun", "UniPC"), (3, 4, 5, 6)

    def draw(method, count):
        counts.append(race.Choice(method, count, 0.0).evaluations)
        return None, 2 + {"DDIM": 6 / count, "FlowMatchHeun": np.nan, "UniPC": 0.4 / count}[method]

    nearest, *others = race.ranked(draw, 2.0, methods, steps, 0.041)
    assert (nearest.method, nearest.evaluations) == ("UniPC", 5) and nearest.excess == pytest.approx(0.04)
    assert [(each.method, each.evaluations) for each in others] == [("DDIM", 5), ("FlowMatchHeun", 5)]
    assert counts == [3, 3, 4, 4, 5, 5, 5]
    assert race.ranked(draw, 2.0, methods, steps, 0.0)[0].steps == 6, "the nearest, where none is enough"


def test_noise_is_fixed_by_its_number_and_classes_are_balanced():
    first, second = (race.noise(TINY, 20, number) for number in (0, 1))
    assert first["noise"].shape == (20, 8, 8, 1) and not np.allclose(first["noise"], second["noise"])
    assert (np.bincount(first["label"]) == 2).all()


@pytest.mark.slow
def test_a_race_of_latents_counts_their_pictures(tmp_path):
    course, side = race.latents(LATENTS, tmp_path, True), OurSide()
    request = duel.request(LATENTS, race.noise(LATENTS, 6, 0), tmp_path, folder=course.weights) | {
        **course.options,
        "together": 4,
    }
    images = {}
    for name, more in (("pictures", {}), ("latents", {"decoder": ""})):
        side.prepare(**request | more, name=name, method=draws.CUT, to=str(tmp_path / f"{name}.npz"))
        images[name] = np.load(tmp_path / f"{name}.npz")["output"]
    coder = Workload("decode", "tiny_vae")
    decode, params = networks.pure(single_calls.build(coder), "decode"), weights.read(coder, tmp_path / "decoder")
    np.testing.assert_allclose(images["pictures"], decode(params, images["latents"]), atol=2e-5)
    assert images["pictures"].shape == (6, 8, 8, 3) and 0 < course.distance(images["pictures"]) < np.inf


@pytest.mark.slow
def test_settings_of_a_decoder_put_latents_back_into_their_unit(tmp_path):
    workload = Workload("decode", "tiny_vae")
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), weights.shapes(workload))
    settings = {"latents_mean": [1.0, -1.0, 0.5, 2.0], "latents_std": [0.5, 2.0, 1.0, 4.0], "scaling_factor": 1.0}
    weights.save(workload, params, tmp_path / "unit", **settings)
    network, stored = race_draws.open_decoder(str(tmp_path / "unit"))
    plain = single_calls.build(workload)
    latents = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype(np.float32)
    raw = latents * np.array(settings["latents_std"]) + np.array(settings["latents_mean"])
    expected = networks.pure(plain, "decode")(params, raw * plain.scale)
    results = networks.pure(network, "decode")(stored, latents)
    np.testing.assert_allclose(results, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_race", "latents_race"])
def test_without_a_peer_the_race_says_what_ours_needs(tmp_path, name):
    case = next(case for case in cases.ALL if case.name == name)
    results = case.measure(case, config.Setting(config.Config(tiny=True, pairs=2), tmp_path))
    assert not results.ratios and [limit.name for limit in results.limits] == [f"{name}_ours"]
    rows = results.tables[0].rows
    least = {method for method in draws.FIXED if "Heun" not in method}  # which has more evaluations in as many steps
    assert {row[0] for row in rows} == {"ours"} and least <= {row[1] for row in rows} <= set(draws.FIXED)
    assert [row[4] is not None for row in rows].count(True) == 1
    assert grids.trailing(schedules.flow(), 3).sigma[0] == 1.0, "so that both sides begin with the same noise"
