"""How a command ends: errors of the runner, and the exit code of each kind."""

import difflib
import errno
import re
from collections.abc import Iterable
from pathlib import Path

from gendiff.core import errors

DONE, FAILED, USAGE, NON_FINITE, PREEMPTED, BAD_DATA, NO_DEVICE, DISK, LOST_PEER = 0, 1, 2, 3, 42, 65, 69, 74, 134
CLOSED_PIPE = 141
"""128 + SIGPIPE, by which other programs end when nobody reads what they print."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
PLACE_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR)
"""Of a path that was asked for and where nothing may be written or read."""


class DeviceError(errors.GendiffError):
    """The platform that was asked for has no device here."""


class PeerError(errors.GendiffError):
    """Another process of the same run has ended, or never came. The code is that of JAX's own runtime where it notices
    first (SIGABRT).
    """


class Preempted(BaseException):
    """A signal of `interruption` came. No Exception, so that nothing that handles failures takes it for one.

    kept: what is left of the work, in words. again: what to do next.
    """

    def __init__(
        self, signal: str, saved: str = "what is finished is saved", again: str = "run the same command to go on"
    ) -> None:
        super().__init__(signal)
        self.kept, self.again = saved, again


def exit_code(error: BaseException) -> int | None:
    """The code that a batch system reads (42 and 128 + signal: start me again; the rest: do not), or None for an
    unforeseen error.
    """
    if isinstance(error, OSError):
        return DISK if error.errno in DISK_ERRORS else USAGE if error.errno in PLACE_ERRORS else None
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """The name that was probably meant, or all that there are."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"


def model_hint(model: str, known: Iterable[str], kinds: str) -> str:
    """The same of a model, which may be one of the Hugging Face hub: no command loads from there. kinds: those that can
    be read.
    """
    return hub_hint(model, kinds, "--model ") or hint(model, known)


def hub_hint(model: str, kinds: str, option: str = "") -> str:
    """How a model of the Hugging Face hub is brought here, where the name is that of one; else "". option: before its
    folder.
    """
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model) or Path(model).suffix.lower() in (".safetensors", ".gguf"):
        return ""
    folder = model.rpartition("/")[2]
    download = f"hf download {model} --local-dir {folder} (hf comes with pip install huggingface_hub)"
    return f"for a model of the Hugging Face hub ({kinds}), type: {download}, then give {option}{folder}"


_CODES: dict[type[BaseException], int] = {
    Preempted: PREEMPTED,
    KeyboardInterrupt: PREEMPTED,
    errors.ConfigError: USAGE,
    errors.NonFiniteError: NON_FINITE,
    errors.DataError: BAD_DATA,
    errors.CheckpointCorruptError: BAD_DATA,
    errors.CheckpointMismatchError: BAD_DATA,
    DeviceError: NO_DEVICE,
    PeerError: LOST_PEER,
}
