"""What the README shows runs, and what it points to exists."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)


def test_there_is_an_example_with_a_network_of_ours_and_one_written_by_hand():
    assert len(BLOCKS) == 2
    assert "gd.networks" in BLOCKS[0]
    assert "gd.networks" not in BLOCKS[1]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_python_block_runs_as_it_stands(number, tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKS[number]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page",
    sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT, *ROOT.glob("[get]*/"))
        for path in path.rglob("README.md")
        if ".venv" not in path.as_posix()
    ),
)
def test_every_link_and_picture_of_a_page_exists(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", text)
    missing = [
        target for pair in targets for target in pair if target and "://" not in target and not ((ROOT / page).parent / target).exists()
    ]
    assert not missing


def test_every_make_target_is_in_the_readme():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert not [target for target in targets if target != "help" and f"make {target}" not in README]


def test_the_tree_names_every_module_of_the_library():
    tree = re.search(r"^## The tree\n(.*?)^[^ \n]", README, re.M | re.S).group(1)
    modules = {path.stem for path in (ROOT / "gendiff").rglob("*.py")} - {"__init__"}
    chapters = {path.parent.name for path in (ROOT / "gendiff").rglob("__init__.py")}
    assert not sorted((modules | chapters) - set(re.findall(r"\w+", tree)))


def test_every_chapter_has_a_page_that_names_what_it_offers():
    unnamed = []
    for init in (ROOT / "gendiff").glob("*/__init__.py"):
        chapter = importlib.import_module(f"gendiff.{init.parent.name}")
        offered = getattr(chapter, "__all__", [path.stem for path in init.parent.glob("[!_]*.py")])
        page = init.with_name("README.md").read_text()
        unnamed += [f"{init.parent.name}: {name}" for name in offered if name not in re.findall(r"\w+", page)]
    assert not unnamed
