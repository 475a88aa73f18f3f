"""Packages whose modules are imported when one of their names is first used (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping

from gendiff.core import renamed


def on_first_use(
    package: str,
    folders: Mapping[str, str],
    names: Mapping[str, str] | None = None,
    old_names: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package.

    Args:
        package: its `__name__`.
        folders: folder of the package, "" for itself -> modules in it, with spaces between.
        names: module of the package -> names in it, with spaces between.
        old_names: what was renamed -> its name now; a use of it warns.
    """
    modules = {
        name: f"{folder}.{name}".removeprefix(".") for folder, inside in folders.items() for name in inside.split()
    }
    places = {name: module for module, inside in (names or {}).items() for name in inside.split()}

    def getattr_of_package(name: str) -> object:
        if new := (old_names or {}).get(name):
            chapter = package.removeprefix("gendiff.")
            renamed.warn(f"{chapter}.{name}", f"{chapter}.{new}", "name")
            return getattr(sys.modules[package], new)
        if name not in modules and name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{modules.get(name) or places[name]}")
        value = module if name in modules else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def dir_of_package() -> list[str]:
        module = vars(sys.modules[package])
        return sorted(
            {name for name in module if name.startswith("__")} | {*module.get("__all__", ()), *modules, *places}
        )

    return getattr_of_package, dir_of_package
