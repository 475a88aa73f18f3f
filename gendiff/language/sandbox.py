"""A sandbox for a stranger's chat template: jinja2's own, which keeps it from Python, with what templates may call.

`core.child_process` runs it and bounds time, memory and output, so that it imports nothing of gendiff.
"""

import datetime
import json
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import sandbox
from jinja2.exceptions import SecurityError

LONGEST = 1_000_000
"""Characters of the text that a template may write."""


class Refusal(Exception):
    """The error of a template's raise_exception."""


class Sandbox(sandbox.ImmutableSandboxedEnvironment):
    """The environment of one rendering.

    Args:
        now: what strftime_now writes, or None.
    """

    def __init__(self, now: datetime.datetime | None):
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        self.now = now
        self.filters["tojson"] = _json
        self.globals = {
            "range": range,
            "namespace": self.globals["namespace"],
            "dict": dict,
            "raise_exception": _refuse,
            "strftime_now": self._date,
        }

    def unsafe_undefined(self, obj: object, attribute: str) -> jinja2.Undefined:
        """Refuse an unsafe attribute at once: as an undefined value it would print as an empty text."""
        raise SecurityError(f"it reaches for {attribute!r} of a value of type {type(obj).__name__!r}")

    def _date(self, form: str) -> str:
        if self.now is None:
            raise LookupError("it writes the date: pass now=datetime.datetime.now()")
        return self.now.strftime(form)


def answer(request: Mapping[str, Any]) -> tuple[str, str]:
    """Run a template: ("text", what it writes), ("refusal", its words) or ("failure", what is wrong with it).

    Args:
        request: "source", in jinja2's language; "variables" by name; "now", a time in ISO's form, or None.
    """
    now = request["now"] and datetime.datetime.fromisoformat(request["now"])
    try:
        text = Sandbox(now).from_string(request["source"]).render(request["variables"])
    except Refusal as error:
        return "refusal", str(error)
    except jinja2.TemplateSyntaxError as error:
        return "failure", f"is none, line {error.lineno}: {error.message}"
    if len(text) > LONGEST:
        return "failure", f"writes {len(text)} characters; at most {LONGEST} are read"
    return "text", text


def _refuse(message: str) -> None:
    raise Refusal(message)


def _json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers writes JSON: without jinja2's escapes of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
