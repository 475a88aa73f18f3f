"""A cache gives back what it was built from, whatever stopped the build, and notices what changed."""

import os
import pickle
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import cache, held_out, random_access, sources
from tests.data.images.test_files import integers, saved
from tests.data.images.test_sources import LABELS, PIXELS, folder
from tests.refusals import refusals
from tests.tables import table


@pytest.fixture
def photos(tmp_path):
    return folder(tmp_path / "photos")


def built(photos, **options):
    return cache.build(
        sources.open(photos, scan=False, on_bad=options.pop("on_bad", "raise")),
        photos.parent / "cache",
        shard_size=4,
        **options,
    )


def equal(source, other):
    assert len(source) == len(other) and source.classes == other.classes and source.skipped == other.skipped
    for i in range(len(source)):
        np.testing.assert_array_equal(source[i].image, other[i].image)
        assert source[i].label == other[i].label


def test_a_cache_equals_its_source_also_in_another_process_and_is_split_the_same_way(photos):
    source, cached = sources.open(photos), built(photos)
    equal(source, cached)
    equal(source, pickle.loads(pickle.dumps(cached)))
    assert cached.fingerprint == source.fingerprint and cached.digests() == source.digests()
    for side, other in zip(held_out.split(source, 0.3, seed=0), held_out.split(cached, 0.3, seed=0), strict=True):
        equal(side, other)


def test_a_cache_is_read_again_without_decoding_and_a_changed_file_or_option_has_another_key(photos, monkeypatch):
    decoded = []
    read = sources.image_folder.ImageFolder.image
    monkeypatch.setattr(sources.image_folder.ImageFolder, "image", lambda self, i: decoded.append(i) or read(self, i))
    done = []
    built(photos, on_shard=lambda *counts: done.append(counts))
    assert len(decoded) == 6 and done == [(1, 2), (2, 2)]
    built(photos)
    assert len(decoded) == 6
    saved(photos / "a" / "0.png", PIXELS[1])
    np.testing.assert_array_equal(built(photos)[0].image, PIXELS[1])
    assert len(decoded) == 12
    cache.build(sources.open(photos, scan=False, size=2), photos.parent / "cache", shard_size=4)
    assert len(decoded) == 18


def test_an_encoding_is_stored_under_its_name_with_the_pictures_digests(photos):
    sizes = []

    def encode(images):
        sizes.append(len(images))
        return images.mean(axis=(1, 2)).astype(np.float32)

    encoded = built(photos, encode=encode, name="means-1", batch=3)
    plain = built(photos)
    assert sizes == [3, 1, 2] and encoded.digests() == plain.digests() and encoded.fingerprint != plain.fingerprint
    np.testing.assert_allclose(encoded[5].image, plain[5].image.mean(axis=(0, 1)), rtol=1e-6)
    for wrong in (lambda images: images[:1], lambda images: np.array(["a"] * len(images))):
        with pytest.raises(ValueError, match="encode gave"):
            built(photos, encode=wrong, name="wrong")


class Killed(BaseException):
    pass


@pytest.mark.fault("a build of the cache is killed")
@table("moment", ["replace", "fsync"])
def test_a_build_that_is_stopped_at_any_moment_is_completed_by_the_next(photos, monkeypatch, moment):
    expected, act = sources.open(photos), getattr(os, moment)
    for stop in range(4):  # two files each of two shards
        calls = []

        def stopping(*args, stop=stop, calls=calls):
            calls.append(args)
            if len(calls) > stop:
                raise Killed
            return act(*args)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, moment, stopping)
            cache.build(sources.open(photos, scan=False), photos.parent / f"{moment} {stop}", shard_size=4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            equal(
                expected,
                cache.build(sources.open(photos, scan=False), photos.parent / f"{moment} {stop}", shard_size=4),
            )


BUILD = """
import sys, time
from gendiff.data import cache, sources
def encode(images):
    time.sleep(0.02)
    return images.sum(axis=3)
cache.build(sources.open(sys.argv[1]), sys.argv[2], encode=encode, name="sum", shard_size=1)
"""


@pytest.mark.slow
@pytest.mark.fault("a build of the cache is killed")
def test_a_build_that_is_killed_with_9_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    photos, cache_folder = (
        folder(tmp_path / "photos", np.repeat(PIXELS, 10, axis=0), np.repeat(LABELS, 10)),
        tmp_path / "cache",
    )
    for delay in (0.0, 0.1, 0.25):
        with subprocess.Popen(
            [sys.executable, "-c", BUILD, str(photos), str(cache_folder)], env=os.environ | {"JAX_PLATFORMS": "cpu"}
        ) as process:
            before = len(list(cache_folder.rglob("*.json")))
            while process.poll() is None and len(list(cache_folder.rglob("*.json"))) == before:
                time.sleep(0.005)
            time.sleep(delay)
            process.kill()
    assert before < len(list(cache_folder.rglob("*.json"))) < 60
    encode, source = (lambda images: images.sum(axis=3)), sources.open(photos)
    again, new = (
        cache.build(source, each, encode=encode, name="sum", shard_size=1) for each in (cache_folder, tmp_path / "new")
    )
    equal(again, new)
    files = {
        path.relative_to(cache_folder): path.read_bytes() for path in cache_folder.rglob("*.*") if path.suffix != ".tmp"
    }
    assert files == {path.relative_to(tmp_path / "new"): path.read_bytes() for path in (tmp_path / "new").rglob("*.*")}


@pytest.mark.fault("damaged shard of the cache")
@table("suffix", ["npy", "json"])
@table("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_shard_is_noticed_and_built_again_with_a_warning(photos, suffix, damage):
    expected = built(photos)
    (shard,) = (photos.parent / "cache").glob(f"*/shard_00001.{suffix}")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes({"flip": content, "cut": content[:-3], "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        shard.unlink()
    if (suffix, damage) == ("json", "gone"):
        built(photos)  # as a shard that was never completed
    else:
        with pytest.warns(UserWarning, match="shard_00001.npy: damaged .* computed again"):
            built(photos)
    equal(expected, built(photos))


def test_bad_pictures_are_one_error_or_skipped_and_the_work_is_not_done_twice(photos):
    for i in range(2):
        (photos / "a" / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 8 files cannot be used: not a whole image \(2\)"):
        built(photos)
    before = sorted((photos.parent / "cache").rglob("*"))
    cached = built(photos, on_bad="skip")
    equal(sources.open(photos, on_bad="skip"), cached)
    assert sorted((photos.parent / "cache").rglob("*")) == before and len(cached) == 6 and len(cached.skipped) == 2
    assert cached.fingerprint == sources.open(photos, on_bad="skip").fingerprint
    for file in photos.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none is left"):
        built(photos, on_bad="skip")


def test_mixed_sizes_across_shards_are_refused(tmp_path):
    root = folder(tmp_path / "photos", PIXELS, np.zeros_like(LABELS))
    saved(root / "a" / "9.png", integers(1, (4, 4, 3))[0].astype(np.uint8))
    with pytest.raises(DataError, match=r"9.png: shape \(4, 4, 3\), but .*0.png has \(5, 4, 3\); pass size="):
        built(root)


def test_what_a_killed_build_left_is_removed_after_an_hour(photos):
    built(photos)
    (cache_folder,) = (photos.parent / "cache").iterdir()
    for name, age in ((".old.tmp", 7200), (".young.tmp", 0)):
        (cache_folder / name).write_bytes(b"x")
        os.utime(cache_folder / name, (time.time() - age,) * 2)
    built(photos)
    assert [path.name for path in cache_folder.glob(".*.tmp")] == [".young.tmp"]


class Few(random_access.Source):
    def image(self, i):
        raise AssertionError("refused before an image is read")

    def name(self, i):
        raise AssertionError("refused before a name is asked for")


FEW = Few(labels=LABELS, fingerprint="few")
test_wrong_arguments_are_refused = refusals(
    (lambda: cache.build(FEW, ".", encode=np.mean), "name = 'pixels'.*needs one of its own"),
    (lambda: cache.build(FEW, ".", name="latents"), "name = 'latents'"),
    (lambda: cache.build(FEW, ".", shard_size=0), "shard_size = 0"),
    (lambda: cache.build(FEW, ".", batch=0), "batch = 0"),
)
