"""Random access to a person's own pictures: every kind opens by one door, and what no rule covers is an error that
names its path.
"""

import pickle
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import array_records, held_out, numpy_files, random_access, saved_datasets, sources
from gendiff.data.images.random_access import Example
from tests.data.images.test_files import integers, saved
from tests.refusals import refusals
from tests.tables import table

PIXELS = integers(6, (5, 4, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1, 0], np.int32)


def folder(path, pixels=PIXELS, labels=LABELS):
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        class_folder = path / "ab"[label]
        class_folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(class_folder / f"{i}.png")
    return path


def dataset(path, pixels=PIXELS, labels=LABELS, **columns):
    datasets = pytest.importorskip("datasets")
    table = {
        "picture": [Image.fromarray(image) for image in pixels],
        "kind": [int(label) for label in labels],
        **columns,
    }
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["a", "b"])}
    features |= {name: datasets.Value("int64") for name in columns}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(table, features=datasets.Features(features)).save_to_disk(str(path))
    return path


def records(path, pixels=PIXELS, labels=LABELS, encoding="png", **options):
    pytest.importorskip("array_record")
    pairs = [Example(image, label) for image, label in zip(pixels, labels, strict=True)]
    array_records.write(path, pairs, encoding=encoding, **{"classes": ["a", "b"]} | options)
    return path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def npz(path):
    np.savez(path, images=PIXELS, labels=LABELS)
    return path


def npy(path):
    np.save(path, PIXELS)
    return path


BY_CLASS = np.argsort(LABELS, kind="stable")
KINDS = {  # how it is made, in which order its rows lie, its classes
    "folder": (lambda path: folder(path / "photos"), BY_CLASS, ("a", "b")),
    "npz": (lambda path: npz(path / "a.npz"), np.arange(6), ("0", "1")),
    "npy": (lambda path: npy(path / "a.npy"), np.arange(6), ()),
    "record of png": (lambda path: records(path / "a.arrayrecord"), np.arange(6), ("a", "b")),
    "record of arrays": (lambda path: records(path / "a.arrayrecord", encoding="raw"), np.arange(6), ("a", "b")),
    "dataset": (lambda path: dataset(path / "saved"), np.arange(6), ("a", "b")),
}


@table("kind", KINDS)
def test_every_kind_gives_the_same_pictures_labels_and_conversions_and_crosses_to_another_process(tmp_path, kind):
    make, order, classes = KINDS[kind]
    path = make(tmp_path)
    source = sources.open(path)
    labels = LABELS[order] if classes else np.full(6, NO_LABEL)
    assert len(source) == 6 and source.classes == classes and source.levels == 256 and source.skipped == ()
    np.testing.assert_array_equal(source.labels, labels)
    for here in (source, pickle.loads(pickle.dumps(source))):
        for i, row in enumerate(order):
            image, label = here[i]
            np.testing.assert_array_equal(image, PIXELS[row])
            assert image.dtype == np.uint8 and label == labels[i] and label.dtype == np.int32
    with pytest.raises(IndexError):
        source[6]
    assert {source.short_side(i) for i in range(6)} == {4} == {sources.open(path, size=2).short_side(0)}
    assert source.digests() == tuple(random_access.digest(PIXELS[row]) for row in order)
    small = sources.open(path, size=2, mode="L", conditional="none")
    assert small[0].image.shape == (2, 2, 1) and small[0].label == NO_LABEL and small.classes == ()
    np.testing.assert_array_equal(
        small[0].image, random_access_to(folder(tmp_path / "other"), order[0], size=2, mode="L")
    )
    assert source.fingerprint == sources.open(path).fingerprint != small.fingerprint


def random_access_to(path, row, **options):
    return sources.open(path, **options)[list(BY_CLASS).index(row)].image


@table("kind", KINDS)
def test_a_fingerprint_moves_with_the_content_only(tmp_path, kind):
    path = KINDS[kind][0](tmp_path)
    before = sources.open(path, scan=False).fingerprint
    copied = (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / f"copy{path.suffix}")
    assert sources.open(copied, scan=False).fingerprint == before
    changed = PIXELS.copy()
    changed[3, 0, 0, 0] ^= 1
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    {"folder": folder, "dataset": dataset}.get(kind, lambda *_: None)(path, changed)
    if kind.startswith("record"):
        records(path, changed, encoding="png" if kind.endswith("png") else "raw")
    elif kind.startswith("np"):
        np.save(path, changed) if kind == "npy" else np.savez(path, images=changed, labels=LABELS)
    assert sources.open(path, scan=False).fingerprint != before


def test_names_and_classes_of_files_are_part_of_the_fingerprint(tmp_path):
    path = folder(tmp_path / "photos")
    before = sources.open(path).fingerprint
    (path / "a" / "0.png").rename(path / "a" / "00.png")
    named = sources.open(path).fingerprint
    (path / "a").rename(path / "c")
    assert len({before, named, sources.open(path).fingerprint}) == 3


def test_a_folder_has_classes_from_two_folders_on_and_is_read_at_any_depth_without_them(tmp_path):
    root = tmp_path / "photos"
    folder(root / "2024" / "summer")
    saved(root / "loose.png", PIXELS[0])
    plain = sources.open(root)
    assert len(plain) == 7 and plain.classes == () and set(plain.labels) == {NO_LABEL}
    saved(root / "2025.png", PIXELS[1])
    (root / "2025").mkdir()
    saved(root / "2025" / "x.png", PIXELS[2])
    with pytest.raises(DataError, match="2025.png: has no class: it lies beside the class folders 2024"):
        sources.open(root)
    skipping = sources.open(root, on_bad="skip")
    assert skipping.classes == ("2024", "2025") and len(skipping) == 7 and len(skipping.skipped) == 2
    assert len(sources.open(root, conditional="none")) == 9


def test_arrays_of_other_levels_and_floats_keep_their_values(tmp_path):
    np.save(tmp_path / "a.npy", integers(3, (4, 4), levels=1000).astype(np.uint16))
    deep = numpy_files.source(tmp_path / "a.npy", levels=1000)
    assert deep[0].image.dtype == np.uint16 and deep[0].image.shape == (4, 4, 1) and deep.levels == 1000
    np.savez(tmp_path / "a.npz", arr_0=np.linspace(-1, 1, 48).reshape(3, 4, 4))
    floats = sources.open(tmp_path / "a.npz")
    assert floats[0].image.dtype == np.float32 and floats[0].image[0, 0, 0] == -1
    with pytest.raises(DataError, match="image 0: only 8-bit images are converted"):
        sources.open(tmp_path / "a.npz", size=2)
    clear = np.concatenate([PIXELS, np.full((6, 5, 4, 1), 255, np.uint8)], axis=-1)
    clear[2, 0, 0, 3] = 0
    np.save(tmp_path / "rgba.npy", clear)
    with pytest.raises(DataError, match="image 2: has transparent pixels"):
        sources.open(tmp_path / "rgba.npy", mode="RGB")
    assert len(sources.open(tmp_path / "rgba.npy", mode="RGB", on_bad="skip")) == 5
    shaped = sources.open(
        records(tmp_path / "f.arrayrecord", integers(2, (2, 3, 5)).astype(np.float32), LABELS[:2], "raw")
    )
    assert shaped[1].image.shape == (2, 3, 5) and shaped[1].image.dtype == np.float32


def test_arr_1_is_the_labels_where_arr_0_is_the_images(tmp_path):
    np.savez(tmp_path / "a.npz", PIXELS, LABELS)  # as `finalize` and ADM's batches name them
    source = sources.open(tmp_path / "a.npz")
    assert source.labels.tolist() == LABELS.tolist() and source.classes == ("0", "1")
    assert sources.open(tmp_path / "a.npz", conditional="none").classes == ()
    np.savez(tmp_path / "a.npz", images=PIXELS, arr_1=LABELS)
    assert sources.open(tmp_path / "a.npz").classes == ()
    np.savez(tmp_path / "a.npz", PIXELS, LABELS * 0.5)
    with pytest.raises(DataError, match="labels must be integers, got float64"):
        sources.open(tmp_path / "a.npz")


# Held out.


def test_a_split_is_disjoint_keeps_copies_on_one_side_and_goes_by_content(tmp_path):
    pixels = np.concatenate([integers(40, (2, 2, 3)).astype(np.uint8)] * 2)  # every picture twice
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "b.npy", pixels[::-1])
    train, out = held_out.split(sources.open(tmp_path / "a.npy"), 0.2, seed=1)
    assert len(out) == 16 and len(train) == 64 and not set(train.digests()) & set(out.digests())
    assert set(held_out.split(sources.open(tmp_path / "b.npy", scan=False), 0.2, seed=1)[1].digests()) == set(
        out.digests()
    )
    assert set(held_out.split(sources.open(tmp_path / "a.npy"), 0.2, seed=2)[1].digests()) != set(out.digests())
    assert len({train.fingerprint, out.fingerprint, sources.open(tmp_path / "a.npy").fingerprint}) == 3
    np.save(tmp_path / "a.npy", pixels[[0] * 10])
    with pytest.raises(DataError, match="10 pictures, 1 of them different, holds out 0"):
        held_out.split(sources.open(tmp_path / "a.npy"), 0.2, seed=1)


def test_a_dataset_must_say_which_column_holds_the_pictures_and_which_the_class(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved_one = dataset(tmp_path / "one", number=list(range(6)))
    assert saved_datasets.recognises(saved_one) and len(sources.open(saved_one)) == 6
    table = datasets.load_from_disk(str(saved_one))
    table.remove_columns("picture").save_to_disk(str(tmp_path / "none"))
    table.add_column("other", table["kind"]).cast_column("other", datasets.ClassLabel(names=["x", "y"])).save_to_disk(
        str(tmp_path / "two")
    )
    datasets.DatasetDict(train=table, test=table).save_to_disk(str(tmp_path / "splits"))
    for name, message in (
        ("none", "has 0 columns of images"),
        ("two", "kind, other; remove"),
        ("splits", "splits test, train; pass"),
    ):
        with pytest.raises(DataError, match=f"^{tmp_path / name}: .*{message}"):
            sources.open(tmp_path / name)
    broken = shutil.copytree(saved_one, tmp_path / "broken")
    next(broken.glob("data-*.arrow")).write_bytes(b"words")
    with pytest.raises(DataError, match="not a whole dataset"):
        sources.open(broken)


@table("package", ["array_record.python", "datasets", "PIL"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, package):
    paths = {
        "array_record.python": tmp_path / "a.arrayrecord",
        "datasets": tmp_path,
        "PIL": folder(tmp_path / "photos"),
    }
    write(tmp_path / "a.arrayrecord", b"")
    write(tmp_path / "dataset_dict.json", b"{}")
    with (
        monkeypatch.context() as patch,
        pytest.raises(ImportError, match=r"need (array_record|datasets|Pillow): install .*\[data\]"),
    ):
        patch.setitem(sys.modules, package, None)
        sources.open(paths[package])


test_wrong_options_are_refused = refusals(
    (
        lambda: sources.open("https://example.org/photos.zip"),
        r"^https://example.org/photos.zip: URLs are not downloaded",
    ),
    (lambda: sources.open(".", on_bad="skp"), "on_bad = 'skp'.*did you mean 'skip'"),
    (lambda: sources.open(".", conditional="non"), "conditional = 'non'.*did you mean 'none'"),
    (lambda: sources.open(".", mode="RBG"), "mode = 'RBG'"),
    (lambda: sources.open(".", size=0), "size = 0"),
    (lambda: sources.open(".", background=(0, 0)), "must be 3 values"),
    (lambda: array_records.write("a.arrayrecord", [], encoding="jpg"), "encoding = 'jpg'"),
    (lambda: array_records.write("a.records", []), "must be named .arrayrecord"),
    (lambda: array_records.write("a.arrayrecord", []), "no images to write"),
    (lambda: records("a.arrayrecord", levels=5), "image 0: pixels lie in .*, but 5 levels are 0…4"),
)
