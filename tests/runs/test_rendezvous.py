"""Processes meet and agree, or all are told why not; the end of one is known at once."""

import json
import queue
import socket
import threading
import time

import pytest

from gendiff.core.errors import ConfigError
from gendiff.runs import errors, rendezvous
from gendiff.runs.errors import PeerError
from tests.tables import table

OWN = rendezvous.greeting(0, 3)


@pytest.fixture
def where():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def greeting(process, processes=3, **versions):
    return rendezvous.Greeting(process, processes, OWN.versions | versions)


def meeting(where, greetings, within=20.0, later=3.0):
    """What each got: its link, or the error. later: seconds that the others wait longer than process 0."""
    results, lines = [None] * len(greetings), []

    def one(index, local):
        try:
            wait = within + later * (local.process > 0)
            results[index] = rendezvous.meet(where, local, within=wait, say=lines.append)
        except (ConfigError, PeerError) as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=each) for each in enumerate(greetings)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    return results, lines


@pytest.fixture
def ends(monkeypatch):
    """What processes would end with."""
    result = queue.Queue()
    monkeypatch.setattr(rendezvous, "_exit", result.put)
    return result


def test_all_meet_whoever_comes_first_and_leave_in_order_without_a_word(where, ends):
    links, _ = meeting(where, [greeting(2), greeting(1), OWN])
    assert all(isinstance(each, rendezvous.Link) for each in links), links
    for link, code in zip(links, (errors.DONE, errors.DONE, errors.PREEMPTED), strict=True):
        link.leave(code)
    assert ends.empty() and not any(link.lost for link in links)


@pytest.mark.fault("a wrong start of several processes")
@table(
    ("others", "message"),
    [
        ([greeting(1), greeting(2, processes=4)], "--processes 4, and process 0 with --processes 3"),
        ([greeting(1), greeting(1)], "two processes were started with --process 1"),
        ([greeting(1), greeting(2, gendiff="0.0.1")], "process 2 runs gendiff 0.0.1, and process 0 runs gendiff"),
        ([greeting(1), greeting(2, jax="0.1")], "process 2 runs jax 0.1"),
    ],
)
def test_a_wrong_start_is_told_on_all_sides_at_once(others, message, monkeypatch):
    monkeypatch.setattr(rendezvous, "TELL", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    begin = time.monotonic()
    results, _ = meeting(where, [OWN, *others])
    assert time.monotonic() - begin < 10
    refused = [each for each in results if isinstance(each, ConfigError)]
    assert len(refused) == 3 and all(message in str(each) for each in refused), results


@pytest.mark.fault("a wrong start of several processes")
def test_a_port_that_is_taken_is_a_wrong_option(where):
    with socket.create_server(("127.0.0.1", int(where.rpartition(":")[2]))), pytest.raises(ConfigError, match="port"):
        rendezvous.meet(where, OWN, within=1.0, say=print)


def test_who_does_not_come_is_named(where, monkeypatch):
    monkeypatch.setattr(rendezvous, "SAY_AFTER", 0.2)
    results, lines = meeting(where, [OWN, greeting(1)], within=1.0, later=0.4)
    assert "process 2 did not come" in str(results[0]) and isinstance(results[1], PeerError)
    assert any("process 0 waits" in line and line.endswith("2 of 3") for line in lines), lines


def test_a_wrong_port_is_said_with_the_reason(where, monkeypatch):
    monkeypatch.setattr(rendezvous, "SAY_AFTER", 0.2)
    (result,), lines = meeting(where, [greeting(1)], within=0.5, later=0.0)
    assert "does not find process 0" in str(result) and "refused" in f"{result}" and "refused" in lines[0]


def test_strangers_at_the_port_are_sent_away_and_harm_nobody(where, ends):
    address = ("127.0.0.1", int(where.rpartition(":")[2]))

    def strangers():
        for content in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 10_000, json.dumps([1] * 50).encode() + b"\n", b""):
            for _ in range(50):
                try:
                    with socket.create_connection(address, timeout=1) as stranger:
                        stranger.sendall(content)
                    break
                except OSError:
                    time.sleep(0.05)

    thread = threading.Thread(target=strangers)
    thread.start()
    results, _ = meeting(where, [OWN, greeting(1)], within=1.2, later=0.4)
    assert "process 2 did not come" in str(results[0])
    thread.join()
    links, _ = meeting(where, [OWN, greeting(1), greeting(2)])
    assert all(isinstance(each, rendezvous.Link) for each in links), links
    for each in links:
        each.leave(0)


@pytest.mark.fault("peer dies")
def test_the_end_of_a_process_is_known_at_once_and_this_one_ends_after_a_grace(where, monkeypatch, ends):
    monkeypatch.setattr(rendezvous, "GRACE", 0.2)
    links, _ = meeting(where, [OWN, greeting(1), greeting(2)])
    for each in links[2]._peers.values():  # as the operating system does
        each.shutdown(socket.SHUT_RDWR)
    assert {ends.get(timeout=10) for _ in range(2)} == {f"process {each} has ended without a word" for each in (0, 2)}
    assert links[0].lost == "process 2 has ended without a word"
    links[0].leave(errors.LOST_PEER)
    assert ends.get(timeout=10) == "process 0 has lost another process" == links[1].lost
    for each in links[1:]:
        each.leave(errors.LOST_PEER)


@pytest.mark.fault("peer dies")
def test_silence_counts_as_the_end(where, monkeypatch, ends):
    monkeypatch.setattr(rendezvous, "SILENCE", 0.3)
    links, _ = meeting(where, [OWN, greeting(1), greeting(2)])
    assert "no sign of life" in ends.get(timeout=10)
    for each in links:
        each.leave(0)


def test_an_error_of_another_is_named_with_its_code(where, monkeypatch, ends):
    monkeypatch.setattr(rendezvous, "FAILED_GRACE", 0.2)
    links, _ = meeting(where, [OWN, greeting(1), greeting(2)])
    links[1].leave(errors.NON_FINITE)
    assert ends.get(timeout=10) == f"process 1 has ended with exit code {errors.NON_FINITE}"
    for each in links:
        each.leave(0)
