"""Public names that were renamed: the old ones go on for one version, with a warning."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def warn(old: str, new: str, what: str) -> None:
    """Warn the caller of the function that calls this.

    Args:
        old: as users write it.
        new: as users write what takes its place.
        what: goes with the next version: a name, a keyword, a form of call.
    """
    message = f"{old} is now {new}; the old {what} goes in the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def renamed(module: str, names: Mapping[str, tuple[str, object]]) -> Callable[[str], object]:
    """A `__getattr__` for a module or a package whose names have changed.

    Args:
        module: as users write it, such as "distillation".
        names: old name -> (new name as users write it, its value).
    """

    def getattr_of_module(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, value = names[name]
        warn(f"{module}.{name}", new, "name")
        return value

    return getattr_of_module


def renamed_function(old: str, function: Function) -> Function:
    """The function or method under its old name, which warns at each call."""

    @functools.wraps(function)
    def warning(*args: object, **options: object) -> object:
        warn(old, function.__qualname__, "name")
        return function(*args, **options)

    return cast(Function, warning)


def renamed_keywords(**names: str) -> Callable[[Function], Function]:
    """A decorator of a function whose keywords have changed: it takes the old ones too.

    Args:
        **names: old keyword -> new keyword.
    """

    def decorator(function: Function) -> Function:
        @functools.wraps(function)
        def accepting(*args: object, **options: object) -> object:
            for old in set(names) & set(options):
                warn(f"{function.__name__}: {old}=", f"{names[old]}=", "keyword")
                options[names[old]] = options.pop(old)
            return function(*args, **options)

        return cast(Function, accepting)

    return decorator
