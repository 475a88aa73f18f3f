"""A network in one file: what is written is read back, and whatever is wrong with a file is one typed error."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from experiments.diffusion import text_to_image
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import networks, published, texts
from gendiff.commands.text_to_image.networks import Trained
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, DataError, NonFiniteError
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import network_files
from gendiff.weights import mini_lm
from tests.tables import table

CONFIG = text_to_image.EXPERIMENT.smoke
MINI_LM = {"of MiniLM": np.zeros(1)}
ORIGIN = {"data": "drawings", "licence": "CC0", "attribution": "by nobody"}


def linear(names):
    def init(key):
        return {"params": {name: np.zeros((2, 3), np.float32) for name in names}, "counted": np.zeros(2, np.int32)}

    return Model(lambda *_: None, init, schedules.flow(), parameterization.flow(), (4, 4, 3))


@pytest.fixture(autouse=True)
def encoder(monkeypatch, tmp_path):
    """A folder that stands for MiniLM's package, and a network of two matrices."""
    folder = tmp_path / "mini_lm"
    folder.mkdir()
    for name in mini_lm.NEEDED:
        (folder / name).write_text(name)
    monkeypatch.setattr(mini_lm, "folder", lambda: folder)
    monkeypatch.setattr(texts, "params", lambda: MINI_LM)
    monkeypatch.setattr(networks, "model", lambda config, name="": linear("ab"))
    return folder


def trained(value=0.3, name=networks.FROZEN):
    matrices = {"a": np.full((2, 3), value, np.float32), "b": np.eye(2, 3, dtype=np.float32)}
    network = {"params": matrices, "counted": np.arange(2, dtype=np.int32)}
    return Trained(CONFIG, name, {"text": MINI_LM, "network": network})


def image(params, *, factor=1.0):
    return factor * np.asarray(params["network"]["params"]["a"], np.float64).reshape(1, 2, 3, 1)


def write(path, network=None, draw=image, dtype="float16"):
    facts = {**ORIGIN, "trained_seed": 0, "checkpoint": 7}
    return published.write(path, network or trained(), draw, {"red", "a"}, dtype=dtype, **facts)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shapes.safetensors"
    write(path)
    return path


def changed(file, arrays=(), about=(), **options):
    """The file with other arrays and another text, and a digest that fits unless told otherwise."""
    with safetensors.safe_open(file, "np") as opened:
        header = json.loads(opened.metadata()[network_files.ENTRY]) | dict(about)
    stored = safetensors.numpy.load_file(file) | dict(arrays)
    stored = {name: array for name, array in stored.items() if array is not None}
    if options.get("digest", True) and header.get("format") == published.FORMAT:
        about_file = published.json_files.decode(published.About, header, "test")
        header["sha256"] = network_files.digest(stored, about_file)
    safetensors.numpy.save_file(stored, file, metadata={network_files.ENTRY: json.dumps(header)})
    return file


def test_what_is_written_is_read_back_in_half_precision_with_mini_lm_from_its_package(file):
    read, about = published.read(file)
    assert (
        read.params["text"] is MINI_LM and read.name == networks.FROZEN and read.config == dataclasses.replace(CONFIG)
    )
    network = read.params["network"]
    assert network["params"]["a"].dtype == np.float32 and np.array_equal(
        network["params"]["a"], np.full((2, 3), np.float16(0.3))
    )
    assert np.array_equal(network["counted"], [0, 1]) and network["counted"].dtype == np.int32
    assert (about.words, about.licence, about.checkpoint, about.dtype) == (("a", "red"), "CC0", 7, "float16")
    assert about.changed == pytest.approx(abs(float(np.float16(0.3)) - np.float32(0.3)))
    assert not [name for name in safetensors.numpy.load_file(file) if name.startswith("text/")]
    assert published.read_about(file) == about and file.stat().st_mode & 0o044


@table(
    ("network", "draw"),
    [(trained(), lambda params: image(params, factor=1000.0)), (trained(1e6), image)],
)
def test_single_precision_is_kept_where_half_would_not_do(tmp_path, network, draw):
    about = write(tmp_path / "x.safetensors", network, draw)
    assert about.dtype == "float32" and about.changed == 0.0
    read, _ = published.read(tmp_path / "x.safetensors")
    assert np.array_equal(read.params["network"]["params"]["a"], network.params["network"]["params"]["a"])


@pytest.fixture
def packable(monkeypatch):
    """A network with a kernel of 40 × 3 and a norm."""
    draw = np.random.default_rng(0)
    layer = {"kernel": draw.normal(size=(40, 3)).astype(np.float32), "scale": np.full(3, 0.3, np.float32)}
    model = dataclasses.replace(linear("ab"), init=lambda key: {"layer": dict(layer)})
    monkeypatch.setattr(networks, "model", lambda config, name="": model)
    return Trained(CONFIG, networks.FROZEN, {"text": MINI_LM, "network": {"layer": layer}})


def kernel_image(params, factor=0.1):
    return factor * np.asarray(params["network"]["layer"]["kernel"], np.float64).reshape(1, 10, 4, 3)


def test_a_file_of_8_bits_holds_kernels_in_a_byte_per_number_and_scales_as_they_are(tmp_path, packable):
    path = tmp_path / "x.safetensors"
    about = write(path, packable, kernel_image, dtype="int8")
    stored = {name.removeprefix("network/layer/"): array for name, array in safetensors.numpy.load_file(path).items()}
    assert {name: str(array.dtype) for name, array in stored.items()} == {
        "kernel/values": "int8",
        "kernel/scale": "float32",
        "scale": "float16",
    }
    read, again = published.read(path)
    kernel, exact = read.params["network"]["layer"]["kernel"], packable.params["network"]["layer"]["kernel"]
    assert again == about and about.dtype == "int8" and kernel.shape == (40, 3) and kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, exact, atol=np.abs(exact).max() / 254 + 1e-6)
    difference = kernel_image(read.params) - kernel_image(packable.params)
    assert about.changed == pytest.approx(np.sqrt(np.mean(difference**2))) and 0 < about.changed < 0.01


@table(("factor", "dtype"), [(1.0, "int8"), (30.0, "float16"), (3000.0, "float32")])
def test_as_few_bits_are_stored_as_pictures_allow(tmp_path, packable, factor, dtype):
    about = write(tmp_path / "x.safetensors", packable, lambda params: kernel_image(params, factor), dtype="int8")
    assert about.dtype == dtype and published.read(tmp_path / "x.safetensors")[1] == about


def test_the_parameters_of_an_encoder_of_our_own_are_in_the_file(tmp_path, monkeypatch):
    parts = {"text": {"t": np.ones(2, np.float32)}, "network": {"n": np.ones(3, np.float32)}}
    model = dataclasses.replace(linear("ab"), init=lambda key: {part: dict(params) for part, params in parts.items()})
    monkeypatch.setattr(networks, "model", lambda config, name="": model)
    network = Trained(CONFIG, networks.SCRATCH, parts)
    write(tmp_path / "x.safetensors", network, lambda params: np.ones((1, 2, 2, 3)) * params["network"]["n"])
    read, about = published.read(tmp_path / "x.safetensors")
    assert np.array_equal(read.params["text"]["t"], [1, 1]) and list(about.encoder) == ["tokenizer.json"]


def cut(file):
    file.write_bytes(file.read_bytes()[:-10])


def flip(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))


def without_entry(file):
    safetensors.numpy.save_file({"a": np.zeros(2)}, file)


def of_text(file):
    file.write_text("no safetensors")


@pytest.mark.fault(
    "text-to-image: a truncated file of a network, or changed bytes",
    "text-to-image: a network with NaN",
    "text-to-image: another architecture, name or format of such a file",
)
@table(
    ("damage", "error", "message"),
    [
        (cut, DataError, "not a whole safetensors file"),
        (of_text, DataError, "not a whole safetensors file"),
        (flip, CheckpointCorruptError, "has other bytes than were written"),
        (without_entry, DataError, "holds no network of text-to-image"),
        (
            lambda file: changed(file, about={"licence": "mine"}, digest=False),
            CheckpointCorruptError,
            "has other bytes",
        ),
        (lambda file: changed(file, about={"format": 9}), CheckpointMismatchError, "has format 9"),
        (lambda file: changed(file, about={"config": {"bright": 3}}), DataError, "bright"),
        (lambda file: changed(file, {"network/params/b": None}), CheckpointMismatchError, "network/params/b"),
        (
            lambda file: changed(file, {"network/params/c": np.zeros(2, np.float32)}),
            CheckpointMismatchError,
            "network/params/c",
        ),
        (
            lambda file: changed(file, {"network/params/a": np.zeros((2, 4), np.float16)}),
            CheckpointMismatchError,
            r"\(2, 4\)",
        ),
        (
            lambda file: changed(file, {"network/params/a": np.full((2, 3), np.nan, np.float16)}),
            NonFiniteError,
            "not finite",
        ),
    ],
)
def test_whatever_is_wrong_with_a_file_is_one_error_that_begins_with_its_path(tmp_path, damage, error, message):
    write(file := tmp_path / "shapes.safetensors")
    damage(file)
    with pytest.raises(error, match=message) as caught:
        published.read(file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.fault("text-to-image: another architecture, name or format of such a file")
def test_a_file_of_another_architecture_is_refused(file, monkeypatch):
    monkeypatch.setattr(networks, "model", lambda config, name="": linear("abc"))
    with pytest.raises(CheckpointMismatchError, match="params/c"):
        published.read(file)


@pytest.mark.fault("text-to-image: another tokenizer, or none")
def test_another_tokenizer_is_refused_and_a_missing_one_is_named(file, encoder, monkeypatch):
    (encoder / "tokenizer.json").write_text("another")
    with pytest.raises(CheckpointMismatchError, match=r"another text encoder: .*tokenizer.json"):
        published.read(file)

    def missing():
        raise DataError(f"{encoder}: has no tokenizer.json")

    monkeypatch.setattr(mini_lm, "folder", missing)
    with pytest.raises(DataError, match="has no tokenizer.json"):
        published.read(file)
