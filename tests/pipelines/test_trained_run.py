"""`open_run` gives back what was trained, exactly, and refuses what it cannot pair without a doubt."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, pipelines, training
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, ConfigError, DataError
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import parameterization, schedules
from gendiff.pipelines import trained_run
from gendiff.training import digests
from gendiff.training.checkpoints import Checkpoints
from tests import refusals
from tests.tables import table

UNET = networks.UNet(channels=(8,), blocks=1, attention=(), groups=8, num_classes=3, heads=2, dtype="bfloat16")
DIT = networks.DiT(patch=2, width=16, depth=1, heads=2, rotary_channels=(4, 4), activation="silu")
SHAPE, CLASSES = (4, 4, 1), ("cat", "dog", "sun")
ABOUT = {"shape": SHAPE, "classes": CLASSES, "data_levels": 17, "temperature": 1.05, "ema": 0.9}


def described(network=UNET, schedule=None, meaning=None, **changes):
    schedule, meaning = schedule or schedules.flow(), meaning or parameterization.flow()
    return trained_run.describe(networks.pure(network), schedule, meaning, **ABOUT | changes)


def saved(folder, description, network=UNET, seed=0, step=3):
    """A run folder with one checkpoint, whose averages are 1 and 2 above its parameters."""
    label = (jnp.zeros((1,), jnp.int32),) if network.num_classes else ()
    params = networks.init(network, jax.random.key(1), jnp.zeros((1, *SHAPE)), jnp.zeros((1,)), *label)
    state = training.start(params, optax.sgd(0.1), jax.random.key(0), ema=(0.9, 0.99))
    tracks = {
        name: jax.tree.map(lambda leaf, add=number: leaf + add, params) for number, name in enumerate(state.tracks, 1)
    }
    with Checkpoints(folder / f"checkpoints/seed_{seed}", description=description) as store:
        store.save(step, {"params": params, "tracks": {str(name): values for name, values in tracks.items()}})
    return params


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, saved(folder, described())


def test_a_run_opens_with_what_it_was_trained_with(run, caplog):
    opened = pipelines.open_run(run[0])
    assert not caplog.records, "the library prints nothing"
    assert opened.predict == networks.pure(UNET)
    assert (opened.schedule, opened.parameterization) == (schedules.flow(), parameterization.flow())
    assert (opened.shape, opened.classes, opened.num_classes, opened.step) == (SHAPE, CLASSES, 3, 3)
    assert (opened.data_levels, opened.temperature) == (17, 1.05)


def test_the_bytes_of_each_array_are_compared_with_their_digest_once(run, monkeypatch):
    entry, read = digests._entry, []
    monkeypatch.setattr(digests, "_entry", lambda path: (read.append(path), entry(path))[1])
    pipelines.open_run(run[0])
    arrays = [path for path in read if "state" in path.parts]
    assert len(arrays) == len(set(arrays)) > 0


@table("ema, above", [(None, 1.0), (0.9, 1.0), (0.99, 2.0), (0, 0.0)])
def test_the_parameters_are_the_average_that_is_asked_for(ema, above, run):
    opened = pipelines.open_run(run[0], ema=ema)
    jax.tree.map(
        lambda leaf, plain: np.testing.assert_array_equal(leaf, plain + jnp.float32(above)), opened.params, run[1]
    )


@table(
    "schedule, meaning",
    [
        (schedules.linear(20), parameterization.noise()),
        (schedules.zero_terminal_snr(schedules.cosine(1000)), parameterization.velocity()),
        (schedules.edm(0.01, 70.0), parameterization.edm(0.3)),
        (schedules.shifted(schedules.shifted(schedules.flow(), 2.0), 1.7), parameterization.clean()),
    ],
)
def test_every_schedule_and_parameterization_comes_back_equal(schedule, meaning, tmp_path):
    saved(tmp_path, described(DIT, schedule, meaning, classes=()), DIT)
    opened = pipelines.open_run(tmp_path)
    assert (opened.schedule, opened.parameterization, opened.predict) == (schedule, meaning, networks.pure(DIT))


def test_a_label_is_a_number_a_name_or_nothing(run):
    opened = pipelines.open_run(run[0])
    assert [opened.denoiser(label).condition for label in (None, NO_LABEL, 1, "sun")] == [
        (NO_LABEL,),
        (NO_LABEL,),
        (1,),
        (2,),
    ]
    assert opened.denoiser(np.array([0, 2])).condition[0].tolist() == [0, 2]
    assert opened.denoiser("cat").parameterization == parameterization.flow()


def test_the_first_seed_of_the_run_is_opened_where_none_is_named(tmp_path):
    for seed, step in ((3, 7), (1, 8)):
        saved(tmp_path, described(), seed=seed, step=step)
    shutil.copytree(tmp_path / "checkpoints" / "seed_1", tmp_path / "checkpoints" / "seed_0.bak")  # no training
    assert pipelines.open_run(tmp_path).step == 8
    config = {"experiment": "digits", "preset": "full", "smoke": False, "config": {"seeds": [3, 1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert [pipelines.open_run(tmp_path, **options).step for options in ({}, {"seed": 1})] == [7, 8]


@table(
    "changes",
    [
        {"network": networks.UNet(channels=(8,), groups=8, num_classes=3, second_time=True)},
        {"network": networks.UNet(channels=(8,), groups=8, num_classes=4)},
        {"network": networks.UNet(channels=(8,), groups=8, num_classes=3, dtype=jnp.bfloat16)},
        {"network": networks.VideoTransformer()},
        {"schedule": "flow"},
    ],
)
def test_what_no_name_describes_is_not_described(changes):
    assert described(**changes) is None


def test_a_network_that_is_no_module_is_not_described():
    assert trained_run.describe(lambda params, x, t: x, schedules.flow(), parameterization.flow(), **ABOUT) is None


def test_what_cannot_be_paired_without_doubt_is_refused(run, tmp_path):
    other, strange, old = described(), described(), tmp_path / "old"
    other["network"] = {"name": "Mamba", "settings": {}}
    strange["schedule"] = {"name": "edm", "settings": {"sigma_min": 0.1, "sigma_max": 2.0, "rho": 7.0, "warp": 1}}
    for name, description in (
        ("old", None),
        ("other", other),
        ("strange", strange),
        ("wider", described(UNET.clone(channels=(16,)))),
    ):
        saved(tmp_path / name, description)
    saved(tmp_path / "several/emoji", described())
    opened = pipelines.open_run(run[0])
    refusals.refusals(
        (lambda: pipelines.open_run(tmp_path / "none"), "is no run folder", ConfigError),
        (lambda: pipelines.open_run(tmp_path / "several"), "holds no checkpoint; there are some in .*emoji", DataError),
        (lambda: pipelines.open_run(run[0], seed=4), "seed = 4 was not trained in .*: there are 0", ConfigError),
        (lambda: pipelines.open_run(run[0], ema=0.5), "0.5 was not tracked in .*: there are 0.9, 0.99", ConfigError),
        (lambda: pipelines.open_run(old), "does not say which network.*train it anew with another --out", DataError),
        (
            lambda: pipelines.open_run(tmp_path / "other"),
            "the network Mamba, which this version",
            CheckpointMismatchError,
        ),
        (lambda: pipelines.open_run(tmp_path / "strange"), "edm with warp", CheckpointMismatchError),
        (lambda: pipelines.open_run(tmp_path / "wider"), "does not fit", CheckpointMismatchError),
        (lambda: opened.denoiser("cow"), "label = 'cow': the classes are cat, dog, sun"),
        *(
            (lambda label=label: opened.denoiser(label), "label = .*: the classes are")
            for label in (3, True, np.array(12), np.array(1.5), np.array([0, -7]))
        ),
        (lambda: opened.denoiser(jnp.array([0, 12])), "label = .*: the classes are"),
    )()


@pytest.mark.fault("flipped byte in a checkpoint")
def test_a_changed_description_is_refused(tmp_path):
    saved(tmp_path, described())
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file() and b'"temperature"' in path.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"1.05", b"1.25"))
    with pytest.raises(CheckpointCorruptError):
        pipelines.open_run(tmp_path)
