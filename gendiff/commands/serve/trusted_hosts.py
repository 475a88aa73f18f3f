"""A check of the header Host and headers of security, so that no page of another site can use the server.

Also known as: trusted host middleware, protection against DNS rebinding.
"""

from collections.abc import Collection

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gendiff.commands.serve.api_errors import ApiError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", POLICY.encode()),
)
"""Of every answer. The page loads nothing from anywhere, talks to this server alone, and stands in no other page."""


class TrustedHosts:
    """ASGI middleware. hosts: names that a request may give this server, without ports; None takes any.

    A site that points its own name at 127.0.0.1 would otherwise make a browser talk to the server as if it were that
    site's.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        name = host_name(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        if self._hosts is None or name in self._hosts:
            await self._app(scope, receive, with_headers)
            return
        refused = ApiError(
            f"Host = {name[:60]!r}: this server answers to {', '.join(self._hosts)}", status=421, code="host"
        )
        await JSONResponse(refused.body, refused.status)(scope, receive, with_headers)


def host_name(header: str) -> str:
    """The name in a header Host, without its port."""
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() else header).lower()
