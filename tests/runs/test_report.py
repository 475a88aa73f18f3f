import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.runs.reporting import figures, report, results, verdicts, words
from tests.tables import table

ENVIRONMENT = results.Environment(
    commit="0123456789abcdef" * 2 + "01234567",
    dirty=True,
    versions={"jax": "0.10.2"},
    machine={"cpu": "A & B", "cores": 2},
)
ATTACK = "<script>alert('$x')</script> & \"quotes\""
PICTURE = (1, 8, 8, 1)
FIVE = (results.Axis("steps", (1, 2, 3, 4, 5)),)
VOID = {"meta", "link", "img", "input", "br", "rect", "line"}


class Page(HTMLParser):
    """Collects what a page loads, and checks that its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.links, self.open, self.tags, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href", "data", "action", "poster", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def visible(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def claims():
    fields = {"n": 5000, "figure": "samples.png"}
    text = "The judge names the class asked for"
    all_claims = [
        verdicts.claim("accuracy", text, 0.9637, (0.9512, 0.9741), ">=", 0.95, seed=seed, **fields)
        for seed in (0, 1, 2)
    ]
    all_claims.append(verdicts.claim("copies", ATTACK, -0.002, (-0.006, 0.012), "<=", 0.01, n=450, seed=None))
    control = {"n": 1000, "seed": 0, "kind": "control"}
    return [
        *all_claims,
        verdicts.claim("untrained", "Untrained: ≥ 10 × floor", 200.0, (190.0, 210.0), ">=", 10.0, **control),
    ]


def opened(folder):
    return Page(report.write(folder).read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path):
    samples = figures.grid(np.zeros((4, 8, 8, 1)), 2, tmp_path / "samples.png", ATTACK)
    figures.denoising_sprite(
        np.random.default_rng(0).normal(size=(6, 4, 8, 8, 1)), tmp_path / "denoising.png", labels=[ATTACK] * 6
    )
    axes = (
        results.Axis("guidance scale", (0, 1.5, 12)),
        results.Axis(ATTACK, (ATTACK, "ddpm")),
        results.Axis("seed", (0,)),
    )
    pictures = np.random.default_rng(0).normal(size=(3, 2, 1, 4, 8, 8, 1))
    explorer = figures.explorer(pictures, axes, tmp_path / "explorer.png", ATTACK, start=(1, 0, 0))
    tables = [
        results.Table(ATTACK, ("scale", ATTACK), ((1.0, ATTACK), (2.0, (0.5, 0.4, 0.6)), (3.0, None), (4.0, True)))
    ]
    outcome = results.conclude(
        ATTACK,
        ATTACK,
        {"steps": 50, "thresholds": {"accuracy": 0.95}, "note": ATTACK, "empty": {}, "none": None},
        claims(),
        seeds=(0, 1, 2),
        seconds={"train": 725.0, ATTACK: 0.0},
        environment=ENVIRONMENT,
        figures=[samples],
        tables=tables,
        explorers=[explorer],
    )
    results.write(outcome, tmp_path)
    return tmp_path


@pytest.fixture
def page(folder):
    return opened(folder)


def test_the_report_is_one_file_that_loads_nothing_from_elsewhere(folder):
    path = report.write(folder)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path == folder / "report.html"
    assert page.links and all(link.startswith(("data:", "#")) for link in page.links)
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
    assert any("default-src 'none'" in (attributes.get("content") or "") for attributes in page.attributes("meta"))
    assert 'name="viewport" content="width=device-width' in text and "prefers-color-scheme: dark" in text
    assert report.write(folder).read_text(encoding="utf-8") == text, "twice the same bytes"


def test_text_of_the_run_never_becomes_markup(folder, page):
    assert page.attributes("script") == [{}]
    assert page.visible.count("alert('$x')") >= 8
    assert "<script>alert" not in (folder / "report.html").read_text(encoding="utf-8")


def test_words_of_measures_are_explained_where_they_stand(folder, page):
    """The control of the fixture is in floors; none of its texts has recall."""
    meaning = words.WORDS["floor"]
    assert f"floor : {meaning}" in page.visible and f"floor: {meaning}" in report.table_text(results.read(folder))
    assert words.WORDS["recall"] not in page.visible


def test_every_seed_of_every_claim_and_what_the_numbers_depend_on_is_shown(page):
    assert (
        page.visible.count("0.9637") == 4
        and page.visible.count("mean of 3") == 1
        and page.visible.count("[0.9512, 0.9741]") == 3
    )
    for text in ("≥ 0.95", "≤ 0.01", "−0.002", "[−0.006, 0.012]", "PASS", "INCONCLUSIVE"):
        assert text in page.visible
    for text in ("thresholds.accuracy", "0.95", "jax", "0.10.2", "A & B", "12 min 5 s", "0123456789ab with changes"):
        assert text in page.visible


def test_the_page_begins_with_pictures_and_controls_stand_apart_from_claims(page):
    order = [page.visible.index(f" {title} ") for title in ("Explore", "Denoising", "Figures", "Claims", "Controls")]
    assert order == sorted(order)
    claims_part, controls_part = page.visible.split(" Controls ")
    assert "The judge names the class" in claims_part and "Untrained" not in claims_part.split(" Claims ")[1]
    assert "Untrained" in controls_part


def test_the_scrubber_is_a_labelled_range_input_over_all_frames(page):
    (slider,) = (each for each in page.attributes("input") if each.get("aria-label") == "denoising step")
    assert (slider["type"], slider["min"], slider["max"], slider["step"]) == ("range", "0", "5", "1")
    assert page.attributes("button")


def test_an_explorer_has_a_labelled_range_input_for_each_axis_with_a_choice(page):
    sliders = [each for each in page.attributes("input") if "data-stride" in each]
    assert [(each["max"], each["value"], each["data-stride"]) for each in sliders] == [("2", "1", "2"), ("1", "0", "1")]
    assert [each["aria-valuetext"] for each in sliders] == ["1.5", ATTACK]
    assert {each["id"] for each in sliders} <= {each.get("for") for each in page.attributes("label")}
    assert {each["list"] for each in sliders} == {each["id"] for each in page.attributes("datalist")}
    assert "seed 0" in page.visible  # an axis of one value is only named


def test_every_picture_is_embedded_once_and_shows_its_first_choice_without_a_script(page):
    explorer, denoising = (each for each in page.attributes("svg") if each.get("class") == "sprite")
    assert explorer["aria-label"] == ATTACK and explorer["data-columns"] == "2"
    assert explorer["viewbox"] == "0 17 26 17", "the third picture (1, 0, 0) of rows of two"
    assert denoising["viewbox"].endswith(" 26 17")
    assert len(page.attributes("image")) == 2 and len(page.attributes("img")) == 1


def test_a_claim_links_to_its_figure(page):
    (link,) = page.attributes("a")
    places = [each["id"] for each in page.attributes("figure")]
    assert places == ["figure-1", "figure-2", "figure-3"] and link["href"] == "#figure-3"
    assert "accuracy Figure 3" in page.visible and "Figure 3." in page.visible


def test_a_picture_wider_than_a_column_has_a_row_of_its_own(folder, page):
    assert "wide" not in {each.get("class") for each in page.attributes("figure")}
    figures.grid(np.zeros((1, 8, 1400)), 1, folder / "samples.png", "", scale=1)
    assert "wide" in {each.get("class") for each in opened(folder).attributes("figure")}


def test_a_run_without_figures_or_claims_still_has_a_report(tmp_path):
    outcome = results.conclude("bare", "?", {}, [], seeds=(), seconds={}, environment=ENVIRONMENT, smoke=True)
    results.write(outcome, tmp_path)
    page = opened(tmp_path)
    assert "INCONCLUSIVE" in page.visible and "smoke run" in page.visible
    assert report.table_text(outcome).startswith("bare: INCONCLUSIVE (a smoke run")


def test_numbers_that_are_none_are_shown_and_not_drawn(tmp_path):
    nan = float("nan")
    numbers = ((nan, (nan, nan)), (0.5, (0.4, float("inf"))))
    broken = [verdicts.claim("a", "a", *number, "<=", 1.0, n=1, seed=seed) for seed, number in enumerate(numbers)]
    results.write(results.conclude("x", "?", {}, broken, seeds=(0, 1), seconds={}, environment=ENVIRONMENT), tmp_path)
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert "[NaN, NaN]" in text and "[0.4, ∞]" in text and "nan" not in text.split("</style>")[1].split("<script>")[0]


@table(
    ("file", "spoil", "message"),
    [
        ("samples.png", lambda path: path.unlink(), "cannot be read"),
        ("samples.png", lambda path: path.write_bytes(b"GIF89a"), "is no PNG"),
        ("samples.png", lambda path: path.write_bytes(b""), "is no PNG"),
        ("results.json", lambda path: path.unlink(), "no such file"),
        ("denoising.png", lambda path: figures.grid(np.zeros((1, 8, 8)), 1, path, ""), "is no sprite"),
        (
            "explorer.png",
            lambda path: figures.explorer(np.zeros((5, *PICTURE)), FIVE, path, ""),
            "holds 5 pictures for axes of 3 × 2 × 1",
        ),
    ],
)
def test_a_file_that_is_missing_or_another_is_an_error_with_its_path(folder, file, spoil, message):
    before = (folder / file).read_bytes()
    spoil(folder / file)
    with pytest.raises(DataError, match=f"^{folder / file}: {message}"):
        report.write(folder)
    (folder / file).write_bytes(before)


def test_a_main_table_and_its_note_are_shown_on_the_terminal_too(tmp_path):
    rows = (("real", 1.0, 0.5), ("samples", (1.5, 1.25, 1.75), (0.5, 0.25, 0.75)))
    tables = [
        results.Table("Near", ("set", "distance", "recall"), rows, "few pictures", main=True),
        results.Table("Hidden", ("a",), ((1,),)),
    ]
    fields = {"seeds": (), "seconds": {}, "environment": ENVIRONMENT, "named": False}
    outcome = results.conclude(
        "x", "?", {"steps": None, "batch": None}, [], tables=tables, chosen={"steps": "7"}, **fields
    )
    text = report.table_text(outcome)
    assert "verdicts belong to the presets" in text and "Hidden" not in text
    assert "\n  samples  1.50 [1.25, 1.75]  0.50 [0.25, 0.75]\n  note: few pictures\n" in text
    results.write(outcome, tmp_path)
    page = opened(tmp_path)
    assert "few pictures" in page.visible and "steps 7 (by default)" in page.visible and "batch none" in page.visible
    assert {each.get("data-label") for each in page.attributes("td")} >= {"distance", "recall"}


def test_the_table_for_the_terminal_has_a_line_a_seed_with_aligned_numbers(folder):
    lines = report.table_text(results.read(folder)).splitlines()
    assert lines[0].endswith(": INCONCLUSIVE")
    assert any(
        re.fullmatch(r"  PASS +The judge names the class asked for \(accuracy; needed ≥ 0\.95\)", line)
        for line in lines
    )
    numbers = [line for line in lines if "n = " in line]
    assert len(numbers) == 6  # one of them the mean over seeds
    assert len({line.index("[") for line in numbers}) == len({line.index("n = ") for line in numbers}) == 1
    assert any(line.startswith("Controls") for line in lines)
