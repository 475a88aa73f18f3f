"""Folders of diffusers are opened strictly: every array in its place, every setting followed, and one error for
whatever is wrong.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff import networks
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import arranged, open_model, opened, save
from gendiff.weights import packed_reading, quantised, rules
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.refused_folder import nothing_loaded
from tests.pipelines.stable_diffusion.tiny_folders import FOLDERS, RULES, arrays_of, kind_of
from tests.tables import table
from tests.weights import rig

pytest.importorskip("tokenizers", reason="needs the extra [text]")

STEM = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_folders.Folders(tmp_path_factory.mktemp("folders"))


@pytest.mark.parametrize("name", tiny_folders.CHOSEN)
def test_every_array_of_a_folder_is_used_once_and_returns_under_its_name(folders, name):
    model = open_model(folders[name])
    for part in model.parts:
        config, unused = FOLDERS[name][2][part], model.parts[part].reader.params.unused(model.parts[part].config)
        stored = {key: array for key, array in arrays_of(name, part).items() if key not in unused}
        theirs = rules.to_theirs(model.part_params(part), RULES[kind_of(config)](config))
        assert rig.equal(dict(sorted(theirs.items())), dict(sorted(stored.items()))), part


@pytest.mark.slow
def test_words_without_padding_draw_the_same_picture_where_a_model_leaves_padding_out(folders):
    model = open_model(folders["z_image"])
    pipeline, params = model.pipeline(2, 8, 8), model.params()
    rows = [(model.prompt("a", padded=padded), model.negative("do", padded=padded)) for padded in (True, False)]
    assert [words.ids[0].shape[-1] for words, _ in rows] == [40, 32]
    full, cut = (jax.jit(pipeline)(params, jax.random.key(0), *words, 3.0, jnp.arange(1)) for words in rows)
    np.testing.assert_allclose(cut, full, atol=1e-5)
    assert open_model(folders["flux_2"]).prompt("a", padded=False).ids[0].shape[-1] == 48


def test_the_shift_of_flux_2_is_that_of_10_and_200_steps_and_for_large_pictures_that_of_200():
    few, many = 8.73809524e-05 * 1024 + 1.89833333, 0.00016927 * 1024 + 0.45666666
    for steps, expected in ((10, few), (200, many), (105, (few + many) / 2)):
        assert opened.empirical_log_shift(1024, steps) == pytest.approx(expected)
    assert opened.empirical_log_shift(5000, 4) == 0.00016927 * 5000 + 0.45666666


def test_opening_reads_no_array_not_even_one_that_a_file_holds_several_times(tmp_path):
    folder, config = tiny_folders.write(tmp_path, "dit"), tiny_folders.DIT | {"num_layers": 2}
    arrays = tiny_folders.arrays_by("dit", "transformer", config)
    tiny_folders.write_part(folder / "transformer", config, arrays)
    with nothing_loaded():
        model = open_model(folder)
    model.part_params("transformer")
    name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"
    tiny_folders.write_part(folder / "transformer", config, arrays | {name: arrays[name] + 1})
    with pytest.raises(CheckpointMismatchError, match=f"{name} differs from"):
        open_model(folder).part_params("transformer")


def test_the_folder_says_what_its_networks_are(folders):
    stable, xl, refiner = (open_model(folders[name]) for name in ("stable", "xl", "refiner"))
    assert stable.size == (16, 16) and stable.multiple == 4 and not stable.paints
    assert open_model(folders["inpaint"]).paints and stable.network.image_size is False
    assert xl.network.image_size is True and xl.network.pooled_channels == 6 and len(xl.tokenizers) == 2
    assert refiner.network.image_size == "score" and list(refiner.parts) == ["text_encoder_2", "unet", "vae"]
    last, before = stable.parts["text_encoder"].network, xl.parts["text_encoder"].network
    assert (last.skip_last, last.norm_tokens) == (0, True) and (before.skip_last, before.norm_tokens) == (1, False)
    dit = open_model(folders["dit"])
    assert dit.latent(2).learned_variance and dit.index.labels["other name of 3"] == 3 and not dit.tokenizers
    sd3, flux = open_model(folders["sd3"]), open_model(folders["flux"])
    assert sd3.size == (16, 16) and sd3.multiple == 4 and sd3.sides(24, 32) == (24, 32) and len(sd3.tokenizers) == 3
    assert [sd3.parts[name].network.skip_last for name in ("text_encoder", "text_encoder_2")] == [1, 1]
    assert (
        flux.size == (256, 256) and flux.multiple == 4 and not flux.paints and flux.parts["transformer"].channels == 4
    )
    assert [tokenizer.length for tokenizer in flux.tokenizers] == [9, 12] and flux.latent(
        2, 8, 12
    ).embedded_scale == 3.5


def test_parameters_have_the_dtype_that_is_asked_for_and_the_autoencoder_float32(folders):
    model = open_model(folders["stable"], dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(model.part_params("text_encoder"))} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(model.part_params("vae"))} == {jnp.dtype("float32")}
    assert model.network.dtype == "bfloat16" and model.autoencoder.dtype is None
    parts = {name: name for name in model.parts}
    assert arranged(parts) == {"text": {"text_encoder": "text_encoder"}, "network": "unet", "autoencoder": "vae"}
    again = open_model(folders["stable"], remat=True)
    assert again.network.remat is True and again.autoencoder.remat is True and again.network.dtype is None


@table("dtype", ["F16", "BF16"])
def test_weights_of_any_width_and_in_parts_are_read(tmp_path, dtype):
    kind = {"F16": np.float16, "BF16": jnp.bfloat16}[dtype]
    folder = tiny_folders.write(
        tmp_path, "stable", lambda part: {k: v.astype(kind) for k, v in arrays_of("stable", part).items()}
    )
    unet = folder / "unet"
    arrays = {name: array.astype(kind) for name, array in arrays_of("stable", "unet").items()}
    (unet / f"{STEM}.safetensors").unlink()
    places = {name: f"{STEM}.fp16-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(arrays)}
    for file in set(places.values()):
        safetensors.numpy.save_file(
            {name: arrays[name] for name, share in places.items() if share == file}, unet / file
        )
    (unet / f"{STEM}.safetensors.index.fp16.json").write_text(json.dumps({"weight_map": places}))
    read = open_model(folder).part_params("unet")
    expected = rules.to_theirs(read, RULES["UNet2DConditionModel"](tiny_folders.UNET))
    assert all(np.array_equal(expected[name], array.astype(np.float32)) for name, array in arrays.items())
    with pytest.raises(
        DataError, match="text_encoder: has no model of variant 'ema'; there are those without a variant"
    ):
        open_model(folder, variant="ema")


def test_old_settings_of_a_scheduler_are_replaced_as_the_pipeline_does_and_said(tmp_path):
    folder = tiny_folders.write(tmp_path, "stable")
    old = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "clip_sample": True} | {
        name: tiny_folders.SCHEDULER[name] for name in ("beta_start", "beta_end", "beta_schedule")
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(old))
    (folder / "model_index.json").write_text(
        json.dumps(tiny_folders.index("stable") | {"scheduler": ["diffusers", "PNDMScheduler"]})
    )
    model = open_model(folder)
    assert model.scheduler.configuration.fields["steps_offset"] == 1
    assert "scheduler: steps_offset is 1, as StableDiffusionPipeline takes it, and not 0" in model.notes
    assert "scheduler: PNDMScheduler does not read clip_sample" in model.notes


@table("name", ["xl", "dit", "flux", "sd3"])
def test_parameters_return_to_a_folder_that_holds_the_same(folders, tmp_path, name):
    model = open_model(folders[name])
    params = model.params()
    save(tmp_path / "again", model, params)
    again = open_model(tmp_path / "again")
    assert (
        rig.equal(params, again.params())
        and again.index.parts == model.index.parts
        and again.index.labels == model.index.labels
    )
    assert again.scheduler.configuration == model.scheduler.configuration
    with pytest.raises(DataError, match="again: holds a model: name another folder"):
        save(tmp_path / "again", model, params)
    with pytest.raises(CheckpointMismatchError, match="parameters are not those of its network, such as"):
        save(tmp_path / "other", model, params | {"network": {"input": {}}})
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("part", "storage"), [("text_encoder", "int8"), pytest.param("unet", "float8", marks=pytest.mark.slow)]
)
def test_kernels_are_kept_in_one_byte_for_each_number_and_their_loss_is_told(folders, part, storage):
    model, losses = open_model(folders["stable"], storage=storage), {}
    params = model.part_params(part, losses.__setitem__)
    assert losses.keys() == {path for path in trees.paths(model.parts[part].shapes()) if path.endswith("/kernel")}
    assert 0 < packed_reading.together(losses.values()).relative < {"int8": 0.01, "float8": 0.04}[storage]
    dense, exact = (
        trees.paths(tree) for tree in (quantised.dequantise(params), open_model(folders["stable"]).part_params(part))
    )
    for path, array in exact.items():
        bound = 0.0 if path not in losses else {"int8": 1 / 254, "float8": 1 / 16}[storage] * np.abs(array).max()
        assert np.abs(dense[path] - array).max() <= bound * (1 + 1e-4), path


def test_the_autoencoder_is_kept_whole_and_another_storage_is_refused(folders):
    model, losses = open_model(folders["stable"], storage="int8"), []
    model.part_params("vae", lambda path, _: losses.append(path))
    assert not losses
    with pytest.raises(ValueError, match="storage = 'int2'"):
        open_model(folders["stable"], storage="int2")


@pytest.mark.slow
@table("storage", ["int8", "float8"])
def test_a_network_in_one_byte_for_each_number_draws_nearly_the_same(folders, storage):
    """Of random parameters: the output is off by about as much as its kernels are."""
    model = open_model(folders["stable"])
    part, rng = model.parts["unet"], np.random.default_rng(0)
    text = networks.Text(rng.normal(size=(1, 3, model.network.text_channels)).astype(np.float32), np.ones((1, 3), bool))
    x = rng.normal(size=(1, 8, 8, 4)).astype(np.float32)
    storages = [part.params(storage=kind) for kind in ("full", storage)]
    exact, small = (
        np.asarray(jax.jit(networks.pure(part.network))(params, x, np.float32([500]), text)) for params in storages
    )
    off = np.sqrt(np.mean((small - exact) ** 2) / np.mean(exact**2))
    assert 0 < off < {"int8": 0.03, "float8": 0.12}[storage]


def test_a_network_is_built_with_the_settings_of_its_folder(folders):
    model = open_model(folders["stable"])
    assert (
        isinstance(model.network, networks.UNet) and model.network.channels == (4, 8) and model.autoencoder.scale == 0.5
    )
