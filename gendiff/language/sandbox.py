"""A sandbox for a stranger's chat template: no attributes of Python's own, and bounds on its steps and its output.

jinja2's own sandbox keeps a template from Python, but not from running for ever. Imported where a template is used, for
it needs jinja2.
"""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import BuiltinMethodType
from typing import Any, TypeVar

import jinja2
from jinja2 import nodes, runtime, sandbox, visitor
from jinja2.exceptions import SecurityError

from gendiff.core.errors import ConfigError

STEPS = 20_000
"""How often the bodies of loops and macros may run in all."""
LONGEST = 1_000_000
"""Characters of a text, or entries of a list, that a template may make."""
LARGEST_RANGE = 10_000
LARGEST_NUMBER = 2**63
FILTERS = frozenset(
    "abs attr bool capitalize count d default dictsort e escape first float groupby int items join last length list "
    "lower map max min reject rejectattr replace reverse round safe select selectattr sort string sum title tojson "
    "trim unique upper".split()
)
METHODS = frozenset(
    "capitalize count endswith find index isalnum isalpha isdigit isspace join lower lstrip lower removeprefix "
    "removesuffix replace rfind rsplit rstrip split splitlines startswith strip title upper".split()
)
"""The methods of texts that a template may call. Those that lengthen a text are left out, or bounded."""

T = TypeVar("T")
Body = TypeVar("Body", nodes.For, nodes.Macro, nodes.CallBlock)


class Refusal(Exception):
    """The error of a template's raise_exception."""


class Sandbox(sandbox.ImmutableSandboxedEnvironment):
    """The environment of one rendering.

    Args:
        now: what strftime_now writes, or None.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, now: datetime.datetime | None):
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        self.steps, self.now = 0, now
        self.filters = {name: value for name, value in self.filters.items() if name in FILTERS}
        self.filters |= {"tojson": _json, "replace": _replaced, "join": _joined}
        self.globals = {
            "range": _range,
            "namespace": self.globals["namespace"],
            "dict": dict,
            "raise_exception": _refuse,
            "strftime_now": self._date,
        }

    def rendered(self, source: str, variables: Mapping[str, object]) -> str:
        """Run a template.

        Args:
            source: in jinja2's language.
            variables: its variables by name.

        Raises:
            ValueError: where the template refuses its variables, with its words.
            ConfigError: for everything else that goes wrong.
        """
        try:
            bounded = _Bounded(self).visit(self.parse(_bound(source)))
            return "".join(self._pieces(self.from_string(bounded).generate(variables)))
        except Refusal as error:
            raise ValueError(f"the chat template refuses these messages: {error}") from error
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"the chat template is none, line {error.lineno}: {error.message}") from error
        except Exception as error:  # a template may fail in every way that Python can
            raise ConfigError(f"the chat template fails: {type(error).__name__}: {error}") from error

    def step(self) -> bool:
        """Count one more run of a body; true, so that it can stand before a condition."""
        self.steps += 1
        if self.steps > STEPS:
            raise SecurityError(f"more than {STEPS} steps")
        return True

    def concatenated(self, *parts: object) -> str:
        """Join texts, as `~` does, with a bound."""
        texts = [str(part) for part in parts]
        _bound_size(sum(map(len, texts)))
        return "".join(texts)

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        """Whether a template may read it: few methods of texts, none of numbers, nothing internal or changing."""
        if isinstance(obj, str | bytes | int | float):
            return isinstance(obj, str) and attr in METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: object) -> None:
        """Give `str.format` no special way: it is not in METHODS."""

    def unsafe_undefined(self, obj: object, attribute: str) -> jinja2.Undefined:
        """Refuse an unsafe attribute at once: as an undefined value it would print as an empty text."""
        raise SecurityError(f"it reaches for {attribute!r} of a value of type {type(obj).__name__!r}")

    def call(self, context: runtime.Context, obj: object, *args: Any, **options: Any) -> object:
        """Call a function or method, those that make long texts with a bound. Any: what a template passes."""
        if isinstance(obj, BuiltinMethodType) and isinstance(obj.__self__, str) and obj.__name__ in ("replace", "join"):
            bounded = _replaced if obj.__name__ == "replace" else lambda parts: _joined(parts, obj.__self__)
            return bounded(*((obj.__self__, *args) if obj.__name__ == "replace" else args), **options)
        return super().call(context, obj, *args, **options)

    def call_binop(self, context: runtime.Context, operator: str, left: object, right: object) -> object:
        """Compute with a bound."""
        if operator == "**" or (operator == "%" and isinstance(left, str | bytes)):
            raise SecurityError(f"{operator!r} may make more than memory holds")
        if operator == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, str | list | tuple) and isinstance(count, int):
                    _bound_size(len(sequence) * count)
        return _bound(super().call_binop(context, operator, left, right))

    def _pieces(self, generated: Iterable[str]) -> Iterator[str]:
        size = 0
        for piece in generated:
            size += len(piece)
            _bound_size(size)
            yield piece

    def _date(self, form: str) -> str:
        if self.now is None:
            raise LookupError("it writes the date: pass now=datetime.datetime.now()")
        return self.now.strftime(_bound(form))


class _Bounded(visitor.NodeTransformer):
    """Puts a count of steps into every body that may run again, and a bound on `~`."""

    def __init__(self, environment: Sandbox):
        self.environment = environment

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        if node.test is not None:  # runs for entries that never come to the body
            node.test = nodes.And(self._call("step", node), node.test).set_environment(self.environment)
        return self._counted(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self.generic_visit(node)
        return self._counted(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        self.generic_visit(node)
        return self._counted(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return self._call("concatenated", node, node.nodes)

    def _counted(self, node: Body) -> Body:
        node.body.insert(
            0, nodes.ExprStmt(self._call("step", node), lineno=node.lineno).set_environment(self.environment)
        )
        return node

    def _call(self, name: str, near: nodes.Node, args: Sequence[nodes.Expr] = ()) -> nodes.Call:
        call = nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None, lineno=near.lineno)
        call.set_environment(self.environment)
        return call


def _bound(value: T) -> T:
    """The value, unless it is too large."""
    if isinstance(value, str | list | tuple):
        _bound_size(len(value))
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise SecurityError(f"a number above {LARGEST_NUMBER}")
    return value


def _bound_size(size: int) -> None:
    if size > LONGEST:
        raise SecurityError(f"a text or list of {size} entries; at most {LONGEST} are made")


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > LARGEST_RANGE:
        raise SecurityError(f"a range of more than {LARGEST_RANGE} numbers")
    return numbers


def _refuse(message: str) -> None:
    raise Refusal(message)


def _replaced(text: object, old: str, new: str, count: int | None = None) -> str:
    source = str(text)
    _bound_size(len(source) + (source.count(old) if count is None else min(source.count(old), count)) * len(new))
    return source.replace(old, new, -1 if count is None else count)


def _joined(values: Iterable[object], between: str = "", attribute: object = None) -> str:
    if attribute is not None:
        raise SecurityError("join with an attribute; write map(attribute=…) before it")
    texts = [str(value) for value in values]
    _bound_size(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def _json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers writes JSON: without jinja2's escapes of HTML."""
    if indent is not None and not 0 <= indent <= 16:
        raise SecurityError(f"JSON indented by {indent!r}")
    return _bound(
        json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    )
