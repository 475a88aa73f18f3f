"""What is offered is tested and explained: a public name has a docstring and stands in a test of its chapter."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import gendiff

ROOT = Path(__file__).resolve().parents[1]


def test_a_listed_name_stands_in_a_test_of_its_chapter_and_has_a_docstring():
    untested, unexplained, words = [], [], {}
    for module in (gendiff, *(importlib.import_module(each.name) for each in pkgutil.walk_packages(gendiff.__path__, "gendiff."))):
        chapter = "/".join(module.__name__.split(".")[1:2])  # the library's own names may be tested by any
        if chapter not in words:
            files = [path for path in (ROOT / "tests" / chapter).rglob("*.py") if path != Path(__file__)]
            words[chapter] = set(re.findall(r"\w+", " ".join(path.read_text(encoding="utf-8") for path in files)))
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            acts = inspect.ismodule(value) or inspect.isfunction(value)  # a record or a type is tested by what makes it
            untested += [f"{module.__name__}.{name}"] if acts and name not in words[chapter] else []
            unexplained += [f"{module.__name__}.{name}"] if (acts or inspect.isclass(value)) and not inspect.getdoc(value) else []
    assert not untested
    assert not unexplained
