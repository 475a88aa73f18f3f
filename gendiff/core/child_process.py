"""Programs of strangers in a child process, with limits of time, memory and output.

A limit inside the interpreter does not hold: one comparison, sort or regular expression may run for ever in C, where
Ctrl-C does not reach it either. One child serves all calls, so that a call costs milliseconds. This file is its
program, too, so that it imports nothing of gendiff. An idle child ends with its parent, one that computes within 20 s.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

SECONDS = 2.0
"""Seconds that a processor may spend on one answer."""
BUSY = 10.0
"""How many times as long an answer may take on a machine that does other work beside."""
START_SECONDS = 60.0
"""Seconds in which a child starts and imports a program. On a busy machine both are slow."""
MEMORY = 2**29
"""Bytes that the child may have, the interpreter included."""
LONGEST = 2**24
"""Bytes of an answer."""
LONGEST_REASON = 2000
"""Characters of an error."""
END = b""
ALARMS = [getattr(signal, name) for name in ("SIGPROF", "SIGALRM") if hasattr(signal, name)]


Answer = Callable[[object], Sequence[str]]


class ChildError(Exception):
    """A stranger's program failed, or went beyond a limit. The message says how, without a subject."""


class ChildProcess:
    """A child that is started with the first call, and again after one that went wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._parent = 0

    def call(self, program: Path, request: object) -> list[str]:
        """Return what a program answers.

        Args:
            program: a Python file with a function `answer` of one value, which returns texts. It is trusted; what it is
                handed is not.
            request: of JSON's types. Other mappings are taken as objects.

        Raises:
            ChildError: where `answer` fails, or is stopped at a limit.
        """
        message = json.dumps([str(program), request, SECONDS], default=dict).encode()
        with self._lock:
            try:
                self._send(message)
                self._receive(START_SECONDS)  # the program is imported
                kind, content = json.loads(self._receive(BUSY * SECONDS))
            except BaseException:
                self.close()
                raise
        if kind != "answer":
            raise ChildError(f"fails: {content}")
        texts: list[str] = content
        return texts

    def close(self) -> None:
        """End the child; the next call starts another."""
        process, self._process = self._process, None
        if process is not None and self._parent == os.getpid():  # a fork has a copy that is not its child
            process.kill()
            process.wait()
            with contextlib.suppress(OSError):  # of what it has not read
                process.stdin.close()  # type: ignore[union-attr]

    def _send(self, message: bytes) -> None:
        if self._process is None or self._parent != os.getpid():
            if not self._parent:
                atexit.register(self.close)
            self._parent, self._answers = os.getpid(), queue.SimpleQueue()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"RAYON_NUM_THREADS": "1"},  # each thread of Rust takes memory
                start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            )
            threading.Thread(target=_forward, args=(self._process.stdout, self._answers), daemon=True).start()
        with contextlib.suppress(OSError):  # of a child that is dead: no answer will come
            _write(self._process.stdin, message)  # type: ignore[arg-type]

    def _receive(self, seconds: float) -> bytes:
        try:
            message = self._answers.get(timeout=seconds)
        except queue.Empty as error:
            raise ChildError(f"takes more than {seconds:g} s") from error
        if message == END:
            process = self._process
            if process is not None and -process.wait() in ALARMS:
                raise ChildError(f"takes more than {SECONDS:g} s")
            raise ChildError(f"crashes, or needs more than {MEMORY / 2**20:g} MiB of memory")
        return message


run = ChildProcess().call


def _forward(stream: BinaryIO, answers: "queue.SimpleQueue[bytes]") -> None:
    """Hand over what the child writes, so that the parent can wait for it with a limit of time on every system."""
    with stream:
        while message := _read(stream):
            answers.put(message)
    answers.put(END)


def _read(stream: BinaryIO) -> bytes:
    """One message, or END without one."""
    size = int.from_bytes(stream.read(4), "big")
    message = stream.read(size) if size <= 2 * LONGEST else END
    return message if len(message) == size else END


def _write(stream: BinaryIO, message: bytes) -> None:
    stream.write(len(message).to_bytes(4, "big") + message)
    stream.flush()


def _serve() -> None:
    """The life of the child: it answers until its input ends."""
    _limit()
    programs: dict[str, Answer] = {}
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while message := _read(requests):
        name, request, seconds = json.loads(message)
        if name not in programs:
            programs[name] = _imported(name)
        _write(answers, b"ready")
        _alarm(seconds)
        answer = _answered(programs[name], request)
        _alarm(0)
        _write(answers, answer)


def _alarm(seconds: float) -> None:
    """Ends the process after so many seconds of a processor. The other limit is for a parent that is dead."""
    with contextlib.suppress(AttributeError):  # Windows has none
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, BUSY * seconds)


def _answered(answer: Answer, request: object) -> bytes:
    try:
        content = json.dumps(["answer", answer(request)]).encode()
        if len(content) > LONGEST:
            raise ValueError(f"an answer of {len(content)} bytes, at most {LONGEST} are read")
    except MemoryError:
        os._exit(1)  # what is left may be too little for anything else
    except BaseException as error:  # a panic of Rust is no Exception
        content = json.dumps(["error", f"{type(error).__name__}: {error}"[:LONGEST_REASON]]).encode()
    return content


def _imported(program: str) -> Answer:
    spec = importlib.util.spec_from_file_location("program", program)
    if spec is None or spec.loader is None:
        raise ImportError(program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: Answer = module.answer
    return answer


def _limit() -> None:
    """No more memory than MEMORY and no files, and alarms end the process, where the system can do that."""
    with contextlib.suppress(ImportError, AttributeError):
        import resource

        for alarm in ALARMS:
            signal.signal(alarm, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [alarm])
        for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_AS, MEMORY)):
            with contextlib.suppress(ValueError, OSError):  # macOS has no limit of memory
                resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    sys.path[:] = sys.argv[1:]
    _serve()
