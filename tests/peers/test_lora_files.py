"""LoRA files by diffusers' own functions: which layer a name of kohya means, and that peft adds to a U-Net what we
add.
"""

import jax
import numpy as np
import pytest
import safetensors.numpy

from gendiff import networks, weights
from gendiff.commands.chat import models
from gendiff.core import trees
from gendiff.networks import lora
from gendiff.pipelines.stable_diffusion import model_parts, part_readers
from gendiff.weights import language_models, lora_files, lora_layers, original_names
from gendiff.weights.lora.lora_layers import Adaptable
from tests.networks.rig import drawn_of
from tests.peers import test_joint_transformers
from tests.peers.test_joint_transformers import MODELS, SD3
from tests.peers.test_language_models import built, logits, opened
from tests.peers.test_text_unets import SMALL, UNET, XL, inputs
from tests.peers.test_weights import random_model
from tests.pipelines.stable_diffusion import tiny_folders
from tests.weights.diffusers import tiny_joint_transformers as joint
from tests.weights.diffusers.tiny_text_unets import network_inputs, shapes
from tests.weights.lora.lora_arrays import factors, in_file, of_kohya, of_peft
from tests.weights.transformers import tiny_language_models

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4


def layers(model):
    """Shape of the weight of each layer that a LoRA may change."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return {name: tuple(module.weight.shape) for name, module in model.named_modules() if isinstance(module, kinds)}


def adaptable(model, settings):
    network = networks.UNet(precision="highest", **weights.diffusers_text_unet.network_fields(dict(model.config)))
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    given_here = network_inputs(**inputs(settings))
    params = weights.diffusers_text_unet.params(dict(model.config), arrays, shapes(network, *given_here))
    return network, given_here, params, {"unet": lora_layers.unet(dict(model.config), params)}


@pytest.mark.parametrize("settings", [SMALL, XL], ids=["of Stable Diffusion 1", "of XL"])
def test_every_layer_is_known_and_its_change_merged_there_gives_the_outputs_that_it_gives_here(settings):
    model = random_model(UNET(**settings))
    network, given_here, params, models = adaptable(model, settings)
    changes = factors(layers(model))
    assert set(lora_layers.by_name(models["unet"])) == set(changes)
    changes = {layer: (0.2 * down, up * np.float32(up.shape[0] ** -0.5)) for layer, (down, up) in changes.items()}
    tree = lora_files.from_arrays(of_kohya(changes, alpha=1), models)["unet"]
    here = jax.jit(lambda params, tree: networks.pure(network)(lora.unmerged(params, tree, 0.8), *given_here))(
        params, tree
    )
    with torch.no_grad():
        for name, module in model.named_modules():
            if name in changes:
                down, up = (torch.from_numpy(part) for part in changes[name])
                module.weight += 0.8 / 2 * (up.flatten(1) @ down.flatten(1)).reshape(module.weight.shape)
        tensors = {name: torch.from_numpy(array) for name, array in inputs(settings).items()}
        added = {"text_embeds": tensors["pooled"], "time_ids": tensors["size"]} if "pooled" in tensors else None
        there = model(tensors["x"].permute(0, 3, 1, 2), tensors["t"], tensors["tokens"], added_cond_kwargs=added).sample
    there = there.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(here, there, rtol=SAME, atol=SAME * there.std())


def test_a_name_of_kohya_means_the_layer_that_diffusers_takes_it_for():
    from diffusers.loaders import lora_conversion_utils
    from diffusers.utils import state_dict_utils

    changes = factors({name: shape for name, shape in layers(UNET(**SMALL)).items() if "time_emb_proj" not in name})
    stored = {name: torch.from_numpy(np.array(array)) for name, array in of_kohya(changes, alpha=2).items()}
    theirs, _ = lora_conversion_utils._convert_non_diffusers_lora_to_diffusers(stored)
    named = state_dict_utils.convert_unet_state_dict_to_peft(
        {name.removeprefix("unet."): value for name, value in theirs.items()}
    )
    expected = of_peft(changes, "")
    assert set(named) == set(expected) and all(np.array_equal(named[name].numpy(), expected[name]) for name in named)


def test_a_file_of_ours_is_loaded_by_diffusers_and_gives_the_same_outputs(tmp_path):
    pytest.importorskip("peft", reason="diffusers loads LoRA files by peft")
    model = random_model(UNET(**SMALL))
    network, given_here, params, models = adaptable(model, SMALL)
    tree = lora.start(
        jax.random.key(0), params, 2, r"attention/block_\d+/(qkv|output|cross_\w+)/kernel$|resize/convolution/kernel$"
    )
    rng = np.random.default_rng(0)
    tree = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), tree)
    lora_files.save(tmp_path / "ours.safetensors", {"unet": tree}, models)
    model.load_lora_adapter(str(tmp_path), weight_name="ours.safetensors", prefix="unet")
    tensors = {name: torch.from_numpy(array) for name, array in inputs(SMALL).items()}
    with torch.inference_mode():
        there = (
            model(tensors["x"].permute(0, 3, 1, 2), tensors["t"], tensors["tokens"]).sample.permute(0, 2, 3, 1).numpy()
        )
    here = jax.jit(lambda params, tree: networks.pure(network)(lora.merge(params, tree), *given_here))(params, tree)
    np.testing.assert_allclose(here, there, rtol=SAME, atol=SAME * there.std())


@pytest.mark.parametrize("pattern", [{"to_[qk]": 9}, {".*attn1.*": 9, "to_q": 1}, {r"^down_blocks\..*|proj_in": 9}])
def test_an_adapter_that_peft_saved_changes_each_layer_by_the_alpha_of_its_pattern(tmp_path, pattern):
    peft = pytest.importorskip("peft", reason="it writes the adapter")
    config = peft.LoraConfig(
        r=2,
        lora_alpha=3,
        alpha_pattern=pattern,
        rank_pattern={"to_v": 4},
        target_modules=["to_q", "to_k", "to_v", "proj_in", "conv1"],
    )
    adapter = peft.get_peft_model(random_model(UNET(**SMALL)), config)
    rng = np.random.default_rng(0)
    for name, parameter in adapter.named_parameters():
        if "lora_" in name:
            parameter.data = torch.from_numpy(0.3 * rng.normal(size=tuple(parameter.shape)).astype(np.float32))
    adapter.save_pretrained(str(tmp_path))
    model = random_model(UNET(**SMALL))
    _, _, params, models = adaptable(model, SMALL)
    tree = lora_files.load(tmp_path, models)["unet"]
    plain = trees.paths(params)
    merged = peft.PeftModel.from_pretrained(model, str(tmp_path)).merge_and_unload()
    there = trees.paths(adaptable(merged, SMALL)[2])
    here = trees.paths(lora.merge(params, tree))
    assert sum(not np.array_equal(there[path], plain[path]) for path in plain) > 20
    for path, leaf in here.items():
        np.testing.assert_allclose(leaf, there[path], rtol=1e-5, atol=1e-5, err_msg=path)


# Transformers of two streams.

TRANSFORMERS = {name: MODELS[name] for name in ("of FLUX.1 [dev]", "of Stable Diffusion 3.5 medium")}
PUBLISHED_FLUX = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}


def adaptable_transformer(model, like):
    config = {"_class_name": type(model).__name__, **model.config}
    module = joint.module_of(config)
    unused = module.params.unused(config)
    names = original_names.BY_CLASS[config["_class_name"]]
    return {"transformer": Adaptable(module.rules(config), like, originals=names, unused=unused)}


@pytest.mark.parametrize(("build", "settings"), TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_two_adapters_of_a_transformer_give_the_outputs_that_they_give_there(tmp_path, build, settings):
    pytest.importorskip("peft", reason="diffusers loads LoRA files by peft")
    model = random_model(build(**settings))
    network, given_here, params = test_joint_transformers.converted(model)
    models = adaptable_transformer(model, params)
    plain, shapes_there = test_joint_transformers.answer(model), layers(model)
    assert set(lora_layers.by_name(models["transformer"])) == set(shapes_there)
    for number, strength in enumerate((0.8, -0.5)):
        changes = {
            layer: (0.2 * down, up * np.float32(up.shape[0] ** -0.5))
            for layer, (down, up) in factors(shapes_there, rank=2 + number).items()
        }
        file = tmp_path / f"{number}.safetensors"
        safetensors.numpy.save_file(of_peft(changes, "transformer."), file)
        model.load_lora_adapter(str(tmp_path), weight_name=file.name, prefix="transformer", adapter_name=f"a{number}")
        params = lora.merge(params, lora_files.load(file, models)["transformer"], strength)
    model.set_adapters(["a0", "a1"], [0.8, -0.5])
    there = test_joint_transformers.answer(model)
    assert np.abs(there - plain).max() > 0.1 * there.std()
    here = jax.jit(networks.pure(network))(params, *given_here)
    np.testing.assert_allclose(here, there, rtol=SAME, atol=SAME * there.std())


def effects(arrays):
    """Of each layer on one vector, by its name in diffusers: what its two factors do to it."""
    result = {}
    for name in sorted(arrays):
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            down, up = (np.asarray(arrays[f"{layer}.lora_{part}.weight"], np.float32) for part in "AB")
            vector = np.random.default_rng(3).normal(size=down[0].size)
            moved = up.reshape(len(up), -1) @ (down.reshape(len(down), -1) @ vector)
            result[layer.removeprefix("transformer.")] = moved
    return result


def assert_same_effects(here, there):
    assert here.keys() == there.keys() and len(here) > 10
    for layer, effect in there.items():
        np.testing.assert_allclose(here[layer], effect, rtol=1e-4, atol=1e-4, err_msg=layer)


def in_comfy(changes, alpha=None):
    return in_file(changes, "diffusion_model.", ".lora_down.weight", ".lora_up.weight", alpha=alpha)


@pytest.mark.parametrize("written", [of_kohya, in_comfy])
def test_names_of_flux_mean_the_layers_that_diffusers_takes_them_for(written):
    """At the published width, which diffusers has in its code; no weight of that size is ever there."""
    from diffusers.loaders import lora_conversion_utils

    with torch.device("meta"):
        model = diffusers.FluxTransformer2DModel(**PUBLISHED_FLUX)
    config = {"_class_name": type(model).__name__, **model.config}
    network = networks.DiT(**weights.diffusers_flux.network_fields(config))
    models = adaptable_transformer(model, joint.shapes(network, *joint.example(config)))
    targets = lora_layers.targets(models["transformer"])
    xlabs = ("qkv_lora1", "qkv_lora2", "proj_lora1", "proj_lora2", "single_blocks.0.qkv", "single_blocks.0.proj")
    names = [
        name
        for name in original_names.rows(original_names.FLUX, lora_layers.by_name(models["transformer"]))
        if not name.endswith(xlabs)
    ]
    changes = factors({name: targets[name].shape for name in names})
    # diffusers leaves out α in front of the final layer
    arrays = {
        **written({name: change for name, change in changes.items() if "final" not in name}, alpha=3),
        **written({name: change for name, change in changes.items() if "final" in name}),
    }
    theirs = lora_conversion_utils._convert_kohya_flux_lora_to_diffusers(
        {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    )
    ours = lora_files.to_arrays(lora_files.from_arrays(arrays, models), models)
    assert_same_effects(effects(ours), effects({name: value.numpy() for name, value in theirs.items()}))


def test_names_of_stable_diffusion_3_mean_the_layers_that_diffusers_takes_them_for():
    """By the weights of the authors: diffusers has no such files of LoRA, and reads their single files."""
    from diffusers.loaders import single_file_utils

    model = random_model(SD3(**TRANSFORMERS["of Stable Diffusion 3.5 medium"][1]))
    models = adaptable_transformer(model, test_joint_transformers.converted(model)[2])
    targets = lora_layers.targets(models["transformer"])
    names = original_names.rows(original_names.SD3, lora_layers.by_name(models["transformer"]))
    changes = factors({name: targets[name].shape for name in names} | {"context_embedder": (32, 12)})
    single = {"pos_embed": torch.zeros(1)}
    for name, (down, up) in changes.items():
        product = up.reshape(len(up), -1) @ down.reshape(len(down), -1)
        single[f"{name}.weight"] = torch.from_numpy(product.reshape(len(up), *down.shape[1:]))
        single[f"{name}.bias"] = torch.zeros(len(up))
    theirs = single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(single)
    ours = lora_files.to_arrays(lora_files.from_arrays(of_kohya(changes), models), models)
    assert len(ours) > 60
    left_out = models["transformer"].unused
    for name, value in theirs.items():
        if value.ndim > 1 and name not in left_out:
            layer = name.removesuffix(".weight")
            down, up = (ours[f"transformer.{layer}.lora_{part}.weight"] for part in "AB")
            product = (up.reshape(len(up), -1) @ down.reshape(len(down), -1)).reshape(value.shape)
            np.testing.assert_allclose(product, value.numpy(), rtol=1e-4, atol=1e-4, err_msg=name)


def of_folder(config, folder):
    """(a transformer that a file may change, how it is read), by its config.json."""
    kind = config["_class_name"]
    reader = part_readers.READERS[kind]
    network = reader.network(config, {}, {})
    like = model_parts.Part("transformer", folder, config, network, {}, reader).shapes()
    return Adaptable(reader.params.rules(config), like, originals=original_names.BY_CLASS.get(kind, {})), reader


@pytest.mark.parametrize("config", [tiny_folders.Z_IMAGE, tiny_folders.FLUX_2], ids=["Z-Image", "FLUX.2"])
def test_an_adapter_of_other_transformers_is_merged_into_the_parameters_that_it_is_merged_into_there(tmp_path, config):
    pytest.importorskip("peft", reason="diffusers loads LoRA files by peft")
    kind, settings = config["_class_name"], {name: value for name, value in config.items() if name[0] != "_"}
    model, (adapted, reader) = random_model(getattr(diffusers, kind)(**settings)), of_folder(config, tmp_path)

    def params():
        return reader.params(config, {name: value.numpy() for name, value in model.state_dict().items()}, adapted.like)

    before, models = params(), {"transformer": adapted}
    assert set(lora_layers.by_name(models["transformer"])) == set(layers(model))
    safetensors.numpy.save_file(of_peft(factors(layers(model)), "transformer."), tmp_path / "style.safetensors")
    model.load_lora_adapter(str(tmp_path), weight_name="style.safetensors", prefix="transformer")
    model.fuse_lora(lora_scale=0.8)
    model.unload_lora()
    here = lora.merge(before, lora_files.load(tmp_path / "style.safetensors", models)["transformer"], 0.8)
    here, there = trees.paths(here), trees.paths(params())
    assert sum(not np.array_equal(there[path], leaf) for path, leaf in trees.paths(before).items()) > 10
    for path, leaf in here.items():
        np.testing.assert_allclose(leaf, there[path], rtol=1e-5, atol=1e-5, err_msg=path)


CONVERTERS = {
    "Z-Image": (tiny_folders.Z_IMAGE, "attention", "_convert_non_diffusers_z_image_lora_to_diffusers"),
    "FLUX.2": (tiny_folders.FLUX_2, "blocks", "_convert_kohya_flux2_lora_to_diffusers"),
}


@pytest.mark.parametrize(("config", "part", "convert"), CONVERTERS.values(), ids=CONVERTERS)
def test_names_of_other_transformers_mean_the_layers_that_diffusers_takes_them_for(tmp_path, config, part, convert):
    from diffusers.loaders import lora_conversion_utils

    models = {"transformer": of_folder(config, tmp_path)[0]}
    targets = lora_layers.targets(models["transformer"])
    rows = original_names.rows(models["transformer"].originals, lora_layers.by_name(models["transformer"]))
    arrays = of_kohya(factors({name: targets[name].shape for name in rows if part in name}), alpha=3)
    stored = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    theirs = getattr(lora_conversion_utils, convert)(stored)
    ours = lora_files.to_arrays(lora_files.from_arrays(arrays, models), models)
    assert_same_effects(effects(ours), effects({name: value.numpy() for name, value in theirs.items()}))


# Language models.


@pytest.mark.parametrize("name", ["Llama 3", "Qwen 2", "Qwen 3"])
def test_an_adapter_of_a_language_model_gives_the_logits_there_that_it_gives_here(tmp_path, name):
    peft = pytest.importorskip("peft", reason="it loads the adapter")
    config = tiny_language_models.CONFIGS[name]
    network, like = built(config)
    params, ids = tiny_language_models.random_params(like), tiny_language_models.TOKENS
    language_models.save(tmp_path / "base", params, config)
    fields = {field: getattr(network, field) for field in models.ADAPTED}
    adapted = lora_layers.language_model(fields, params)
    shapes_of_tree = jax.eval_shape(lambda key: lora.start(key, like, 2, r"block_\d+/.*kernel$"), jax.random.key(0))
    tree = drawn_of(shapes_of_tree)
    (tmp_path / "adapter").mkdir()
    lora_files.save_adapter(tmp_path / "adapter", tree, adapted, str(tmp_path / "base"))
    model = peft.PeftModel.from_pretrained(opened(tmp_path / "base"), str(tmp_path / "adapter")).eval()
    with torch.inference_mode():
        there = model(torch.tensor(ids).long()).logits.numpy()
    here = logits(network, lora.unmerged(params, tree), ids)
    print(f"differ by at most {np.abs(here - there).max():.2g}")
    np.testing.assert_allclose(here, there, rtol=0, atol=SAME)
    assert np.abs(logits(network, params, ids) - here).max() > 100 * SAME
    model.save_pretrained(str(tmp_path / "theirs"))
    again = lora_files.load_adapter(tmp_path / "theirs", adapted)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, tree))
