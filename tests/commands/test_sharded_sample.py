"""`sample RUN --shard-size`: the same samples as without shards, whoever draws them, and nothing lost."""

import dataclasses
import functools
import tarfile

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gendiff.commands import command_line
from gendiff.commands.images import image_sampling
from gendiff.commands.images.sample_scores import Scores
from gendiff.data import array_records, scaling, sources
from gendiff.data.images.random_access import Example
from gendiff.metrics import features, frechet, statistics_files
from gendiff.runs import errors
from gendiff.runs.errors import Preempted
from gendiff.runs.reporting import json_files
from gendiff.runs.shards import Shards
from tests.runs import toy
from tests.tables import table

SIZES = ("--num", "10", "--shard-size", "4", "--steps", "3", "--together", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toy"
    assert (
        command_line.main(["run", "toy", "--train-steps", "3", "--out", str(folder)], {"toy": toy.EXPERIMENT})
        == errors.DONE
    )
    return folder


@pytest.fixture(scope="module")
def complete(trained, tmp_path_factory):
    """The folder that one command fills without being disturbed."""
    folder = tmp_path_factory.mktemp("samples") / "whole"
    assert sample(trained, *SIZES, "--out", str(folder)) == errors.DONE
    return folder


def sample(folder, *options, experiment=toy.EXPERIMENT):
    return command_line.main(["sample", str(folder), *options], {"toy": experiment})


def shard_files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard_*.npz"))}


def test_shards_hold_the_samples_of_a_command_without_shards(trained, complete, tmp_path):
    assert sample(trained, "--num", "10", "--steps", "3", "--out", str(tmp_path / "plain.npz")) == errors.DONE
    with np.load(tmp_path / "plain.npz") as plain:
        expected, labels = np.asarray(scaling.from_unit(plain["images"], 256)), plain["labels"]
    parts = [np.load(path) for path in sorted(complete.glob("shard_*.npz"))]
    assert [len(part["arr_0"]) for part in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part["arr_0"] for part in parts]), expected)
    np.testing.assert_array_equal(np.concatenate([part["arr_1"] for part in parts]), labels)


def test_jobs_of_an_array_leave_the_same_bytes(trained, complete, tmp_path):
    out = str(tmp_path / "array")
    for job in ("2", "0-1"):
        assert sample(trained, *SIZES, "--out", out, "--shards", job) == errors.DONE
    assert shard_files(tmp_path / "array") == shard_files(complete)


@pytest.mark.fault("batch sampling interrupted")
def test_an_interrupted_command_goes_on_and_redoes_only_what_is_not_complete(
    trained, complete, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "cut"
    write = Shards.write

    def interrupted(self, number, *rest):
        if number == 1:
            raise Preempted("SIGTERM")
        write(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", interrupted)
        assert sample(trained, *SIZES, "--out", str(out)) == errors.PREEMPTED
    assert list(shard_files(out)) == ["shard_000000.npz"]
    modified = (out / "shard_000000.npz").stat().st_mtime_ns
    (out / ".shard_000001.npz.99999.tmp").write_bytes(b"half")  # as a killed process leaves it
    assert sample(trained, *SIZES, "--out", str(out), "--verify") == errors.BAD_DATA
    assert "2 of 3 shards" in capsys.readouterr().err
    assert sample(trained, *SIZES, "--out", str(out)) == errors.DONE
    assert (out / "shard_000000.npz").stat().st_mtime_ns == modified
    assert shard_files(out) == shard_files(complete)
    assert not list(out.glob(".*.tmp"))
    assert sample(trained, *SIZES, "--out", str(out), "--verify") == errors.DONE


def test_a_damaged_shard_is_drawn_again(trained, complete, tmp_path):
    out = tmp_path / "damaged"
    assert sample(trained, *SIZES, "--out", str(out)) == errors.DONE
    (out / "shard_000001.npz").write_bytes(b"PK")
    assert sample(trained, *SIZES, "--out", str(out)) == errors.DONE
    assert shard_files(out) == shard_files(complete)


@pytest.mark.fault("NaN while sampling")
def test_no_shard_with_a_nan_is_written(trained, tmp_path, capsys):
    def broken(params, x, t, label):
        return jnp.where(label[:, None, None, None] == 1, jnp.nan, x)

    model = functools.partial(toy.model, predict=broken)
    experiment = dataclasses.replace(toy.EXPERIMENT, sample=image_sampling.command(model))
    assert sample(trained, *SIZES, "--out", str(tmp_path / "bad"), experiment=experiment) == errors.NON_FINITE
    assert "indices: 1" in capsys.readouterr().err
    assert not shard_files(tmp_path / "bad")


@table(
    ("options", "message"),
    [
        (("--shard-size", "4", "--out", "OUT"), "--num N"),
        (("--shard-size", "4", "--num", "10"), "--out FOLDER"),
        (("--shard-size", "4", "--index", "0:10", "--out", "OUT"), "--num N"),
        (("--shards", "0-1", "--num", "10"), "belongs to --shard-size"),
        (("--verify", "--num", "10"), "belongs to --shard-size"),
        (("--shard-size", "0", "--num", "10", "--out", "OUT"), "outside 1 … 10"),
        (("--shard-size", "11", "--num", "10", "--out", "OUT"), "outside 1 … 10"),
        (("--shard-size", "1000", "--num", "3000000000", "--out", "OUT"), "outside 1 … 2147483648"),
        (("--num", "3000000000"), "from 0 to 2147483647"),
        (("--num", "2000000000"), "--shard-size"),
        (("--shard-size", "4", "--num", "10", "--out", "OUT", "--shards", "3"), "0 … 2"),
        (("--shard-size", "4", "--num", "10", "--out", "OUT.npz"), "folder"),
        (("--shard-size", "4", "--num", "10", "--out", "WHOLE"), "options.steps"),
    ],
)
def test_what_cannot_be_meant_is_refused(trained, complete, tmp_path, capsys, options, message):
    places = {"OUT": str(tmp_path / "out"), "OUT.npz": str(tmp_path / "out.npz"), "WHOLE": str(complete)}
    assert sample(trained, *(places.get(word, word) for word in options)) == errors.USAGE
    assert message in capsys.readouterr().err


def test_finalize_makes_one_file_that_holds_every_sample(complete, tmp_path, capsys):
    main = functools.partial(command_line.main, catalogue={"toy": toy.EXPERIMENT})
    out = {suffix: tmp_path / f"all{suffix}" for suffix in (".npz", ".tar", ".arrayrecord")}
    for path in out.values():
        assert main(["finalize", str(complete), "--to", str(path)]) == errors.DONE
    with np.load(out[".npz"], allow_pickle=False) as stored:
        images = stored["arr_0"]
    assert images.shape == (10, 2, 2, 1)
    with tarfile.open(out[".tar"]) as archive:
        assert archive.getnames()[3] == "000003_label1.png"
        pictures = [np.asarray(Image.open(archive.extractfile(name))) for name in archive.getnames()]
    np.testing.assert_array_equal(np.stack(pictures)[..., None], images)
    source = sources.open(out[".arrayrecord"])
    np.testing.assert_array_equal(np.stack([source.image(i) for i in range(10)]), images)
    before = out[".tar"].read_bytes()
    assert main(["finalize", str(complete), "--to", str(out[".tar"])]) == errors.DONE
    assert out[".tar"].read_bytes() == before


def test_an_archive_of_shards_that_are_all_full_ends_at_the_last_one(trained, tmp_path):
    assert (
        sample(trained, "--num", "8", "--shard-size", "4", "--steps", "2", "--out", str(tmp_path / "full"))
        == errors.DONE
    )
    for suffix in (".npz", ".tar", ".arrayrecord"):
        words = ["finalize", str(tmp_path / "full"), "--to", str(tmp_path / f"all{suffix}")]
        assert command_line.main(words, {"toy": toy.EXPERIMENT}) == errors.DONE
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert len(archive.getnames()) == 8


def test_finalize_refuses_what_it_cannot_do(complete, tmp_path, capsys):
    main = functools.partial(command_line.main, catalogue={"toy": toy.EXPERIMENT})
    assert main(["finalize", str(tmp_path), "--to", str(tmp_path / "all.npz")]) == errors.BAD_DATA
    assert main(["finalize", str(complete), "--to", str(tmp_path / "all.zip")]) == errors.USAGE
    assert ".arrayrecord" in capsys.readouterr().err
    assert main(["finalize", str(complete), "--to", str(tmp_path / "none" / "all.npz")]) == errors.USAGE
    (tmp_path / "all.npz").mkdir()
    capsys.readouterr()
    for name, message in (("all.npz", "is a folder"), ("none/all.npz", "there is no folder"), ("all.txt", "ends in")):
        for words in (["finalize", str(complete), "--to"], ["evaluate", str(complete), "--save-statistics"]):
            assert main([*words, str(tmp_path / name)]) == errors.USAGE and message in capsys.readouterr().err
    assert main(["finalize"]) == errors.USAGE


def test_evaluate_streams_what_a_distance_of_all_samples_at_once_is(complete, tmp_path, capsys):
    main = functools.partial(command_line.main, catalogue={"toy": toy.EXPERIMENT})
    images = np.concatenate([np.load(path)["arr_0"] for path in sorted(complete.glob("shard_*.npz"))])
    other = np.random.default_rng(0).integers(0, 256, (30, 2, 2, 1)).astype(np.uint8)
    statistics_files.save_batch(tmp_path / "pictures.npz", other)
    rows = [features.pixels(scaling.to_unit(each, 256)) for each in (other, images)]
    statistics_files.save(tmp_path / "statistics.npz", frechet.fit(rows[0]))
    array_records.write(tmp_path / "pictures.arrayrecord", [Example(image, np.int32(-1)) for image in other])
    for reference in ("pictures.npz", "pictures.arrayrecord", "statistics.npz"):
        options = ["--features", "pixels", "--reference", str(tmp_path / reference)]
        assert (
            main(["evaluate", str(complete), *options, "--save-statistics", str(tmp_path / "own.npz")]) == errors.DONE
        )
        scores = json_files.read(complete / "scores.json", Scores)
        assert scores.n == 10 and scores.frechet == pytest.approx(frechet.frechet_distance(*rows), rel=1e-9)
        assert scores.reference_n == (None if reference == "statistics.npz" else 30)
        output = capsys.readouterr().out
        assert f"{scores.frechet:.4g}" in output and "biased upwards" in output
    np.testing.assert_allclose(statistics_files.load(tmp_path / "own.npz").mean, rows[1].mean(0))


@table(
    ("options", "code", "message"),
    [
        ((), errors.USAGE, "--reference"),
        (("--reference", "NONE.npz"), errors.BAD_DATA, "no such file"),
        (("--reference", "NONE"), errors.BAD_DATA, "no such file or folder"),
        (("--reference", "STATISTICS", "--features", "inception"), errors.USAGE, "--inception-weights"),
        (("--reference", "STATISTICS", "--inception-weights", "w"), errors.USAGE, "need each other"),
        (("--reference", "STATISTICS"), errors.USAGE, "features"),
        (("--reference", "STATISTICS", "--features", "pixel"), errors.USAGE, "pixel"),
    ],
)
def test_evaluate_refuses_what_does_not_fit(complete, tmp_path, capsys, options, code, message):
    statistics_files.save(tmp_path / "s.npz", frechet.fit(np.random.default_rng(0).standard_normal((9, 4))))
    words = [str(tmp_path / "s.npz") if word == "STATISTICS" else word for word in options]
    assert command_line.main(["evaluate", str(complete), *words], {"toy": toy.EXPERIMENT}) == code
    assert message in capsys.readouterr().err


def test_one_image_is_too_few_for_a_distance(trained, complete, tmp_path, capsys):
    one, images = tmp_path / "one", np.zeros((2, 2, 2, 1), np.uint8)
    assert sample(trained, "--num", "1", "--shard-size", "1", "--steps", "2", "--out", str(one)) == errors.DONE
    for count in (1, 2):
        statistics_files.save_batch(tmp_path / f"{count}.npz", images[:count])
    for folder, count, named in ((one, 2, one), (complete, 1, tmp_path / "1.npz")):
        words = ["evaluate", str(folder), "--features", "pixels", "--reference", str(tmp_path / f"{count}.npz")]
        assert command_line.main(words, {"toy": toy.EXPERIMENT}) == errors.BAD_DATA
        assert f"{named}: a Fréchet distance needs at least 2 images, and here is 1" in capsys.readouterr().err


def test_evaluate_of_plain_files_against_a_reference_names_shards(tmp_path, capsys):
    assert command_line.main(["evaluate", str(tmp_path), "--reference", "photos"], {}) == 65
    assert "no folder of `sample --shard-size`" in capsys.readouterr().err


def test_evaluate_names_the_options_that_pictures_of_a_reference_need(complete, tmp_path, capsys):
    clear = tmp_path / "clear"
    clear.mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(clear / f"{number}.png")
    words = ["evaluate", str(complete), "--features", "pixels", "--reference", str(clear)]
    assert command_line.main(words, {"toy": toy.EXPERIMENT}) == errors.BAD_DATA
    assert "--background 255 255 255" in capsys.readouterr().err
    assert command_line.main([*words, "--background", "255", "255", "255"], {"toy": toy.EXPERIMENT}) == errors.DONE
    (clear / "1.png").write_bytes(b"no picture")
    more = [*words, "--background", "255", "255", "255"]
    assert command_line.main(more, {"toy": toy.EXPERIMENT}) == errors.BAD_DATA
    assert "--on-bad-image skip" in capsys.readouterr().err
    assert command_line.main([*more, "--on-bad-image", "skip"], {"toy": toy.EXPERIMENT}) == errors.DONE


@table("suffix", [".npz", ".tar"])
def test_damage_that_finalize_meets_leaves_no_file(trained, tmp_path, capsys, suffix):
    out, to = tmp_path / "s", tmp_path / f"all{suffix}"
    assert sample(trained, "--num", "8", "--shard-size", "4", "--steps", "2", "--out", str(out)) == errors.DONE
    shard = out / "shard_000001.npz"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert command_line.main(["finalize", str(out), "--to", str(to)], {"toy": toy.EXPERIMENT}) == errors.BAD_DATA
    assert "shard_000001.npz has other bytes" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
