"""LoRA files change every layer as they do there, whatever their names, and return as files of peft."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gendiff import networks, weights
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.core.low_rank import LowRank
from gendiff.weights import lora_files, lora_layers, lora_settings
from tests.networks.rig import drawn_of
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow
from tests.weights.diffusers.tiny_text_unets import NAMES, converted, written
from tests.weights.lora import lora_arrays
from tests.weights.lora.lora_arrays import RANK, factors, of_diffusers, of_kohya, of_peft
from tests.weights.transformers.tiny_language_models import CONFIGS

ONE = NAMES[0]
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
QUERY, VALUE = f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn1.to_v"
CONVOLUTION, PIXELS = "down_blocks.0.resnets.0.conv1", "mid_block.attentions.0.proj_in"


def chosen(*layers, rank=RANK, name=ONE):
    shapes = {
        layer: weight.shape for layer, weight in lora_arrays.weights(name).items() if not layers or layer in layers
    }
    return factors(shapes, rank)


def adaptable():
    return {"unet": lora_arrays.unet(ONE)}


def read(arrays, settings=None, models=None):
    return lora_files.from_arrays(arrays, adaptable() if models is None else models, settings)


# What a file changes.


@pytest.mark.parametrize("name", some_slow(NAMES, NAMES[1:]))
def test_a_file_of_kohya_changes_every_layer_as_it_does_there(name):
    arrays = written(name)[1]
    params, changes, weights = converted(name)[1], chosen(name=name), lora_arrays.weights(name)
    assert len(changes) > 40
    scale = 0.5 * 3 / RANK  # the strength, and α / r
    there = {f"{layer}.weight": lora_arrays.changed_there(weights[layer], *changes[layer], scale) for layer in changes}
    expected = lora_arrays.returned(
        lora_arrays.unet(name), {key: array.astype(np.float32) for key, array in arrays.items()} | there
    )
    models = {"unet": lora_arrays.unet(name)}
    for elsewhere in (lambda layer: layer, lora_arrays.in_single_file(name)):
        tree = read(of_kohya(changes, alpha=3, elsewhere=elsewhere), models=models)["unet"]
        here = lora_arrays.changed_here(params, tree, 0.5)
        for path, leaf in expected.items():
            np.testing.assert_allclose(here[path], leaf, rtol=1e-5, atol=1e-5, err_msg=path)
    assert (
        max(
            np.abs(expected[path] - np.asarray(leaf)).max()
            for path, leaf in lora_arrays.returned(models["unet"], arrays).items()
        )
        > 1
    )


def test_names_of_peft_and_of_diffusers_old_and_new_say_the_same():
    changes = chosen(
        QUERY,
        VALUE,
        CONVOLUTION,
        PIXELS,
        *(f"{BLOCK}.{layer}" for layer in ("attn2.to_k", "attn2.to_out.0", "ff.net.2")),
    )
    assert len(changes) == 7
    tree = read(of_kohya(changes))
    named = (of_peft(changes), of_diffusers(changes), of_diffusers(changes, ""), of_peft(changes, "base_model.model."))
    assert all(lora_arrays.same_tree(read(arrays), tree) for arrays in named)
    in_memory = {name.replace(".weight", ".default.weight"): array for name, array in of_peft(changes).items()}
    assert lora_arrays.same_tree(read(in_memory), tree)


def test_text_towers_change_too_by_every_name_that_they_had():
    models = {
        "text_encoder": lora_arrays.text_encoder(),
        "unet": lora_arrays.unet(ONE),
        "text_encoder_2": lora_arrays.text_encoder(),
    }
    layer = "text_model.encoder.layers.1"
    changes = factors(
        {f"{layer}.self_attn.q_proj": (8, 8), f"{layer}.self_attn.out_proj": (8, 8), f"{layer}.mlp.fc1": (16, 8)}
    )
    trees = read(of_kohya(changes, "lora_te_"), models=models)
    assert trees["unet"] == trees["text_encoder_2"] == {} and set(trees["text_encoder"]) == {"block_1"}
    assert trees["text_encoder"]["block_1"]["qkv"]["kernel"].up.shape == (RANK, 24)
    former = {
        name.replace("q_proj", "to_q").replace("out_proj", "to_out").replace(".lora_linear_layer", end): array
        for end, part in (("_lora", "self_attn"), (".lora_linear_layer", "mlp"))
        for name, array in lora_arrays.in_file(
            {key: value for key, value in changes.items() if part in key},
            "text_encoder.",
            ".lora_linear_layer.down.weight",
            ".lora_linear_layer.up.weight",
        ).items()
    }
    assert f"text_encoder.{layer}.self_attn.to_out_lora.up.weight" in former
    in_memory = {key.removeprefix("text_model."): value for key, value in changes.items()}
    for arrays in (
        of_kohya(changes, "lora_te1_"),
        of_peft(changes, "text_encoder."),
        of_peft(in_memory, "text_encoder."),
        former,
    ):
        assert lora_arrays.same_tree(read(arrays, models=models), trees)
    second = read(of_kohya(changes, "lora_te2_"), models=models)
    assert lora_arrays.same_tree(second["text_encoder_2"], trees["text_encoder"]) and second["text_encoder"] == {}


def test_queries_and_values_alone_leave_keys_as_they_are_and_return_alone():
    changes = chosen(QUERY, VALUE)
    tree = read(of_kohya(changes))
    change = tree["unet"]["down_0_0_attention"]["block_0"]["qkv"]["kernel"]
    assert change.down.shape == (4, 2 * RANK) and change.up.shape == (2 * RANK, 12)
    up = np.asarray(change.up)
    assert not up[:, 4:8].any() and not up[:RANK, 8:].any() and not up[RANK:, :4].any()
    assert set(lora_files.to_arrays(tree, adaptable())) == set(of_peft(changes))


def test_matrices_and_convolutions_of_single_pixels_are_the_same():
    down, up = chosen(PIXELS)[PIXELS]
    flat = {PIXELS: (down[:, :, 0, 0], up[:, :, 0, 0])}
    assert lora_arrays.same_tree(read(of_kohya(flat)), read(of_kohya({PIXELS: (down, up)})))
    first, second = chosen(QUERY)[QUERY]
    assert lora_arrays.same_tree(
        read(of_kohya({QUERY: (first[:, :, None, None], second[:, :, None, None])})),
        read(of_kohya({QUERY: (first, second)})),
    )


def test_16_bits_and_a_whole_number_as_alpha_are_read():
    changes = chosen(QUERY)
    half = {name: array.astype(jnp.bfloat16) for name, array in of_kohya(changes).items()}
    arrays = half | {f"lora_unet_{QUERY.replace('.', '_')}.alpha": np.array([4], np.int64)}
    change = read(arrays)["unet"]["down_0_0_attention"]["block_0"]["qkv"]["kernel"]
    assert change.up.dtype == jnp.float32
    np.testing.assert_array_equal(
        np.asarray(change.up)[:, :4], 2 * np.asarray(changes[QUERY][1].astype(jnp.bfloat16), np.float32).T
    )


# And back.


@pytest.mark.parametrize("name", some_slow(NAMES, NAMES[1:]))
def test_factors_return_under_the_names_of_peft_bit_for_bit(name):
    models, changes = {"unet": lora_arrays.unet(name)}, chosen(name=name)
    arrays = lora_files.to_arrays(read(of_kohya(changes, alpha=RANK), models=models), models)
    expected = of_peft(changes)
    assert set(arrays) == set(expected) and all(np.array_equal(arrays[key], expected[key]) for key in expected)


def test_a_tree_of_ours_shares_its_first_factor_there_and_comes_back_bit_for_bit():
    rng = np.random.default_rng(1)
    change = LowRank(rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(3, 12)).astype(np.float32))
    tree = {"unet": {"down_0_0_attention": {"block_0": {"qkv": {"kernel": change}}}}}
    arrays = lora_files.to_arrays(tree, adaptable())
    downs = [arrays[f"unet.{BLOCK}.attn1.{part}.lora_A.weight"] for part in ("to_q", "to_k", "to_v")]
    assert all(np.array_equal(down, change.down.T) for down in downs)
    assert lora_arrays.same_tree(read(arrays), tree)


def test_a_fresh_tree_which_changes_nothing_yet_has_all_its_layers_in_the_file():
    fresh = LowRank(np.ones((4, 3), np.float32), np.zeros((3, 12), np.float32))
    arrays = lora_files.to_arrays(
        {"unet": {"down_0_0_attention": {"block_0": {"qkv": {"kernel": fresh}}}}}, adaptable()
    )
    assert len(arrays) == 6 and all(array.shape in ((3, 4), (4, 3)) for array in arrays.values())


def test_a_file_is_written_once_and_read_back(tmp_path):
    tree, file = read(of_kohya(chosen(QUERY, CONVOLUTION))), tmp_path / "style.safetensors"
    lora_files.save(file, tree, adaptable())
    assert lora_arrays.same_tree(lora_files.load(file, adaptable()), tree) and [
        path.name for path in tmp_path.iterdir()
    ] == [file.name]
    for path, message in ((file, "is there already"), (tmp_path / "style.bin", "must be named .safetensors")):
        with pytest.raises(DataError, match=message):
            lora_files.save(path, tree, adaptable())
    with pytest.raises(CheckpointMismatchError, match="there is nothing to write: 1 trees without a change: unet"):
        lora_files.save(tmp_path / "none.safetensors", {"unet": {}}, adaptable())


# Settings beside the arrays.


def test_settings_of_a_header_that_are_no_object_are_refused_path_first(tmp_path):
    file = tmp_path / "style.safetensors"
    safetensors.numpy.save_file(of_peft(chosen(QUERY)), file, {lora_settings.HEADER: "7"})
    with pytest.raises(DataError, match="lora_adapter_metadata must be an object") as caught:
        lora_files.load(file, adaptable())
    assert str(caught.value).startswith(str(file))


def test_settings_in_the_header_of_a_file_and_in_the_folder_of_an_adapter_scale_the_change(tmp_path):
    changes = chosen(QUERY)
    plain, settings = (
        read(of_peft(changes)),
        {"r": RANK, "lora_alpha": 4, "target_modules": ["to_q"], "use_dora": False},
    )
    header = {
        "format": "pt",
        lora_settings.HEADER: json.dumps({f"unet.{name}": value for name, value in settings.items()}),
    }
    safetensors.numpy.save_file(of_peft(changes), tmp_path / "style.safetensors", header)
    folder = tmp_path / "adapter"
    folder.mkdir()
    safetensors.numpy.save_file(of_peft(changes, "base_model.model."), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "LORA", "bias": "none"}))
    for source in (tmp_path / "style.safetensors", folder):
        up = lora_files.load(source, adaptable())["unet"]["down_0_0_attention"]["block_0"]["qkv"]["kernel"].up
        np.testing.assert_array_equal(
            up, 2 * np.asarray(plain["unet"]["down_0_0_attention"]["block_0"]["qkv"]["kernel"].up)
        )
    (folder / "adapter_config.json").unlink()
    with pytest.raises(DataError, match=r"adapter_config\.json: no such file"):
        lora_files.load(folder, adaptable())


@table(
    "settings, factor",
    [
        ({}, 1.0),
        ({"lora_alpha": 1}, 1 / RANK),
        ({"lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 1}}, 1 / RANK),
        ({"lora_alpha": 1, "alpha_pattern": {f"^{QUERY}": 8, "attn1.to_k": 2}}, 8 / RANK),
        ({"lora_alpha": 3, "alpha_pattern": {"o_q": 8}}, 3 / RANK),
        ({"lora_alpha": 3, "use_rslora": True}, 3 / RANK**0.5),
        ({"lora_alpha": 3, "alpha_pattern": {"to_[qk]": 8}}, 8 / RANK),
        ({"lora_alpha": 3, "alpha_pattern": {".*attn1.*": 8}}, 8 / RANK),
        # the first that matches
        ({"lora_alpha": 3, "alpha_pattern": {"attn2.*": 1, r"attn\d\.to_(q|v)": 8, "to_q": 2}}, 8 / RANK),
        ({"lora_alpha": 3, "alpha_pattern": {"to_q": 2, "to_[qk]": 8}}, 2 / RANK),
        ({"lora_alpha": 3, "alpha_pattern": {"to_k|attn1.to_q": 8}}, 8 / RANK),
        # none is the end of the name
        ({"lora_alpha": 3, "alpha_pattern": {"attn1": 8, "to": 8, "_q": 8, "^attn1.to_q": 8}}, 3 / RANK),
    ],
)
def test_alpha_of_a_layer_is_that_of_its_pattern_or_of_all(settings, factor):
    changes = chosen(QUERY)
    up = read(of_peft(changes), settings)["unet"]["down_0_0_attention"]["block_0"]["qkv"]["kernel"].up
    np.testing.assert_allclose(np.asarray(up)[:, :4], factor * changes[QUERY][1].T, rtol=1e-6)


def test_alpha_of_a_text_tower_is_that_of_a_pattern_of_either_of_its_names():
    layer, models = "text_model.encoder.layers.1.mlp.fc1", {"text_encoder": lora_arrays.text_encoder()}
    changes = factors({layer: (16, 8)})
    plain = read(of_peft(changes, "text_encoder."), models=models)["text_encoder"]
    for name in (layer, layer.removeprefix("text_model.")):
        settings = {
            f"text_encoder.{key}": value for key, value in {"lora_alpha": 3, "alpha_pattern": {f"^{name}": 8}}.items()
        }
        tree = read(of_peft({name: changes[layer]}, "text_encoder."), settings, models)["text_encoder"]
        for path, change in trees.paths(tree, is_leaf=lambda leaf: isinstance(leaf, LowRank)).items():
            expected = trees.paths(plain, is_leaf=lambda leaf: isinstance(leaf, LowRank))[path]
            np.testing.assert_array_equal(change.up, 4 * np.asarray(expected.up))


# What does not fit.

DOWN, UP = (f"unet.{QUERY}.lora_{part}.weight" for part in "AB")
GOOD = of_peft(factors({QUERY: (4, 4)}))
ALPHA = f"unet.{QUERY}.alpha"


def refused(changes, settings=None, without=()):
    arrays = {name: array for name, array in (GOOD | changes).items() if name not in without}
    return lambda: read(arrays, settings)


def fails(words, changes, settings=None, without=(), error=CheckpointMismatchError):
    return refused(changes, settings, without), words, error


test_what_does_not_fit_is_refused_in_one_table = pytest.mark.fault(
    "weights: names missing or left over", "weights: factors of a LoRA with NaN"
)(
    refusals(
        fails("1 unknown: unet.conv_out.lora_C.weight", {"unet.conv_out.lora_C.weight": np.ones(1)}),
        fails("1 unknown: unet.extra.lora_A.weight", {"unet.extra.lora_A.weight": np.ones((2, 4))}),
        fails(
            r"dora_scale \(DoRA, which is not supported\)",
            {f"lora_unet_{QUERY.replace('.', '_')}.dora_scale": np.ones((4, 1))},
        ),
        fails(r"hada_w1_a \(LoHa, which is not supported\)", {"lora_unet_conv_in.hada_w1_a": np.ones((4, 2))}),
        fails(r"lora_B.bias \(the change of a bias, which", {f"unet.{QUERY}.lora_B.bias": np.ones(4)}),
        fails(
            r"\(text_encoder was not given\)",
            {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": np.ones((2, 4))},
        ),
        fails(f"1 missing: lora_up of {QUERY}", {}, without=(UP,)),
        fails(
            f"1 given twice: lora_down of {QUERY}",
            {f"lora_unet_{QUERY.replace('.', '_')}.lora_down.weight": GOOD[DOWN]},
        ),
        fails(r"lora_down of .* has shape \(2, 5\), and \(rank, 4\) is needed", {DOWN: np.ones((2, 5), np.float32)}),
        fails(
            r"lora_up of .* has shape \(4, 3\), and \(4, 2\) is needed: lora_down has rank 2",
            {UP: np.ones((4, 3), np.float32)},
        ),
        fails(r"has shape \(0, 4\)", {DOWN: np.ones((0, 4), np.float32), UP: np.ones((4, 0), np.float32)}),
        fails(r"has shape \(2, 4, 3, 3\)", {DOWN: np.ones((2, 4, 3, 3), np.float32)}),
        fails("lora_down of .* holds int8, and floating numbers are needed", {DOWN: GOOD[DOWN].astype(np.int8)}),
        *(
            fails("holds numbers that are not finite", {name: np.full_like(GOOD[name], value)})
            for name in (DOWN, UP)
            for value in (np.nan, np.inf)
        ),
        *(
            fails("one positive number is needed", {ALPHA: np.asarray(value, np.float32)})
            for value in (0, -1, np.nan, np.inf, [1, 2])
        ),
        fails("1 missing: every array", {}, without=tuple(GOOD)),
        fails(r"2 unknown: .*; 1 missing: ", {"a": np.ones(1), "b": np.ones(1)}, without=(UP,)),
        fails(
            "has its alpha in an array and in the settings",
            {ALPHA: np.ones((), np.float32)},
            {"lora_alpha": 1},
            error=ConfigError,
        ),
        fails("use_dora = True is not supported", {}, {"unet.use_dora": True}, error=ConfigError),
        fails("modules_to_save = .* is not supported", {}, {"modules_to_save": ["conv_in"]}, error=ConfigError),
        fails(
            "init_lora_weights = 'pissa' is not supported, only", {}, {"init_lora_weights": "pissa"}, error=ConfigError
        ),
        fails("peft_type = 'LOHA' is not supported", {}, {"peft_type": "LOHA"}, error=ConfigError),
        fails("lora_alpha = 0 .* must be a positive number", {}, {"lora_alpha": 0}, error=ConfigError),
        fails("beyond the largest number of float32", {}, {"lora_alpha": 1e308}, error=ConfigError),
        fails("alpha_pattern = 3 must give", {}, {"alpha_pattern": 3}, error=ConfigError),
        fails(
            r"alpha_pattern: 'to_\[q' is no regular expression", {}, {"alpha_pattern": {"to_[q": 1}}, error=ConfigError
        ),
        fails(r"'a\{9+\}' is no regular", {}, {"alpha_pattern": {"to_q": 1, "a{99999999999}": 1}}, error=ConfigError),
        fails(
            r"'\(\(.* is no regular expression", {}, {"alpha_pattern": {"(" * 500 + ")" * 500: 1}}, error=ConfigError
        ),
        fails("'aaa.* of 1001 characters .* at most 1000", {}, {"alpha_pattern": {"a" * 1001: 1}}, error=ConfigError),
        fails("lora_alpha = None .* positive number", {}, {"alpha_pattern": {"to_q": None}}, error=ConfigError),
        fails("alpha_pattern: .* takes more than 2 s", {}, {"alpha_pattern": {"(.+)+!": 1}}, error=ConfigError),
        (lambda: lora_settings.of_header({lora_settings.HEADER: "{"}), "lora_adapter_metadata: not JSON", DataError),
        (
            lambda: lora_settings.of_header({lora_settings.HEADER: "[]"}),
            "must be an object of settings, got list",
            ConfigError,
        ),
    )
)


def written_with(path, change, network="unet"):
    tree = change
    for name in reversed(path.split("/")):
        tree = {name: tree}
    return lambda: lora_files.to_arrays({network: tree}, adaptable())


CHANGE = LowRank(np.ones((4, 2), np.float32), np.ones((2, 12), np.float32))

test_a_tree_of_other_networks_is_not_written = pytest.mark.fault("weights: names missing or left over")(
    refusals(
        (
            written_with("down_9_0_attention/kernel", CHANGE),
            "1 unknown: unet/down_9_0_attention/kernel",
            CheckpointMismatchError,
        ),
        (written_with("input/kernel", np.ones(3)), "1 unknown: unet/input/kernel", CheckpointMismatchError),
        (written_with("qkv/kernel", CHANGE, "vae"), "1 unknown: vae", CheckpointMismatchError),
        (
            written_with("middle_attention/norm/scale", CHANGE),
            "1 no layers: unet/middle_attention/norm/scale",
            CheckpointMismatchError,
        ),
        (
            written_with("middle_attention/block_0/qkv/kernel", CHANGE),
            r"1 of another shape: .* of shape \(8, 24\): \(4, 2\) and \(2, 12\)",
            CheckpointMismatchError,
        ),
    )
)


# Adapters of language models.


def test_an_adapter_of_a_language_model_returns_as_it_was_from_the_folder_of_peft(tmp_path):
    config = CONFIGS["Qwen 2"]
    fields = weights.transformers_qwen.network_fields(config)
    like = jax.eval_shape(
        lambda: networks.init(networks.LanguageModel(**fields), jax.random.key(0), np.zeros((1, 2), np.int32))
    )
    model = lora_layers.language_model(fields, like)
    fresh = jax.eval_shape(lambda key: networks.lora.start(key, like, 3, "kernel$"), jax.random.key(0))
    tree = drawn_of(fresh)
    lora_files.save_adapter(tmp_path, tree, model, "base")
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["rank_pattern"]) == (3, 3, {})
    assert {layer.rsplit(".", 1)[-1] for layer in settings["target_modules"]} == {
        *(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down"))
    }
    assert "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight" in safetensors.numpy.load_file(
        tmp_path / "adapter_model.safetensors"
    )
    again = lora_files.load_adapter(tmp_path, model)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, tree))
