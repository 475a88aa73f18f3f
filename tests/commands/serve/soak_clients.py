"""Clients of four kinds, as a server meets them together: some behave, some are slow, some leave, some mean harm."""

import base64
import collections
import contextlib
import io
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from gendiff.commands.serve.image_requests import ROUTE, ImageRequest
from gendiff.runs.reporting import figures
from tests.commands.serve.fake_program import expected

SECONDS = 60.0
"""For which a client waits for bytes."""
JSON = {"Content-Type": "application/json"}
HARM = (
    (400, b"{", JSON),
    (400, b"[" * 50_000, JSON),
    (400, b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}", JSON),
    (400, b'{"prompt": "a", "image": "/etc/passwd"}', JSON),
    (400, b'{"prompt": "a", "steps": 1e400}', JSON),
    (413, b" " * 2_000_000, JSON),
    (415, b"prompt=a", {"Content-Type": "text/plain"}),
)
"""(status, body, headers) of requests that are refused."""


class Crowd:
    """What the clients have asked and been answered. One lock guards it.

    statuses: of whole answers to the route of pictures. unread: requests whose client has left. wrong: what no server
    may do.
    """

    def __init__(self, port: int, until: float) -> None:
        self.port, self.until = port, until
        self.statuses: collections.Counter[int] = collections.Counter()
        self.unread = self.pictures = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def run(self, each: int) -> None:
        """So many clients of each kind, to the end."""
        kinds = (self.good, self.slow, self.leaving, self.hostile)
        threads = [
            threading.Thread(target=self._client, args=(kind, number, 2 + number % 8))
            for kind in kinds
            for number in range(each)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def good(self, draw: random.Random, host: str) -> None:
        """It reads what it has asked for at once."""
        self._pictures(draw, host, lambda connection, content: connection.sendall(content), 2**16)

    def slow(self, draw: random.Random, host: str) -> None:
        """It writes its request in pieces, and reads a little at a time."""

        def send(connection: socket.socket, content: bytes) -> None:
            for start in range(0, len(content), 40):
                connection.sendall(content[start : start + 40])
                time.sleep(0.05)

        self._pictures(draw, host, send, 200)

    def leaving(self, draw: random.Random, host: str) -> None:
        """It goes before its answer is whole."""
        fields = {"prompt": "a circle", "steps": draw.randint(5, 100), "n": 2, "stream": True, "partial_images": 3}
        with self._connection(host) as connection:
            connection.sendall(_request(json.dumps(fields).encode(), JSON))
            if draw.random() < 0.5:
                connection.recv(100)
                # without a word, which might reach a server that has not read the request yet
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                time.sleep(draw.uniform(0.0, 0.1))
        self._add(unread=1)

    def hostile(self, draw: random.Random, host: str) -> None:
        """It sends what no server should take, or half of a request, and waits."""
        kind = draw.randrange(len(HARM) + 3)
        with self._connection(host) as connection:
            if kind < len(HARM):
                status, body, headers = HARM[kind]
                with contextlib.suppress(OSError):  # the server may close before it has read all
                    connection.sendall(_request(body, headers))
                self._check(_answer(connection)[0], status, f"harm {kind}")
            elif kind == len(HARM):
                connection.sendall(b"\x16\x03\x01\x02\x00" + draw.randbytes(300))
                _answer(connection)
            elif kind == len(HARM) + 1:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
                if (status := _answer(connection)[0]) != 421:
                    self._add(wrong=f"a foreign host is answered {status}")
            else:
                connection.sendall(b"POST " + ROUTE.encode() + b" HTTP/1.1\r\nHost: local")
                time.sleep(draw.uniform(0.0, 3.0))

    def _client(self, kind: Callable[[random.Random, str], None], number: int, address: int) -> None:
        draw = random.Random(f"{kind.__name__} {number}")
        while time.monotonic() < self.until:
            try:
                kind(draw, f"127.0.0.{address}")
            except Exception as error:
                self._add(wrong=f"{kind.__name__}: {type(error).__name__}: {error}")
                time.sleep(0.5)

    def _pictures(
        self, draw: random.Random, host: str, send: Callable[[socket.socket, bytes], None], most: int
    ) -> None:
        request = ImageRequest("a circle", n=draw.randint(1, 3), steps=draw.randint(2, 20), seed=draw.randrange(10**6))
        fields = {name: getattr(request, name) for name in ("prompt", "n", "steps", "seed")}
        with self._connection(host) as connection:
            send(connection, _request(json.dumps(fields).encode(), JSON))
            status, body = _answer(connection, most)
        if status == 429:
            self._add(status=status)
            time.sleep(draw.uniform(0.1, 0.5))
            return
        self._check(status, 200, "a good request")
        for index, each in enumerate(json.loads(body)["data"]):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["b64_json"]))))
            if not np.array_equal(pixels, figures.to_pixels(expected(request, index))):
                self._add(wrong=f"picture {index} of seed {request.seed} is another")
        self._add(pictures=request.n)

    def _check(self, status: int, right: int, what: str) -> None:
        self._add(status=status)
        if status != right:
            self._add(wrong=f"{what} is answered {status}")

    def _add(self, status: int | None = None, unread: int = 0, pictures: int = 0, wrong: str = "") -> None:
        with self._lock:
            if status is not None:
                self.statuses[status] += 1
            self.unread += unread
            self.pictures += pictures
            self.wrong += [wrong] if wrong else []

    def _connection(self, host: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SECONDS, source_address=(host, 0))


def _request(body: bytes, headers: dict[str, str]) -> bytes:
    lines = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {ROUTE} HTTP/1.1\r\n{head}\r\n".encode() + body


def _answer(connection: socket.socket, most: int = 2**16) -> tuple[int, bytes]:
    """(status, body) until the server closes; status 0 without an answer."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(most):
            content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0, body
