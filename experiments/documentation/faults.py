"""What can go wrong, and what happens then: one row per fault. A test of it names the row:
`@pytest.mark.fault("kill -9 during save")`.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A row of the page of faults: what goes wrong, and what happens then."""

    fault: str
    happens: str


RUNS = (
    Fault(
        "kill -9 during save",
        "the newest complete step restores; the temporary folder is ignored, and removed at the next start",
    ),
    Fault(
        "kill -9 anywhere, then resume",
        "parameters, optimizer, averages, key and metrics file are bitwise those of an unbroken run",
    ),
    Fault(
        "SIGTERM at a step", "the step is finished and saved, exit 42; the run goes on exactly. Ctrl-C does the same"
    ),
    Fault("SIGTERM while evaluating", "what is done is kept, exit 42; the same command goes on"),
    Fault("SIGTERM while sampling", "what is drawn is on disk, exit 42; the same command draws the rest"),
    Fault("SIGTERM while compiling", "exit 42; the same command goes on"),
    Fault("SIGTERM before anything has begun", "exit 42, also while packages are imported; the same command starts"),
    Fault("a second signal", "the process ends at once"),
    Fault("preemption with several processes", "all save the same step and exit 42"),
    Fault("peer dies", "the other processes end within 60 s with one line that names it, exit 134"),
    Fault("a wrong start of several processes", "count, number, versions or port are named on all sides, exit 2"),
    Fault("configurations of several processes differ", "exit 2"),
    Fault(
        "disk full",
        "an error with path, needed and free bytes; the old step is intact, the temporary folder removed; exit 74",
    ),
    Fault(
        "a checkpoint's folder cannot be made",
        "an error within seconds, with path, needed and free bytes; the old step is intact",
    ),
    Fault("script ends right after a save", "the save is complete: leaving the context waits"),
    Fault("truncated file of a checkpoint", "an error naming step and item before any value is used; exit 65"),
    Fault("flipped byte in a checkpoint", "an error naming step and item before any value is used; exit 65"),
    Fault(
        "missing file or metadata of a checkpoint", "an error naming step and item before any value is used; exit 65"
    ),
    Fault(
        "swapped, renamed or linked checkpoint", "an error naming the step of the folder and the step that was written"
    ),
    Fault(
        "newest checkpoint damaged, --resume latest-valid",
        "the run walks back to the newest intact step, says so, and ends the same",
    ),
    Fault(
        "evaluate without the last checkpoint",
        "refused with the step that is there, the last step, and the command that trains the rest; exit 65",
    ),
    Fault("config.json is changed after training", "evaluate refuses it with a table of what differs; exit 65"),
    Fault(
        "sample or report of a run that is not as its training left it",
        "both say which checkpoint is not the last, or which setting or metrics differ; report --strict exits 1",
    ),
    Fault(
        "other config on restore", "a table of every setting that differs; architecture is refused, run settings warn"
    ),
    Fault(
        "other shape, structure or dtype on restore",
        "a table of every path that differs; floats change their width only when asked",
    ),
    Fault(
        "other device or process count on restore",
        "parameters are bitwise equal, data keep their order, losses agree to 1e-5",
    ),
    Fault(
        "the folder of compiled programs cannot be written",
        "one line says so; programs are compiled, and the command goes on",
    ),
    Fault("cached and uncached compilation", "a resume records the setting, and refuses another or says so"),
    Fault(
        "NaN loss or gradient", "the step is skipped and counted; parameters, optimizer and averages stay as they were"
    ),
    Fault("NaN in many steps in a row", "the run stops, keeps the good steps, writes batch and key to debug/, exit 3"),
    Fault("NaN while sampling", "no file is written; the indices of the samples are named; exit 3"),
    Fault("torn last line of the metrics file", "readers ignore it; a resume truncates to the restored step"),
    Fault("metrics file cut or doubled", "an error with the path and the line"),
    Fault("a number in the metrics file is changed", "an error with the path and the line; reports say it"),
    Fault("damaged file of results", "an error with path and field; exit 65"),
    Fault("kill between results.json and report.html", "the same command writes the report"),
    Fault("evaluate on an unfinished run", "refused: no final results.json is written"),
    Fault(
        "batch sampling interrupted",
        "a rerun skips complete shards and redoes partial ones; the result is bitwise equal",
    ),
    Fault("a sweep is killed", "finished rows stay; the row where it was goes on from its checkpoint"),
    Fault(
        "several processes fill one sweep",
        "each row is computed once, and a row that a process left is taken by another",
    ),
    Fault("torn, damaged or foreign row of a sweep", "a note with the path; it is computed again"),
    Fault("a row of a sweep is not finite", "it is finished as failed, with the reason, and the others go on"),
    Fault("a request larger than memory", "refused before anything is allocated"),
    Fault("two jobs, one run folder", "the second one exits 2 with the owner's host and process"),
    Fault(
        "the clock of the machine jumps",
        "a save that it meets may be given up, exit 74; the run goes on, and ends bitwise as another one",
    ),
    Fault("lock of a dead process", "the lock is free"),
    Fault(
        "lock of a dead machine, or of another namespace", "neither taken over while its owner lives, nor kept for ever"
    ),
    Fault("occupied output folder", "refused before compilation, exit 2"),
    Fault("read-only or absent output folder", "refused before compilation, exit 2"),
    Fault("missing data", "an error with the path, exit 65"),
    Fault("unreadable image", "an error with the path of the file; skipped only when asked, and counted"),
    Fault("unreadable sound", "an error with the path of the file; skipped only when asked, and counted"),
    Fault("a folder of sounds and pictures", "an error that counts both kinds, exit 65"),
    Fault("unexpected file in a folder of images", "an error with its path; skipped only when asked, and counted"),
    Fault("a class whose pictures are all held out", "an error with its name, before anything is compiled; exit 65"),
    Fault(
        "a build of the cache is killed",
        "the next one goes on at the shard where it was; the files are those of an unbroken build",
    ),
    Fault("damaged shard of the cache", "a warning with its path; it is computed again"),
    Fault("pickle in weights", "refused and never run, whatever the file is called"),
    Fault("crafted safetensors header", "typed errors only, without a large allocation"),
    Fault("crafted GGUF header", "typed errors only, without a large allocation"),
    Fault(
        "GGUF with truncated or overlapping tensors", "an error with path, tensor and place, before any number is read"
    ),
    Fault("crafted npz header", "typed errors only, without a large allocation"),
    Fault("16 threads sampling at once", "each result equals that of a call alone"),
    Fault("10,000 training steps", "memory and open files stay flat"),
    Fault("random command lines", "documented exit codes, no traceback, at most 12 lines"),
    Fault("nobody reads what is printed", "exit 141 without a message, as other programs that a closed pipe ends"),
)
"""What disturbs a run."""

INPUTS = {
    "schedules": {
        "steps ≤ 0": "ValueError with argument, value and range",
        "β outside (0, 1)": "ValueError with argument, value and range",
        "σ_min ≥ σ_max": "ValueError with argument, value and range",
        "non-monotone table": "ValueError with argument, value and range",
        "zero terminal SNR with noise prediction": "ValueError that names velocity",
    },
    "process": {
        "shapes differ": "ValueError with both shapes",
        "Level fields neither () nor (batch,)": "ValueError with both shapes",
        "uint8 or 0…255 images": "TypeError or ValueError that names the scaling",
        "integers in a bare formula": "TypeError with the fix",
    },
    "denoiser": {
        "wrong output shape": "an error with both shapes, before the loop",
        "wrong output dtype": "TypeError with both dtypes, before the loop",
    },
    "samplers": {
        "0 steps": "ValueError with the range",
        "more steps than the table": "ValueError with both counts",
        "levels with NaN, or from clean to noise": "ValueError that says which of both",
        "eta outside [0, 1]": "ValueError with the range",
        "no key": "TypeError with the fix",
        "a batch of keys": "ValueError with the fix",
        "a legacy uint32 key": "TypeError with the fix",
        "a key that is not threefry": "ValueError with the reason",
        "temperature with the wrong shape": "ValueError with both shapes",
        "index outside its range": "ValueError with the range",
    },
    "guidance": {
        "NaN or negative scale": "ValueError with the range",
        "label ≥ classes": "ValueError with the number of classes; under jit, NaN in that sample alone",
        "float labels": "TypeError",
        "no null class": "ValueError: the network is without classes",
    },
    "conditions": {
        "one that does not fit the network": "an error with shape or type and what is needed, before anything is "
        "computed",
        "a null that does not fit a text": "ValueError with both shapes, or that names NO_TEXT",
    },
    "likelihood, metrics": {
        "fewer than 2 samples": "ValueError with the counts",
        "feature sizes differ": "ValueError with both sizes",
        "NaN features": "ValueError with the count",
        "float where uint8 is meant": "an error with both",
        "fewer samples than asked": "ValueError with both counts",
        "prior_std ≤ 0": "ValueError with the range",
        "Vendi score of an order above 1,000": "the limit, which is that of the largest eigenvalue",
    },
    "EMA, optimizer": {
        "decay outside [0, 1)": "ConfigError with the range",
        "warm-up ≥ total": "ConfigError naming both",
        "accumulation not dividing the batch": "ConfigError naming both",
        "clip ≤ 0": "ConfigError with the range",
    },
    "images": {
        "height not divisible by patch or downsampling": "ValueError with shape and rule",
        "channels first": "ValueError with shape and rule",
        "mixed sizes": "DataError with both shapes and the fix",
    },
    "autoencoder": {
        "wrong number of channels": "ValueError with shape and rule",
        "NaN latents": "ValueError that names the samples; under jit, NaN in those pictures alone",
    },
    "text": {
        "an empty prompt": "ValueError with its number; taken only when asked, for guidance",
        "a prompt of 10,000 characters": "ValueError with its length and the limit",
        "a prompt with more tokens than are read": "ValueError with both counts and what does not fit; cut only when "
        "asked, with a warning",
        "a missing or wrong tokenizer file": "DataError that starts with the path",
        "captions of pictures that are missing or damaged": "DataError that starts with the path, and how a caption is "
        "given",
    },
    "clips": {
        "a file that is no whole clip, or holds another number of frames than it says": "DataError that starts with "
        "the path",
        "a clip that cannot be written": "an error with shape, value or suffix; the file that is there stays",
        "an MP4 without its package": "ImportError with the extra to install; nothing is written",
        "a cache of frames that does not fit, or has lost a frame": "ValueError with both sizes; under jit, NaN in "
        "those clips alone",
    },
    "files": {
        "a folder, a pipe or a device in place of a file": "DataError that starts with the path, at once",
        "JSON that is none, or too deep": "DataError that starts with the path: at most 64 levels, integers of 40 "
        "digits and no NaN",
        "a file in which anything may have changed": "it is read, or refused by an error of gendiff: within 5 s of a "
        "processor, with its path, in at most 12 lines, and nothing stays open",
        "a message of a megabyte, or with control characters": "its middle is left out, and no terminal obeys it",
    },
    "weights": {
        "names missing or left over": "an error with every one of them",
        "a configuration that cannot be followed": "an error with setting and value",
        "a configuration with 10^30 layers": "ConfigError with setting, value and the most there are",
        "factors of a LoRA with NaN": "an error with the layer, before anything is drawn",
        "a folder of diffusers that cannot be followed": "an error with the path of a file, exit 65; inspect shows "
        "every problem",
    },
    "language models": {
        "a prompt longer than the context": "ValueError with both counts",
        "more tokens than the cache holds": "ValueError with the counts and the room, before anything is computed",
        "a token that the vocabulary does not have": "ValueError with the character and its position, or the id",
        "a tokenizer that does not match the vocabulary": "ValueError with both numbers of ids",
        "a message that speaks as another": "ValueError with its number and the token that ends messages",
        "a chat template that reaches for attributes or never ends": "ConfigError with the attribute or the limit of "
        "time, memory or output, within 3 s; Ctrl-C ends it",
        "a megabyte or control bytes are pasted": "one error of at most 12 lines, exit 2; in a terminal the "
        "conversation goes on",
        "an answer with control bytes": "a terminal gets them as escapes, and obeys none",
        "the end of a message spelled by other tokens": "it is text and ends nothing; a message that holds it is "
        "refused",
        "a tokenizer whose patterns never end, or need more than memory": "DataError that starts with the path, within "
        "3 s",
        "a tokenizer with an id for which no memory is enough": "DataError with the path and the id",
    },
    "watermarks": {
        "tokens of another tokenizer": "ValueError with the ids and the vocabulary of the mark",
        "logits of another vocabulary": "ValueError with both sizes",
        "a file of a mark that lacks a setting, has another or is of another vocabulary": "DataError with path, "
        "setting and value",
        "a mark of pictures out of range, without its nonce, or of another shape": "ValueError or TypeError with the "
        "value and the range",
        "a text that is too short": "p is 1, and nothing is scored",
    },
    "membership": {
        "a false positive rate that is finer than the data": "ValueError with how many non-members it needs",
        "shadow models that are too few or all alike": "ValueError with how many examples lack them",
    },
    "adversarial": {
        "logits that are not (b,)": "ValueError with the shape and the fix",
        "a batch that packs do not divide": "ValueError with both numbers",
        "real and generated samples of different shapes": "ValueError with both shapes",
    },
    "text-to-image": {
        "an empty prompt, or one of 10,000 characters": "exit 2 with what to write, or the limit",
        "a picture or mask that is none, or of another size": "exit 2 or 65 with the path; a line says how a picture "
        "was fitted",
        "a truncated file of a network, or changed bytes": "an error that starts with the path, exit 65",
        "another architecture, name or format of such a file": "an error with every parameter that differs, exit 65",
        "a network with NaN": "exit 3; no picture is written, and the indices are named",
        "another tokenizer, or none": "an error with its path, exit 65; without the package the command that brings "
        "it, exit 2",
    },
    "serve": {
        "a request that is none, or asks for what cannot be drawn": "4xx with field, value and what is allowed; "
        "nothing of it is opened",
        "more requests than there is room for": "429, with the seconds to wait in Retry-After; nothing of the request "
        "is drawn",
        "a client leaves before its pictures are drawn": "nothing more of them is drawn after the step that runs",
        "pictures that are not finite": "422 for their request; pictures beside them are not touched",
        "the program fails": "500 for what was being drawn, the reason in the log; what waits is drawn",
        "a signal while pictures are drawn": "what ends within 10 s is answered, the rest 503; exit 0 after Ctrl-C, 42 "
        "after SIGTERM",
        "a request that comes slowly or never ends": "408 after 10 s for its headers, and 10 s for its body; the "
        "connection is closed",
        "more connections than there may be": "the one that has waited longest for the rest of its request is answered "
        "503; the others are answered",
        "a picture to begin from or a mask that is none, does not fit, or is too large": "400 with what is read; "
        "headers are looked at before anything is decoded",
        "a request without the key": "401; nothing of it is read",
        "64 clients at once that behave, are slow, leave, or mean harm": "no picture is wrong, metrics are exact, "
        "memory stays flat and files are closed",
        "a host that other machines reach, without a key": "exit 2 before anything is compiled, with the two options",
        "a place that is taken, or is none": "exit 2 with host and port, before anything is compiled",
    },
    "copies": {
        "folders without pictures, mixed sizes, too few training pictures": "an error that starts with the path, exit "
        "65",
    },
    "scaling-fit": {
        "a CSV without its columns, with a bad cell, or none at all": "an error with path, line and column, exit 65",
        "trainings that decide no law": "an error with the reason of every approach, exit 65; one that fits says why "
        "the others do not",
    },
    "verify": {
        "another file, a damaged one, or a mark that does not belong to it": "an error with path and reason, exit 65 "
        "or 2",
    },
    "command line": {
        "unknown or misspelt option": "exit 2, the nearest match is shown",
        "wrong type": "exit 2, at most 12 lines",
        "a path of a user whom there is not": "exit 2 with the path",
        "--seed outside 0…2³²−1": "exit 2 with the range",
        "a number out of its range": "exit 2 with option, value and range, before anything is made or computed",
        "numbers that do not fit each other": "exit 2 with both, before anything is made or computed",
        "batch > data": "exit 2 with the range, before anything is compiled",
        "output folder of another config": "exit 2 with a table of what differs",
        "checkpoint path that is a file or URL": "exit 2",
    },
    "devices": {
        "batch not divisible by devices": "the nearest sizes that are",
        "missing CUDA plug-in": "exit 69 with a hint",
        "several processes where one is served": "refused at once, exit 2",
    },
}
"""Wrong input: place -> mistake -> what happens."""

ROWS = (
    *RUNS,
    *(Fault(f"{boundary}: {mistake}", error) for boundary, rows in INPUTS.items() for mistake, error in rows.items()),
)
"""Every row; its first field is what a test names."""
