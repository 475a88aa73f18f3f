"""How the processes of a run meet before JAX connects them, and how each one notices at once that another has ended.

JAX waits minutes where two processes disagree about how many they are, and ends with a dump of its stack where one
dies. Here process 0 listens at the coordinator's port, hears from each process who it is, and tells all whether that
fits. The connections stay, so the end of a process is known as soon as the operating system closes its own.
"""

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import NoReturn

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import errors
from gendiff.runs.errors import PeerError

LONGEST = 4096
"""Bytes of a line that another process may send."""
SAY_AFTER = 10.0
"""Seconds after which a process says whom it waits for."""
BEAT = 5.0
"""Seconds between signs of life."""
SILENCE = 30.0
"""Seconds without one after which a process counts as dead."""
GRACE = 5.0
"""Seconds for which what this process does may notice by itself that another has ended, and end in order."""
FAILED_GRACE = 30.0
"""The same where the other has said that it ends by an error, which this process often meets by itself."""
TELL = 20.0
"""Seconds for which process 0 stays to tell those who come late that the start is wrong."""
RETRY = 0.2
"""Seconds between attempts to reach process 0."""
_ORDERLY = (errors.DONE, errors.PREEMPTED)


class Greeting(msgspec.Struct, frozen=True):
    """Who a process is, as it says to process 0. versions: of what all must run alike."""

    process: int
    processes: int
    versions: dict[str, str]


class _Reply(msgspec.Struct, frozen=True):
    """What process 0 answers; refusal: why nobody begins, or empty."""

    refusal: str = ""


def greeting(process: int, processes: int) -> Greeting:
    """That of this process."""
    return Greeting(process, processes, {name: metadata.version(name) for name in ("gendiff", "jax")})


def meet(coordinator: str, local: Greeting, *, within: float, say: Callable[[str], None]) -> "Link":
    """Wait until all processes are there and agree, and return the connections to them.

    Args:
        coordinator: HOST:PORT of process 0.
        local: the greeting of this process.
        within: seconds for which it waits.
        say: takes a line on whom it waits for, once.

    Raises:
        ConfigError: on every process, where their greetings do not fit each other; on process 0 where it cannot listen
            at the port.
        PeerError: where they are not all there in time.
    """
    host, _, port = coordinator.rpartition(":")
    if local.process == 0:
        return _gather(coordinator, int(port), local, within, say)
    return _reach(coordinator, (host.strip("[]"), int(port)), local, within, say)


def _gather(coordinator: str, port: int, local: Greeting, within: float, say: Callable[[str], None]) -> "Link":
    """What process 0 does."""
    peers: dict[int, socket.socket] = {}
    unread: dict[socket.socket, bytes] = {}
    begin, announced, refusal = time.monotonic(), False, ""
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(_listener(coordinator, port))
        ready = closing.enter_context(selectors.DefaultSelector())
        ready.register(listener, selectors.EVENT_READ)
        while len(peers) < local.processes - 1:
            missing = ", ".join(str(each) for each in range(1, local.processes) if each not in peers)
            waited = time.monotonic() - begin
            if waited > within and refusal:
                break
            if waited > within:
                raise PeerError(f"process {missing} did not come to {coordinator} within {within:g} s")
            if waited > SAY_AFTER and not announced:
                say(f"process 0 waits at {coordinator} for process {missing} of {local.processes}")
                announced = True
            for key, _ in ready.select(timeout=RETRY):
                if key.fileobj is listener:
                    connection = closing.enter_context(listener.accept()[0])
                    connection.setblocking(False)
                    ready.register(connection, selectors.EVENT_READ, connection)
                    unread[connection] = b""
                    continue
                connection, content = key.data, _receive(key.data)
                if connection in unread:
                    unread[connection] += content
                    if content and b"\n" not in unread[connection] and len(unread[connection]) <= LONGEST:
                        continue
                    other = _decoded(unread.pop(connection))
                    if other is not None:
                        if not refusal and (refusal := misfit(local, other, peers)):
                            within = min(within, waited + TELL)
                            for each in peers.values():
                                _send(each, msgspec.json.encode(_Reply(refusal)))
                        if refusal:
                            _send(connection, msgspec.json.encode(_Reply(refusal)))
                        peers.setdefault(other.process, connection)
                        continue
                elif content:
                    continue
                # a stranger, or a process that left before all were there, and may come again
                ready.unregister(connection)
                connection.close()
                if not refusal:
                    peers = {number: each for number, each in peers.items() if each is not connection}
        if refusal:
            raise ConfigError(refusal)
        closing.pop_all()
        ready.close()
        for stranger in (listener, *unread):
            stranger.close()
    for each in peers.values():
        _send(each, msgspec.json.encode(_Reply()))
    return Link(peers)


def misfit(local: Greeting, other: Greeting, present: Iterable[int]) -> str:
    """Why a greeting does not fit that of process 0, or empty. present: the numbers of those that are there."""
    if other.processes != local.processes:
        return (
            f"process {other.process} was started with --processes {other.processes}, and process 0 with "
            f"--processes {local.processes}: give all the same number"
        )
    if not 1 <= other.process < local.processes or other.process in present:
        return (
            f"two processes were started with --process {other.process}: give each its own, 0 … {local.processes - 1}"
        )
    for name, version in local.versions.items():
        if other.versions.get(name) != version:
            return (
                f"process {other.process} runs {name} {other.versions.get(name, 'of no version')}, and process 0 runs "
                f"{name} {version}: install the same on all"
            )
    return ""


def _reach(
    coordinator: str, address: tuple[str, int], local: Greeting, within: float, say: Callable[[str], None]
) -> "Link":
    """What the others do."""
    begin, announced, reason = time.monotonic(), False, ""
    while (waited := time.monotonic() - begin) < within:
        if waited > SAY_AFTER and not announced:
            say(f"process {local.process} waits for process 0 at {coordinator}: {reason}")
            announced = True
        with contextlib.ExitStack() as closing:
            try:
                connection = closing.enter_context(socket.create_connection(address, timeout=SAY_AFTER))
                _send(connection, msgspec.json.encode(local))
                reply = msgspec.json.decode(_answer(connection, begin + within), type=_Reply)
            except msgspec.DecodeError:  # process 0 left and may come again, or this is another program
                reason = "what answers there is no process 0 of gendiff"
            except TimeoutError:
                reason = "no answer"
            except OSError as error:
                reason = error.strerror or str(error)
            else:
                if reply.refusal:
                    raise ConfigError(reply.refusal)
                closing.pop_all()
                return Link({0: connection})
        time.sleep(RETRY)
    raise PeerError(f"process {local.process} does not find process 0 at {coordinator} within {within:g} s: {reason}")


def _answer(connection: socket.socket, deadline: float) -> bytes:
    """The line that process 0 sends when all are there. OSError where it does not."""
    line = b""
    while b"\n" not in line and len(line) <= LONGEST:
        connection.settimeout(max(RETRY, deadline - time.monotonic()))
        if not (content := connection.recv(LONGEST)):
            break
        line += content
    return line


class Link:
    """The connections to other processes, by their numbers. A thread watches them."""

    def __init__(self, peers: dict[int, socket.socket]) -> None:
        self.lost = ""
        """Who has ended, and how; empty where nobody has."""
        self._peers, self._left = peers, threading.Event()
        self._wake, self._woken = socket.socketpair()
        for each in peers.values():
            each.settimeout(BEAT)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def who_is_lost(self) -> str:
        """`lost`, for which it waits a moment: an error of JAX may come before the end of a connection."""
        deadline = time.monotonic() + RETRY * 10
        while not self.lost and time.monotonic() < deadline:
            time.sleep(RETRY / 10)
        return self.lost

    def leave(self, code: int) -> None:
        """Says with which exit code this process ends, and watches no more."""
        if self._left.is_set():
            return
        self._left.set()
        self._wake.close()
        self._watcher.join()
        for each in self._peers.values():
            _send(each, str(code).encode())
            each.close()
        self._woken.close()

    def _watch(self) -> None:
        begin = time.monotonic()
        last_heard, beaten = dict.fromkeys(self._peers, begin), begin
        with selectors.DefaultSelector() as ready:
            ready.register(self._woken, selectors.EVENT_READ)
            for number, each in self._peers.items():
                ready.register(each, selectors.EVENT_READ, number)
            while True:
                for key, _ in ready.select(timeout=1.0):
                    if self._left.is_set():
                        return
                    number, content = key.data, _receive(self._peers[key.data])
                    codes = [int(word) for word in content.split() if word.isdigit()]
                    last_heard[number] = time.monotonic()
                    if codes or not content:
                        ready.unregister(key.fileobj)
                        del last_heard[number]
                        self._report(*_end(number, codes))
                now = time.monotonic()
                if now - beaten > BEAT:
                    beaten = now
                    for number in last_heard:
                        _send(self._peers[number], b"")
                for number in [each for each, at in last_heard.items() if now - at > SILENCE]:
                    ready.unregister(self._peers[number])
                    del last_heard[number]
                    self._report(f"process {number} has given no sign of life for {SILENCE:g} s", 0.0)

    def _report(self, what: str, grace: float) -> None:
        """What this process does may notice, too, and then ends it in order; after the grace this thread does."""
        if what and not self.lost:
            self.lost = what
            if not self._left.wait(grace):
                _exit(what)


def _end(number: int, codes: list[int]) -> tuple[str, float]:
    """(what is said of a process that has ended, empty where it ended in order; the grace). codes: that it told of."""
    if not codes:
        return f"process {number} has ended without a word", GRACE
    if codes[-1] == errors.LOST_PEER:
        return f"process {number} has lost another process", GRACE
    return (
        ("", 0.0) if codes[-1] in _ORDERLY else (f"process {number} has ended with exit code {codes[-1]}", FAILED_GRACE)
    )


def _exit(what: str) -> NoReturn:
    print(f"error: {what}; start all of them again", file=sys.stderr, flush=True)
    os._exit(errors.LOST_PEER)  # the main thread waits for who is not there


def _listener(coordinator: str, port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(("", port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--coordinator {coordinator}: process 0 cannot listen at port {port}: {reason}; give all another port"
        ) from error


def _decoded(line: bytes) -> Greeting | None:
    try:
        return msgspec.json.decode(line.partition(b"\n")[0], type=Greeting)
    except msgspec.DecodeError:
        return None


def _receive(connection: socket.socket) -> bytes:
    """What has come; empty where the other side has closed."""
    try:
        return connection.recv(LONGEST)
    except (BlockingIOError, TimeoutError):
        return b"\n"
    except OSError:
        return b""


def _send(connection: socket.socket, content: bytes) -> None:
    """A line. Whoever is gone does not hear it, and is noticed by who reads."""
    try:
        connection.sendall(content + b"\n")
    except OSError:
        return
