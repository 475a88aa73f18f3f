"""Recipes of training: each changes one thing, costs as much where it says so, and claims compare equal seeds and equal
steps.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import training_recipes
from experiments.diffusion.training_recipes import networks
from experiments.diffusion.training_recipes.networks import (
    ALIGNED,
    BASES,
    DIT,
    IMMISCIBLE,
    LOGIT_NORMAL,
    MIN_SNR,
    MODERN,
    MUON,
    MUON_DIT,
    MUON_LOGIT_NORMAL,
    RECIPES,
    UNET,
    UNTAUGHT,
)
from gendiff.diffusion import alignment
from gendiff.diffusion.types import Batch
from gendiff.networks import count
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from tests.quickly import quickly
from tests.tables import table

CONFIG = training_recipes.Config()
SMALL = training_recipes.EXPERIMENT.smoke
CLEAN = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
BATCH = Batch(clean=CLEAN, condition=(np.arange(4),))


def shapes(name, config=CONFIG):
    return jax.eval_shape(networks.model(config, name).init, jax.random.key(0))


@table("base", BASES)
def test_recipes_change_training_and_leave_the_network_as_it_is(base):
    same = [name for name, parent in RECIPES.items() if parent == base and name != MODERN]
    assert {networks.model(CONFIG, name) for name in same} == {networks.model(CONFIG, base)}
    assert [training_recipes.seeds(CONFIG, name) == CONFIG.seeds for name in same] == [name != base for name in same]


def test_modern_blocks_have_as_many_parameters():
    plain, modern = (count(shapes(name)) for name in (DIT, MODERN))
    assert abs(modern / plain - 1) < 0.05


@table("name", (MUON, MUON_LOGIT_NORMAL, MUON_DIT))
def test_muon_turns_kernels_by_steps_of_equal_singular_values_and_the_others_are_those_of_adamw(name):
    params = {"kernel": jnp.diag(jnp.array([3.0, 0.5])), "bias": jnp.ones(2)}
    slopes = {"kernel": jnp.diag(jnp.array([4.0, 0.1])), "bias": jnp.ones(2)}
    steps = {}
    for each in (name, RECIPES[name]):
        optimizer = networks.optimizer(dataclasses.replace(CONFIG, weight_decay=0.0), each)
        steps[each], _ = optimizer.update(slopes, optimizer.init(params), params)
    values = np.linalg.svd(steps[name]["kernel"], compute_uv=False)
    assert values.max() / values.min() < 1.6
    np.testing.assert_allclose(steps[name]["bias"], steps[RECIPES[name]]["bias"], rtol=1e-3)


def affine(params, x, t, label):
    """A network of one number that reads its noise level."""
    return params["scale"] * x * (1 + t[:, None, None, None])


def test_each_loss_of_the_u_net_differs_from_the_plain_one_and_draws_as_it_says(monkeypatch):
    model = dataclasses.replace(networks.model(SMALL, UNET), predict=affine)
    params = {"scale": jnp.float32(0.3)}
    values = {
        name: float(quickly(networks.loss(SMALL, name, model))(params, jax.random.key(0), BATCH)[0])
        for name in (UNET, LOGIT_NORMAL, MIN_SNR, IMMISCIBLE, MUON, MUON_LOGIT_NORMAL)
    }
    assert len(set(values.values())) == 4
    assert values[MUON] == values[UNET] and values[MUON_LOGIT_NORMAL] == values[LOGIT_NORMAL]
    monkeypatch.setattr(networks, "CANDIDATES", 1)  # is independent noise
    independent = float(quickly(networks.loss(SMALL, IMMISCIBLE, model))(params, jax.random.key(0), BATCH)[0])
    assert independent == pytest.approx(values[UNET], rel=1e-6)


def test_alignment_adds_the_cosine_with_the_middle_of_the_classifier_and_trains_a_projector():
    model, classifier = networks.model(SMALL, ALIGNED), networks.init_classifier(SMALL)(jax.random.key(1))
    features = networks.features(SMALL, classifier)
    assert features(BATCH.clean).shape == (4, 16, SMALL.transformer.width)
    params = networks.init(SMALL, ALIGNED, model)(jax.random.key(0))
    assert networks.drawn_from(ALIGNED, params).keys() == model.init(jax.random.key(0)).keys()
    aligned, plain = networks.loss(SMALL, ALIGNED, model, features), networks.loss(SMALL, DIT, model)
    assert isinstance(aligned, alignment.AlignedLoss)

    @quickly
    def both(params):
        (value, metrics), slopes = jax.value_and_grad(aligned, has_aux=True)(params, jax.random.key(2), BATCH)
        return value, metrics["alignment"], plain(params["network"], jax.random.key(2), BATCH)[0], slopes["projector"]

    value, cosine, without, slopes = jax.device_get(both(params))
    assert value == pytest.approx(without - networks.ALIGNMENT * cosine, rel=1e-5) and -1 <= cosine <= 1
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(slopes)) > 0


def test_a_network_that_learned_nothing_is_the_classifier_before_its_training(tmp_path):
    start = networks.init_classifier(SMALL)(jax.random.key(min(SMALL.seeds)))
    accuracies = training_recipes.features(SMALL, RunFolder(tmp_path), UNTAUGHT)
    np.testing.assert_allclose(accuracies(BATCH.clean), networks.features(SMALL, start)(BATCH.clean), atol=1e-5)
    assert training_recipes.features(SMALL, RunFolder(tmp_path), MODERN) is None


def verdicts(factors):
    """Of distances which differ by seed and fall with steps. factors: of a recipe after each part."""
    distances = {}
    for name in RECIPES:
        values = factors.get(name, (1.0,) * len(CONFIG.parts))
        distances[name] = {
            seed: [np.full(3, factor * (1 + 0.02 * (seed % 5)) / (1 + part)) for part, factor in enumerate(values)]
            for seed in training_recipes.seeds(CONFIG, name)
        }
    measured = Measurements(training_recipes.ratios(CONFIG, distances))
    return {claim.id: claim.verdict for claim in training_recipes.STUDY.judge(measured)}


EARLY = CONFIG.parts.index(CONFIG.early)
SOONER = {
    name: tuple(0.8 if part == EARLY else 1.0 for part in range(len(CONFIG.parts))) for name in training_recipes.CLAIMED
}


def test_recipes_that_learn_sooner_pass_and_so_do_the_controls():
    verdict = verdicts(SOONER)
    assert set(verdict.values()) == {"PASS"} and len(verdict) == 2 * len(training_recipes.CLAIMED) + len(BASES)


def test_a_recipe_that_changes_nothing_fails_to_learn_sooner_and_one_that_ends_worse_fails_there():
    assert verdicts(SOONER | {MIN_SNR: (1.0,) * 4})["min-snr-weights-sooner"] == "FAIL"
    worse = verdicts(SOONER | {ALIGNED: (0.8, 0.8, 0.8, 1.2)})
    assert {id for id, verdict in worse.items() if verdict != "PASS"} == {"alignment-repa-no-worse"}
