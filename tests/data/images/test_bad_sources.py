"""Hostile input: each bad file, folder or record is one printable error that starts with its path, and skipped only
when asked.
"""

import contextlib
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.data import image_files, random_access, sources
from tests.data.images.test_files import LAYERED, integers, png, saved
from tests.data.images.test_sources import LABELS, PIXELS, folder, npy, npz, write
from tests.tables import table


@contextlib.contextmanager
def as_another_user():
    """Root may read everything, so the test is nobody for a moment; any other user stays who it is."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.mark.fault("unreadable image")
def test_what_this_user_may_not_read_is_an_error_that_says_so():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        root = Path(name)
        root.chmod(0o755)
        whole_folder, closed, file = folder(root / "closed"), folder(root / "photos") / "b", npz(root / "a.npz")
        picture = sorted((root / "photos" / "a").iterdir())[0]
        for path, mode in ((whole_folder, 0), (picture, 0), (file, 0)):
            path.chmod(mode)
        with as_another_user():
            for path in (whole_folder, whole_folder / "a", whole_folder / "dataset_dict.json", file):
                with pytest.raises(DataError, match=f"^{path}: may not be read by this user"):
                    sources.open(path)
            with pytest.raises(DataError, match=f"^{picture}: may not be read by this user"):
                sources.open(root / "photos")
            assert len(sources.open(root / "photos", on_bad="skip").skipped) == 1
        whole_folder.chmod(0o644)  # without the right to search it, a folder gives its names only
        closed.chmod(0)
        with as_another_user():
            for path, culprit in ((whole_folder, whole_folder), (closed, closed), (root / "photos", closed)):
                with pytest.raises(DataError, match=f"^{culprit}: may not be read by this user"):
                    sources.open(path)
        whole_folder.chmod(0o755), closed.chmod(0o755)


def bomb(path):
    """An archive that says it grows from some hundred bytes to 64 GiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(10**5))
        archive.filelist[0].file_size = 2**36


def nested(path):
    inner = npz(path.with_name("inner.npz")).read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", inner)


def named(**arrays):
    return lambda path: np.savez(path, **{"images": PIXELS, "labels": LABELS} | arrays)


def animation(path):
    saved(path, PIXELS[0], save_all=True, append_images=[Image.fromarray(PIXELS[1])])


def cut(path):
    whole_file = saved(path, integers(1, (64, 64, 3))[0].astype(np.uint8)).read_bytes()
    path.write_bytes(whole_file[: len(whole_file) // 2])


def record_of(*lines):
    def make(path):
        module = pytest.importorskip("array_record.python.array_record_module")
        writer = module.ArrayRecordWriter(str(path), "group_size:1")
        for line in lines:
            writer.write(line)
        writer.close()

    return make


def header(count=1, classes="[]", levels=256):
    return b'{"format": "gendiff images", "version": 1, "count": %d, "classes": %s, "levels": %d}' % (
        count,
        classes.encode(),
        levels,
    )


def raw(array):
    about = {"label": -1, "encoding": "raw", "dtype": array.dtype.name, "shape": array.shape}
    return json.dumps(about).encode() + b"\n" + array.tobytes()


HOSTILE = {  # file, how it is made, and the words of its error
    "truncated": ("x.png", cut, "not a whole"),
    "text": ("x.jpg", lambda path: write(path, b"no image\n"), "not a whole"),
    "empty": ("x.png", lambda path: write(path, b""), "not a whole"),
    "16 bits with a transparent colour": (
        "x.png",
        lambda path: png(path, 8, 8, 16, 0, bytes(136), b"\0\7"),
        "16 bits with a transparent",
    ),
    "alpha": ("x.png", lambda path: saved(path, LAYERED), "transparent pixels"),
    "huge header": ("x.png", lambda path: png(path, 60000, 60000, 8, 2), "decompression bomb|60000"),
    "animated": ("x.gif", animation, "animated"),
    "pipe": ("x.png", os.mkfifo, "not a regular file"),
    "broken link": ("x.png", lambda path: path.symlink_to("nothing"), "not a regular file"),
    "link to itself": ("x.png", lambda path: path.symlink_to("x.png"), "not a regular file"),
    "folder that holds itself": ("a/x", lambda path: path.symlink_to(path.parent), "already part of a"),
    "folder that holds the root": ("a/x", lambda path: path.symlink_to(path.parent.parent), "already part of a"),
    "not UTF-8": (os.fsdecode(b"\xff\xfe.png"), lambda path: write(path, b"x"), "not a whole"),
    "control characters in its name": (
        "x\n\x1b[31m.png",
        lambda path: write(path, b"x"),
        r"x\\n\\x1b\[31m.png: not a whole",
    ),
    "other suffix": ("x.tiff", lambda path: write(path, b"x"), "ends in none of"),
    "not an archive": ("x.npz", lambda path: write(path, b"PK\x03\x04"), "not a whole NumPy file"),
    "objects": ("x.npz", named(images=np.array([print] * 6, dtype=object)), "must be|not a whole"),
    "object labels": ("x.npz", named(labels=np.array([print] * 6, dtype=object)), "not a whole"),
    "a label of 2³¹ - 1": ("x.npz", named(labels=np.full(6, 2**31 - 1)), "labels lie in 2147483647"),
    "a negative label": ("x.npz", named(labels=np.full(6, -7)), "labels lie in -7"),
    "archive in an archive": ("x.npz", nested, "not a whole NumPy file"),
    "zip bomb": ("x.npz", bomb, "grows from"),
    "long npy": ("x.npy", lambda path: write(path, npy(path).read_bytes() + b"x"), "more bytes than its shape"),
    "cut npy": ("x.npy", lambda path: write(path, npy(path).read_bytes()[:-9]), "not a whole"),
    "pickle": ("x.npy", lambda path: write(path, pickle.dumps(PIXELS)), "not a whole"),
    "text as a record": ("x.arrayrecord", lambda path: write(path, b"words"), "not a whole ArrayRecord"),
    "long text as a record": ("x.arrayrecord", lambda path: write(path, b"words" * 30000), "not a whole ArrayRecord"),
    "another record": ("x.arrayrecord", record_of(b"words"), "record 0 is not the JSON"),
    "deep JSON": ("x.arrayrecord", record_of(b"[" * 10**5), "record 0 is not the JSON"),
    "missing records": (
        "x.arrayrecord",
        record_of(header(3), b'{"label": -1, "encoding": "png"}\nx'),
        "holds 1 images, but",
    ),
    "no header": ("x.arrayrecord", record_of(header(), b"words"), "does not begin with a line of JSON"),
    "a record's label": (
        "x.arrayrecord",
        record_of(header(), b'{"label": 2147483647, "encoding": "png"}\n'),
        "label 2147483647",
    ),
    "a label without class": (
        "x.arrayrecord",
        record_of(header(), b'{"label": 4, "encoding": "png"}\n'),
        "there are 0 classes",
    ),
    "a text as PNG": (
        "x.arrayrecord",
        record_of(header(), b'{"label": -1, "encoding": "png"}\nwords'),
        "image 0: not a whole",
    ),
    "forged shape": (
        "x.arrayrecord",
        record_of(header(), b'{"label": -1, "encoding": "raw", "dtype": "uint8", "shape": [100000, 100000, 3]}\nwords'),
        "5 bytes are no uint8 array",
    ),
    "a value beyond the levels": (
        "x.arrayrecord",
        record_of(header(levels=1000), raw(np.full((2, 2, 1), 1000, np.uint16))),
        "image 0: pixels lie in 1000…1000, but 1000 levels are",
    ),
    "16 bits with the levels of 8": (
        "x.arrayrecord",
        record_of(header(), raw(np.full((2, 2, 1), 300, np.uint16))),
        "image 0: pixels lie in 300…300, but 256 levels are",
    ),
    "a PNG with values beyond the levels": (
        "x.arrayrecord",
        record_of(header(levels=2), b'{"label": -1, "encoding": "png"}\n' + image_files.to_png("", PIXELS[0])),
        r"image 0: pixels lie in .*, but 2 levels are 0…1",
    ),
    "nothing": ("x.npz", lambda path: None, "no such file or folder"),
    "unknown file": (
        "x.csv",
        lambda path: write(path, b"x"),
        "no suffix that is known here; a folder of images or sounds, an .npy",
    ),
    "one picture": ("x.PNG", lambda path: saved(path, PIXELS[0]), "that is one picture; give its folder"),
    "archive": ("x.tar.gz", lambda path: write(path, b"x"), "that is an archive; unpack it"),
    "device": ("x.npz", os.mkfifo, "not a regular file; a folder of images"),
}
IN_A_FOLDER = (".png", ".jpg", ".gif", ".tiff", "a/x")


@pytest.mark.fault(
    "unreadable image", "unexpected file in a folder of images", "crafted npz header", "a request larger than memory"
)
@table("kind", HOSTILE)
def test_hostile_input_is_one_printable_error_that_names_its_path(tmp_path, kind):
    name, make, message = HOSTILE[kind]
    root = folder(tmp_path / "photos") if name.endswith(IN_A_FOLDER) else tmp_path
    path = root / (f"a/{name}" if name.endswith(IN_A_FOLDER[:-1]) else name)
    make(path)
    with pytest.raises(DataError, match=message) as raised:
        sources.open(root if name.endswith(IN_A_FOLDER) else path)
    assert str(raised.value).startswith(random_access.printable(path)) and str(raised.value).encode()
    assert "\n" not in str(raised.value)
    if name.endswith(IN_A_FOLDER[:-1]):
        skipping = sources.open(root, on_bad="skip")
        assert len(skipping) == 6 and len(skipping.skipped) == 1 and skipping.skipped[0].encode()


def test_reasons_are_those_of_messages_of_every_kind_of_source():
    messages = [
        "/a b/x.png: animated: 2 frames; extract",
        "/a.npz: image 2: has transparent pixels; pass",
        "/s: row 1: animated: 3 frames; e",
    ]
    assert random_access.reasons(messages) == "animated (2), has transparent pixels (1)"


@pytest.mark.fault("unreadable image")
def test_bad_pictures_are_one_error_with_the_first_five_and_a_count_for_each_reason(tmp_path):
    root = folder(tmp_path / "photos")
    for i in range(7):
        write(root / "a" / f"bad{i}.png", b"")
    animation(root / "a" / "animated.gif")
    write(root / "a" / "notes.txt", b"words")
    with pytest.raises(DataError) as raised:
        sources.open(root)
    lines = str(raised.value).splitlines()
    assert (
        lines[5] == "… and 4 more"
        and len(set(lines)) == len(lines) == 7
        and lines[0].startswith(f"{root / 'a' / 'animated.gif'}: ")
    )
    assert (
        lines[6] == "9 of 15 files cannot be used: not a whole image (7), animated (1), unknown suffix (1); "
        'repair or remove them, or pass on_bad="skip"'
    )
    assert (
        len(raised.value.messages) == 9 and pickle.loads(pickle.dumps(raised.value)).messages == raised.value.messages
    )
    for name in ("animated.gif", "notes.txt"):
        (root / "a" / name).unlink()
    skipping = sources.open(root, on_bad="skip")
    assert len(skipping) == 6 and len(skipping.skipped) == 7 and len(skipping.digests()) == 6
    shutil.rmtree(root / "b")
    for i in range(6):
        (root / "a" / f"{i}.png").unlink(missing_ok=True)
    with pytest.raises(DataError, match="7 of 7 files cannot be used: .*; none is left"):
        sources.open(root, on_bad="skip")
    saved(root / "a" / "small.png", PIXELS[0, :2])
    saved(root / "a" / "tall.png", PIXELS[0])
    with pytest.raises(DataError, match=r"tall.png: shape \(5, 4, 3\), but .*small.png has \(2, 4, 3\); pass size="):
        sources.open(root, on_bad="skip")
