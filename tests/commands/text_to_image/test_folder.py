"""From a folder of diffusers to a picture with its settings, by the commands `text-to-image --model DIR` and
`inspect DIR`.
"""

import dataclasses

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line, inspect_folder
from gendiff.commands.text_to_image import drawing, folder
from gendiff.commands.text_to_image.options import CommandOptions
from gendiff.core import records
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.pipelines.stable_diffusion import Opened, open_model
from gendiff.provenance import metadata
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.refused_folder import nothing_loaded
from tests.pipelines.stable_diffusion.single_files import in_one_file, stored
from tests.pipelines.stable_diffusion.tiny_folders import FOLDERS
from tests.quickly import quickly
from tests.tables import table
from tests.variants import some_slow

pytest.importorskip("tokenizers", reason="needs the extra [text]")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_folders.Folders(tmp_path_factory.mktemp("models"))


@pytest.fixture
def messages(monkeypatch):
    lines = []
    monkeypatch.setattr(Progress, "line", lambda self, text: lines.append(text))
    monkeypatch.setattr(devices, "jit", lambda draw, libraries=True, **options: quickly(draw, **options))
    return lines


@pytest.fixture
def draw(folders, messages, tmp_path):
    """(pictures (rows of the grid), settings, lines)."""

    def call(name, file="x.png", **options):
        settings = {
            "prompt": "red cat",
            "num": 1,
            "steps": 2,
            "compile_cache": "none",
            "out": str(tmp_path / file),
        } | options
        folder.draw(CommandOptions(**settings), folders[name], Progress(quiet=True))
        with Image.open(tmp_path / file) as image:
            return np.asarray(image), metadata.read(tmp_path / file).settings, messages

    return call


@pytest.fixture
def pictures(tmp_path):
    """A picture and masks, by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    right = np.zeros((16, 16), np.uint8)
    right[:, 8:] = 255
    for name, array in {"cat": pixels, "right": right, "black": 0 * right, "wide": np.tile(pixels, (1, 2, 1))}.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    return lambda name: str(tmp_path / f"{name}.png")


STAGES = ("open", "read text_encoder", "encode", "read unet", "read transformer", "read vae", "compile", "draw")


@pytest.mark.parametrize("name", [pytest.param("stable", marks=pytest.mark.slow), "dit"])
def test_a_folder_draws_and_says_its_stages_and_settings(draw, folders, name):
    prompt_options = {"dit": {"prompt": "", "label": "other name of 3"}, "stable": {"prompt": "red cat"}}[name]
    image, settings, messages = draw(name, **prompt_options)
    assert image.shape[0] >= 128 and image.std() > 1  # small pictures are enlarged
    assert (settings["model"], settings["pipeline"]) == (str(folders[name]), FOLDERS[name][0])
    assert (settings["height"], settings["width"]) == (16, 16) and prompt_options.items() <= settings.items()
    assert settings["sampler"] == "Ddim" and "compile_cache" not in settings
    stages = [line.split(":")[0] for line in messages]
    parts = {f"read {part}" for part in FOLDERS[name][2]}
    assert [stage for stage in stages if stage in STAGES] == [
        stage
        for stage in STAGES
        if stage in parts or ("read" not in stage and (stage != "encode" or "read text_encoder" in parts))
    ]


@pytest.mark.slow
def test_a_picture_does_not_depend_on_what_is_drawn_beside_it(draw):
    first, _, _ = draw("stable", num=2, together=2)
    second, _, _ = draw("stable", "y.png", num=2, together=1)
    assert np.abs(first.astype(int) - second.astype(int)).max() <= 1


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")  # the number of pictures is a symbol, and the types of shapes say int
@pytest.mark.parametrize("name", ["stable", "dit", "xl"])
def test_an_exported_program_draws_what_the_command_draws_from_the_arrays_beside_it(
    draw, folders, messages, tmp_path, name
):
    pytest.importorskip("flatbuffers", reason="needs the extra [experiments]")
    prompt_options = {
        "dit": {"prompt": "", "label": "3"},
        "xl": {"prompt": "red cat"},
        "stable": {"prompt": "cat", "negative": "dog"},
    }[name]
    options = CommandOptions(num=2, steps=2, seed=5, compile_cache="none", export=str(tmp_path / "p"), **prompt_options)
    folder.draw(options, folders[name], Progress(quiet=True))
    program = messages[-1].split("\n\n")[1]
    assert "gendiff" not in program
    exec(compile(program, "the example", "exec"), {})
    pictures = np.load(tmp_path / "p.npy")
    image, _, _ = draw(name, num=2, seed=5, **prompt_options)
    large = np.clip((pictures + 1) * 127.5, 0, 255).repeat(8, 1).repeat(8, 2)
    assert pictures.shape == (2, 16, 16, 3) and np.abs(image[:, :128] - large[0]).max() < 1
    with pytest.raises(ConfigError, match="p.safetensors exists: add --force"):
        (tmp_path / "p").unlink()
        folder.draw(options, folders[name], Progress(quiet=True))


def test_a_picture_of_another_size_is_fitted_with_a_note(messages, pictures):
    options = drawing.read_start(CommandOptions(init=pictures("wide")), 16, 16, Progress(quiet=True))
    assert options.picture.shape == (16, 16, 3) and options.mask is None
    assert any("32 × 16 pixels: its middle is scaled to 16 × 16" in line for line in messages)
    same = drawing.read_start(
        CommandOptions(init=pictures("cat"), mask=pictures("right")), 16, 16, Progress(quiet=True)
    )
    assert same.mask.shape == (16, 16, 1) and same.mask[:, 8:].all() and not same.mask[:, :8].any()


@pytest.mark.slow
def test_text_encoders_have_left_memory_when_the_network_comes(draw, monkeypatch):
    before, read = {}, Opened.part_params

    def part_params(self, name, *rest):
        before[name] = sum(array.nbytes for array in jax.live_arrays())
        return read(self, name, *rest)

    monkeypatch.setattr(Opened, "part_params", part_params)
    draw("xl", num=1, negative="dog")
    assert list(before) == ["text_encoder", "text_encoder_2", "unet", "vae"]
    start = before["text_encoder"]
    # what they read stays: 9 tokens, a vector and a mask for the prompt and the negative one
    assert before["unet"] - start <= 2 * (4 * 9 * 16 + 4 * 6 + 9) < 0.2 * (before["text_encoder_2"] - start)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stable", "flux", "flux_2"])  # plain, with a shift, normalised by place in a patch
def test_pictures_of_tiles_are_near_those_of_the_whole_and_of_one_tile_the_same(draw, name):
    size = {"height": 44, "width": 16} if name == "flux_2" else {"height": 32, "width": 32}
    in_one_go, _, _ = draw(name, **size)
    one, settings, _ = draw(name, "one.png", **size, tile=44)
    many, _, _ = draw(name, "many.png", **size, tile=16)
    assert np.array_equal(one, in_one_go) and settings["tile"] == 44
    assert 0 < np.abs(many.astype(float) - in_one_go).mean() < 0.5 * in_one_go.std()


def test_tiles_of_klein_begin_at_whole_patches(folders):
    def by_place(params, x):
        return x * np.tile([[1.0, 2.0], [3.0, 4.0]], np.array(x.shape[1:3]) // 2)[None, ..., None].astype(np.float32)

    model, x = open_model(folders["flux_2"]), np.ones((1, 22, 8, 4), np.float32)
    latent = records.replace(model.latent(1, 44, 16), decode=by_place)
    tiled = folder._in_tiles(latent, CommandOptions(tile=16), model).decode
    np.testing.assert_allclose(tiled(None, x), by_place(None, x), rtol=1e-6)


@pytest.mark.slow
def test_what_a_mask_keeps_is_in_the_file_to_the_pixel(draw, pictures):
    masked, settings, _ = draw("stable", init=pictures("cat"), mask=pictures("right"), sampler="ddim")
    with Image.open(pictures("cat")) as image:
        expected = np.asarray(image)[:, :8].repeat(8, 0).repeat(8, 1)
    assert settings["sampler"] == "ddim" and np.array_equal(masked[:, :64], expected)


@pytest.mark.slow
def test_a_network_for_inpainting_draws_and_needs_a_picture_and_a_mask(draw, pictures):
    assert draw("inpaint", init=pictures("cat"), mask=pictures("right"))[0].any()
    with pytest.raises(ConfigError, match="give --init PICTURE and --mask PICTURE"):
        draw("inpaint", "y.png")


@pytest.mark.slow
def test_pictures_are_read_beside_the_prompt_and_give_the_size(draw, pictures):
    cat, wide = pictures("cat"), pictures("wide")
    plain, _, _ = draw("flux_2", "plain.png", height=16, width=16)
    one, settings, _ = draw("flux_2", "one.png", reference=(cat,))
    two, _, lines = draw("flux_2", "two.png", reference=(cat, wide))
    assert plain.shape == one.shape == two.shape and settings["reference"] == [cat] and settings["height"] == 16
    assert not np.array_equal(plain, one) and not np.array_equal(one, two)
    assert draw("flux_2", "broad.png", reference=(wide,))[0].shape[1] == 2 * one.shape[1]


def test_kontext_reads_a_picture_in_a_size_of_its_training(tmp_path, pictures, messages):
    model = tiny_folders.written_as(tmp_path / "kontext", "flux", "FluxKontextPipeline")
    options = CommandOptions(prompt="a red cat", reference=(pictures("wide"),))
    job = folder.prepare(options, open_model(model), None, Progress(quiet=True))
    (picture,) = job.words[2]["references"]
    assert picture.shape == (1, 180, 364, 3) and job.pipelines[0].latent.shape == (90, 182, 4)
    assert any("is 32 × 16 pixels: its middle is scaled to 364 × 180" in line for line in messages)


def test_what_is_painted_into_is_read_beside_the_prompt_as_by_diffusers(tmp_path, pictures):
    model = open_model(tiny_folders.written_as(tmp_path / "klein", "flux_2", "Flux2KleinInpaintPipeline"))
    options = CommandOptions(prompt="a red cat", init=pictures("cat"), mask=pictures("right"), height=16, width=16)
    prepared = (
        folder.prepare(dataclasses.replace(options, **more), model, None, Progress(quiet=True))
        for more in (
            {"sampler": "ddim"},
            {"like_diffusers": True},
            {"like_diffusers": True, "reference": (pictures("wide"),)},
        )
    )
    ours, theirs, both = (job.words[2].get("references", ()) for job in prepared)
    assert (len(ours), len(theirs), len(both)) == (0, 1, 2)
    assert theirs[0].shape == both[0].shape == (1, 16, 16, 3) and both[1].shape == (1, 16, 32, 3)


@pytest.mark.slow
def test_the_refiner_takes_over_and_moves_the_picture(draw, folders):
    alone, _, _ = draw("xl", steps=3)
    both, settings, _ = draw("xl", "y.png", steps=3, refiner=str(folders["refiner"]), refine_from=0.5)
    assert settings["refiner"] == str(folders["refiner"]) and not np.array_equal(alone, both)


@pytest.mark.slow
def test_a_picture_is_begun_from_by_its_strength(draw, pictures):
    cat = pictures("cat")
    little, much = (
        draw("stable", f"{share}.png", steps=4, init=cat, strength=share)[0].astype(float) for share in (0.25, 1.0)
    )
    assert not np.array_equal(little, much) and np.array_equal(
        little, draw("stable", "again.png", steps=4, init=cat, strength=0.25)[0]
    )
    assert not np.array_equal(draw("stable", "none.png", steps=4)[0], little)


@pytest.mark.slow
def test_a_controlnet_follows_its_hint_by_its_scale(draw, pictures, tmp_path):
    control, wide = str(tiny_folders.write_control(tmp_path / "control")), pictures("wide")
    alone, _, _ = draw("stable")
    followed, settings, messages = draw("stable", "followed.png", controlnet=control, hint=wide)
    unheard, _, _ = draw("stable", "unheard.png", controlnet=control, hint=wide, hint_scale=0.0)
    assert np.array_equal(unheard, alone) and not np.array_equal(followed, alone)
    assert settings["hint"] == wide and "read controlnet" in " ".join(messages)
    assert any("--hint" in line and "its middle is scaled to 16 × 16" in line for line in messages)


@pytest.mark.slow
def test_a_single_file_of_weights_draws_what_its_folder_draws(draw, folders, tmp_path):
    file, (folder_image, _, _) = stored(in_one_file("stable"), tmp_path), draw("stable")
    folders["alone"] = tiny_folders.without_weights(tmp_path / "alone", "stable")
    single, settings, _ = draw("alone", "single.png", weights=str(file))
    assert np.array_equal(folder_image, single) and settings["weights"] == str(file)


def test_a_single_file_is_inspected_with_the_settings_of_its_folder(folders, tmp_path, capsys):
    file = stored(in_one_file("stable"), tmp_path)
    assert main("inspect", str(folders["stable"]), "--weights", str(file)) == 0
    assert "in model.safetensors" in capsys.readouterr().out
    assert main("inspect", str(folders["xl"]), "--weights", str(file)) == 65
    assert "has no text_encoder" in capsys.readouterr().err


def test_a_class_has_names_and_a_number(folders):
    model = open_model(folders["dit"])
    labels = ("kind 3", "other name of 3", "3")
    jobs = [folder.prepare(CommandOptions(label=label), model, None, Progress(quiet=True)) for label in labels]
    assert [job.words.tolist() for job in jobs] == [[3]] * 3


MISTAKES = [
    ("stable", {"prompt": " "}, "--prompt is empty"),
    ("stable", {"height": 18}, "height = 18 must be a multiple of 4"),
    ("stable", {"steps": 2000}, "steps = 2000 is outside"),
    ("stable", {"sampler": "dimm"}, "did you mean"),
    ("stable", {"label": "3"}, "--label is for a DiT"),
    ("stable", {"lora": ("style.safetensors:0.8",)}, "--lora style.safetensors:0.8: no such file: style.safetensors"),
    ("stable", {"lora": ("style:x",)}, "--lora style:x: no such file: style:x"),
    ("stable", {"export": "x", "storage": "float8"}, "--export does not go with --storage float8"),
    ("stable", {"export": "x", "storage": "as-file"}, "--export does not go with --storage as-file"),
    (
        "flux",
        {"export": "x", "weights": "x.gguf"},
        "go with --storage as-file.*: give --storage int8",
    ),
    ("dit", {"label": "1", "prompt": "", "skip_layers": (7,)}, "--skip-layers does not go with DiT"),
    ("stable", {"export": "x", "mesh": "data=1"}, "--export does not go with --mesh"),
    ("stable", {"mesh": "fsdp"}, "--mesh fsdp: give some of data=D,fsdp=F,tensor=T"),
    ("stable", {"mesh": "fsdp=64"}, "--mesh fsdp=64: .* does not divide .*, the number of devices"),
    ("flux", {"weights": "int4"}, "--weights int4 is no file: --storage int4 says how kernels are kept"),
    ("stable", {"refiner": "."}, "--refiner is for Stable Diffusion XL"),
    ("stable", {"init": "cat", "mask": "black"}, "nothing of it is white"),
    ("stable", {"init": "cat", "mask": "right", "sampler": "deis-3"}, "--mask does not go with this sampler"),
    (
        "stable",
        {"prompt": "cat " * 9, "too_long": "error"},
        "9 tokens and 7 are read.*give --too-long chunks$",
    ),
    ("stable", {"hint": "cat"}, "--controlnet DIR and --hint PICTURE go together"),
    ("stable", {"controlnet": ".", "hint": "cat", "hint_scale": -1.0}, "--hint-scale -1 must be at least 0"),
    ("xl", {"refiner": "refiner", "controlnet": ".", "hint": "cat"}, "--controlnet does not go with --refiner"),
    ("stable", {"tile": 15}, "--tile 15 must be a multiple of 2 from 16 on"),
    ("flux_2", {"tile": 18, "height": 16, "width": 16}, "--tile 18 must be a multiple of 4 from 16 on"),
    ("flux", {"tile": 14, "height": 16, "width": 16}, "--tile 14 must be a multiple of 2 from 16 on"),
    ("stable", {"weights": "x.safetensors", "variant": "fp16"}, "leave one of them out"),
    ("stable", {"levels": "trailing"}, "--levels trailing: a folder has levels of its own"),
    ("stable", {"sheet": "seed=1,2"}, "--sheet is for the networks of the package"),
    ("dit", {"label": "1", "prompt": "", "weights": "x.safetensors"}, "--weights does not go with DiT"),
    ("xl", {"refiner": "xl"}, "is no refiner of Stable Diffusion XL"),
    ("xl", {"refiner": "refiner", "refine_from": 1.0}, "--refine-from 1 is outside"),
    ("xl", {"refiner": "refiner", "init": "cat"}, "leave out --init"),
    ("flux", {"controlnet": ".", "hint": "cat"}, "--controlnet is for Stable Diffusion 1, 2 and XL, and the folder"),
    ("flux", {"height": 18}, "height = 18 must be a multiple of 4"),
    ("flux", {"skip_layers": (7,)}, "--skip-layers is for Stable Diffusion 3, and the folder holds FLUX.1"),
    ("flux", {"reference": ("cat",)}, "--reference is for FLUX.1 Kontext and FLUX.2, and the folder holds FLUX.1"),
    ("flux_2", {"reference": ("nowhere.png",)}, "--reference nowhere.png: no such file"),
    ("flux_2", {"reference": ("cat",) * 11}, r"--reference names 11 pictures, and FLUX.2 \[klein\] reads 10"),
    ("sd3", {"skip_layers": (7,)}, "layers = 7 is outside"),
    ("sd3", {"skip_layers": (1,), "guidance": 1.0}, "--skip-layers adds to guidance"),
    ("sd3", {"height": 40}, "height = 40: this network has positions for at most height = 32"),
    ("dit", {"label": None}, "give --label NAME or --label NUMBER"),
    ("dit", {"label": "zebra", "prompt": ""}, "no class is called so"),
    ("dit", {"label": "10", "prompt": ""}, "--label 10 is outside 0 … 9"),
    ("dit", {"label": "1", "prompt": "a cat"}, "--prompt does not go with DiT"),
]


def without_an_array(folder):
    file = next((folder / "unet" if (folder / "unet").is_dir() else folder).glob("*.safetensors"))
    arrays = safetensors.numpy.load_file(file)
    del arrays["conv_in.weight"]
    safetensors.numpy.save_file(arrays, file)
    return str(folder)


def of_dora(folder):
    folder.mkdir()
    arrays = {"lora_unet_down_blocks_0_attentions_0_proj_in.dora_scale": np.ones((4, 1), np.float32)}
    safetensors.numpy.save_file(arrays, folder / "style.safetensors")
    return str(folder / "style.safetensors")


LATE = {
    "refiner": ("xl", lambda path: {"refiner": without_an_array(tiny_folders.write(path, "refiner"))}),
    "controlnet": (
        "stable",
        lambda path: {"controlnet": without_an_array(tiny_folders.write_control(path)), "hint": "cat"},
    ),
    "lora": ("stable", lambda path: {"lora": (of_dora(path),)}),
}
"""What comes into play after the text encoders of a model -> (the model, options by which it does not fit)."""


@pytest.mark.fault("weights: names missing or left over")
@pytest.mark.parametrize("late", some_slow(LATE, {"refiner", "controlnet"}))
def test_what_does_not_fit_is_refused_before_any_part_is_read(draw, pictures, tmp_path, late):
    name, options = LATE[late]
    settings = options(tmp_path / "late")
    if "hint" in settings:
        settings["hint"] = pictures("cat")
    with nothing_loaded(), pytest.raises(CheckpointMismatchError, match=f"^{tmp_path}/late.*(conv_in.weight|DoRA)"):
        draw(name, **settings)


@table(("name", "options", "message"), MISTAKES)
def test_a_mistake_is_one_error_that_names_the_option(draw, folders, pictures, name, options, message):
    paths = {
        "init": pictures,
        "mask": pictures,
        "hint": pictures,
        "reference": lambda names: tuple(pictures(name) if name == "cat" else name for name in names),
        "refiner": lambda name: name if name == "." else str(folders[name]),
    }
    settings = {key: paths[key](value) if key in paths else value for key, value in options.items()}
    with pytest.raises(ConfigError, match=message):
        draw(name, **settings)


def test_a_long_prompt_goes_on_or_loses_its_end_with_a_note(folders, messages):
    model = open_model(folders["stable"])
    jobs = {
        how: folder.prepare(CommandOptions(prompt="cat " * 9, too_long=how), model, None, Progress(quiet=True))
        for how in ("warn", "chunks")
    }
    assert [job.words[0].rows for job in jobs.values()] == [1, 2] and jobs["chunks"].words[1].rows == 2
    assert any(
        "note: --prompt: a prompt has 9 tokens and 7 are read: 'cat cat' does not fit" in line for line in messages
    )


def test_flux_is_led_away_by_a_negative_prompt_alone(folders, messages):
    model, jobs = open_model(folders["flux"]), []
    for negative in ("", "dog"):
        options = CommandOptions(prompt="cat", negative=negative, height=16, width=16)
        jobs.append(folder.prepare(options, model, None, Progress(quiet=True)))
    assert jobs[0].words[1] is None and jobs[1].words[1] is not None and not messages
    assert jobs[0].pipelines[0].latent.embedded_scale == 3.5


def test_options_of_folders_are_refused_for_other_models():
    for name, value in (("height", 64), ("mesh", "fsdp=8"), ("like_diffusers", True), ("label", "3")):
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} is for a folder of diffusers"):
            CommandOptions(**{name: value}).refuse_without_folder()
    CommandOptions(prompt="a cat", model="emoji", compile_cache="none").refuse_without_folder()


def test_programs_are_kept_in_a_folder_of_the_user_unless_told_otherwise(folders, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("GENDIFF_COMPILE_CACHE", raising=False)
    model = str(folders["stable"])
    assert CommandOptions(model=model).program_cache == "/somewhere/gendiff/programs"
    assert CommandOptions(model=model, compile_cache="none").program_cache == "none"
    assert CommandOptions(model=model, compile_cache="here").program_cache == "here"
    assert CommandOptions().program_cache is None
    monkeypatch.setenv("GENDIFF_COMPILE_CACHE", "none")
    assert CommandOptions(model=model).program_cache is None  # where the environment decides


def test_a_mask_has_the_size_of_its_picture(pictures):
    options = CommandOptions(init=pictures("wide"), mask=pictures("right"))
    with pytest.raises(ConfigError, match="are 16 × 16 and 32 × 16 pixels"):
        drawing.read_start(options, 16, 16, Progress(quiet=True))


# inspect.


def main(*words):
    return command_line.main(list(words), catalogue.EXPERIMENTS)


def test_inspect_says_what_a_folder_holds_and_that_it_can_be_loaded(folders, capsys):
    assert main("inspect", str(folders["stable"])) == 0
    output = capsys.readouterr().out
    assert "StableDiffusionPipeline, pictures of 16 × 16" in output and "unet: UNet2DConditionModel" in output
    assert output.rstrip().endswith("it can be loaded")


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
def test_bad_folders_end_with_65_and_every_problem_is_shown(tmp_path, capsys):
    model = tiny_folders.write(tmp_path / "model", "stable")
    (model / "unet" / "config.json").write_text("{")
    (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    assert main("inspect", str(model)) == 65
    output = capsys.readouterr()
    assert output.out.count("refused: ") == 2 and "2 parts would be refused" in output.err
    image = (
        "text-to-image",
        "--model",
        str(model),
        "--prompt",
        "cat",
        "--out",
        str(tmp_path / "x.png"),
        "--compile-cache",
        "none",
    )
    assert main(*image) == 65
    assert "unet/config.json: not JSON" in capsys.readouterr().err and not (tmp_path / "x.png").exists()
    assert main("inspect", str(tmp_path / "none")) == 65


def test_the_report_has_sizes_people_can_read():
    assert inspect_folder._bytes(3 * 2**20) == "3.0 MiB" and inspect_folder._bytes(5 * 2**30) == "5.00 GiB"
