"""The pages of `copies` in a real browser: pairs stand side by side and nothing is wider than a phone."""

import numpy as np
import pytest

from experiments import catalogue
from gendiff.commands import command_line
from tests.commands.test_copies import FRESH, TRAIN, folder, planted
from tests.runs.test_report_browser import browser  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    long = "a_name_without_any_place_to_break_it_{:03d}.png"
    sets = {"samples": planted(), "train": TRAIN, "held_out": FRESH}
    for name, images in sets.items():
        folder(root / name, images[::2], f"one_class/{long}")
        folder(root / name, images[1::2], f"another_class/{long}")
    for name, seed in (("texts", 0), ("corpus", 1)):
        (root / name).mkdir()
        words = [f"word{number}" * 9 for number in np.random.default_rng(seed).integers(0, 9, 60)]
        (root / name / "a.txt").write_text(" ".join(words))
    arguments = {
        "pictures": ("samples", "--train", "train", "--held-out", "held_out"),
        "words": ("texts", "--text", "--train", "corpus"),
    }
    for name, words in arguments.items():
        paths = [str(root / word) if (root / word).exists() else word for word in words]
        assert command_line.main(["copies", *paths, "--out", str(root / name)], catalogue.EXPERIMENTS) == 0
    return {name: f"file://{root / name / 'copies.html'}" for name in arguments}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["pictures", "words"])
def test_a_page_fits_the_screen_and_shows_what_it_compares_side_by_side(browser, pages, name, width):  # noqa: F811
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(pages[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    if name == "pictures":
        tops = page.evaluate(
            "[...document.querySelector('.beside').querySelectorAll('img')].map(each => "
            "each.getBoundingClientRect().top)"
        )
        assert len(tops) == 3 and len(set(tops)) == 1
    else:
        lefts = page.evaluate(
            "[...document.querySelector('.texts').children].map(each => each.getBoundingClientRect().left)"
        )
        assert (len(set(lefts)) == 2) == (width == 1280), "beside each other, and below each other on a phone"
    page.close()
