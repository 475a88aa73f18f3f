"""The report in a real browser: Debian's chromium, driven by playwright.

Skipped where either is missing, with the reason; an error where CI=true, since there the page must have been opened.
"""

import importlib.util
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from gendiff.runs.reporting import figures, report, results, verdicts

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
SCALES, STEPS = (0, 1.5, 12), (10, 50)
COLOURS = {
    (scale, step): (80 * i + 20, 200 * j + 20, 130) for i, scale in enumerate(SCALES) for j, step in enumerate(STEPS)
}
"""The one colour of an explorer's picture at each place."""
FRAMES = 4
WIDTHS = (375, 1280)


@pytest.fixture(scope="module")
def browser():
    lacking = None if CHROMIUM else "no chromium on PATH: apt-get install chromium"
    if importlib.util.find_spec("playwright") is None:
        lacking = "the Python package playwright is not installed: pip install -e '.[dev]'"
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"under CI=true the report must be opened in a browser, but {lacking}", pytrace=False)
    if lacking:
        pytest.skip(lacking)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of the report of a small run folder: an explorer, a scrubber, small multiples in one and two columns, a wide
    table.
    """
    folder = tmp_path_factory.mktemp("run")
    plain = np.array([[COLOURS[scale, step] for step in STEPS] for scale in SCALES], np.uint8)
    pictures = np.broadcast_to(plain[:, :, None, None, None], (3, 2, 1, 8, 8, 3))
    axes = (results.Axis("guidance scale", SCALES), results.Axis("steps", STEPS))
    explorer = figures.explorer(pictures, axes, folder / "explorer.png", "One colour a place", start=(1, 0))
    shades = np.linspace(-1, 1, FRAMES)[:, None, None, None, None]
    figures.denoising_sprite(
        np.broadcast_to(shades, (FRAMES, 1, 8, 8, 1)), folder / "denoising.png", labels=list("abcd")
    )
    x = np.array(SCALES, float)
    panels = [
        figures.Panel(name, [figures.Curve("shapes", x, x / 12, x / 12 - 0.1, x / 12 + 0.1)])
        for name in ("Adherence", "Diversity")
    ]
    plots = [
        figures.small_multiples(panels, folder / f"{name}.png", caption, x_label="guidance scale", columns=columns)
        for columns, name, caption in ((1, "narrow", "Below each other"), (2, "wide", "Beside each other"))
    ]
    fields = {"n": 100, "seed": 0}
    rises = verdicts.claim(
        "adherence", "Adherence rises with the scale", 0.9, (0.8, 0.95), ">=", 0.5, figure="narrow.png", **fields
    )
    deaf = verdicts.claim(
        "unlabelled", "A network that ignores its label", 0.0, (-0.1, 0.1), ">=", 0.05, kind="control", **fields
    )
    outcome = results.conclude(
        "guidance",
        "What does guidance buy, and what does it cost?",
        {"steps": STEPS, "a_long_name_" * 8: "a long value " * 8},
        [rises, deaf],
        seeds=(0,),
        seconds={"train": 1.0},
        environment=results.Environment(
            commit="a" * 40, dirty=False, versions={"jax": "1"}, machine={"devices": "x" * 90}
        ),
        figures=plots,
        tables=[results.Table("Many columns", tuple("abcdefgh"), (("a method with a name", *((0.5, 0.4, 0.6),) * 7),))],
        explorers=[explorer],
    )
    results.write(outcome, folder)
    return report.write(folder).as_uri()


@pytest.fixture
def opened(browser, address):
    """opened(width=…, **options of a browser context) -> the loaded page; fails where a page complained or asked for
    anything.
    """
    contexts, message, urls = [], [], []

    def open_page(width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)  # a loaded machine must not fail it
        page.on("console", lambda message: message.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: message.append(f"error: {error}"))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert message == []
    assert [url for url in urls if not url.startswith("data:")] == [address] * len(contexts)


def colour(sprite):
    """RGB in the middle of what the element shows."""
    picture = Image.open(io.BytesIO(sprite.screenshot())).convert("RGB")
    return picture.getpixel((picture.width // 2, picture.height // 2))


def parts(page, kind):
    box = page.locator(f"figure.{kind}")
    return box, box.locator(".sprite"), box.locator("input")


def test_each_slider_changes_the_picture_and_its_value_by_keyboard(opened):
    page = opened()
    box, sprite, sliders = parts(page, "explorer")
    scale, steps = page.get_by_label("guidance scale"), page.get_by_label("steps", exact=True)
    assert sliders.count() == 2 and colour(sprite) == COLOURS[1.5, 10]
    moves = [
        (scale, "ArrowRight", (12, 10)),
        (steps, "ArrowRight", (12, 50)),
        (scale, "Home", (0, 50)),
        (scale, "End", (12, 50)),
    ]
    for slider, key, texts in (*moves, (steps, "ArrowLeft", (12, 10))):
        slider.press(key)
        assert colour(sprite) == COLOURS[texts]
        assert box.locator("output").all_inner_texts() == [str(value) for value in texts]
    assert scale.get_attribute("aria-valuetext") == "12"


def test_a_slider_can_be_dragged(opened):
    page = opened(375, has_touch=True)
    _, sprite, sliders = parts(page, "explorer")
    sliders.first.scroll_into_view_if_needed()
    room = sliders.first.bounding_box()
    page.mouse.click(room["x"] + room["width"] - 4, room["y"] + room["height"] / 2)
    assert colour(sprite) == COLOURS[12, 10]
    page.touchscreen.tap(room["x"] + 4, room["y"] + room["height"] / 2)
    assert colour(sprite) == COLOURS[0, 10]


def test_the_first_picture_is_seen_without_a_script(opened):
    page = opened(java_script_enabled=False)
    box, sprite, sliders = parts(page, "explorer")
    assert colour(sprite) == COLOURS[1.5, 10]
    assert box.get_by_text("Shown is guidance scale 1.5, steps 10.").is_visible() and not sliders.first.is_visible()
    assert colour(parts(page, "scrubber")[1]) == (255, 255, 255), "the finished sample"


def test_the_scrubber_plays_from_noise_to_the_sample_and_pauses(opened):
    page = opened()
    box, sprite, slider = parts(page, "scrubber")
    button = box.get_by_role("button")
    assert colour(sprite) == (255, 255, 255) and box.locator("output").inner_text() == "step 3 of 3 · d"
    box.locator("output").evaluate(
        "output => { window.seen = []; new MutationObserver(() => seen.push(output.textContent)).observe(output, { "
        "childList: true }); }"
    )
    button.press("Enter")
    assert button.inner_text() == "Pause"
    box.get_by_role("button", name="Play").wait_for()
    assert page.evaluate("window.seen") == [f"step {frame} of 3 · {'abcd'[frame]}" for frame in range(FRAMES)]
    button.press("Enter")
    button.press("Enter")
    assert button.inner_text() == "Play" and slider.input_value() == "0" and colour(sprite) == (0, 0, 0)
    slider.press("ArrowRight")
    assert colour(sprite) == (85, 85, 85)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways_and_what_does_can_be_focused(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".scroll, .picture").evaluate_all(
        "all => all.map(box => [box.scrollWidth > box.clientWidth, box.tabIndex === 0])"
    )
    assert all(scrolls == focusable for scrolls, focusable in boxes)
    assert any(scrolls for scrolls, _ in boxes) or width > 375
    sizes = page.locator("input, button").evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert min(sizes) >= 24, "large enough for a finger (WCAG 2.2, 2.5.8)"


def test_light_and_dark_differ_and_both_can_be_read(opened):
    grounds = []
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        ground, ink, link = (
            luminance(page.locator(where).first.evaluate(f"each => getComputedStyle(each).{name}"))
            for where, name in (("body", "backgroundColor"), ("body", "color"), (".statement a", "color"))
        )
        assert contrast(ground, ink) >= 7 and contrast(ground, link) >= 4.5
        grounds.append(ground)
    assert grounds[0] > 0.8 > 0.05 > grounds[1]


def luminance(text):
    """Of a colour as the browser writes it, rgb(r, g, b) (WCAG 2.2)."""
    values = np.array([int(value) for value in text.strip("rgb()").split(",")]) / 255
    return float(
        np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    )


def contrast(first, second):
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def test_every_control_is_reached_by_tab_in_order_with_a_visible_focus(opened):
    page = opened()
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        name, style, width = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e); return [e.tagName, s.outlineStyle, "
            "s.outlineWidth]; }"
        )
        if name == "BODY":
            break
        assert style == "solid" and float(width.removesuffix("px")) >= 2, name
        reached.append(name)
    assert reached[:5] == ["INPUT", "INPUT", "BUTTON", "INPUT", "A"]


def test_a_claim_leads_to_its_figure_and_every_picture_is_loaded(opened):
    page = opened(375)
    link = page.locator(".statement a")
    target = page.locator(link.get_attribute("href"))
    assert "Below each other" in target.inner_text()
    link.press("Enter")
    assert 0 <= target.bounding_box()["y"] < 100
    sizes = page.locator("figure img").evaluate_all(
        "all => all.map(image => [image.complete, image.naturalWidth, image.alt])"
    )
    assert len(sizes) == 2 and all(complete and width > 0 and alt for complete, width, alt in sizes)
