"""The race to equal quality: what each side draws, in parts of any size, and what counts as an evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import cases, config, ours, race, race_courses, race_side
from experiments.benchmarks.workloads import Workload
from experiments.diffusion.few_step import draws
from gendiff import networks
from gendiff.diffusion import denoiser, grids, parameterization, sampling, schedules
from tests.tables import table

TINY, LATENTS = Workload("sample", "tiny_digits"), Workload("sample", "tiny_latents")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder of weights, and a file of noise and labels."""
    place = tmp_path_factory.mktemp("race")
    ours.write_weights(TINY, place / "weights")
    rng = np.random.default_rng(0)
    np.savez(place / "noise.npz", noise=rng.normal(size=(7, 8, 8, 1)).astype(np.float32), label=np.arange(7, dtype=np.int32))
    return place


@pytest.mark.slow
def test_parts_of_any_size_are_the_samples_of_the_method_on_its_grid(given, tmp_path):
    side = race_side.RaceSide()
    assert side.methods() == list(draws.FIXED) and side.methods()[0] == draws.DDIM
    request = {"network": TINY.network, "arrays": str(given / "noise.npz"), "weights": str(given / "weights"), "steps": 3}
    request |= {"resolution": draws.RESOLUTION, "norm": draws.norm()}
    found = {}
    for together in (7, 3):
        name = f"{draws.CUT} {together}"
        assert side.prepare(**request, together=together, method=draws.CUT, name=name)["first"] > 0
        side.output(str(tmp_path / "out.npz"), name=name)
        with np.load(tmp_path / "out.npz") as stored:
            found[together] = stored["output"]
    network = ours.build(TINY)
    with np.load(given / "noise.npz") as stored:
        noise, label = stored["noise"], stored["label"]
    sampler, grid = draws.FIXED[draws.CUT]
    levels = grid(schedules.flow(), 3)
    params = ours.parameters(TINY, network, str(given / "weights"))
    flow = denoiser.from_network(networks.pure(network), params, parameterization.flow(), label)
    start = np.asarray(levels.sigma)[0] * noise
    exact = jax.jit(lambda start: sampling.sample(jax.random.key(0), flow, sampler, levels, (8, 8, 1), np.arange(7), start=start))(start)
    for each in found.values():
        np.testing.assert_allclose(each, exact, atol=2e-5)


@table(("method", "evaluations"), [("DDIM", 6), ("FlowMatchHeun", 11)])
def test_heun_asks_the_network_twice_but_at_the_last_step(method, evaluations):
    assert race.Choice(method, 6, 0.0).evaluations == evaluations


def test_noise_is_fixed_by_its_number_and_classes_are_balanced(tmp_path):
    files = [race.noise(TINY, tmp_path, 20, number) for number in (0, 1)]
    (first, label), (second, _) = ((stored["noise"], stored["label"]) for stored in map(np.load, files))
    assert first.shape == (20, 8, 8, 1) and not np.allclose(first, second) and (np.bincount(label) == 2).all()


@pytest.mark.slow
def test_a_race_of_latents_counts_their_pictures(tmp_path):
    course, side = race_courses.latents(LATENTS, tmp_path, True), race_side.RaceSide()
    file = race.noise(LATENTS, tmp_path, 6, 0)
    request = {"network": LATENTS.network, "arrays": str(file), "together": 4, "method": draws.CUT, "steps": 2, **course.told}
    side.prepare(**request, name="pictures")
    side.prepare(**request | {"decoder": ""}, name="latents")
    for name in ("pictures", "latents"):
        side.output(str(tmp_path / f"{name}.npz"), name=name)
    pictures, latents = (np.load(tmp_path / f"{name}.npz")["output"] for name in ("pictures", "latents"))
    coder = Workload("decode", "tiny_vae")
    params = ours.parameters(coder, ours.build(coder), str(tmp_path / "decoder"))
    np.testing.assert_allclose(pictures, networks.pure(ours.build(coder), "decode")(params, latents), atol=2e-5)
    assert pictures.shape == (6, 8, 8, 3) and 0 < course.distance(pictures) < np.inf


@pytest.mark.slow
def test_settings_of_a_decoder_put_latents_back_into_their_unit(tmp_path):
    of = Workload("decode", "tiny_vae")
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), ours.shapes(of))
    settings = {"latents_mean": [1.0, -1.0, 0.5, 2.0], "latents_std": [0.5, 2.0, 1.0, 4.0], "scaling_factor": 1.0}
    ours.save(of, params, tmp_path / "unit", **settings)
    network, stored = race_side.open_decoder(str(tmp_path / "unit"))
    plain = ours.build(of)
    latents = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype(np.float32)
    raw = latents * np.array(settings["latents_std"]) + np.array(settings["latents_mean"])
    expected = networks.pure(plain, "decode")(params, raw * plain.scale)
    found = networks.pure(network, "decode")(jax.tree.map(jnp.asarray, stored), latents)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_race", "latents_race"])
def test_without_a_peer_the_race_says_what_ours_needs(tmp_path, name):
    case = next(case for case in cases.ALL if case.name == name)
    found = case.measure(case, config.Setting(config.Config(tiny=True, pairs=2), tmp_path))
    assert not found.ratios and [limit.name for limit in found.limits] == [f"{name}_ours"]
    assert {row[0] for row in found.tables[0].rows} == {"ours"} and len(found.tables[0].rows) == len(draws.FIXED)
    assert grids.trailing(schedules.flow(), 3).sigma[0] == 1.0, "so that both sides begin with the same noise"
