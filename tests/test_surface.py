"""What is offered is tested and shown: a public name stands in a test of its chapter, an experiment has a result that the README links."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import gendiff
from experiments.framework import registry

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"


def listed():
    """(where, name, value) of every `__all__` of the library, chapters and families within them."""
    for found in (gendiff, *(importlib.import_module(each.name) for each in pkgutil.walk_packages(gendiff.__path__, "gendiff."))):
        for name in getattr(found, "__all__", ()):
            yield found.__name__, name, getattr(found, name)


def about(where):
    """Files of the chapter's tests; the library's own names may be tested by any."""
    chapter = where.split(".")[1:2]
    return [path for path in (ROOT / "tests" / Path(*chapter)).rglob("*.py") if path != Path(__file__)]


def test_a_listed_module_has_a_test_file_of_its_name():
    missing = []
    for where, name, value in listed():
        if inspect.ismodule(value) and not value.__name__.startswith("gendiff.core"):  # the vocabulary, which every test speaks
            mirrors = {path.stem for path in about(where)} | {path.parent.name for path in about(where)}
            missing += [f"{where}.{name}"] if not {name, f"test_{name}"} & mirrors else []
    assert not missing


def test_a_listed_function_stands_in_a_test_and_has_a_docstring():
    missing = []
    for where, name, value in listed():
        if inspect.isfunction(value):
            tested = {word for path in about(where) for word in re.findall(r"\w+", path.read_text())}
            missing += [f"{where}.{name}"] if name not in tested or not inspect.getdoc(value) else []
    assert not missing


@pytest.mark.parametrize("name", registry.names())
def test_an_experiment_has_a_committed_result_that_the_readme_links(name):
    link = f"(experiments/results/{name}/results.json)"
    assert (RESULTS / name / "results.json").exists()
    assert link in (ROOT / "README.md").read_text()
