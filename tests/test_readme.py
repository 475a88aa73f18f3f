"""What the pages show runs, what they point to exists, and what is generated is as the generators write it."""

import re
import subprocess
from pathlib import Path

import pytest

from experiments import catalogue
from experiments.documentation import results_pages

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
PAGES = sorted(TRACKED.stdout.split()) or [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-zA-Z]*/**/*.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_of_a_page_exists(page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in target]
    assert not [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]


def test_every_make_target_is_in_the_list_of_commands():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    listed = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert not [target for target in targets if target != "help" and f"make {target}`" not in listed]


def test_the_tree_names_every_module_of_the_library_and_nothing_else():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = re.search(r"^ {4}gendiff/.*?^(?= {4}experiments/)", contributing, re.M | re.S).group()
    modules = {path.stem for path in (ROOT / "gendiff").rglob("*.py")} - {"__init__"}
    chapters = {path.parent.name for path in (ROOT / "gendiff").rglob("__init__.py")}
    named = set(re.findall(r"[a-z_]+", tree))
    assert not sorted((modules | chapters) - named)
    assert not sorted(name for name in named - modules - chapters if "_" in name)


@pytest.mark.parametrize(("file", "text"), [pytest.param(*page, id=page[0].parent.name) for page in results_pages.pages()])
def test_a_page_of_results_is_as_it_is_generated(file, text):
    assert file.read_text(encoding="utf-8") == text, "run python -m experiments.documentation.results_pages"


def test_every_experiment_has_a_page_of_results():
    assert [name for name in catalogue.EXPERIMENTS if not (results_pages.FOLDER / name / "README.md").is_file()] == []
