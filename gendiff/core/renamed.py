"""Public names that were renamed: the old ones go on for one version, with a warning."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, tuple[str, Any]]) -> Callable[[str], Any]:
    """A `__getattr__` for a module or a package whose names have changed.

    Args:
        module: as users write it, such as "distillation".
        names: old name -> (new name as users write it, its value).
    """

    def getattr_of_module(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, value = names[name]
        message = f"{module}.{name} is now {new}; the old name goes in the next version"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return value

    return getattr_of_module
