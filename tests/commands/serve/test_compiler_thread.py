"""Larger steps are compiled while the server answers; it goes on where that fails, and waits for what it began."""

import io
import threading

import pytest

from gendiff.commands.serve.compiler_thread import compiling
from gendiff.runs.progress import Progress


def test_each_size_is_told_and_none_holds_up_the_server():
    go_on, stream = threading.Event(), io.StringIO()

    def sizes():
        assert go_on.wait(20)
        yield from (2, 4)

    with compiling(sizes(), Progress(stream)):
        answered = stream.getvalue()
        go_on.set()
        while "4 at a time" not in stream.getvalue():
            pass
    assert answered == "" and stream.getvalue().splitlines() == ["compiled for 2 at a time", "compiled for 4 at a time"]


def test_a_size_that_cannot_be_compiled_leaves_the_server_with_the_others():
    stream = io.StringIO()

    def sizes():
        yield 2
        raise MemoryError("no memory is left")

    with compiling(sizes(), Progress(stream)):
        while "note" not in stream.getvalue():
            pass
    assert stream.getvalue().splitlines()[1] == (
        "note: more cannot be compiled, so fewer are drawn at a time: MemoryError: no memory is left"
    )


@pytest.mark.parametrize("closed", [False, True])
def test_the_end_waits_for_the_size_that_is_being_compiled_and_begins_no_other(closed):
    """Also where nobody reads the lines any more."""
    go_on, started, stream = threading.Event(), [], io.StringIO()

    def sizes():
        for size in (2, 4):
            started.append(size)
            assert go_on.wait(20)
            yield size

    if closed:
        stream.close()
    threading.Timer(1, go_on.set).start()
    with compiling(sizes(), Progress(stream)):
        pass
    assert started == [2]
    assert closed or stream.getvalue().splitlines() == [
        "waits for the compiler, which cannot be interrupted",
        "compiled for 2 at a time",
    ]
