"""Settings inside the files of pictures."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gendiff.provenance import metadata
from tests.refusals import refusals
from tests.tables import table

SETTINGS = {"prompt": "eine Katze, 猫", "seed": 3, "guidance": 5.5, "labels": [1, None], "nested": {"on": True}}
PICTURE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


@table("channels", [1, 3])
def test_a_png_keeps_every_pixel_and_its_settings_and_other_programs_can_read_them(tmp_path, channels):
    file = tmp_path / "a.png"
    metadata.save(file, PICTURE[..., :channels], SETTINGS)
    assert metadata.read(file) == metadata.Metadata("PNG", (8, 6), SETTINGS, {})
    with Image.open(file) as opened:
        np.testing.assert_array_equal(np.asarray(opened).reshape(6, 8, channels), PICTURE[..., :channels])
        assert json.loads(opened.text["gendiff"]) == SETTINGS == json.loads(metadata.entries(SETTINGS)["gendiff"])


def test_a_jpeg_holds_settings_in_its_comment(tmp_path):
    for name in ("a.jpg", "b.JPEG"):
        metadata.save(tmp_path / name, PICTURE, SETTINGS, quality=90)
        assert metadata.read(tmp_path / name) == metadata.Metadata("JPEG", (8, 6), SETTINGS, {})
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.info["comment"].startswith(b'gendiff {"prompt"')


def test_what_other_programs_wrote_is_reported_and_not_taken_for_settings(tmp_path):
    information, exif = PngInfo(), Image.Exif()
    information.add_text("parameters", "a cat, Steps: 20", zip=True)
    information.add_text("Software", "Painter")
    exif[0x0131], exif.get_ifd(0x8769)[0x9286] = "Camera 3", b"UNICODE\0" + "prompt: ü".encode("utf-16-be")
    picture = Image.fromarray(PICTURE)
    picture.save(tmp_path / "a.png", pnginfo=information)
    picture.save(tmp_path / "a.jpg", exif=exif, comment="gendiffusion {}", xmp=b"<x:xmpmeta/>")
    picture.save(tmp_path / "bare.png")
    results = [metadata.read(tmp_path / name) for name in ("a.png", "a.jpg", "bare.png")]
    assert [each.settings for each in results] == [None] * 3 and results[2].others == {}
    assert results[0].others == {"parameters": "a cat, Steps: 20", "Software": "Painter"}
    assert results[1].others == {
        "comment": "gendiffusion {}",
        "Software": "Camera 3",
        "UserComment": "prompt: ü",
        "XMP": "<x:xmpmeta/>",
    }


@table("text", ["{", "[1]", '"a"', '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000])
def test_an_entry_that_is_no_json_object_is_an_error_with_the_path(tmp_path, text):
    information = PngInfo()
    information.add_itxt("gendiff", text)
    Image.fromarray(PICTURE).save(tmp_path / "a.png", pnginfo=information)
    with pytest.raises(metadata.DataError, match=r"a\.png: its entry 'gendiff'"):
        metadata.read(tmp_path / "a.png")


@table("suffix", ["png", "jpg"])
def test_cut_and_foreign_files_are_errors_with_the_path(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    metadata.save(file, PICTURE, SETTINGS)
    content = file.read_bytes()
    for broken in (content[: len(content) // 2], b"", b"GIF89a" + content):
        file.write_bytes(broken)
        with pytest.raises(metadata.DataError, match=f"a.{suffix}: no whole PNG or JPEG"):
            metadata.read(file)
    with pytest.raises(metadata.DataError, match="no such file"):
        metadata.read(tmp_path / "absent.png")


test_what_a_file_cannot_hold_is_refused = refusals(
    (lambda: metadata.entries({"a": float("nan")}), "settings must be what JSON can hold"),
    (lambda: metadata.entries({"a": PICTURE}), "settings must be what JSON can hold"),
    (lambda: metadata.save("a.webp", PICTURE, {}), "give a .png, .jpg or .jpeg"),
    (lambda: metadata.save("a.jpg", PICTURE, {"a": "x" * 70_000}), "settings take 70017 bytes"),
    (lambda: metadata.save("a.jpg", PICTURE, {}, quality=100), "quality = 100"),
    *(
        (lambda image=image: metadata.save("a.png", image, {}), "1 or 3 channels")
        for image in (PICTURE[..., :2], PICTURE[..., 0], PICTURE / 255)
    ),
)


def test_without_pillow_the_extra_that_brings_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Pillow: install this project's extra \[data\]"):
        metadata.read(tmp_path / "a.png")
