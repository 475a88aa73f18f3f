"""One process at a time owns a run folder, on one machine and on several."""

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from gendiff.core.errors import ConfigError
from gendiff.runs import run_lock
from gendiff.runs.reporting import json_files
from gendiff.runs.run_lock import LOCK, OWNER, Owner
from tests.tables import table

SCRIPT = (
    "import sys\nfrom pathlib import Path\nfrom gendiff.runs import run_lock\n"
    "with run_lock.held(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
)
ELSEWHERE = Owner("node7", 4242, "2026-01-01T00:00:00+00:00", "another kernel")
QUICK = {"renewed": 0.05, "stale": 0.2}


def hold(folder, *before):
    words = [*before, sys.executable, "-c", SCRIPT, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, text=True, cwd=Path(__file__).parents[2], **pipes)


@contextlib.contextmanager
def touching(path):
    """Within: the owner of the file gives signs of life."""
    stop = threading.Event()

    def touch():
        while not stop.wait(0.02):
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.fault("two jobs, one run folder")
def test_a_held_lock_names_its_owner_and_goes_with_it(tmp_path):
    for _ in range(2):
        with run_lock.held(tmp_path):
            for _ in range(2):  # the first one that is refused leaves the owner's name alone
                message = f"in use by process {os.getpid()} on host {socket.gethostname()}"
                with pytest.raises(ConfigError, match=message), run_lock.held(tmp_path):
                    pass
    assert not (tmp_path / OWNER).exists()


@pytest.mark.fault("lock of a dead machine, or of another namespace")
def test_an_owner_on_another_machine_that_gives_signs_of_life_keeps_the_folder(tmp_path):
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    messages = []
    with touching(tmp_path / OWNER), pytest.raises(ConfigError, match="in use by process 4242 on host node7"):
        with run_lock.held(tmp_path, messages.append, **QUICK):
            pass
    assert "waiting 0.2 s for a sign of life" in messages[0]


@pytest.mark.fault("lock of a dead machine, or of another namespace")
@table("sign", [False, True])
def test_the_folder_of_a_dead_machine_is_free_after_a_while(sign, tmp_path):
    """kept: by the file server, which still holds the lock of the dead machine."""
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    dead = filelock.FileLock(tmp_path / LOCK)
    if sign:
        dead.acquire()
    begin = time.monotonic()
    with run_lock.held(tmp_path, **QUICK):
        assert time.monotonic() - begin >= 0.2
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"), run_lock.held(tmp_path, **QUICK):
            pass
    dead.release()


@pytest.mark.fault("lock of a dead machine, or of another namespace")
def test_an_owner_that_goes_away_while_another_process_waits_leaves_the_folder_free(tmp_path):
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    leaving = threading.Timer(0.1, (tmp_path / OWNER).unlink)
    leaving.start()
    begin = time.monotonic()
    with run_lock.held(tmp_path, renewed=0.05, stale=6.0):
        assert time.monotonic() - begin < 3
        assert run_lock.running(tmp_path).pid == os.getpid()
    leaving.join()


@pytest.mark.fault("two jobs, one run folder")
def test_of_processes_that_waited_for_a_dead_machine_the_last_to_sign_is_the_owner(tmp_path, monkeypatch):
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    write = json_files.write

    def signed(path, mine):
        write(path, mine)
        write(path, dataclasses.replace(ELSEWHERE, pid=17))  # of one that has waited as well, a moment later

    monkeypatch.setattr(run_lock.json_files, "write", signed)
    with pytest.raises(ConfigError, match="in use by process 17 on host node7"), run_lock.held(tmp_path, **QUICK):
        pass
    monkeypatch.undo()
    (tmp_path / OWNER).unlink()
    with run_lock.held(tmp_path):  # the kernel's lock was given back
        pass


@pytest.mark.fault("lock of a dead machine, or of another namespace")
@pytest.mark.parametrize("age", [-60, 3600])
def test_one_process_alone_takes_over_the_lock_of_a_dead_machine_and_one_that_died_doing_so_is_no_hindrance(
    tmp_path, age
):
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    guard = tmp_path / run_lock.TAKEOVER
    guard.touch()
    os.utime(guard, (time.time() - age,) * 2)
    with filelock.FileLock(tmp_path / LOCK):
        with (
            contextlib.nullcontext() if age > 0 else pytest.raises(ConfigError, match="in use"),
            run_lock.held(tmp_path, **QUICK),
        ):
            assert not guard.exists()


@pytest.mark.fault("files: a folder, a pipe or a device in place of a file")
def test_who_runs_is_known_by_the_kernel_here_and_by_signs_of_life_elsewhere(tmp_path):
    os.mkfifo(tmp_path / OWNER)
    assert run_lock.running(tmp_path) is None
    with run_lock.held(tmp_path):
        assert run_lock.running(tmp_path).pid == os.getpid()
    json_files.write(tmp_path / OWNER, dataclasses.replace(ELSEWHERE, machine=run_lock.machine()))
    assert run_lock.running(tmp_path) is None
    json_files.write(tmp_path / OWNER, ELSEWHERE)
    for age, owner in ((run_lock.STALE - 20, ELSEWHERE), (run_lock.STALE + 20, None)):
        os.utime(tmp_path / OWNER, (time.time() - age,) * 2)
        assert run_lock.running(tmp_path) == owner


@pytest.mark.fault("lock of a dead process")
def test_the_owner_file_of_a_dead_process_of_this_machine_is_no_reason_to_wait(tmp_path):
    json_files.write(tmp_path / OWNER, dataclasses.replace(ELSEWHERE, machine=run_lock.machine()))
    begin = time.monotonic()
    with run_lock.held(tmp_path, stale=60.0):
        assert time.monotonic() - begin < 5


def test_the_owner_gives_signs_of_life_and_ends_where_the_folder_was_taken_over(tmp_path, monkeypatch, capfd):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    with run_lock.held(tmp_path, **QUICK):
        first = (tmp_path / OWNER).stat().st_mtime_ns
        time.sleep(0.2)
        assert (tmp_path / OWNER).stat().st_mtime_ns > first
        json_files.write(tmp_path / OWNER, ELSEWHERE)
        assert ended.wait(5)
    assert "taken over by process 4242 on host node7" in capfd.readouterr().err
    assert (tmp_path / OWNER).exists()  # it is the other one's


@pytest.mark.fault("lock of a dead process")
@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    owner = hold(tmp_path)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"process {owner.pid} on host"), run_lock.held(tmp_path):
        pass
    owner.kill()
    owner.communicate()
    with run_lock.held(tmp_path):
        pass


@pytest.mark.fault("lock of a dead machine, or of another namespace")
@pytest.mark.slow
def test_a_live_lock_is_respected_across_namespaces_of_processes(tmp_path):
    unshared = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which("unshare") is None or subprocess.run([*unshared, "true"], capture_output=True).returncode:
        pytest.skip("no namespace can be made here")
    owner = hold(tmp_path)
    assert owner.stdout.readline() == "held\n"
    other = hold(tmp_path, *unshared)
    assert "is in use by process" in other.communicate("")[1] and other.returncode
    owner.communicate("")
    owner = hold(tmp_path, *unshared)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match="is in use by process"), run_lock.held(tmp_path):
        pass
    owner.communicate("")
    with run_lock.held(tmp_path):
        pass
