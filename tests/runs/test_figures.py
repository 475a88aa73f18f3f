import functools
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gendiff.runs.reporting import figures, plots
from gendiff.runs.reporting.results import Axis, Explorer, Figure
from tests.tables import table

AXES = {"axes": (Axis("scale", (0, 1)),), "caption": "Samples"}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image), image.mode


def sprite(path):
    """Pixels and layout of a sheet."""
    with Image.open(path) as image:
        image.load()
        return np.asarray(image), json.loads(image.text["frames"])


def test_floats_map_by_their_range_and_whole_numbers_by_their_levels():
    assert figures.to_pixels(np.array([-1.0, 0.0, 1.0, -1.7, 1.3])).tolist() == [0, 128, 255, 0, 255]
    assert figures.to_pixels(np.array([0, 8, 16]), levels=17).tolist() == [0, 128, 255]
    assert figures.to_pixels(np.arange(256, dtype=np.uint8)).tolist() == list(range(256))


def test_a_grid_shows_each_image_where_it_belongs_enlarged_without_blur(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1))
    assert figures.grid(images, 3, tmp_path / "a.png", "Digits", scale=6, gap=4) == Figure("a.png", "Digits")
    sheet, mode = pixels(tmp_path / "a.png")
    assert mode == "LA" and sheet.shape == (2 * 48 + 4, 3 * 48 + 8, 2)
    fourth = sheet[52:100, 0:48]
    assert np.array_equal(fourth[..., 0], figures.to_pixels(images[3, ..., 0]).repeat(6, 0).repeat(6, 1))
    assert np.all(fourth[..., 1] == 255)


def test_gaps_and_empty_places_are_transparent_or_of_the_given_ground(tmp_path):
    for ground, mode, value in ((None, "LA", 0), (255, "L", 255)):
        figures.grid(np.zeros((3, 8, 8)), 2, tmp_path / "a.png", "", scale=1, gap=2, ground=ground)
        sheet, information = pixels(tmp_path / "a.png")
        last = sheet if ground else sheet[..., 1]
        assert information == mode and np.all(last[:8, 8:10] == value) and np.all(last[10:, 10:] == value)


def test_colour_images_and_jax_arrays_are_drawn(tmp_path):
    images = jnp.stack([jnp.full((4, 6), value) for value in (-1.0, 0.0, 1.0)], axis=-1)[None]
    figures.grid(images, 1, tmp_path / "a.png", "", scale=2)
    sheet, mode = pixels(tmp_path / "a.png")
    assert mode == "RGB" and sheet.shape == (8, 12, 3)  # no alpha where nothing is transparent
    assert sheet[0, 0].tolist() == [0, 128, 255]


@table(
    ("count", "columns", "side", "names"),
    [
        (1, 1, 8, ""),
        (100, 10, 8, "ab"),
        (24, 12, 28, ""),
        (180, 10, 8, "caption by caption"),
        (8, 8, 256, ""),
        (40, 1, 28, "x"),
    ],
)
def test_a_sheet_is_wide_enough_to_be_seen_and_no_higher_than_a_screen(tmp_path, count, columns, side, names):
    down = -(-count // columns)
    figures.grid(
        np.zeros((count, side, side)), columns, tmp_path / "a.png", "", heads=[names] * columns if names else ()
    )
    height, width = pixels(tmp_path / "a.png")[0].shape[:2]
    assert height <= figures.TALL and (width >= figures.WIDE or height + down * side > figures.TALL - 100)


@table("ground", [None, 255])
def test_names_of_rows_and_columns_stand_beside_the_images_which_they_leave_as_they_are(tmp_path, ground):
    images, rows = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 3)), ["σ → é", "a name that takes several lines"]
    for name, words in (("bare", {}), ("named", {"rows": rows, "heads": ["1", "2", "3"]})):
        figures.grid(images, 3, tmp_path / f"{name}.png", "", ground=ground, **words)
    bare, named = (pixels(tmp_path / f"{name}.png")[0] for name in ("bare", "named"))
    height, width = bare.shape[:2]
    assert np.array_equal(named[-height:, -width:], bare)
    for strip in (named[-height:, :-width], named[:-height, -width:]):
        assert strip.size and strip.min() < strip.max()  # neither is blank


NAN = np.zeros((4, 8, 8, 1), np.float32)
NAN[2, 3, 3, 0] = np.nan
GRID, SPRITE, EXPLORER = (
    functools.partial(figures.grid, caption=""),
    figures.denoising_sprite,
    functools.partial(figures.explorer, **AXES),
)


@table(
    ("draw", "images", "options", "message"),
    [
        (GRID, NAN, {"columns": 2}, "1 values that are not finite, in images 2$"),
        (SPRITE, NAN[None], {}, "not finite"),
        (GRID, np.full((1, 8, 8), 16.0), {"columns": 2}, "whole numbers in \\[16, 16\\] as floats"),
        (GRID, np.full((1, 8, 8), -1), {"columns": 2}, "outside \\[0, 255\\]"),
        (GRID, np.zeros((1, 3, 8, 8)), {"columns": 2}, r"got shape \(1, 3, 8, 8\)"),
        (GRID, np.zeros((0, 8, 8)), {"columns": 2}, "no empty axis"),
        (GRID, np.zeros((1, 8, 8)), {"columns": 0}, "columns = 0 must be at least 1"),
        (GRID, np.zeros((1, 8, 8)), {"columns": 1, "colours": 300}, "colours = 300"),
        (GRID, np.zeros((2, 8, 8)), {"columns": 1, "rows": ["a"]}, "1 names for 2 rows"),
        (GRID, np.zeros((2, 8, 8)), {"columns": 2, "heads": ["a"]}, "1 names for 2 columns"),
        (SPRITE, np.zeros((3, 1, 8, 8, 1)), {"labels": ["a", "b"]}, "2 labels for 3 frames"),
        (SPRITE, np.zeros((3, 8, 8, 1)), {}, r"must be \(t, n, h, w, c\)"),
        (EXPLORER, np.zeros((4, 8, 8, 1)), {}, r"must be \(\*axes, n, h, w, c\)"),
        (EXPLORER, np.zeros((2, 4, 8, 8, 1)), {"colours": 1}, "colours = 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_no_file_is_written(tmp_path, draw, images, options, message):
    with pytest.raises(ValueError, match=message):
        draw(images, path=tmp_path / "a.png", **options)
    assert not list(tmp_path.iterdir())


@table("channels", [1, 3])
def test_a_sprite_holds_every_frame_where_its_layout_says(tmp_path, channels):
    trajectory = np.random.default_rng(0).uniform(-1, 1, (7, 5, 8, 8, channels))
    labels = [f"σ {step}" for step in range(7)]
    sheet, layout = sprite(figures.denoising_sprite(trajectory, tmp_path / "denoising.png", columns=3, labels=labels))
    assert layout["count"] == 7 and (layout["height"], layout["width"]) == (17, 26) and layout["labels"][6] == "σ 6"
    for frame in range(7):
        top, left = frame // layout["columns"] * layout["height"], frame % layout["columns"] * layout["width"]
        assert np.array_equal(
            sheet[top + 9 : top + 17, left + 9 : left + 17, :channels], figures.to_pixels(trajectory[frame, 4])
        )


def test_a_thousand_frames_make_a_sheet_that_browsers_can_show(tmp_path):
    sheet, _ = pixels(figures.denoising_sprite(np.zeros((1000, 16, 8, 8, 1)), tmp_path / "denoising.png"))
    assert max(sheet.shape) <= 2048


def test_plots_are_drawn_without_pyplot_and_twice_to_the_same_bytes(tmp_path):
    x = np.arange(1, 50)
    lines = [
        figures.Curve("loss", x, 1 / x),
        figures.Curve("held out", x, np.where(x == 3, np.nan, 2 / x), 1.5 / x, 2.5 / x),
    ]

    loaded_before = "matplotlib.pyplot" in sys.modules

    def draw(name):
        options = {"x_label": "step", "y_label": "loss", "log_x": True, "log_y": True, "thresholds": [("goal", 0.1)]}
        assert figures.curves(lines, tmp_path / name, "Losses", **options) == Figure(name, "Losses")
        return tmp_path / name

    first, second = draw("a.png"), draw("b.png")
    assert first.read_bytes() == second.read_bytes()
    assert pixels(first)[1] == "RGBA" and pixels(first)[0].std() > 0
    assert ("matplotlib.pyplot" in sys.modules) == loaded_before


def test_a_framed_plot_is_that_of_a_file_on_white_and_all_have_one_size(tmp_path):
    x = np.array([1.0, 10.0, 100.0])
    one = figures.framed([figures.Curve("a", x, x)], "Exact match", x_label="size", y_label="share", log_x=True)
    other = figures.framed(
        [figures.Curve("a", x, 1 / x)], "NLL", x_label="size", y_label="nats per digit", log_x=True, log_y=True
    )
    assert one.shape == other.shape == (442, 702, 3) and one.dtype == np.uint8
    assert np.all(one[0] == 255) and not np.array_equal(one, other)
    blue = [int(figures.COLOURS[0][at : at + 2], 16) for at in (1, 3, 5)]
    assert (one == blue).all(-1).any()
    figures.explorer(np.stack([one, other])[:, None], (Axis("metric", ("a", "b")),), tmp_path / "a.png", "", colours=64)
    assert sprite(tmp_path / "a.png")[1]["height"] == 442


def test_small_multiples_have_a_logarithmic_axis_where_asked(tmp_path):
    for log_x in (False, True):
        figures.small_multiples(
            panels("a", "b", x=(1.0, 10.0, 100.0)), tmp_path / f"{log_x}.png", "", x_label="size", log_x=log_x
        )
    even, uneven = (pixels(tmp_path / f"{log_x}.png")[0] for log_x in (True, False))
    assert even.shape == uneven.shape and not np.array_equal(even, uneven)


@table(("count", "plots_drawn"), [(1, 1), (6, 1), (7, 7), (9, 9)])
def test_more_than_six_curves_have_a_small_plot_each(tmp_path, monkeypatch, count, plots_drawn):
    canvases = []
    monkeypatch.setattr(plots, "save", lambda figure, path, caption: canvases.append(figure))
    series = [plots.Curve(str(n), [1, 10], [n, n]) for n in range(count)]
    plots.curves(series, tmp_path / "a.png", "", x_label="x", y_label="y", log_x=True, thresholds=[("goal", 1.0)])
    visible = [axes for axes in canvases[0].axes if axes.get_visible()]
    assert len(visible) == plots_drawn and canvases[0].get_figheight() <= plots.TALLEST
    assert all(axes.get_axisbelow() is True for axes in visible)
    assert not any(axes.get_legend() for axes in visible)  # it stands above them, where it hides nothing
    bold = [[line.get_label() for line in axes.get_lines() if line.get_color() in plots.COLOURS] for axes in visible]
    assert bold == ([[str(n) for n in range(count)]] if plots_drawn == 1 else [[str(n)] for n in range(count)])


def test_a_logarithmic_axis_has_a_line_where_it_has_a_number():
    for low, high, expected in (
        (1.5, 6, [2, 3, 4, 5]),
        (1, 100, [1, 2, 5, 10, 20, 50, 100]),
        (1, 1e6, [1, 1e2, 1e4, 1e6]),
    ):
        axes = plots.blank(3, 3).add_subplot()
        axes.set_ylim(low, high)
        plots.make_logarithmic(axes, "y")
        ticks = [tick for tick in axes.yaxis.get_majorticklocs() if low <= tick <= high]
        assert set(expected) <= set(np.round(ticks, 6)) and not len(axes.yaxis.get_minorticklocs())
    assert [plots.plain_number(number) for number in (1e21, 1e-7, 1e-4, 2.5e-4, 0.04, 20.0)] == [
        "1e21",
        "1e-7",
        "1e-4",
        "2.5e-4",
        "0.04",
        "20",
    ]


@table("rows", [3, 40])
def test_bars_are_drawn_with_their_intervals_and_never_higher_than_a_screen(tmp_path, rows):
    numbers = {"for $5 and $6": (1.4, 1.3, 1.5)} | {f"{steps} steps": float(steps) for steps in range(1, rows)}
    for log in (False, True):
        figure = figures.bars(
            numbers, tmp_path / "a.png", "Distances", x_label="distance", log=log, thresholds=[("goal", 1.75)]
        )
        height, width = pixels(tmp_path / "a.png")[0].shape[:2]
        assert figure == Figure("a.png", "Distances") and width == 1080 and height <= 1400


def test_a_row_of_bars_may_hold_a_dot_of_each_of_several_series(tmp_path, monkeypatch):
    canvases = []
    monkeypatch.setattr(plots, "save", lambda figure, path, caption: canvases.append(figure))
    plots.bars({"noise": {"a": (0.5, 0.4, 0.6), "b": 0.1}, "blur": {"b": 0.2}}, tmp_path / "a.png", "", x_label="share")
    dots = {line.get_label(): line for line in canvases[0].axes[0].get_lines() if line.get_marker() == "o"}
    assert list(dots["a"].get_xdata()) == [0.5] and list(dots["b"].get_xdata()) == [0.1, 0.2]
    assert dots["a"].get_color() != dots["b"].get_color()
    plots.bars({name: dict.fromkeys("abcdef", 0.5) for name in ("noise", "blur")}, tmp_path / "a.png", "", x_label="")
    heights = [line.get_ydata() for line in canvases[1].axes[0].get_lines() if line.get_marker() == "o"]
    assert np.array_equal(np.round(heights), [[0, 1]] * 6)


def test_a_whisker_ends_where_no_number_can_be(tmp_path):
    files = []
    for name, number in (("cut", (0.7, -0.6, 2.0)), ("inside", (0.7, 0.0, 1.0))):
        figures.bars({"noise": number}, tmp_path / f"{name}.png", "", x_label="share", within=(0, 1))
        files.append((tmp_path / f"{name}.png").read_bytes())
    assert files[0] == files[1]


def test_an_explorer_s_pictures_lie_on_the_sheet_in_the_order_of_its_axes(tmp_path):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 8, 8, 3))
    axes = (Axis("scale", (0, 1)), Axis("steps", (5, 10, 20)))
    explorer = figures.explorer(pictures, axes, tmp_path / "a.png", "Samples", start=(1, 0), columns=2)
    assert explorer == Explorer("a.png", "Samples", axes, (1, 0))
    sheet, layout = sprite(tmp_path / "a.png")
    assert layout["count"] == 6 and (layout["width"], layout["height"]) == (17, 17)
    for position in np.ndindex(2, 3):
        number = position[0] * 3 + position[1]
        left, top = number % layout["columns"] * 17, number // layout["columns"] * 17
        assert np.array_equal(sheet[top : top + 8, left : left + 8, :3], figures.to_pixels(pictures[position][0]))
        assert np.array_equal(
            sheet[top + 9 : top + 17, left + 9 : left + 17, :3], figures.to_pixels(pictures[position][3])
        )


@table("channels", [1, 3])
def test_a_palette_keeps_few_colours_exactly_and_the_ground_transparent(tmp_path, channels):
    pictures = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (2, 3, 4, 8, 8, 1)).repeat(channels, -1)
    axes = (Axis("scale", (0, 1)), Axis("steps", (5, 10, 20)))
    explorer = [
        figures.explorer(pictures, axes, tmp_path / f"{colours}.png", "", colours=colours) for colours in (None, 8)
    ]
    full, small = (tmp_path / each.file for each in explorer)
    with Image.open(full) as first, Image.open(small) as second:
        second.load()
        assert second.mode == "P" and json.loads(second.text["frames"])["count"] == 6
        expected, information = np.asarray(first.convert("RGBA")), np.asarray(second.convert("RGBA"))
    assert np.array_equal(expected[..., 3], information[..., 3]) and (information[..., 3] == 0).any()
    opaque = expected[..., 3] > 0
    assert np.array_equal(expected[opaque], information[opaque])


def panels(*titles, y=(0.1, 0.4, 0.9), x=(0.0, 1.0, 12.0)):
    series = [
        figures.Curve("digits", x, y, np.array(y) - 0.1, np.array(y) + 0.1),
        figures.Curve("shapes", x, np.array(y) / 2),
    ]
    return [figures.Panel(title, series, [("needed ≥ 0.5", 0.5)]) for title in titles]


def test_small_multiples_below_each_other_are_narrow_and_beside_each_other_wide(tmp_path):
    for columns in (1, 2):
        figures.small_multiples(panels("a", "b"), tmp_path / f"{columns}.png", "", x_label="scale", columns=columns)
    (tall, narrow), (flat, wide) = (pixels(tmp_path / f"{columns}.png")[0].shape[:2] for columns in (1, 2))
    assert 915 < narrow < 925 and 1195 < wide < 1205 and flat < tall


def test_a_curve_of_small_multiples_has_one_colour_in_every_panel(tmp_path):
    x, ground = [0.0, 1.0], tmp_path / "a.png"
    first = figures.Panel("first", [figures.Curve("a", x, x), figures.Curve("b", x, x)])
    second = figures.Panel("second", [figures.Curve("b", x, x)])
    figures.small_multiples([first, second], ground, "", x_label="x")
    sheet, _ = pixels(ground)
    orange = np.array([int(figures.COLOURS[1][at : at + 2], 16) for at in (1, 3, 5)])
    rows = np.where((np.abs(sheet[..., :3].astype(int) - orange).max(-1) < 3) & (sheet[..., 3] == 255))[0]
    assert rows.max() > sheet.shape[0] * 0.6


@table(
    ("draw", "message"),
    [
        (
            lambda path: figures.curves([figures.Curve("a", [1], [np.nan])], path, "", x_label="x", y_label="y"),
            "hold no finite point",
        ),
        (lambda path: figures.bars({}, path, "", x_label="x"), "at least one number is needed"),
        (lambda path: figures.small_multiples([], path, "", x_label="x"), "0 panels in 1 columns"),
        (lambda path: figures.small_multiples(panels("a"), path, "", x_label="x", columns=0), "1 panels in 0 columns"),
        (
            lambda path: figures.small_multiples(panels("a") + panels("b", y=(np.nan,) * 3), path, "", x_label="x"),
            "panel 'b' holds",
        ),
    ],
)
def test_plots_of_nothing_are_refused(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a.png")


def test_numbers_of_a_logarithmic_axis_do_not_touch_in_a_narrow_panel(tmp_path, monkeypatch):
    """Two columns of panels over two decades of five-digit numbers: only decades have a number there."""
    curve, canvases = plots.Curve("a", [700, 80_000], [0.0, 1.0]), []
    monkeypatch.setattr(plots, "save", lambda figure, path, caption: canvases.append(figure))
    for columns in (1, 2):
        panels = [plots.Panel("p", [curve])] * 2
        plots.small_multiples(panels, tmp_path / "a.png", "c", x_label="x", columns=columns, log_x=True)
    wide, narrow = (np.array(canvas.axes[0].get_xticks()) for canvas in canvases)
    assert (
        {2000.0, 50_000.0} <= set(wide) and not {2000.0, 50_000.0} & set(narrow) and {1000.0, 10_000.0} <= set(narrow)
    )
