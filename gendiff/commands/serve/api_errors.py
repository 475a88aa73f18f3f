"""Errors that the server answers with, in the form of OpenAI's API."""

from collections.abc import Mapping

INVALID, NOT_FOUND, BUSY, FAILED = "invalid_request_error", "not_found_error", "rate_limit_error", "server_error"


class ApiError(Exception):
    """A request that is not answered by images.

    status: of HTTP. field: of the request, where one is at fault. kind, code: for programs. headers: of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        field: str | None = None,
        kind: str = INVALID,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.field, self.kind, self.code, self.headers = status, field, kind, code, dict(headers or {})

    @property
    def body(self) -> dict[str, object]:
        """What JSON says."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.field, "code": self.code}}
