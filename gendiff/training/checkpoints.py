"""Checkpoints on disk: complete, verified, and refused when they do not fit the state.

The module loads Orbax, so it is imported by name only.

A step is one folder, and Orbax commits it by a rename. Our digests are written into it just before that rename, so a
step that can be seen has them. The state is stored flat, as {path: array}: its structure is compared with the target's
before a value is read. NumPy arrays stay NumPy arrays of their dtype, whatever JAX's own precision.
"""

import contextlib
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks, foreign_files
from gendiff.core.errors import CheckpointCorruptError, ConfigError, DataError, NonFiniteError
from gendiff.core.types import Config, Numeric, PyTree
from gendiff.training import agreement, compatibility, digests, failed_saves

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

_TREE = ("path", "stored", "wanted")


class Restored(NamedTuple):
    """A restored state."""

    step: int
    state: PyTree
    meta: Config


class Saving(NamedTuple):
    """The result of `Checkpoints.save`: true if it began to write, with the reason if not."""

    begun: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.begun


class _Offered(NamedTuple):
    """A state that `every` left out, kept until the next one is written."""

    step: int
    state: PyTree
    meta: Config | None


class Checkpoints:
    """The steps of one run in one folder, as a context manager.

    Leaving the context waits for the save under way. It also saves the newest state that `save` declined because of
    `every`, unless the arrays of that state have been donated since. Several processes all make the same calls; with
    read_only each reads by itself.

    Args:
        path: the folder; it is made where it is missing.
        config: the settings of the run as JSON. They are stored with each step and compared at restore; None compares
            nothing. Of a step that was stored without any, restoring warns.
        may_differ: settings, their keys joined by dots, whose difference only warns; a key stands for all below it.
        keep: how many of the newest steps stay, at least 1.
        every: `save` acts on multiples of it, at least 1.
        keep_every: multiples of it stay for ever; None for no such steps.
        read_only: nothing is written or cleaned, so that the folder of a running job can be read.
        description: what the state belongs to, as JSON. It is stored with each step and compared with nothing.

    Raises:
        ConfigError: for a path that is a file or a URL, and for settings out of range.
        DataError: for a missing folder with read_only.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        config: Config | None = None,
        may_differ: Iterable[str] = (),
        keep: int = 3,
        every: int = 1,
        keep_every: int | None = None,
        read_only: bool = False,
        description: Config | None = None,
    ) -> None:
        for name, value in (("keep", keep), ("every", every), ("keep_every", keep_every)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} = {value!r} must be a whole number of at least 1")
        self.path = _folder(path, read_only)
        self._config = None if config is None else compatibility.as_json("config", config)
        self._description = None if description is None else compatibility.as_json("description", description)
        self._may_differ = tuple(may_differ)
        self._every, self._read_only = every, read_only
        self._saving: int | None = None
        self._offered: _Offered | None = None
        self._needed = 0
        import orbax.checkpoint as ocp  # where it is used, here and below: it takes as long to import as JAX

        policies: list[ocp.checkpoint_managers.PreservationPolicy] = [ocp.checkpoint_managers.LatestN(keep)]
        policies += [ocp.checkpoint_managers.EveryNSteps(keep_every)] if keep_every is not None else []
        self._preserve = ocp.checkpoint_managers.AnyPreservationPolicy(policies)
        self._quiet = failed_saves.Quiet()
        self._opened: ocp.CheckpointManager | None = self._open()

    def save(self, step: int, state: PyTree, meta: Config | None = None, *, force: bool = False) -> Saving:
        """Start to write a state in the background; the state may be donated at once.

        Args:
            step: the number of the step, at least 0.
            state: any tree of arrays and numbers, of JAX or of NumPy.
            meta: what else belongs to the step, as JSON.
            force: save a step that `every` leaves out.

        Returns:
            `Saving`, which is False, with the reason, for a step that is stored already and for one that `every` leaves
            out. The newest of the latter is kept, and saved when the context is left.

        Raises:
            OSError: where the folder of the step cannot be made, or the save before this one failed; see `wait`.
            ConfigError: for a step before the newest stored one (see `discard_after`), for a leaf without numbers, and
                with read_only.
        """
        checks.integer("step", step)
        if self._read_only:
            raise ConfigError(f"{self.path} was opened read_only: nothing can be saved in it")
        self.wait()
        newest = self.latest()
        if step in self.steps():
            return Saving(False, f"step {step} is stored already")
        if not (force or step % self._every == 0):
            self._offered = _Offered(int(step), state, meta)
            return Saving(
                False,
                f"step {step} is no multiple of every = {self._every}: force=True saves it, and so does leaving the "
                "context",
            )
        if newest is not None and step < newest:
            raise ConfigError(
                f"step {step} is older than the newest stored step {newest} of {self.path}: call discard_after({step}) "
                "first"
            )
        flat = compatibility.leaves(state)
        about = {
            "config": self._config,
            "meta": compatibility.as_json("meta", meta or {}),
            "leaves": compatibility.outline(flat),
            "description": self._description,
        }
        # Orbax refuses empty ones; their outline says all
        arrays = {path: leaf for path, leaf in flat.items() if np.size(leaf)}
        self._offered = None
        self._saving, self._needed = int(step), sum(getattr(leaf, "nbytes", 8) for leaf in arrays.values())
        self._quiet.begin()
        import orbax.checkpoint as ocp

        try:
            items = ocp.args.Composite(state=ocp.args.PyTreeSave(arrays), meta=ocp.args.JsonSave(about))
            self._manager.save(int(step), args=items, force=True)
        except Exception as error:
            raise self._failed(error) from error
        return Saving(True)

    def wait(self) -> None:
        """Wait until the save under way is on disk.

        Raises:
            OSError: with path, needed and free bytes, where it failed. Earlier steps are intact; of the failed one
                nothing is left.
        """
        try:
            if self._opened is not None:
                self._opened.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error
        self._quiet.end()

    def steps(self) -> list[int]:
        """Return the steps on disk whose save came to its end, oldest first; their bytes are not checked."""
        folders = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and folder.is_dir())

    def latest(self) -> int | None:
        """Return the newest of `steps`, or None."""
        return max(self.steps(), default=None)

    def latest_valid(self) -> int | None:
        """Return the newest step whose bytes are intact, or None where no step is stored.

        Each newer step that is not gets a warning.

        Raises:
            CheckpointCorruptError: where steps are stored and none is intact.
        """
        self.wait()
        problems = []
        for step in reversed(self.steps()):
            try:
                self.verify(step)
            except CheckpointCorruptError as error:
                warnings.warn(f"{error}: going back to an older step", stacklevel=2)
                problems.append(str(error))
            else:
                return step
        if problems:
            raise CheckpointCorruptError(
                f"none of {len(problems)} steps in {self.path} is intact:\n" + "\n".join(problems)
            )
        return None

    def verify(self, step: int, item: str | None = None) -> None:
        """Compare each byte of a step, or of one item, with its digest, and the step's number with the stored one.

        Raises:
            CheckpointCorruptError: naming step and item, unless every byte is the one that was written as this step.
            DataError: where the step is not stored.
        """
        self.wait()
        if step not in self.steps():
            raise DataError(f"{self.path}: step {step} is not stored; stored are {self.steps() or 'none'}")
        digests.verify(self.path / str(step), step, item)

    def restore(self, step: int | None, target: PyTree, *, cast: bool = False) -> Restored:
        """Read the whole state of a step.

        Args:
            step: None for the newest.
            target: arrays or ShapeDtypeStructs, whose structure, shapes, dtypes and shardings the state gets. Leaves
                without a sharding go to the first local device. A leaf is a NumPy array where the target's is one, or
                has a dtype that JAX would narrow.
            cast: floats are stored in one width and wanted in another, on purpose.

        Raises:
            DataError: where the step is not stored.
            CheckpointCorruptError: for bytes that changed.
            CheckpointMismatchError: with a table of all settings, or of all paths, that differ. No value has been used
                by then.
        """
        return self.restore_subtree(step, "", target, cast=cast)

    def restore_subtree(self, step: int | None, path: str, like: PyTree, *, cast: bool = False) -> Restored:
        """Read one part of the state of a step, and nothing else of it.

        Args:
            step: None for the newest.
            path: where the part begins, as in "params" or "tracks/0.99"; "" is the whole state.
            like: what the part looks like (see the target of `restore`).
            cast: see `restore`.

        Raises:
            DataError: where the step, or that part of it, is not stored.
            CheckpointCorruptError: as `restore` does.
            CheckpointMismatchError: as `restore` does; of the part alone, and of the configuration.
        """
        step, about = self._about(step, None)
        if self._config is not None:
            compatibility.compare_config(f"step {step} of {self.path}", about["config"], self._config, self._may_differ)
        prefix = f"{path}/" if path else ""
        stored = {name: leaf for name, leaf in about["leaves"].items() if name.startswith(prefix)}
        if path and not stored:
            parts = ", ".join(sorted({name.split("/")[0] for name in about["leaves"]}))
            raise DataError(f"step {step} of {self.path} holds nothing at {path!r}: it begins with {parts}")
        expected = {prefix + name: leaf for name, leaf in compatibility.leaves(like).items()}
        rows = compatibility.in_outline(stored, compatibility.outline(expected), ignore_float_width=cast)
        compatibility.refuse(f"step {step} of {self.path} does not fit the target", rows, _TREE)
        flat = self._read_arrays(step, expected, stored)
        return Restored(step, jax.tree.unflatten(jax.tree.structure(like), list(flat.values())), about["meta"])

    def contents(self, step: int | None = None) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of what a step (None: the newest) holds, by path, as a target for `restore`.

        Only `restore` reads and verifies the arrays.

        Raises:
            DataError: where the step is not stored.
            CheckpointCorruptError: for bytes of this description that changed.
        """
        return compatibility.from_outline(self._about(step)[1]["leaves"])

    def written_with(self, step: int | None = None) -> Config:
        """Return the `config` and `description` that a step (None: the newest) was written with.

        They are keyed by name. Errors are those of `contents`.
        """
        return {"description": None} | {
            name: value for name, value in self._about(step)[1].items() if name in ("config", "description")
        }

    def discard_after(self, step: int) -> None:
        """Delete every step newer than `step`, as a run does that goes on from an older one.

        Raises:
            ConfigError: with read_only.
        """
        if self._read_only:
            raise ConfigError(f"{self.path} was opened read_only: nothing can be deleted in it")
        self.wait()
        for newer in [stored for stored in self.steps() if stored > step and jax.process_index() == 0]:
            shutil.rmtree(self.path / str(newer))
        agreement.wait("steps are discarded")
        if self._offered is not None and self._offered.step > step:
            self._offered = None
        self._manager.reload()

    def close(self) -> None:
        """Save the newest state that `every` left out, wait for saves under way, then end the threads.

        Raises:
            OSError: as `wait` does.
        """
        self.wait()
        if self._offered is not None:
            self._save_offered(self._offered)
        if self._opened is not None:
            self._opened.close()
        self._quiet.end()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (
            error is not None
            and not isinstance(error, NonFiniteError)
            and jax.process_count() > 1
            and not self._read_only
        ):
            return  # the other processes know nothing of the error, and will not come to a point where to wait for them
        try:
            self.close()
        except OSError as failure:
            if error is None:
                raise
            error.add_note(f"the last checkpoint failed too: {failure}")

    def _save_offered(self, offered: _Offered) -> None:
        if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(offered.state)):
            warnings.warn(
                f"{self.path}: step {offered.step} is not saved, for its state was donated to a later step; "
                "offer the state of every step, or use force=True for the last",
                stacklevel=4,
            )
        elif offered.step > (-1 if self.latest() is None else self.latest()):  # type: ignore[operator]
            self.save(*offered, force=True)
            self.wait()

    @property
    def _manager(self) -> "ocp.CheckpointManager":
        """Orbax's, a new one after a failure."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> "ocp.CheckpointManager":
        import orbax.checkpoint as ocp

        # a reader waits for no other
        writer, together = (jax.process_index(), {jax.process_index()}) if self._read_only else (0, None)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._preserve,
            cleanup_tmp_directories=not self._read_only,
            create=not self._read_only,
            read_only=self._read_only,
            multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=writer, active_processes=together),
            save_root_metadata=False,
            enable_async_checkpointing=True,
            # a folder that cannot be made is an error of `save`; made in the background, Orbax's threads wait for it
            # for 300 s
            async_options=ocp.options.AsyncOptions(
                post_finalization_callback=self._write_digests, create_directories_asynchronously=False
            ),
        )
        handlers = {"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
        return ocp.CheckpointManager(self.path, options=options, item_handlers=handlers)

    def _write_digests(self) -> None:
        # Orbax calls this in process 0, when all processes have written their files and the folder still has its
        # temporary name
        for folder in self._unfinished():
            digests.write(folder, int(folder.name.split(".")[0]))

    def _unfinished(self) -> list[Path]:
        return sorted(self.path.glob(f"{self._saving}.orbax-checkpoint-tmp*"))

    def _failed(self, error: Exception) -> OSError:
        """What to raise for a save that failed.

        Nothing of it is left, and what Orbax keeps of the failure is forgotten.
        """
        self._quiet.failed = True
        if jax.process_count() == 1:  # several processes would wait for each other
            with contextlib.suppress(Exception):
                self._manager.close()
            self._opened = None
        return failed_saves.error(error, self.path, self._saving, self._needed, self._unfinished)

    def _about(self, step: int | None, verified: str | None = "meta") -> tuple[int, Config]:
        """Return (step, what is stored beside its arrays).

        verified: the item whose bytes are compared with their digests; None: all.
        """
        import orbax.checkpoint as ocp

        self.wait()
        step = self.latest() if step is None else step
        if step is None:
            raise DataError(f"{self.path}: no step is stored")
        self.verify(step, verified)
        about = self._read(step, "meta", ocp.args.JsonRestore())
        try:
            compatibility.from_outline(about["leaves"])
            complete = "config" in about and isinstance(about["meta"], dict)
            complete &= all(isinstance(about.get(name), dict | None) for name in ("config", "description"))
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
            complete = False
        if not complete:
            raise CheckpointCorruptError(
                f"step {step} of {self.path}, item meta, lacks its config, its meta, or the shape or dtype of a leaf"
            )
        return step, about

    def _read_arrays(
        self, step: int, expected: Mapping[str, Numeric], stored: Mapping[str, compatibility.LeafOutline]
    ) -> dict[str, Numeric]:
        import orbax.checkpoint as ocp

        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        dtypes = {path: compatibility.dtype_of(path, leaf) for path, leaf in expected.items()}

        def abstract(path: str, leaf: Numeric) -> jax.ShapeDtypeStruct:
            dtype = jnp.dtype(stored[path]["dtype"]) if jnp.issubdtype(dtypes[path], jnp.inexact) else dtypes[path]
            sharding = None if compatibility.is_numpy(leaf) else getattr(leaf, "sharding", None) or here
            return jax.ShapeDtypeStruct(np.shape(leaf), dtype, sharding=sharding)

        def value(path: str, leaf: Numeric) -> Numeric:
            kind = np if compatibility.is_numpy(leaf) else jnp
            array = read[path] if path in read else kind.zeros(np.shape(leaf), dtypes[path])
            array = array if array.dtype == dtypes[path] else array.astype(dtypes[path])
            return array[()] if isinstance(leaf, np.generic) else array

        target = {path: abstract(path, leaf) for path, leaf in expected.items() if np.size(leaf)}
        how = ocp.checkpoint_utils.construct_restore_args(target)
        how |= {
            path: ocp.RestoreArgs(restore_type=np.ndarray) for path in target if compatibility.is_numpy(expected[path])
        }
        arguments = ocp.args.PyTreeRestore(target, restore_args=how, partial_restore=True)
        read = self._read(step, "state", arguments) if target else {}
        return {path: value(path, leaf) for path, leaf in expected.items()}

    def _read(self, step: int, item: str, arguments: "ocp.args.CheckpointArgs") -> PyTree:
        import orbax.checkpoint as ocp

        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: arguments}))[item]
        except Exception as error:
            raise CheckpointCorruptError(f"step {step} of {self.path}, item {item}, cannot be read: {error}") from error


def _folder(path: str | Path, read_only: bool) -> Path:
    if "://" in str(path):
        raise ConfigError(f"{path} is a URL: checkpoints are written to a folder of this machine")
    folder = foreign_files.expanded(path).absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: checkpoints need a folder")
    if read_only and not folder.is_dir():
        raise DataError(f"{folder} does not exist: no checkpoint can be read from it")
    return folder
