"""The page in a real browser: sliders count, the picture is shown on its way, it can be stopped, and it fits a
phone.
"""

import re
import time

import numpy as np
import pytest
from PIL import Image

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from gendiff.commands.serve import trusted_hosts, web_app  # noqa: E402
from gendiff.commands.serve.batching import Batcher  # noqa: E402
from gendiff.commands.serve.image_requests import Limits  # noqa: E402
from tests.commands.serve.fake_program import SIDE, FakeProgram, served  # noqa: E402
from tests.commands.serve.serving import serving  # noqa: E402
from tests.runs.test_report_browser import browser  # noqa: E402, F401

pytestmark = pytest.mark.slow


class Slow(FakeProgram):
    """A step takes long enough to be seen. last: the request that it drew last."""

    def begin(self, request, words, index):
        self.last = request
        return super().begin(request, words, index)

    def step(self, rows, done):
        time.sleep(0.05)
        return super().step(rows, done)


@pytest.fixture(scope="module")
def server():
    """(address, batcher, program) of a server in a thread."""
    program = Slow(2)
    batcher = Batcher(program, 8)
    app = web_app.web_app(
        served(), batcher, Limits("fake", SIDE, SIDE, steps=100, usual_steps=30), {*trusted_hosts.LOOPBACK}
    )
    with serving(app) as (port, _):
        yield f"http://127.0.0.1:{port}", batcher, program


@pytest.fixture
def opened(browser, server):  # noqa: F811
    """opened(width) -> the page; fails where it complained, or asked another host."""
    pages, console, urls = [], [], []

    def open_page(width=1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.set_default_timeout(60_000)  # a loaded machine must not fail it
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(server[0])
        page.get_by_text("pictures of one colour").wait_for()
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert console == [] and all(url.startswith((server[0], "data:")) for url in urls)


def images(page):
    page.get_by_role("button", name="Draw").click()
    page.get_by_text("Drawn in").wait_for()
    return page.locator("#picture").get_attribute("src")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_picture_is_drawn_shown_on_its_way_and_nothing_is_wider_than_the_screen(opened, width):
    page = opened(width)
    page.get_by_label("Prompt", exact=True).fill("a red cat")
    page.get_by_label("Steps").press("Home")
    for _ in range(5):
        page.get_by_label("Steps").press("ArrowRight")
    last = images(page)
    assert page.locator("#picture").evaluate("each => each.decode().then(() => each.naturalWidth)") == SIDE
    assert (
        page.get_by_text("no caption has the word cat").is_visible()
        and page.locator("#steps-shown").inner_text() == "6"
    )
    look = page.get_by_label("On the way")
    look.press("Home")
    assert (
        page.locator("#look-shown").inner_text() == "step 1 of 6"
        and page.locator("#picture").get_attribute("src") != last
    )
    look.press("End")
    assert (
        page.locator("#picture").get_attribute("src")
        == last
        == page.get_by_text("Save the picture").get_attribute("href")
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.locator("input:visible, button:visible, textarea:visible").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 24, "large enough for a finger (WCAG 2.2, 2.5.8)"


def test_the_seed_counts_and_another_one_is_drawn_at_once_where_that_is_wanted(opened):
    page = opened()
    page.get_by_label("Prompt", exact=True).fill("a circle")
    page.get_by_label("Steps").press("Home")
    first = images(page)
    assert images(page) == first
    page.get_by_label("Draw again whenever something changes").check()
    page.get_by_label("Seed").fill("5")
    page.get_by_text("seed 5.").wait_for()
    assert page.locator("#picture").get_attribute("src") != first


def test_several_pictures_are_drawn_from_a_picture(opened, tmp_path):
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "start.png")
    page = opened()
    page.get_by_label("Prompt", exact=True).fill("a circle")
    page.get_by_label("Pictures").fill("3")
    page.get_by_label("Begin from a picture").set_input_files(tmp_path / "start.png")
    page.get_by_label("Change", exact=True).press("Home")
    images(page)
    assert page.locator("#pictures img").count() == 3 and page.locator("#saves a").count() == 3
    assert len(set(page.locator("#saves a").evaluate_all("all => all.map(each => each.href)"))) == 3
    assert page.locator("#look-shown").inner_text().endswith(" of 2")  # 5 % of 30 steps


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_painted_over_the_picture_is_drawn_anew(opened, server, tmp_path, width):
    """Its middle is drawn: pixels 12 to 36 of 48, 3 for each of the 8. Painted are about 14 to 22."""
    Image.new("RGB", (48, 24), "green").save(tmp_path / "start.png")
    page, program = opened(width), server[2]
    page.get_by_label("Prompt", exact=True).fill("a circle")
    page.get_by_label("Steps").press("Home")
    for _ in range(3):
        page.get_by_label("Steps").press("ArrowRight")
    assert not page.get_by_text("Paint what is drawn anew").is_visible()
    page.get_by_label("Begin from a picture").set_input_files(tmp_path / "start.png")
    page.get_by_label("Brush").fill("33")
    assert page.locator("#strength-shown").inner_text() == "0.7" and page.evaluate("point") is None
    strokes = page.locator("#strokes")
    strokes.scroll_into_view_if_needed()
    box = strokes.bounding_box()
    across = box["x"] + box["width"] * 18 / 48
    page.mouse.move(across, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(across, box["y"] + box["height"] - 1, steps=5)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 1)  # which paints nothing, as no button is down
    assert page.locator("#strength-shown").inner_text() == "1"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    images(page)
    np.testing.assert_array_equal(program.last.mask[..., 0], np.tile([0, 1, 1, 0, 0, 0, 0, 0], (SIDE, 1)))
    assert program.last.first == 0 and program.last.picture is not None
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#strength-shown").inner_text() == "0.7"
    images(page)
    assert program.last.mask is None and program.last.first == 1


def test_no_brush_is_offered_for_a_file_that_is_no_picture_nor_by_a_server_that_takes_no_mask(opened, tmp_path):
    page = opened()
    (tmp_path / "start.png").write_bytes(b"no picture")
    page.get_by_label("Begin from a picture").set_input_files(tmp_path / "start.png")
    page.get_by_label("Change", exact=True).wait_for()
    page.wait_for_timeout(300)
    assert not page.get_by_label("Brush").is_visible()

    def without_masks(route):
        answer = route.fetch().json()
        answer["data"][0]["masks"] = False
        route.fulfill(json=answer)

    page.route("**/v1/models", without_masks)
    page.reload()
    page.get_by_text("pictures of one colour").wait_for()
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "start.png")
    page.get_by_label("Begin from a picture").set_input_files(tmp_path / "start.png")
    page.get_by_label("Change", exact=True).wait_for()
    page.wait_for_timeout(300)
    assert not page.get_by_label("Brush").is_visible()


def test_stopping_leaves_nothing_to_draw_and_an_empty_prompt_is_not_sent(opened, server):
    page, batcher = opened(), server[1]
    requests = batcher.totals.requests
    page.get_by_role("button", name="Draw").click()
    assert batcher.totals.requests == requests
    page.get_by_label("Prompt", exact=True).fill("a circle")
    page.get_by_label("Steps").press("End")
    page.get_by_role("button", name="Draw").click()
    page.get_by_text(re.compile(r"Step \d+ of 100")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    ends = time.monotonic() + 20
    while batcher.active and time.monotonic() < ends:
        time.sleep(0.01)
    assert batcher.active == batcher.waiting == 0 and batcher.totals.cancelled >= 1
