"""Classes of pictures that `train` learns: those of too few pictures are left out, and guidance needs some."""

import dataclasses
import shutil

import numpy as np
import pytest

from gendiff.commands.train import opened_pictures
from gendiff.commands.train.config import Config
from tests.commands.images.test_images import command, copies, photographs, run
from tests.tables import table

pytest.importorskip("grain")


def test_small_classes_are_left_out_and_the_others_are_numbered_anew(tmp_path):
    photos = photographs(tmp_path / "photos", 30, 0, 4)
    shutil.rmtree(photos / "2")
    config = Config(data=(str(photos),), size=8, least_per_class=8)
    source, all_classes = (
        opened_pictures.listed(each, str(photos)) for each in (config, dataclasses.replace(config, least_per_class=0))
    )
    assert source.classes == ("dark", "light") and np.bincount(source.labels).tolist() == [8, 8]
    assert all(source.classes[source.labels[row]] in source.name(row) for row in range(16))
    assert source.fingerprint != all_classes.fingerprint


BAD = {
    "too few": (photographs, ("--least-per-class", "13"), 65, "no class has the 13 pictures of --least-per-class; the"),
    "no classes": (copies, ("--least-per-class", "2"), 2, "--least-per-class 2: the pictures of"),
    "guidance": (photographs, ("--guidance", "2", "--conditional", "none"), 2, "--guidance 2 leads towards a class"),
}


@table("case", BAD)
def test_what_has_no_such_classes_is_refused_before_anything_is_compiled(case, tmp_path, capsys):
    make, options, code, words = BAD[case]
    photos = make(tmp_path / "photos", 24, **{"damaged": 0} if make is photographs else {})
    assert run(*command(photos, tmp_path / "run", *options)) == code
    output = capsys.readouterr()
    assert words in output.err and "compiling" not in output.out


def test_a_held_out_picture_without_a_label_is_no_class(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "x.npz", images, labels)
    kept_out = opened_pictures.open_pictures(Config(), str(tmp_path / "x.npz"), None).held_out
    labels[next(at for at in range(40) if (images[at] == kept_out.image(0)).all())] = -1
    np.savez(tmp_path / "x.npz", images, labels)
    again = opened_pictures.open_pictures(Config(), str(tmp_path / "x.npz"), None).held_out
    assert sorted(again.labels.tolist())[0] == -1 and len(again) == len(kept_out)
