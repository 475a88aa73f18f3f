"""Shape checks that are made at a function's first call.

jaxtyping makes two checked functions of each function of the library when its module is imported: 5 s of CPU per
process, of which a run of tests starts many, and most functions are never called there.
"""

import functools
import inspect

import jaxtyping

_at_once = jaxtyping.jaxtyped


def install() -> None:
    """From now on the import hook of jaxtyping checks functions lazily. Call it before the library is imported."""
    jaxtyping.jaxtyped = lazily_typed


def lazily_typed(function=None, *, typechecker=None):
    """As `jaxtyping.jaxtyped(typechecker=…)`."""
    if function is None:
        return functools.partial(lazily_typed, typechecker=typechecker)
    if not inspect.isfunction(function):  # a class, of which a record has a checked __init__, or a property
        return _at_once(function, typechecker=typechecker)
    checked = functools.cache(lambda: _at_once(function, typechecker=typechecker))

    @functools.wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        return checked()(*args, **kwargs)

    return call
