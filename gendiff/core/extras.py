"""Optional packages: how a missing one is named, in one sentence that works."""


def needs(what: str, package: str, extra: str) -> str:
    """The message for a missing package.

    Args:
        what: what needs the package, with its verb, as in "adaptive steps need".
        package: the package as people know it.
        extra: the optional dependency of this project that brings it.
    """
    return f"{what} {package}: {install(extra)}"


def install(extra: str) -> str:
    """The advice alone, for a message that has named the package already."""
    return f"install this project's extra [{extra}], as the README's section Install shows"
