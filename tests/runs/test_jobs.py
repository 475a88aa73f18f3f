"""The scripts of experiments/jobs: they are sound, hand their words on, and start again what asks for it and nothing
else.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import yaml

from gendiff.runs import errors
from tests.tables import table

PROJECT = Path(__file__).parents[2]
JOBS = PROJECT / "experiments" / "jobs"
SCRIPTS = sorted(path.name for path in JOBS.glob("*.sh"))
AGAIN = [errors.PREEMPTED, 129, 137, 143, 255]
NOT_AGAIN = [
    errors.DONE,
    errors.FAILED,
    errors.USAGE,
    errors.NON_FINITE,
    errors.BAD_DATA,
    errors.NO_DEVICE,
    errors.DISK,
]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A PATH on which the commands of batch systems write down their words; `code` is what the program ends with, start
    by start.
    """
    folder = tmp_path / "bin"
    folder.mkdir()

    def command(name, text):
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)

    def note(name):
        return f'printf "%s\\n" "{name}${{*:+ $*}}" >> {tmp_path}/calls'

    command("program", f"{note('program')}\nread -r code < {tmp_path}/codes\nsed -i 1d {tmp_path}/codes\nexit $code")
    command("srun", f'{note("srun")}\n"$@"')
    for name in ("scontrol", "sleep", "xpk"):
        command(name, note(name))
    command(
        "gcloud",
        f"""{note("gcloud")}
        case "$*" in
          *describe*) head -n 1 {tmp_path}/states; sed -i 1d {tmp_path}/states ;;
          *" ssh "*) exec program ;;
        esac""",
    )
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", "program")
    return tmp_path


def start(machine, script, *words, codes=(0,), states=(), **environment):
    (machine / "codes").write_text("".join(f"{code}\n" for code in codes))
    (machine / "states").write_text("".join(f"{state}\n" for state in states))
    (machine / "calls").unlink(missing_ok=True)
    command = ["bash", str(JOBS / script), *words]
    return subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(machine, script, *words, **options):
    """(exit code, the commands that were called)."""
    process = start(machine, script, *words, **options)
    message, _ = process.communicate(timeout=60)
    calls = machine / "calls"
    return process.returncode, calls.read_text().splitlines() if calls.exists() else message


@table("script", SCRIPTS)
def test_a_script_is_sound_and_may_be_executed(script):
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.exists():
        pytest.skip("shellcheck is not installed")
    checked = subprocess.run([checker, JOBS / script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert os.access(JOBS / script, os.X_OK)


SLURM = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}


@table("script", ["slurm_train.sh", "slurm_sample.sh"])
@table("code", [*AGAIN, *NOT_AGAIN])
def test_a_slurm_job_is_requeued_after_42_and_signals_and_nothing_else(script, code, machine):
    ended, calls = run(machine, script, "words", codes=(code,), RUN="runs/toy", **SLURM)
    assert ended == code
    assert [call for call in calls if call.startswith("scontrol")] == (["scontrol requeue 7"] if code in AGAIN else [])


def test_a_slurm_job_that_always_dies_ends_at_last(machine):
    ended, calls = run(
        machine, "slurm_train.sh", "toy", codes=(137,), SLURM_RESTART_COUNT="3", MAX_RESTARTS="3", **SLURM
    )
    assert ended == 137 and not [call for call in calls if call.startswith("scontrol")]


def test_a_slurm_script_that_is_sent_sigterm_itself_still_reads_how_its_tasks_end(machine):
    slow = machine / "bin" / "srun"
    slow.write_text(f"#!/usr/bin/env bash\ntouch {machine}/begun\n/bin/sleep 0.5\nexit 42\n")
    process = start(machine, "slurm_train.sh", "toy", **SLURM)
    while not (machine / "begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 42 and (machine / "calls").read_text() == "scontrol requeue 7\n"


@table("script", ["slurm_train.sh", "slurm_sample.sh"])
def test_a_slurm_job_may_be_requeued_appends_to_its_log_and_is_warned_before_its_end(script):
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", (JOBS / script).read_text(), re.M))
    assert options["requeue"] == "" and options["open-mode"] == "append" and options["signal"].startswith("TERM@")
    assert options["output"].endswith(".log") and options["time"]
    assert options.get("array", "0-9") == "0-9"


@table(
    ("num", "jobs", "spans"),
    [
        (50_000, 10, ["0-4", "5-9", "10-14", "15-19", "20-24", "25-29", "30-34", "35-39", "40-44", "45-49"]),
        (3_001, 3, ["0-1", "2-3", None]),
        (1_000, 2, ["0-0", None]),
        (10_000, 4, ["0-2", "3-5", "6-8", "9-9"]),
    ],
)
def test_the_jobs_of_an_array_share_all_shards_and_none_twice(num, jobs, spans, machine):
    taken = []
    for task in range(jobs):
        numbers = {
            "SLURM_ARRAY_TASK_ID": str(task + 4),
            "SLURM_ARRAY_TASK_MIN": "4",
            "SLURM_ARRAY_TASK_COUNT": str(jobs),
        }
        ended, calls = run(
            machine, "slurm_sample.sh", "--steps", "5", RUN="runs/photos", NUM=str(num), **SLURM | numbers
        )
        assert ended == 0
        words = calls[0].split() if isinstance(calls, list) else []
        taken.append(words[words.index("--shards") + 1] if words else None)
        if words:
            assert words[:7] == "srun program -u -m experiments sample runs/photos".split()
            assert (
                words[7:]
                == f"--num {num} --shard-size 1000 --shards {taken[-1]} --out samples/photos --steps 5".split()
            )
    assert taken == spans


@table("code", NOT_AGAIN)
def test_a_command_that_ended_for_good_is_not_started_again(code, machine):
    assert run(machine, "restart.sh", "program", "a b", codes=(code,)) == (code, ["program a b"])


def test_a_command_is_started_again_until_it_has_ended_for_good_or_too_often(machine):
    again = ["program", "sleep 10"]
    assert run(machine, "restart.sh", "program", codes=(*AGAIN, 3)) == (3, [*again * len(AGAIN), "program"])
    assert run(machine, "restart.sh", "program", codes=(42,) * 9, MAX_RESTARTS="2") == (42, [*again * 2, "program"])


@table("when", ["touch RUNNING", "kill -TERM $PPID"])
def test_a_signal_reaches_the_command_which_is_then_not_started_again(when, machine):
    """While it runs, and while it starts: the second was lost in 22 of 30 starts."""
    program, running = machine / "bin" / "program", machine / "running"
    program.write_text(
        f"#!/bin/sh\ntrap 'exit 42' TERM\n{when.replace('RUNNING', str(running))}\n"
        "while true; do /bin/sleep 0.05; done\n"
    )
    for _ in range(5):
        running.unlink(missing_ok=True)
        process = start(machine, "restart.sh", "program")
        if "touch" in when:
            while not running.exists():
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 42 and not (machine / "calls").exists()


def verbs(calls):
    return [re.search(r"create|describe|delete|ssh", call).group() for call in calls if call.startswith("gcloud")]


TPU = {"PROJECT": "me", "SHARED": "10.0.0.2:/share", "POLL": "0"}


def test_a_tpu_slice_that_is_taken_away_is_asked_for_again_and_deleted_at_the_end(machine):
    states = ["WAITING_FOR_RESOURCES", "ACTIVE", "SUSPENDED", "ACTIVE", "ACTIVE"]
    ended, calls = run(machine, "tpu_queued.sh", "images", "--data", "my photos", codes=(255, 0), states=states, **TPU)
    assert ended == 0
    first = ["create", "describe", "describe", "ssh", "describe", "delete"]
    assert verbs(calls) == [*first, "create", "describe", "ssh", "describe", "delete"]
    started = next(call for call in calls if " ssh " in call)
    assert (
        "--worker=all" in started
        and r"restart.sh .venv/bin/python -u -m experiments run images --data my\ photos" in started
    )


@table("code", [1, 2, 65])
def test_a_run_that_ended_for_good_on_a_tpu_is_not_begun_on_another_slice(code, machine):
    ended, calls = run(machine, "tpu_queued.sh", "toy", codes=(code,), states=["ACTIVE", "ACTIVE"], **TPU)
    assert ended == code and verbs(calls) == ["create", "describe", "ssh", "describe", "delete"]


def test_a_slice_that_failed_is_deleted_and_asked_for_so_often_at_most(machine):
    ended, calls = run(machine, "tpu_queued.sh", "toy", states=["FAILED"] * 4, MAX_SLICES="2", SPOT="", **TPU)
    assert ended == 42 and verbs(calls) == ["create", "describe", "describe", "delete"] * 2
    assert not [call for call in calls if "--spot" in call]


def test_xpk_receives_the_command_the_restarts_and_the_time_to_save(machine):
    need = {"PROJECT": "me", "CLUSTER": "pod", "IMAGE": "image", "STORAGE": "shared"}
    ended, (call,) = run(machine, "gke_xpk.sh", "photos", "images", "--data", "/shared/my photos", **need)
    assert ended == 0 and call.startswith("xpk workload create ")
    for option in ("--workload photos", "--max-restarts 100", "--termination-grace-period-seconds 600"):
        assert option in call
    command = call.split("--command ")[1]
    assert shlex.split(command.split("&& exec ")[1]) == "python -u -m experiments run images --data".split() + [
        "/shared/my photos"
    ]


@table(("script", "name"), [("slurm_sample.sh", "RUN"), ("tpu_queued.sh", "PROJECT"), ("gke_xpk.sh", "PROJECT")])
def test_a_parameter_that_is_missing_is_named(script, name, machine):
    ended, message = run(machine, script, **SLURM)
    assert ended != 0 and f"{name}: give the" in message


def strict(**fields):
    """A part of a JobSet: the fields of Kubernetes' API that ours use, by their names, required here."""
    return msgspec.defstruct("Part", list(fields.items()), rename="camel", forbid_unknown_fields=True)


RESTARTS = Literal[
    "FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts", "RestartJob", "RestartJobAndIgnoreMaxRestarts"
]
REASONS = Literal["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]
CODES = strict(container_name=str, operator=Literal["In", "NotIn"], values=list[int])
POD_RULE = strict(action=Literal["FailJob", "FailIndex", "Ignore", "Count"], on_exit_codes=CODES)
CONTAINER = strict(
    name=str,
    image=str,
    working_dir=str,
    command=list[str],
    args=list[str],
    resources=strict(limits=dict[str, int | str]),
    volume_mounts=list[strict(name=str, mount_path=str)],
)
POD = strict(
    restart_policy=Literal["Never", "OnFailure"],
    termination_grace_period_seconds=int,
    node_selector=dict[str, str],
    containers=list[CONTAINER],
    volumes=list[strict(name=str, persistent_volume_claim=strict(claim_name=str))],
)
JOB = strict(
    parallelism=int,
    completions=int,
    backoff_limit=int,
    pod_failure_policy=strict(rules=list[POD_RULE]),
    template=strict(spec=POD),
)
JOB_SET = strict(
    api_version=Literal["jobset.x-k8s.io/v1alpha2"],
    kind=Literal["JobSet"],
    metadata=strict(name=str, annotations=dict[str, str]),
    spec=strict(
        failure_policy=strict(
            max_restarts=int, rules=list[strict(name=str, action=RESTARTS, on_job_failure_reasons=list[REASONS])]
        ),
        replicated_jobs=list[strict(name=str, replicas=int, template=strict(spec=JOB))],
    ),
)


def job_set():
    return msgspec.convert(yaml.safe_load((JOBS / "gke_jobset.yaml").read_text()), JOB_SET)


def test_the_job_set_has_fields_that_kubernetes_knows_and_ends_for_good_where_a_restart_cannot_help():
    manifest = job_set()
    (rule,), (replicated,) = manifest.spec.failure_policy.rules, manifest.spec.replicated_jobs
    assert manifest.spec.failure_policy.max_restarts >= 50
    assert (rule.action, rule.on_job_failure_reasons) == ("FailJobSet", ["PodFailurePolicy"])
    job = replicated.template.spec
    (pods,) = job.pod_failure_policy.rules
    assert job.parallelism == job.completions and job.backoff_limit == 0 and pods.action == "FailJob"
    assert (pods.on_exit_codes.operator, pods.on_exit_codes.values) == ("In", [code for code in NOT_AGAIN if code])
    pod = job.template.spec
    (container,) = pod.containers
    # else the policy on exit codes is refused
    assert pod.restart_policy == "Never" and pod.termination_grace_period_seconds >= 300
    assert (
        container.name == pods.on_exit_codes.container_name
        and container.command == "python -u -m experiments run".split()
    )
    assert {mount.name for mount in container.volume_mounts} == {volume.name for volume in pod.volumes}


def test_a_job_set_with_a_field_that_kubernetes_does_not_know_is_refused():
    content = yaml.safe_load((JOBS / "gke_jobset.yaml").read_text())
    content["spec"]["replicatedJobs"][0]["template"]["spec"]["podFailurePolicies"] = {}
    with pytest.raises(msgspec.ValidationError, match="podFailurePolicies"):
        msgspec.convert(content, JOB_SET)


@pytest.fixture
def toy_for_python(machine):
    """In place of Python: the command line with the toy experiment alone."""
    program = machine / "bin" / "program"
    program.write_text(
        f'#!/usr/bin/env bash\nshift 3\nexec {sys.executable} {Path(__file__).with_name("toy.py")} "$@"\n'
    )
    return {"PYTHONPATH": str(PROJECT), "JAX_PLATFORMS": "cpu"}


@pytest.mark.slow
def test_a_run_under_slurm_that_is_interrupted_is_requeued_and_finishes_and_an_array_draws_from_it(
    machine, toy_for_python
):
    words = ("toy", "--train-steps", "8", "--out", str(machine / "run"))
    ended, calls = run(machine, "slurm_train.sh", *words, TOY_SIGNAL_AT="3", **SLURM, **toy_for_python)
    assert ended == 42 and calls[-1] == "scontrol requeue 7"
    for _ in range(2):  # the second time it is finished already
        ended, calls = run(machine, "slurm_train.sh", *words, **SLURM, **toy_for_python)
        assert ended == 0 and len(calls) == 1
    ended, calls = run(machine, "slurm_train.sh", *words, "--learning-rate", "1", **SLURM, **toy_for_python)
    assert ended == 2 and len(calls) == 1
    more = {
        "RUN": str(machine / "run"),
        "NUM": "6",
        "SHARD_SIZE": "2",
        "OUT": str(machine / "samples"),
        **SLURM,
        **toy_for_python,
    }
    for task in ("0", "1"):
        ended, calls = run(machine, "slurm_sample.sh", "--steps", "2", **more | {"SLURM_ARRAY_TASK_ID": task})
        assert ended == 0, calls
    assert [path.name for path in sorted((machine / "samples").glob("*.npz"))] == [
        f"shard_00000{number}.npz" for number in range(3)
    ]


@pytest.mark.slow
def test_an_interrupted_run_is_started_again_until_it_is_finished(machine, toy_for_python):
    shutil.copy(shutil.which("true"), machine / "bin" / "sleep")
    words = ("program", "-u", "-m", "experiments", "run", "toy", "--train-steps", "8", "--out", str(machine / "run"))
    process = start(machine, "restart.sh", *words, TOY_SIGNAL_AT="3", **toy_for_python)
    message, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and message.count("exit code 42") == 1 and "from step" in message, message
