"""Several real processes over gloo: they train as one does, stop together, notice a dead one, and refuse to differ."""

import contextlib
import json
import signal
import socket
import time

import jax
import numpy as np
import pytest

from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import cluster, distributed, errors
from gendiff.runs.cluster import Place
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy
from tests.runs.test_resume import leaves, start
from tests.tables import table

STEPS = 30
OPTIONS = ("--train-steps", str(STEPS), "--checkpoint-every", "6")


@contextlib.contextmanager
def several(count, folder, *options, each=lambda process: (), **environment):
    """`run toy` by so many processes, which are gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--distributed", "on", "--coordinator", f"127.0.0.1:{port}", "--processes", str(count))
    command = ["run", "toy", "--out", str(folder), *options, *where]
    started = [start([*command, "--process", str(number), *each(number)], **environment) for number in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ended(processes, within=100):
    """(exit codes, what each said)."""
    outputs = [process.communicate(timeout=within)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def until_step(processes, folder, step):
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        if any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise AssertionError(ended(processes))
        time.sleep(0.01)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    assert command_line.main(["run", "toy", "--out", str(folder), *OPTIONS], {"toy": toy.EXPERIMENT}) == errors.DONE
    return folder


def assert_as_alone(folder, alone):
    """The same data and noise in the same order, exactly; losses and parameters to 1e-5; no step missing or doubled."""
    here, there = (RunFolder(each).read_metrics() for each in (folder, alone))
    assert [line["step"] for line in here] == [*range(1, STEPS + 1)]
    for one, other in zip(here, there, strict=True):
        assert [one[name] for name in ("data_bits", "noise_bits")] == [
            other[name] for name in ("data_bits", "noise_bits")
        ]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    stored = leaves(alone)
    for path, leaf in leaves(folder).items():
        np.testing.assert_allclose(leaf, stored[path], rtol=0, atol=1e-5, err_msg=path)


@pytest.mark.fault("preemption with several processes", "other device or process count on restore")
@pytest.mark.slow
def test_a_signal_to_one_process_saves_one_step_on_all_and_another_count_goes_on_from_it(alone, tmp_path):
    folder = tmp_path / "run"
    with several(2, folder, *OPTIONS, TOY_PAUSE="0.05") as processes:
        until_step(processes, folder, 8)
        processes[1].terminate()
        codes, outputs = ended(processes)
    assert codes == [errors.PREEMPTED] * 2, outputs
    stored = max(int(path.name) for path in (folder / "checkpoints" / "seed_0").iterdir() if path.name.isdecimal())
    assert "interrupted by another process" in outputs[0] and "interrupted by SIGTERM" in outputs[1]
    assert all(
        f"at step {stored} of seed 0; its newest checkpoint is that of step {stored}" in each for each in outputs
    )
    with several(4, folder, *OPTIONS) as processes:
        codes, outputs = ended(processes)
    assert codes == [errors.DONE] * 4, outputs
    assert f"over 4 cpu devices, from step {stored}" in outputs[0] and "toy" not in outputs[1]
    assert_as_alone(folder, alone)


@pytest.mark.fault("peer dies", "other device or process count on restore")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "how"), [(number, how) for number in (0, 1) for how in (signal.SIGKILL, signal.SIGSTOP)]
)
def test_the_others_end_when_one_dies_or_stands_still_and_one_process_goes_on_alone(victim, how, alone, tmp_path):
    folder = tmp_path / "run"
    with several(2, folder, *OPTIONS, TOY_PAUSE="0.05") as processes:
        until_step(processes, folder, 8)
        processes[victim].send_signal(how)
        begin = time.monotonic()
        code = processes[1 - victim].wait(timeout=60)
        print(f"ended after {time.monotonic() - begin:.1f} s with {code}")
        _, (output,) = ended([processes[1 - victim]])
        assert code == errors.LOST_PEER, output
        assert output.count("start all of them again") == 1 and f"process {victim} has" in output, output
    assert command_line.main(["run", "toy", "--out", str(folder), *OPTIONS], {"toy": toy.EXPERIMENT}) == errors.DONE
    assert_as_alone(folder, alone)


@pytest.mark.fault("a wrong start of several processes")
@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "ending"), [(("--processes", "3"), 2), (("--process", "0"), 1)])
def test_a_wrong_start_ends_with_one_line_and_exit_2(wrong, ending, tmp_path):
    """Of two processes 0 only the one that comes second can know: the port is taken."""
    with several(2, tmp_path / "run", each=lambda process: wrong if process else ()) as processes:
        deadline = time.monotonic() + 60
        while sum(each.poll() is not None for each in processes) < ending and time.monotonic() < deadline:
            time.sleep(0.1)
        codes, outputs = ended([each for each in processes if each.poll() is not None])
    assert codes == [errors.USAGE] * ending, outputs
    for each in outputs:
        assert [line for line in each.splitlines() if line.startswith("error: ")] == each.splitlines()[-1:]
    assert not (tmp_path / "run").exists()


@pytest.mark.fault("configurations of several processes differ")
@pytest.mark.slow
def test_processes_with_other_settings_end_with_what_differs_and_leave_no_folder(tmp_path):
    with several(2, tmp_path / "run", each=lambda process: ("--batch", str(8 + process))) as processes:
        codes, outputs = ended(processes)
    assert codes == [errors.USAGE] * 2, outputs
    for each in outputs:
        assert "the configuration of process 1 differs" in each
        assert [line.split() for line in each.splitlines() if "batch" in line] == [["config.batch", "8", "9"]]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_share_the_shards_and_leave_the_bytes_of_one(alone, tmp_path):
    draw = ["sample", str(alone), "--num", "10", "--shard-size", "2", "--steps", "3", "--out"]
    assert command_line.main([*draw, str(tmp_path / "one")], {"toy": toy.EXPERIMENT}) == errors.DONE
    shared = [
        start([*draw, str(tmp_path / "two"), "--processes", "2", "--process", str(number)]) for number in range(2)
    ]
    codes, outputs = ended(shared)
    assert codes == [errors.DONE] * 2, outputs
    assert "3 shards" in outputs[0] and "2 shards" in outputs[1]
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.npz")} for name in ("one", "two"))
    assert one == two and len(one) == 5


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


@table(
    ("environment", "expected"),
    [
        ({}, None),
        (SLURM, Place(None, 4, 3)),
        (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        (
            SLURM | {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "0,1"},
            Place(None, 2, 3, (0, 1)),
        ),
        (SLURM | {"SLURM_STEP_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "0"}, Place(None, 4, 3, (0,))),
        (SLURM | {"SLURM_STEP_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "0,1"}, Place(None, 4, 3)),
        ({name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")}, None),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, Place(None, 2, 1)),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, Place(None, 2, 1)),
        (
            {
                "TPU_WORKER_HOSTNAMES": "a,b",
                "TPU_WORKER_ID": "1",
                "MEGASCALE_NUM_SLICES": "2",
                "MEGASCALE_SLICE_ID": "1",
            },
            Place(None, 4, 3),
        ),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
        ({"JAX_COORDINATOR_ADDRESS": "n:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, Place("n:1", 2, 0)),
        (SLURM | {"JAX_COORDINATOR_ADDRESS": "n:1"}, Place("n:1", 4, 3)),
    ],
)
def test_a_place_is_found_in_the_variables_of_a_cluster(environment, expected):
    assert cluster.find(environment) == expected


@table(
    ("options", "message"),
    [
        (("on", None, None, None), "--coordinator HOST:PORT"),
        (("auto", "n:1", 2, None), "--process is not given"),
        (("auto", None, 2, 0), "--coordinator is not given"),
        (("auto", "n:1", 2, 2), "outside 0 … 1"),
        (("auto", "n:1", 0, 0), "at least 1"),
        (("auto", "n", 2, 0), "HOST:PORT"),
        (("off", "n:1", None, None), "no meaning"),
    ],
)
def test_a_start_by_hand_that_cannot_be_meant_is_refused(options, message, monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", *SLURM):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=message):
        distributed.join(*options)


def test_an_experiment_that_trains_on_one_process_is_refused_before_any_is_waited_for(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="4 processes, and this experiment trains on one"):
        distributed.join("auto", None, None, None, served=False)
    assert distributed.share("auto", None, None) == (3, 4) and distributed.share("off", None, None) == (0, 1)
    assert not jax.distributed.is_initialized() and distributed.first()


def test_a_process_that_differs_is_named_with_its_settings(monkeypatch):
    others = [{"batch": 8, "seed": 0}, {"batch": 8, "seed": 0}, {"batch": 16, "seed": 0}]
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "_gather", lambda text: [json.dumps(each) for each in others])
    with pytest.raises(ConfigError, match=r"process 2 differs(.|\n)*batch\s+8\s+16"):
        distributed.check_equal("the configuration", others[0])


@table(("end", "outcome"), [(None, True), ([0, ""], False), ([2, "in use"], ConfigError)])
def test_process_0_says_how_it_goes_on(end, outcome, monkeypatch):
    monkeypatch.setattr(distributed, "_gather", lambda text: [json.dumps(end), ""])
    if isinstance(outcome, bool):
        assert distributed.follow() is outcome
    else:
        with pytest.raises(outcome, match="process 0: in use"):
            distributed.follow()


def test_what_others_read_is_prepared_by_process_0_alone(monkeypatch):
    order = []
    monkeypatch.setattr(distributed, "several", lambda: True)
    for number in (0, 1):
        monkeypatch.setattr(distributed, "first", lambda number=number: number == 0)
        monkeypatch.setattr(
            distributed, "_gather", lambda text, number=number: order.append(f"{number} tells") or ['[0, ""]', ""]
        )
        with distributed.first_alone():
            order.append(f"{number} reads")
    assert order == ["0 reads", "0 tells", "1 tells", "1 reads"]
