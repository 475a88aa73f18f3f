"""How the bench talks to its processes: a line of JSON each way; arrays lie in .npz files that the lines name. Standard library only.

A request is {"op": NAME, …arguments}; an answer is {"ok": …} or {"error": TEXT}. Between requests a process is blocked in a read.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Operations = Mapping[str, Callable[..., Any]]


def serve(operations: Operations) -> None:
    """Answers requests from standard input until it closes. What the operations print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # other people's libraries print, and a stray line would be taken for an answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": operations[request.pop("op")](**request)}
        except Exception as error:  # whatever it is, the bench must hear of it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB; NaN where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            fields = dict(line.split(":", 1) for line in status)
    except OSError:
        return float("nan")
    return int(fields["VmHWM"].split()[0]) / 1024 if "VmHWM" in fields else float("nan")


def limit_cores(count: int) -> None:
    """Binds this process and its future threads to `count` of its cores; 0 leaves it alone."""
    if count and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
