import importlib.metadata

from gendiff.core import extras

STATED = [
    "jax<1,>=0.10",
    'fastapi<1,>=0.163; extra == "serve"',
    'pillow<14; extra == "data"',
    'names<2; python_version >= "3.12" and extra == "data"',
    'gendiff[data,serve]; extra == "all"',
    'pillow<14; extra == "all"',
]


def test_a_missing_extra_is_named_with_a_line_that_pip_takes(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: STATED)
    assert extras.needs("serve needs", "fastapi", "serve") == (
        "serve needs fastapi: install this project's extra [serve]: pip install 'fastapi<1,>=0.163'"
    )
    assert extras.requirements("all") == ["pillow<14", 'names<2; python_version >= "3.12"', "fastapi<1,>=0.163"]


def test_where_the_package_is_not_installed_the_readme_is_named(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", absent)
    assert extras.install("serve") == "install this project's extra [serve], as the README's section Install shows"
