import os
import re

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_folder, scaling


def put(path, value=0, shape=(4, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def tree(tmp_path):
    put(tmp_path / "dog" / "z.png", 1)
    put(tmp_path / "dog" / "deep" / "er" / "a.PNG", 2)
    put(tmp_path / "cat" / "b.png", 3)
    put(tmp_path / "10" / "c.png", 4)
    put(tmp_path / "2" / "d.png", 5)
    return tmp_path


def test_classes_are_the_sorted_top_folders_and_files_are_found_at_any_depth(tree):
    images = image_folder.load(tree)
    assert images.classes == ("10", "2", "cat", "dog")
    assert images.labels.tolist() == [0, 1, 2, 3, 3] and images.labels.dtype == np.int32
    assert scaling.from_unit(images.clean, images.levels)[:, 0, 0, 0].tolist() == [4, 5, 3, 2, 1]
    assert images.clean.shape == (5, 4, 4, 3) and images.clean.dtype == np.float32
    assert images.levels == 256 and images.skipped == () and len(images) == 5


def test_images_without_class_folders_have_no_label(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    images = image_folder.load(tmp_path, mode="L")
    assert images.labels.tolist() == [NO_LABEL, NO_LABEL] and images.classes == () and images.clean.shape == (2, 4, 4, 1)


def test_hidden_files_and_folders_are_no_part_of_the_set(tree):
    (tree / ".DS_Store").write_bytes(b"x")
    (tree / "cat" / ".hidden.png").write_bytes(b"x")
    put(tree / "cat" / ".thumbnails" / "b.png")
    assert len(image_folder.load(tree)) == 5


def test_mixed_sizes_are_an_error_without_a_size_and_one_array_with_one(tree):
    odd = put(tree / "dog" / "odd.png", shape=(6, 5, 3))
    with pytest.raises(DataError, match=rf"^{odd}: shape \(6, 5, 3\), but .*10/c.png has \(4, 4, 3\); pass size="):
        image_folder.load(tree)
    assert image_folder.load(tree, size=4).clean.shape == (6, 4, 4, 3)


@pytest.mark.parametrize("place", ["cat/text.jpg", "cat/notes.txt", "cat/empty.png", "Thumbs.db"])
def test_a_bad_or_loose_file_stops_the_load_or_is_skipped_and_counted(tree, place):
    bad = tree / place
    bad.write_text("" if "empty" in place else "words")
    message = f"^{bad}: {'lies beside the class folders' if place == 'Thumbs.db' else ''}"
    with pytest.raises(DataError, match=message):
        image_folder.load(tree)
    images = image_folder.load(tree, on_bad="skip")
    assert len(images) == 5 and images.classes == ("10", "2", "cat", "dog")
    assert len(images.skipped) == 1 and re.match(message, images.skipped[0])


def test_skipping_a_whole_class_keeps_the_other_labels(tree):
    (tree / "cat" / "b.png").write_bytes(b"")
    images = image_folder.load(tree, on_bad="skip")
    assert images.classes == ("10", "2", "cat", "dog") and images.labels.tolist() == [0, 1, 3, 3]


def test_a_folder_of_bad_files_only_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of its 1 files can be used"):
        image_folder.load(tmp_path, on_bad="skip")


def test_missing_wrong_and_empty_folders_are_told_apart(tmp_path):
    file = put(tmp_path / "a" / "a.png")
    (tmp_path / "b").mkdir()
    for path, message in ((tmp_path / "none", "no such folder"), (file, "not a folder"), (tmp_path / "b", "no images in it")):
        with pytest.raises(DataError, match=f"^{path}: {message}"):
            image_folder.load(path)
    with pytest.raises(DataError, match=f"^{tmp_path / 'b'}: a class without images"):
        image_folder.load(tmp_path)


def test_links_are_followed_but_not_round_in_circles(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "cow" / "a.png", 9)
    (tree / "cow").symlink_to(elsewhere / "cow")
    assert image_folder.load(tree).classes == ("10", "2", "cat", "cow", "dog")
    (tree / "dog" / "loop").symlink_to(tree / "dog")
    with pytest.raises(DataError, match="a link to a folder that is already part of class dog"):
        image_folder.load(tree)


def test_a_broken_link_and_a_pipe_are_bad_files(tree):
    (tree / "cat" / "gone.png").symlink_to(tree / "nothing.png")
    os.mkfifo(tree / "cat" / "pipe.png")
    images = image_folder.load(tree, on_bad="skip")
    assert len(images.skipped) == 2 and all("not a regular file" in message for message in images.skipped)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "RBG"}, "mode = 'RBG'.*did you mean 'RGB'"),
        ({"on_bad": "skp"}, "on_bad = 'skp'.*did you mean 'skip'"),
        ({"size": 0}, "size = 0"),
        ({"background": (0, 0, 256)}, "background = 256"),
    ],
)
def test_unknown_options_are_refused(tree, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder.load(tree, **options)
