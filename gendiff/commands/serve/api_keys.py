"""Keys without which the server draws for nobody, as clients of OpenAI's API send them: `Authorization: Bearer KEY`."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gendiff.commands.serve.api_errors import ApiError
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError

OPEN = ("/", "/healthz")
"""Paths that need no key: the page, which has a field for it, and whether the server is up."""
SHORTEST, LARGEST_FILE = 16, 64 * 1024
NUMBER = "gendiff.key"
"""Entry of a request's scope: which line of the file its key is, from 1."""


def read(path: Path) -> tuple[str, ...]:
    """The keys of a file, one per line.

    ConfigError where it cannot be read, is too long, has no key, or one that could be guessed.
    """
    try:
        with foreign_files.expanded(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        keys = content.decode("ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text in ASCII"
        raise ConfigError(f"--api-key-file {path}: {reason}") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"--api-key-file {path}: has more than {LARGEST_FILE} bytes, the most that is read")
    keys = [key.strip() for key in keys if key.strip()]
    if not keys or any(len(key) < SHORTEST or not key.isprintable() or " " in key for key in keys):
        raise ConfigError(
            f"--api-key-file {path}: each line must be a key of at least {SHORTEST} letters, digits or signs, as from "
            f"openssl rand -hex 32 > {path}"
        )
    return tuple(keys)


def client(scope: Scope) -> str:
    """Whose a request is: that of its key, or of its address."""
    return f"key {scope[NUMBER]}" if NUMBER in scope else str((scope.get("client") or ("",))[0])


class ApiKeys:
    """ASGI middleware. keys: of which a request must have one; without any, all requests are answered."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app, self._digests = app, [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._digests and scope["path"] not in OPEN:
            word, _, key = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
            digest = _digest(key.strip())
            equal = [hmac.compare_digest(digest, each) for each in self._digests]  # all, in constant time
            if word.lower() != b"bearer" or not any(equal):
                refused = ApiError(
                    "send a key of this server, as Authorization: Bearer KEY", status=401, code="invalid_api_key"
                )
                await JSONResponse(refused.body, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
            scope[NUMBER] = equal.index(True) + 1
        await self._app(scope, receive, send)


def _digest(key: bytes) -> bytes:
    """Of one length, whatever the length of a key."""
    return hashlib.sha256(key).digest()
