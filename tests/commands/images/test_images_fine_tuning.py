"""`run images --model DIR --lora RANK` on a tiny folder: it learns a change from captions, resumes, and leaves a file
that draws.
"""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.commands.images import folder_params
from gendiff.commands.train import EXPERIMENT
from gendiff.commands.train.config import Config
from gendiff.commands.train.fine_tuning import captioned_pictures, jobs, options, train
from gendiff.core import trees
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.low_rank import LowRank
from gendiff.pipelines.stable_diffusion import adapters, open_model
from gendiff.runs import devices, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import lora_files
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [text]")

QUIET = Progress(quiet=True)
NUMBERS = ("--lora", "2", "--size", "16", "--steps", "6", "--batch", "4", "--checkpoint-every", "3", "--log-every", "1")
FAST = ("--sampling-steps", "2", "--together", "4", "--ema", "0.5", "--learning-rate", "0.01")


def photographs(folder, count=12):
    """Red cats and blue dogs of a few colours, each with its caption beside it."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        colour = (200, 20, 20) if number % 2 else (20, 20, 200)
        pixels = np.clip(rng.normal(colour, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a red cat" if number % 2 else "a dog")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_folders.Folders(tmp_path_factory.mktemp("models"))


@pytest.fixture
def model(models):
    return models["stable"]


def config(photos, folder, **changes):
    settings = {
        "data": (str(photos),),
        "model": str(folder),
        "lora": 2,
        "size": 16,
        "steps": 6,
        "batch": 4,
        "together": 4,
        "sampling_steps": 2,
    }
    return Config(**settings | changes)


def run(*words):
    return command_line.main(tuple(map(str, words)), catalogue.EXPERIMENTS)


# Without a training.


def test_a_job_has_the_change_of_attention_alone_and_the_numbers_that_follow_from_the_pictures(photos, model):
    job = jobs.prepared(config(photos, model, steps=None, batch=None), None, QUIET)
    change = trees.paths(jax.eval_shape(job.init, jax.random.key(0)), is_leaf=lambda leaf: isinstance(leaf, LowRank))
    layers = ("qkv", "output", "cross_query", "cross_key_value", "cross_output")
    places = ("down_0_0_attention", "middle_attention", "up_0_0_attention", "up_0_1_attention")
    assert set(change) == {f"{path}/block_0/{layer}/kernel" for path in places for layer in layers}
    assert (job.facts.training, job.facts.held_out, job.facts.size) == (10, 2, 16)
    assert (job.facts.numbers.steps, job.facts.numbers.batch, job.facts.numbers.learning_rate) == (400, 4, 1e-4)
    assert set(job.training.captions) == {"a red cat", "a dog"} and job.training.pictures([0, 1]).shape == (
        2,
        16,
        16,
        3,
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(job.init, jax.random.key(0)))
    assert all(
        name.startswith("unet.") for name in lora_files.to_arrays({"unet": zeros}, adapters.adaptable(job.model))
    )


BOTH_STREAMS = {"qkv", "output", "stream_1_qkv", "stream_1_output"}
LEARNED = {
    "flux": {"block_0": BOTH_STREAMS, "single_block_0": {"qkv", "output"}},
    "sd3": {"block_0": BOTH_STREAMS, "block_1": {"qkv", "output", "stream_1_key_value"}},
    "flux_2": {"block_0": BOTH_STREAMS} | dict.fromkeys(("single_block_0", "single_block_1"), {"qkv_mlp", "output"}),
    "z_image": dict.fromkeys(("image_block_0", "text_block_0", "block_0", "block_1"), {"qkv", "output"}),
}


@table("name", LEARNED)
def test_a_transformer_learns_the_attention_of_both_streams(photos, tmp_path, name):
    job = jobs.prepared(config(photos, tiny_folders.write(tmp_path, name)), None, QUIET)
    change = jax.eval_shape(job.init, jax.random.key(0))
    assert {block: set(layers) for block, layers in change.items()} == LEARNED[name]
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), change)
    arrays = lora_files.to_arrays({"transformer": zeros}, adapters.adaptable(job.model))
    assert all(key.startswith("transformer.") for key in arrays) and any(".to_k.lora_A" in key for key in arrays)


WORDS = {
    "stable": {"tokens": (9, 8)},
    "flux": {"tokens": (12, 12), "pooled": (8,)},
    "z_image": {"tokens": (12, 12), "mask": (12,)},
}
"""Shapes of an encoded caption."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("stable", 20), ("flux", 6), ("z_image", 8)])
def test_the_loss_has_a_gradient_of_every_second_factor(photos, models, name, number):
    job = jobs.prepared(config(photos, models[name]), None, QUIET)
    params = folder_params.for_pipeline(job.model, QUIET)["network"]
    rng = np.random.default_rng(0)

    def words(count):
        arrays = {word: rng.normal(size=(count, *shape)).astype(np.float32) for word, shape in WORDS[name].items()}
        return {word: array > -1 if word == "mask" else array for word, array in arrays.items()}

    batch = {
        "mean": rng.normal(size=(4, 8, 8, 4)).astype(np.float32),
        "std": np.full((4, 8, 8, 4), 0.1, np.float32),
        **words(4),
    }
    empty = train.text(**words(1))
    loss, change = train.loss(job), quickly(job.init)(jax.random.key(0))
    slopes = quickly(jax.grad(lambda change: loss(change, jax.random.key(1), batch, params, empty)[0]))(change)
    ups = {path: np.abs(leaf).max() for path, leaf in trees.paths(slopes).items() if path.endswith("up")}
    assert len(ups) == number and all(size > 0 for size in ups.values())


def test_the_parameters_of_the_model_are_no_constants_of_the_step():
    shapes = []

    class Step:
        def __call__(self, *arguments):
            shapes.append(arguments)

        lower = __call__

    step = training_loop.WithFrozen(Step(), ("params", "empty"))
    step("state", "batch")
    step.lower("state", "batch")
    assert shapes == [("state", "batch", "params", "empty")] * 2


def test_a_run_goes_on_with_the_same_pictures_captions_and_model_only(model, tmp_path):
    path, folder = photographs(tmp_path / "photos"), RunFolder(tmp_path / "run")
    folder.path.mkdir()
    first = jobs.prepared(config(path, model), folder, QUIET)
    assert jobs.prepared(config(path, model), folder, QUIET).facts == first.facts
    (path / "1.txt").write_text("a red dog")
    with pytest.raises(DataError, match="the pictures or captions changed since this run began"):
        jobs.prepared(config(path, model), folder, QUIET)


def checked(**changes):
    return lambda: EXPERIMENT.check(Config(**{"data": ("photos",), "model": "model", "lora": 4} | changes))


test_options_that_do_not_belong_together_are_refused = refusals(
    (checked(lora=None), "--model DIR and --lora RANK go together", ConfigError),
    (checked(model=None), "--model DIR and --lora RANK go together", ConfigError),
    (checked(data=("emoji", "textures")), "give their folder by --data FOLDER", ConfigError),
    (checked(data=("a", "b")), "--data a b: --model learns from one folder", ConfigError),
    (checked(data=("emoji",)), "--data emoji has no captions", ConfigError),
    (checked(flip=True), "--flip has no meaning with --model", ConfigError),
    (checked(network="unet-base"), "--network has no meaning with --model", ConfigError),
    (checked(sampler="ddim"), "--sampler has no meaning with --model", ConfigError),
    (
        lambda: options.numbers(Config(data=("a",), batch=9), 8, 1),
        "--batch 9 is more than the 8 training pictures",
        ConfigError,
    ),
    (
        lambda: options.numbers(Config(data=("a",), batch=3), 8, 2),
        "--batch 3 is no multiple of the 2 devices",
        ConfigError,
    ),
)


@table(
    ("changes", "message", "error"),
    [
        ({"size": 18}, "--size 18 must be a multiple of 4, as 16 is", ConfigError),
        ({"lora": 4}, "--lora 4: rank = 4 does not fit", ConfigError),
        ({"held_out": 0.01}, "leaves 12 to learn from and 0 held out", DataError),
        ({"model": "nowhere"}, "model_index.json: no such file", DataError),
    ],
)
def test_what_does_not_fit_model_or_pictures_is_refused(photos, model, changes, message, error):
    with pytest.raises(error, match=message):
        jobs.prepared(config(photos, model, **changes), None, QUIET)


@table("kind", ["dit", "inpaint", "xl"])
def test_other_models_are_refused_by_their_kind(photos, tmp_path, kind):
    folder = tiny_folders.write(tmp_path, kind)
    with pytest.raises(ConfigError, match="--lora trains Stable Diffusion 1, 2 and 3, FLUX and Z-Image"):
        jobs.prepared(config(photos, folder), None, QUIET)


def test_few_pictures_and_pictures_without_captions_are_refused(model, tmp_path):
    few = photographs(tmp_path / "few", 4)
    with pytest.raises(DataError, match="4 pictures are too few: at least 5 are needed"):
        captioned_pictures.opened(config(few, model), 16, QUIET)
    (few / "notes.txt").touch()
    with pytest.raises(DataError, match="notes.txt: unknown suffix"):
        captioned_pictures.opened(config(few, model), 16, QUIET)
    (few / "notes.txt").unlink()
    (few / "0.txt").unlink()
    with pytest.raises(DataError, match="1 of 4 pictures have no caption"):
        captioned_pictures.opened(config(few, model), 16, QUIET)


# A training.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stable", "flux", "flux_2", "z_image"])
def test_a_run_learns_resumes_bitwise_judges_and_leaves_a_file_that_text_to_image_draws_with(
    photos, models, tmp_path, capsys, monkeypatch, name
):
    model = models[name]
    monkeypatch.setattr(devices, "jit", lambda draw, libraries=True, **options: quickly(draw, **options))
    words = ("run", "images", "--data", photos, "--model", model, *NUMBERS, *FAST)
    full, halves = tmp_path / "whole", tmp_path / "halves"
    assert run(*words, "--out", full) == 0
    outcome = json.loads((full / "results.json").read_text())
    assert outcome["verdict"] == "NONE" and {"captions.png", "loss.png"} <= {path.name for path in full.iterdir()}
    errors, learned = outcome["tables"][:2]
    assert [row[0] for row in errors["rows"]] == [
        "the model as it was",
        "seed 0, with the change",
        "seed 0, with the change, captions of other pictures",
    ]
    assert ["rank", 2] in learned["rows"] and ["pictures to learn from", 10] in learned["rows"]

    job, opened = jobs.prepared(config(photos, model, ema=0.5), None, QUIET), open_model(model)
    tree = lora_files.load(jobs.learned_file(RunFolder(full), 0), adapters.adaptable(opened))[opened.network_name]
    settings = train.averaged(job, RunFolder(full), 0)
    for path, leaf in trees.paths(settings).items():
        np.testing.assert_array_equal(trees.paths(tree)[path], leaf)
    ups = [np.abs(leaf).max() for path, leaf in trees.paths(settings).items() if path.endswith("up")]
    assert min(ups) > 0

    shutil.copytree(full, halves)
    for file in ("results.json", "report.html", "lora_seed_0.safetensors"):
        (halves / file).unlink()
    last = [entry for entry in (halves / "checkpoints" / "seed_0").iterdir() if entry.name.endswith("6")]
    assert len(last) == 1
    shutil.rmtree(last[0])
    assert run(*words, "--out", halves) == 0
    first, second = ((entry / "lora_seed_0.safetensors").read_bytes() for entry in (full, halves))
    assert first == second

    images = (
        "text-to-image",
        "--model",
        model,
        "--prompt",
        "a red cat",
        "--steps",
        "2",
        "--height",
        "16",
        "--width",
        "16",
        "--num",
        "1",
    )
    pictures = []
    for name, more in (("plain", ()), ("changed", ("--lora", f"{full / 'lora_seed_0.safetensors'}:8"))):
        out = tmp_path / f"{name}.png"
        assert run(*images, *more, "--compile-cache", "none", "--out", out) == 0
        with Image.open(out) as picture:
            pictures.append(np.asarray(picture.convert("RGB"), np.int32))
    assert np.abs(pictures[0] - pictures[1]).max() > 0
    assert run("sample", full) != 0 and "--lora" in "".join(capsys.readouterr())
