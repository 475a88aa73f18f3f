"""Names of a package that are imported when they are used."""

import sys

import pytest

from gendiff.core import types
from gendiff.core.first_use import on_first_use


def test_a_module_is_imported_when_one_of_its_names_is_used(tmp_path, monkeypatch):
    package = tmp_path / "lazy_package"
    (package / "inner").mkdir(parents=True)
    lines = "from gendiff.core.first_use import on_first_use\n"
    names = '{"": "same", "inner": "deep"}, {"same": "VALUE"}'
    (package / "__init__.py").write_text(f"{lines}__getattr__, __dir__ = on_first_use(__name__, {names})\n")
    (package / "same.py").write_text("VALUE = 3\n")
    (package / "inner" / "deep.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    import lazy_package

    assert {"VALUE", "same", "deep"} < set(dir(lazy_package))
    assert "lazy_package.same" not in sys.modules and lazy_package.VALUE == 3
    assert lazy_package.same is sys.modules["lazy_package.same"] and "lazy_package.inner.deep" not in sys.modules
    assert lazy_package.deep is sys.modules["lazy_package.inner.deep"] and vars(lazy_package)["VALUE"] == 3


def test_a_name_that_was_changed_warns_and_is_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"core.kinds is now core.types; the old name"):
        assert on_first_use("gendiff.core", {"": "types"}, old_names={"kinds": "types"})[0]("kinds") is types


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gendiff.core' has no attribute 'type'"):
        on_first_use("gendiff.core", {"": "types"})[0]("type")
