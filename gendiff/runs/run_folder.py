"""The folder of one run: what lies where, and a metrics file that survives being cut off."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gendiff.core import files, foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.reporting import json_files

Line: TypeAlias = dict[str, Any]  # whole numbers and floats

DIGEST = ', "digest": "'
"""What stands before the digest with which a line of metrics ends."""
TAIL = 2**16
"""Bytes in which the last line of metrics is looked for."""
ALL = "all"
"""Size of an axis that takes all devices which the others leave."""


@dataclasses.dataclass(frozen=True)
class Axes:
    """Devices along each axis, as `sharding.mesh` takes them."""

    data: int | None = None
    fsdp: int | None = 1
    tensor: int | None = 1


@dataclasses.dataclass(frozen=True)
class Span:
    """The steps `start` … `last` of each training; the first step of a training is step 1."""

    start: int
    count: int

    @property
    def last(self) -> int:
        return self.start + self.count - 1


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths within a run folder.

    config.json, metrics.jsonl, timings.jsonl, checkpoints/seed_N/, results.json, *.png, report.html, profile/seed_N/
    and snapshots/seed_N/ (of averages) where they are asked for, rows/ of a sweep (see sweep.py), and debug/ after a
    non-finite stop. bad_files.txt lists data that cannot be used; it alone stays where such data end a run.
    resume: "latest" goes on from the newest checkpoint and fails where its bytes changed; "latest-valid" then goes back
        to an older one.
    profile: the steps of each training that this process traces; None traces nothing.
    log: where this process shows metrics beside metrics.jsonl (see sinks.py).
    mesh: how a training uses the devices.
    made: the folders that `create` made, this one first.
    run: the folder of the run, where this is that of a further training of it.
    """

    path: Path
    resume: Literal["latest", "latest-valid"] = "latest"
    profile: Span | None = None
    log: tuple[str, ...] = ("tensorboard",)
    mesh: Axes = Axes()
    made: tuple[Path, ...] = ()
    run: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())

    config = property(lambda self: self.path / "config.json")
    metrics = property(lambda self: self.path / "metrics.jsonl")
    timings = property(lambda self: self.path / "timings.jsonl")
    results = property(lambda self: self.path / "results.json")
    report = property(lambda self: self.path / "report.html")
    debug = property(lambda self: self.path / "debug")
    rows = property(lambda self: self.path / "rows")
    logged_as = property(lambda self: self.path / ".logged_as")
    bad_files = property(lambda self: self.path / "bad_files.txt")

    def checkpoints(self, seed: int) -> Path:
        return self.path / "checkpoints" / f"seed_{seed}"

    def trained_seeds(self) -> list[int]:
        """Those that have checkpoints."""
        names = (each.name.removeprefix("seed_") for each in self.path.glob("checkpoints/seed_*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def snapshots(self, seed: int) -> Path:
        return self.path / "snapshots" / f"seed_{seed}"

    def traces(self, seed: int) -> Path:
        return self.path / "profile" / f"seed_{seed}"

    def figure(self, name: str) -> Path:
        """Where the figure `name`.png belongs."""
        return self.path / f"{name.removesuffix('.png')}.png"

    def inside(self, name: str) -> "RunFolder":
        """Where a further training of the run keeps its checkpoints and metrics. An empty name means the run's own
        folder.
        """
        further = dataclasses.replace(self, path=self.path / name, run=self.run or self.path)
        further.path.mkdir(exist_ok=True)
        return further

    def tidy(self) -> None:
        """Removes files that killed processes left half written. Only for the owner of the lock; what lies in a hidden
        folder stays.

        So does what lies in the folder of rows, which other processes may be writing.
        """
        for left in self.path.rglob(files.HALF_WRITTEN):
            inner = left.parent.relative_to(self.path).parts
            if left.is_file() and inner[:1] != (self.rows.name,) and not any(part.startswith(".") for part in inner):
                left.unlink(missing_ok=True)

    def append_metrics(self, lines: Iterable[Mapping[str, object]]) -> None:
        """Adds a line of JSON each, on disk when this returns: a checkpoint saved afterwards never knows of steps that
        the file lacks.

        A line ends with a digest of its text and of the digest before it of its seed: no number changes unnoticed.
        """
        text, chain = "", dict[object, str]()
        for line in lines:
            body, seed = json.dumps(json_files.encode(dict(line)), allow_nan=False).removesuffix("}"), line["seed"]
            before = chain[seed] if seed in chain else self._newest_digest(seed)
            chain[seed] = _digest(before, body.encode())
            text += f'{body}{DIGEST}{chain[seed]}"}}\n'
        with files.naming(self.metrics), open(self.metrics, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self, seed: int | None = None) -> list[Line]:
        """The metrics lines, of one seed or all, in order; numbers that were not finite come back as floats. A torn
        last line is left out.

        Raises DataError for a broken line that is not the last, for one that does not fit its digest, and for a step
        that is not after the one before it of its seed. Lines of version 0.2 have no digest.
        """
        of_seed = (line for _, line, _ in self._lines() if seed is None or line.get("seed") == seed)
        return list(map(json_files.with_non_finite, of_seed))

    def truncate_metrics(self, seed: int, step: int) -> None:
        """Leaves out what `seed` logged after `step`, and a torn last line: resuming there writes those lines again."""
        remaining = b"".join(raw for raw, line, _ in self._lines() if line.get("seed") != seed or line["step"] <= step)
        if self.metrics.exists() and remaining != self.metrics.read_bytes():
            json_files.write_bytes(self.metrics, remaining)

    def check_metrics(self, seed: int, step: int, interval: int) -> None:
        """DataError, with the line, unless every step of the seed up to `step` that is a multiple of `interval`
        is there.
        """
        lines = [line for _, line, _ in self._lines()]
        there = {line["step"] for line in lines if line["seed"] == seed}
        if missing := sorted(set(range(interval, step + 1, interval)) - there):
            after = [
                number for number, line in enumerate(lines, 1) if line["seed"] == seed and line["step"] > missing[0]
            ]
            position = (
                f"line {min(after, default=len(lines) + 1)}: step {missing[0]} of seed {seed} is missing before it"
            )
            raise DataError(
                f"{self.metrics}: {position}, and the checkpoint is that of step {step}; start again in another folder"
            )

    def _newest_digest(self, seed: object) -> str:
        """To which the next line of a seed is chained. Where the last line is of that seed no other is read."""
        if not self.metrics.exists():
            return ""
        with open(self.metrics, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
        try:
            line = _metrics_line(last)
        except ValueError:
            line = {}
        if line.get("seed") == seed and "digest" in line:
            return str(line["digest"])
        return next((digest for _, line, digest in reversed(self._lines()) if line["seed"] == seed), "")

    def _lines(self) -> list[tuple[bytes, Line, str]]:
        """(its bytes, what it says, its digest) of each line."""
        # a training may be adding to it
        content = foreign_files.regular(self.metrics).read_bytes() if self.metrics.exists() else b""
        pieces = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        read: list[tuple[bytes, Line, str]] = []
        newest: dict[int, Line] = {}
        signed: set[int] = set()
        chain: dict[int, str] = {}
        for number, raw in enumerate(pieces):
            try:
                line = _metrics_line(raw)
                seed, stored = line["seed"], line.pop("digest", None)
                before = newest.get(seed)
                if before is not None and before.keys() != line.keys():
                    raise ValueError(
                        f"other names than the lines before it: {', '.join(sorted(before.keys() ^ line.keys()))}"
                    )
            except ValueError as error:
                # torn within: a file system may write the end of a line before its beginning
                if number == len(pieces) - 1:
                    break
                raise DataError(
                    f"{self.metrics}: line {number + 1} is broken ({error}); resuming needs every line before it"
                ) from error
            if before is not None and line["step"] <= before["step"]:
                order = f"step {line['step']} of seed {seed} comes after step {before['step']}"
                raise DataError(f"{self.metrics}: line {number + 1} is doubled or moved ({order})")
            text = raw.rpartition(DIGEST.encode())[0] if stored is not None else raw.rstrip(b"\n").removesuffix(b"}")
            digest = _digest(chain.get(seed, ""), text)
            if stored not in ((digest,) if seed in signed else (digest, None)):
                raise DataError(
                    f"{self.metrics}: line {number + 1} (step {line['step']} of seed {seed}) does not fit its digest: "
                    "it was changed, or a line before it"
                )
            if stored is not None:
                signed.add(seed)
            newest[seed], chain[seed] = line, digest
            read.append((raw, line, digest))
        return read


def _metrics_line(raw: bytes) -> Line:
    """ValueError unless it is an object with a whole seed and step, and numbers; it may have a digest."""
    line = foreign_files.decoded(raw)
    if not isinstance(line, dict):
        raise ValueError(f"holds {type(line).__name__}, no object")
    if any(type(line.get(name)) is not int for name in ("seed", "step")):
        raise ValueError("has no whole numbers seed and step")
    for name, value in line.items():
        if name != "digest" and not isinstance(value, int | float) and value not in json_files.NON_FINITE:
            raise ValueError(f"{name} is {value!r}, no number")
    return line


def _digest(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()[:16]


def axes(text: str) -> Axes:
    """The axes that data=D,fsdp=F,tensor=T names, some of the three in any order; one number may be `all`. ConfigError
    for another text.
    """
    pairs = [piece.partition("=")[::2] for piece in text.split(",")]
    names = [name for name, _ in pairs]
    known = len(set(names)) == len(names) and set(names) <= {field.name for field in dataclasses.fields(Axes)}
    sizes = {
        name: None if size == ALL else int(size)
        for name, size in pairs
        if re.fullmatch(f"[1-9][0-9]{{0,8}}|{ALL}", size)
    }
    if not known or len(sizes) != len(pairs) or list(sizes.values()).count(None) > 1:
        allowed = f"each once and at least 1, or one of them {ALL}"
        raise ConfigError(f"--mesh {text}: give some of data=D,fsdp=F,tensor=T, {allowed}, such as data=4,fsdp=2")
    return dataclasses.replace(Axes(1 if None in sizes.values() else None), **sizes)


def span(text: str) -> Span:
    """The span that START:COUNT names. Raises ConfigError for another text, and for numbers below 1."""
    match = re.fullmatch(r"([0-9]{1,18}):([0-9]{1,18})", text)
    result = Span(*map(int, match.groups())) if match else None
    if result is None or result.start < 1 or result.count < 1:
        raise ConfigError(
            f"--profile {text}: give START:COUNT, both at least 1, such as 100:5 for the steps 100 to 104"
        )
    return result


def create(path: str | os.PathLike[str], resume: Literal["latest", "latest-valid"] = "latest") -> RunFolder:
    """The run folder at `path`, made if absent. ConfigError where it cannot be: a URL, a file, not writable, or full of
    something else.
    """
    if "://" in os.fspath(path):
        raise ConfigError(f"{os.fspath(path)} is a URL: a run folder is a local folder; copy the run there afterwards")
    location = Path(path).absolute()
    folder = RunFolder(
        location, resume, made=tuple(each for each in (location, *location.parents) if not each.exists())
    )
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (
            "is a file, not a folder" if isinstance(error, FileExistsError) else f"cannot be made ({error.strerror})"
        )
        raise ConfigError(f"{folder.path} {reason}: choose another with --out") from error
    check_writable(folder.path, "choose another with --out")
    strange = [
        entry.name for entry in folder.path.iterdir() if not entry.name.startswith(".") and entry != folder.bad_files
    ]
    if strange and not folder.config.exists():
        raise ConfigError(
            f"{folder.path} holds {sorted(strange)[0]} but no config.json, so it is no run folder: choose another with "
            "--out"
        )
    return folder


def for_findings(out: str | os.PathLike[str], file: str) -> Path:
    """The folder of a command that leaves `file` and what belongs to it, which may be absent: nothing is made yet.

    Raises ConfigError as `writable` does, and for a folder that holds something else.
    """
    location = writable("out", out)
    names = os.listdir(location) if location.exists() else []
    if file not in names and (strange := sorted(name for name in names if not name.startswith("."))):
        raise ConfigError(f"--out {out} holds {strange[0]} but no {file}: choose another")
    return location


def writable(option: str, path: str | os.PathLike[str], *, file: bool = False) -> Path:
    """The folder, or the file, that an option names, which may be absent with the folders above: nothing is made yet.

    Raises ConfigError for a URL, what lies within a file, a folder in place of a file or the reverse, and where nothing
    may be written.
    """
    if "://" in os.fspath(path):
        raise ConfigError(f"--{option} {path} is a URL: write to a local folder and copy it")
    location = foreign_files.expanded(path).absolute()
    if file and location.is_dir():
        raise ConfigError(f"--{option} {path} is a folder, not a file: choose another")
    folders = location.parents if file else (location, *location.parents)
    there = next(folder for folder in folders if folder.exists())
    if not there.is_dir():
        raise ConfigError(f"--{option} {path}: {there} is a file, not a folder: choose another")
    check_writable(there, f"choose another --{option}")
    return location


def check_writable(folder: Path, fix: str) -> None:
    """ConfigError, with the fix, for a folder in which nothing may be written."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} is not writable: {fix}")


def existing(path: str | os.PathLike[str], *, writable: bool = False) -> RunFolder:
    """The run folder at `path`. ConfigError where there is none, or none that may be written where that is asked
    for.
    """
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        known = folder.path.parent
        near = sorted(file.parent.name for file in known.glob("*/config.json"))[:8]
        what = "is a file, not a run folder" if folder.path.exists() else "is no run folder"
        raise ConfigError(f"{path} {what}" + (f"; {known} has: {', '.join(near)}" if near else ""))
    if writable:
        check_writable(folder.path, "copy it to a place where it may be written")
    return folder
