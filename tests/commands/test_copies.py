"""The command `copies` on folders of pictures that the repository does not contain, and on runs."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.commands.copies import picture_sets
from gendiff.commands.copies.copies_options import CopiesOptions
from gendiff.commands.images import sample_files, sampling_options
from gendiff.provenance import text_copies
from gendiff.runs import configuration, registry, shards
from gendiff.runs.reporting import json_files
from gendiff.runs.shards import Manifest
from tests.runs import toy
from tests.tables import table

SIDE = 12


def pictures(seed, count):
    """Smooth colour pictures, each of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    return coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)


TRAIN, FRESH, HELD_OUT = pictures(0, 40), pictures(1, 20), pictures(2, 40)
PLANTED = {3: (17, 0), 11: (5, 4), 8: (30, 12)}
"""Number of a sample -> the training picture that it copies, and how strongly it is changed."""


def planted():
    samples, rng = FRESH.copy(), np.random.default_rng(3)
    for path, (copied, change) in PLANTED.items():
        samples[path] = np.clip(TRAIN[copied] + rng.integers(-change, change + 1, TRAIN[copied].shape), 0, 255)
    return samples


def folder(path, images, names="{:03d}.png"):
    for number, image in enumerate(images):
        file = path / names.format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return path


def in_shards(path, images, labels):
    """Eight to a shard."""
    result, _ = shards.create(path, Manifest("toy", len(images), 8, (SIDE, SIDE, 3), ("even", "odd"), {}, {}))
    for number in range(-(-len(images) // 8)):
        ids = slice(8 * number, 8 * number + 8)
        result.write(number, images[ids], labels[ids], 0.0)
    return result


def run(*words, experiments=catalogue.EXPERIMENTS):
    return command_line.main(["copies", *map(str, words)], experiments)


def content(out):
    return json.loads((out / "copies.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    folder(path / "train", TRAIN)
    folder(path / "held_out", HELD_OUT)
    return path


def test_planted_copies_are_found_in_order_with_a_page_and_a_clean_set_has_none(data, tmp_path, capsys):
    sets = ("--train", data / "train", "--held-out", data / "held_out")
    assert run(folder(tmp_path / "samples", planted()), *sets, "--out", tmp_path / "out") == 0
    left, output = content(tmp_path / "out"), capsys.readouterr().out
    first = [(pair["sample"], pair["training"]) for pair in left["pairs"] if pair["copy"]]
    assert first == [(f"{path:03d}.png", f"{copied:03d}.png") for path, (copied, _) in PLANTED.items()]
    assert left["pairs"][0]["distance"] == 0 and len(left["pairs"]) == 20
    assert left["whole"]["rate"][0] == 3 / 20 and left["whole"]["excess"][1] > 0 and left["held_out_n"] == 40
    assert (
        "3 of 20 samples (15.0 %" in output
        and "lies above 0" in output
        and "003.png  is a near-copy of  017.png" in output
    )
    page = (tmp_path / "out" / "copies.html").read_text(encoding="utf-8")
    assert (
        page.count("<figure") == 20 and page.count('class="near"') == 3 and page.count("data:image/png;base64,") == 60
    )
    assert "PASS" not in output + page.split("</style>")[1]

    assert run(folder(tmp_path / "clean", FRESH), *sets, "--pairs", "2", "--out", tmp_path / "out") == 0
    assert "0 of 20 samples" in (output := capsys.readouterr().out) and "The interval holds 0" in output
    assert len(content(tmp_path / "out")["pairs"]) == 2


def test_without_held_out_pictures_there_is_no_rate_to_compare_with(data, tmp_path, capsys):
    assert run(folder(tmp_path / "samples", planted()), "--train", data / "train", "--out", tmp_path / "out") == 0
    left, output = content(tmp_path / "out"), capsys.readouterr().out
    assert (
        left["whole"]["held_out_rate"] is None
        and left["held_out_n"] is None
        and left["pairs"][0]["training"] == "017.png"
    )
    assert "There are no held-out pictures" in output and "interval lies" not in output
    assert "There are no held-out pictures" in (tmp_path / "out" / "copies.html").read_text(encoding="utf-8")


def test_arrays_shards_and_named_classes_give_the_same_as_folders(data, tmp_path, capsys):
    labels = np.arange(20) % 2
    folder(tmp_path / "samples", planted()[::2], "even/{:03d}.png")
    folder(tmp_path / "samples", planted()[1::2], "odd/{:03d}.png")
    folder(tmp_path / "held_out", HELD_OUT[::2], "even/{:03d}.png")
    folder(tmp_path / "held_out", HELD_OUT[1::2], "odd/{:03d}.png")
    np.savez(tmp_path / "samples.npz", images=planted(), labels=labels)
    path = in_shards(tmp_path / "shards", planted(), labels.astype(np.int32))
    options = CopiesOptions(str(tmp_path), str(tmp_path), size=6, mode="L")
    assert picture_sets._of_shards(path, options).image(19).shape == (6, 6, 1)
    options = (
        "--train",
        data / "train",
        "--held-out",
        tmp_path / "held_out",
        "--out",
        tmp_path / "out",
        "--pairs",
        "3",
    )
    experiments = {}
    for kind in ("samples", "samples.npz", "shards"):
        assert run(tmp_path / kind, *options) == 0
        experiments[kind] = content(tmp_path / "out")
        assert experiments[kind]["whole"] == experiments["samples"]["whole"]
        assert [pair["training"] for pair in experiments[kind]["pairs"]] == ["017.png", "005.png", "030.png"]
    assert experiments["shards"]["classes"] == experiments["samples"]["classes"]
    assert [(each["name"], each["n"], each["rate"][0]) for each in experiments["shards"]["classes"]] == [
        ("even", 10, 0.1),
        ("odd", 10, 0.2),
    ]
    assert all(each["excess"] is not None for each in experiments["shards"]["classes"])
    assert [each["name"] for each in experiments["samples.npz"]["classes"]] == ["0", "1"], (
        "whose names are no held-out class"
    )
    assert experiments["samples.npz"]["classes"][0]["excess"] is None
    assert experiments["shards"]["pairs"][0]["sample"] == "sample 3"
    assert "odd" in (tmp_path / "out" / "copies.html").read_text(encoding="utf-8")


def test_training_pictures_of_another_size_get_that_of_the_samples_and_copies_among_held_out_ones_are_left_out(
    data, tmp_path, capsys
):
    large = TRAIN.repeat(3, axis=1).repeat(3, axis=2)
    folder(tmp_path / "held_out", np.concatenate([HELD_OUT, TRAIN[:2]]))
    folder(tmp_path / "samples", planted())
    sets = ("--held-out", tmp_path / "held_out", "--out", tmp_path / "out")
    assert run(tmp_path / "samples", "--train", folder(tmp_path / "large", large), *sets) == 0
    assert {pair["training"] for pair in content(tmp_path / "out")["pairs"] if pair["copy"]} == {
        "017.png",
        "005.png",
        "030.png",
    }
    assert run(tmp_path / "samples", "--train", data / "train", *sets) == 0
    assert "2 held-out pictures equal a training picture" in capsys.readouterr().out
    left = content(tmp_path / "out")
    assert (left["held_out_n"], left["equal"]) == (40, 2)


def test_a_run_gives_the_samples_that_it_left_or_draws_some(tmp_path, capsys):
    def draw(config, path, options, progress):
        folder(path.path / "samples", planted()[: options.num], "{:06d}_label1.png")
        (path.path / "samples" / sample_files.SETTINGS).write_text("{}")

    def refuse(config, path, options, progress):
        sample_files.SampleFiles(path.path / "samples", (SIDE, SIDE, 3), {"guidance": 2}, options.force)

    whose = dataclasses.replace(toy.EXPERIMENT, sample=registry.SampleCommand(sampling_options.SampleOptions, draw))
    (tmp_path / "run").mkdir()
    json_files.write(
        tmp_path / "run" / "config.json", configuration.Resolved("toy", "full", False, json_files.encode(toy.Config()))
    )
    np.savez(tmp_path / "train.npz", images=TRAIN)
    words = (tmp_path / "run", "--train", tmp_path / "train.npz", "--out", tmp_path / "out")
    assert run(*words, "--num", "6", experiments={"toy": whose}) == 0 and content(tmp_path / "out")["whole"]["n"] == 6
    assert (
        run(*words, experiments={"toy": dataclasses.replace(whose, sample=None)}) == 0
        and "taking the samples in" in capsys.readouterr().out
    )
    left = content(tmp_path / "out")
    assert [each["name"] for each in left["classes"]] == ["1"] and left["pairs"][0]["training"] == "image 17"
    others = dataclasses.replace(whose, sample=registry.SampleCommand(sampling_options.SampleOptions, refuse))
    assert run(*words, "--num", "6", experiments={"toy": others}) == 2
    output = capsys.readouterr().err
    assert "add --force to replace it" in output and f"options of `sample {tmp_path / 'run'}`: draw with it" in output
    assert (
        run(*words, "--num", "6", experiments={"toy": dataclasses.replace(whose, sample=None)}) == 2
        and "give their folder" in capsys.readouterr().err
    )


@pytest.mark.fault(
    "copies: folders without pictures, mixed sizes, too few training pictures", "unreadable image", "missing data"
)
@table(
    ("samples", "options", "code", "message"),
    [
        ("empty", (), 65, "no images in it"),
        ("nowhere", (), 65, "no such file or folder"),
        ("mixed", (), 65, "--size N"),
        ("wide", (), 65, "make all of one size with --size N"),
        ("four.npz", (), 65, "4 channels, and 1 or 3 are needed; choose with --mode RGB or --mode L"),
        ("shards", ("--size", "0"), 2, "size = 0"),
        ("broken", (), 65, "not a whole image"),
        ("good", ("--train", "two"), 65, "2 different pictures of 4: at least 3 are needed"),
        ("good", ("--held-out", "train"), 65, "held-out pictures equal training pictures"),
        ("good", ("--threshold", "0"), 2, "--threshold 0 is outside"),
        ("good", ("--num", "3"), 2, "--num belongs to a run folder"),
        ("good", ("--features", "inception"), 2, "--inception-weights"),
        ("good", ("--out", "train"), 2, "holds 000.png but no copies.json"),
        ("good", ("--out", "train/000.png"), 2, "is a file"),
        ("good", ("--trian", "x"), 2, "--train"),
    ],
)
def test_what_cannot_be_compared_ends_with_a_typed_error_in_few_lines(
    samples, options, code, message, data, tmp_path, monkeypatch, capsys
):
    (tmp_path / "empty").mkdir()
    folder(tmp_path / "train", TRAIN[:5])
    folder(tmp_path / "two", TRAIN[[0, 1, 0, 1]])
    folder(tmp_path / "good", FRESH[:3])
    folder(tmp_path / "wide", FRESH[:3, :8])
    folder(tmp_path / "mixed", FRESH[:2])
    folder(tmp_path / "mixed", FRESH[:1, :8], "small_{}.png")
    folder(tmp_path / "broken", FRESH[:3])
    (tmp_path / "broken" / "001.png").write_bytes(b"no picture")
    np.savez(tmp_path / "four.npz", images=FRESH[:3][..., [0, 1, 2, 0]])
    in_shards(tmp_path / "shards", FRESH[:8], np.zeros(8, np.int32))
    monkeypatch.chdir(tmp_path)
    train = () if "--train" in options else ("--train", "train")
    assert run(samples, *train, *options) == code
    output = capsys.readouterr().err
    assert message in output and len(output.splitlines()) <= command_line.MOST_LINES and "Traceback" not in output
    assert not (tmp_path / "runs").exists()


def test_planted_spans_of_texts_are_found_with_the_texts_that_hold_them(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)

    def write(name, count, planted=()):
        (tmp_path / name).mkdir()
        for number in range(count):
            words = [f"w{word}" for word in rng.integers(0, 200, 80)]
            words[10 : 10 + len(planted)] = planted if number == 1 else words[10 : 10 + len(planted)]
            (tmp_path / name / f"{number}.txt").write_text(" ".join(words), encoding="utf-8")

    write("train", 6)
    copied = (tmp_path / "train" / "4.txt").read_text(encoding="utf-8").split()[30:55]
    write("texts", 4, copied)
    write("held_out", 8)
    places = [tmp_path / name for name in ("texts", "train", "held_out", "out")]
    assert run(places[0], "--text", "--train", places[1], "--held-out", places[2], "--out", places[3]) == 0
    left, output = content(places[3]), capsys.readouterr().out
    first = left["spans"][0]
    assert (first["sample"], first["training"], first["length"], first["held_by"]) == ("1.txt", "4.txt", 25, 1)
    assert first["text"] == " ".join(copied) and [each["held_by"] for each in left["spans"][1:]] == [None] * 3
    assert left["whole"]["rate"][0] == 1 / 4 and left["whole"]["held_out_rate"][0] == 0
    assert "1.txt  copies 25 words of  4.txt" in output and "The interval holds 0" in output
    page = (places[3] / "copies.html").read_text(encoding="utf-8")
    assert page.count(f"<mark>{' '.join(copied)}</mark>") == 2 and page.count('class="near"') == 1
    options = ("--text", "--train", places[1], "--out", places[3])
    assert run(places[0], *options, "--unit", "characters", "--span", "60") == 0
    assert "1 of 4 texts" in (output := capsys.readouterr().out) and "There are no held-out texts" in output
    assert run(places[0], *options, "--size", "8") == 2 and "--size is for pictures" in capsys.readouterr().err
    assert run(places[0], "--train", places[1], "--span", "8") == 2 and "--span is for texts" in capsys.readouterr().err
    assert run(tmp_path / "nowhere", *options) == 65
    monkeypatch.setattr(text_copies, "LARGEST_ID", 99)
    assert run(places[0], *options) == 65 and "add --unit characters" in capsys.readouterr().err
    assert run(places[0], *options, "--unit", "characters", "--span", "60") == 0
