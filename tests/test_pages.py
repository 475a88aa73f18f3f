"""What the pages show runs, what they point to exists, and the site builds. Pages of results:
tests/experiments/studies.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.documentation import faults_page, notebooks, supported_models
from experiments.documentation.supported_models import Evidence
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.weights import gguf_llama, language_models
from tests.runs.test_report_browser import browser  # noqa: F401
from tests.test_words import FORMULAS

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
)
PAGES = sorted(TRACKED.stdout.split()) or [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-zA-Z]*/**/*.md")]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page):
    return re.findall(r"^```python\n(.*?)^```$", text_of(page), re.M | re.S)


def test_the_readme_is_short_with_one_example_of_at_most_30_lines():
    """The example trains a network for a minute, so it runs where the wheel is tested."""
    (example,) = blocks_of("README.md")
    assert len(example.splitlines()) <= 30 and len(text_of("README.md").splitlines()) <= 130


def test_your_own_experiment_has_at_most_40_lines_of_code():
    assert len([line for line in blocks_of("gendiff/runs/README.md")[0].splitlines() if line.strip()]) <= 40


def test_every_link_and_picture_of_a_page_exists():
    problems = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S)
        targets = [target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in target]
        problems += [f"{page}: {target}" for target in targets if not (ROOT / page).parent.joinpath(target).exists()]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if re.match(r"gendiff/|experiments/documentation/pages/", page) and blocks_of(page)]
)
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for number, block in enumerate(blocks_of(page)):
        with jax.numpy_rank_promotion("allow"):  # as users have it
            exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_every_make_target_is_in_the_list_of_commands():
    targets = re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.M)
    assert not [
        target for target in targets if target != "help" and f"make {target}`" not in text_of("experiments/README.md")
    ]


def test_the_tree_names_every_module_of_the_library_and_nothing_else():
    tree = re.search(r"^ {4}gendiff/.*?^(?= {4}experiments/)", text_of("CONTRIBUTING.md"), re.M | re.S).group()
    files = [path for path in (ROOT / "gendiff").rglob("*.py") if path.stem != "__main__"]
    modules = {path.parent.name if path.stem == "__init__" else path.stem for path in files}
    named = set(re.findall(r"[a-z_0-9]+", tree))
    assert not modules - named
    assert not [name for name in named - modules if "_" in name]


def test_the_page_of_faults_names_the_tests_of_each_row():
    assert faults_page.PAGE.read_text(encoding="utf-8") == faults_page.page(), (
        "run python -m experiments.documentation.faults_page"
    )


def test_the_page_of_supported_models_has_a_row_for_each_kind_and_names_tests_that_are_there():
    assert supported_models.PAGE.read_text(encoding="utf-8") == supported_models.page(), (
        "run python -m experiments.documentation.supported_models"
    )
    kinds = {model_index.KINDS[row.pipeline].name for row in supported_models.ROWS}
    assert kinds == {kind.name for kind in model_index.KINDS.values()}
    assert {row.kind for row in supported_models.LANGUAGE_MODELS} == language_models.KINDS.keys()
    assert {row.architecture for row in supported_models.LANGUAGE_MODELS} == {"", *gguf_llama.ARCHITECTURES}


def test_a_row_whose_test_is_missing_or_did_not_pass_is_refused_but_for_peers():
    row, here = supported_models.ROWS[3].parity[0], supported_models.ROWS[3].shared[0]
    for wrong, message in (
        (row._replace(test="test_nothing"), "has no test_nothing"),
        (row._replace(case="flux_9"), "has no case 'flux_9'"),
        (here, "weights\\[flux\\] has not passed in the run of supported_models.json"),
    ):
        with pytest.raises(ValueError, match=message):
            supported_models._link(Evidence(*wrong), [f"{here.file}::{here.test}[xl]"])
    passed = [f"{row.file}::{row.test}[{row.case}]"]
    assert supported_models._link(row, passed).endswith("(peers, passed)")
    assert supported_models._link(row._replace(case="sd3"), passed).endswith("(peers, not in the last run)")


def test_marks_are_found_on_functions_tables_and_cases_and_one_that_names_no_row_is_refused(tmp_path):
    (tmp_path / "test_a.py").write_text(
        '@pytest.mark.slow\n@pytest.mark.fault("disk full", "peer dies")\ndef test_one(): ...\n'
        'test_two = pytest.mark.fault("disk full")(refusals())\n'
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.fault("peer dies"))])\ndef test_three(x): '
        "...\ndef test_four(): ...\n"
    )
    found = [(test.name, test.slow, test.faults) for test in faults_page.tests(tmp_path)]
    assert found == [
        ("test_one", True, ("disk full", "peer dies")),
        ("test_two", False, ("disk full",)),
        ("test_three", False, ("peer dies",)),
    ]
    (tmp_path / "test_b.py").write_text('@pytest.mark.fault("flood")\ndef test_one(): ...\n')
    with pytest.raises(ValueError, match="test_b.*test_one names 'flood', which is no row"):
        faults_page.page(tmp_path)


GUIDE = [page for page in PAGES if page.startswith("experiments/documentation/pages/") and blocks_of(page)]


def code_of(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_a_notebook_of_a_page_has_its_blocks_as_code_and_the_fields_of_format_4_5():
    for page in GUIDE:
        notebook = json.loads(notebooks.notebook(text_of(page)))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5) and notebook["metadata"]["kernelspec"][
            "name"
        ] == "python3"
        assert code_of(notebook) == [block.strip("\n") for block in blocks_of(page)]
        cells = notebook["cells"]
        assert len({cell["id"] for cell in cells}) == len(cells) and all(
            re.fullmatch(r"[\w-]{1,64}", cell["id"]) for cell in cells
        )
        for cell in cells:
            more = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
            assert set(cell) == {"cell_type", "id", "metadata", "source"} | more
        assert ".md)" not in json.dumps(cells)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["edit"])
def test_the_code_of_a_notebook_runs_from_top_to_bottom_in_a_process_of_its_own(page, tmp_path):
    notebook = json.loads(notebooks.notebook(text_of(f"experiments/documentation/pages/{page}.md")))
    (tmp_path / "cells.py").write_text("\n\n".join(code_of(notebook)), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        "experiments/documentation/mkdocs.yml",
        "-d",
        str(folder),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr
    return folder


@pytest.fixture
def search(site, browser):  # noqa: F811
    """What a search of the site finds: the names of its pages, the best one first."""

    def pages(word):
        page = browser.new_page()
        page.goto((site / "index.html").as_uri())
        page.fill("input.md-search__input", word)
        page.click("input.md-search__input")
        page.wait_for_selector(".md-search-result__item")
        links = page.eval_on_selector_all(
            ".md-search-result__link", "links => links.map(link => link.getAttribute('href'))"
        )
        page.close()
        return list(dict.fromkeys(re.sub(r".*/site\d*/|[?#].*", "", link) for link in links))

    return pages


@pytest.mark.slow
def test_a_search_of_the_site_finds_the_guide_first_and_then_the_function(search):
    assert search("inpainting")[:2] == ["edit.html", "api/diffusion.editing.inpainting.html"]


@pytest.mark.slow
def test_a_search_for_a_word_of_the_field_finds_its_formula(search):
    for word, file in FORMULAS.items():
        page = f"api/{file.removeprefix('gendiff/').removesuffix('.py').replace('/', '.')}.html"
        assert page in search(word), word


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_of_the_site_is_wider_than_the_window(site, browser, width):  # noqa: F811
    page, wider = browser.new_page(viewport={"width": width, "height": 900}), []
    for name in ("index", "edit", "chapters/diffusion", "results/index", "results/digits", "results/certify"):
        page.goto((site / f"{name}.html").as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wider.append(name)
    page.close()
    assert not wider


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_nothing_on_it_is_fetched(site):
    pages = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    assert len(pages) > 100
    assert not [
        found
        for text in pages
        if (found := re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.?(?:https?:)?//[^ >]+", text))
    ]
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)]*", styles)
    assert 'class="arithmatex"' not in "".join(pages)
    assert (site / "chapters" / "diffusion.html").read_text(encoding="utf-8").count("<math") > 50
    names = {Path(page).stem for page in GUIDE}
    assert {path.stem for path in (site / "notebooks").glob("*.ipynb")} == names
    assert all(
        f'href="notebooks/{name}.ipynb"' in (site / f"{name}.html").read_text(encoding="utf-8") for name in names
    )
