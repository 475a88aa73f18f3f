"""Forms with files, as browsers and clients of OpenAI's API send them. Also known as: multipart/form-data, RFC 7578."""

import email
from collections.abc import Iterator
from email.message import Message

from gendiff.commands.serve.api_errors import ApiError

MOST_PARTS = 64


def read(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each part, in their order. Raises ApiError for a body that is no whole form."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        raise ApiError("Content-Type names no boundary: let the client set it, with multipart/form-data")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not parts or not parts[-1].startswith(b"--") or len(parts) > MOST_PARTS:
        raise ApiError(f"the body is no whole form of at most {MOST_PARTS - 1} parts")
    for part in parts[:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        name = email.message_from_bytes(head.lstrip(b" \t\r\n")).get_param("name", header="Content-Disposition")
        if not blank or not isinstance(name, str):
            raise ApiError("a part of the form has no name")
        yield name, content
