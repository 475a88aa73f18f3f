"""Manifests of C2PA, signed by a certificate that the test makes."""

import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.provenance import content_credentials
from gendiff.provenance.content_credentials import Certificate
from tests.tables import table

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
SETTINGS = {"prompt": "a cat", "steps": 30}
installed = pytest.mark.skipif(
    importlib.util.find_spec("c2pa") is None, reason="the package c2pa-python is not installed"
)


@pytest.fixture(scope="module")
def certificate():
    return content_credentials.self_made_certificate("A Test")


def picture(folder, suffix):
    Image.fromarray(PICTURE).save(folder / f"plain{suffix}")
    return folder / f"plain{suffix}"


def signed(folder, suffix, certificate):
    content_credentials.sign(
        picture(folder, suffix), folder / f"signed{suffix}", certificate, SETTINGS, program="gendiff"
    )
    return folder / f"signed{suffix}"


@installed
@table("suffix", [".png", ".jpg"])
def test_a_signed_picture_says_what_made_it_and_keeps_its_pixels(suffix, certificate, tmp_path):
    file = signed(tmp_path, suffix, certificate)
    result = content_credentials.read(file)
    assert (result.state, result.issuer, result.generator) == ("Valid", "A Test", "gendiff"), (
        "intact, and nobody vouches for the issuer"
    )
    assert result.settings == SETTINGS and result.sources == (content_credentials.GENERATED,)
    assert result.problems == ("signingCredential.untrusted",)
    with Image.open(file) as new, Image.open(tmp_path / f"plain{suffix}") as old:
        np.testing.assert_array_equal(np.asarray(new), np.asarray(old))
    assert content_credentials.read(tmp_path / f"plain{suffix}") is None


@installed
def test_a_picture_that_was_changed_after_it_was_signed_is_invalid(certificate, tmp_path):
    file = signed(tmp_path, ".png", certificate)
    content = bytearray(file.read_bytes())
    content[content.rfind(b"IDAT") + 40] ^= 1
    file.write_bytes(bytes(content))
    result = content_credentials.read(file)
    assert result.state == "Invalid" and any("dataHash" in problem for problem in result.problems)


@installed
def test_foreign_files_and_certificates_that_cannot_sign_are_errors_with_the_path(certificate, tmp_path):
    plain, other = picture(tmp_path, ".png"), content_credentials.self_made_certificate("B")
    with pytest.raises(DataError, match=r"plain\.png: cannot be signed"):
        content_credentials.sign(
            plain, tmp_path / "a.png", Certificate(b"no certificate", certificate.key), {}, program="p"
        )
    with pytest.raises(DataError, match=r"plain\.png: cannot be signed"):
        content_credentials.sign(plain, tmp_path / "a.png", Certificate(certificate.chain, other.key), {}, program="p")
    with pytest.raises(ValueError, match="a manifest converts nothing"):
        content_credentials.sign(plain, tmp_path / "a.jpg", certificate, {}, program="p")
    with pytest.raises(ValueError, match=r"ends in '\.gif'"):
        content_credentials.sign(plain, tmp_path / "a.gif", certificate, {}, program="p")
    with pytest.raises(DataError, match=r"plain\.gif: neither PNG nor JPEG"):
        content_credentials.read(picture(tmp_path, ".gif"))
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        content_credentials.read(tmp_path / "absent.png")
    assert not (tmp_path / "a.png").exists()


def test_without_the_package_the_extra_that_brings_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ImportError, match=r"c2pa-python: install this project's extra \[c2pa\]"):
        content_credentials.read(tmp_path / "a.png")
