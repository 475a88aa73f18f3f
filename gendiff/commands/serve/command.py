"""The command `serve`: over HTTP, pictures of prompts, by a network of this repository or a model in a folder of
diffusers, or the replies of a language model.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gendiff.commands.chat import models
from gendiff.commands.chat.chat_options import SMOLLM2
from gendiff.commands.serve import compiler_thread, folder_networks, image_requests, native_networks, text_requests
from gendiff.commands.serve.batching import Batcher
from gendiff.commands.serve.image_requests import Limits
from gendiff.commands.serve.request_scheduler import RequestScheduler
from gendiff.commands.serve.serve_options import ServeOptions
from gendiff.commands.serve.served_network import ServedNetwork
from gendiff.commands.serve.text_batching import TextBatcher
from gendiff.commands.serve.text_requests import TextLimits
from gendiff.commands.text_to_image import published
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs import compile_cache, devices
from gendiff.runs.progress import Progress

if TYPE_CHECKING:
    from fastapi import FastAPI
MOST_PICTURES = 10
"""Of one request, as in OpenAI's API."""
MOST_REPLIES = 16
"""Of one request."""


def call(options: ServeOptions, catalogue: object, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, and for a place that is taken.

    Until a signal comes: Ctrl-C is the end that a person wants, and any other is told to whoever started the process.
    """
    from gendiff.commands.serve import access_log, api_keys, signalled_server  # need the extra

    keys = () if options.api_key_file is None else api_keys.read(Path(options.api_key_file))
    with listening(options.host, options.port) as listener, _log_file(options.access_log) as log_file:
        host, port = listener.getsockname()[:2]
        check_open(options, host)
        devices.local()
        app, scheduler, sizes = (_app if options.chat is None else _text_app)(options, host, keys, progress)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        ways = f"{address}/ draws on a page; POST {address}{image_requests.ROUTE}"
        if options.chat is not None:
            ways = f"POST {address}{text_requests.CHAT} or {text_requests.COMPLETIONS}"
        progress.line(f"{ways}; {address}/metrics and /healthz. Ctrl-C ends it")
        if not is_loopback(host):
            who = "whoever reaches this machine" if not keys else "whoever has a key"
            progress.line(f"note: {host} answers {who}, and what is sent is not encrypted")
        with compiler_thread.compiling(sizes, progress):
            signalled_server.run(
                app, listener, lambda: scheduler.close("the server is stopping"), access_log.AccessLog(log_file)
            )


def check_open(options: ServeOptions, address: str) -> None:
    """ConfigError for an address that other machines reach, without a key and without --open."""
    if not (is_loopback(address) or options.open or options.api_key_file is not None):
        raise ConfigError(
            f"--host {options.host} lets other machines use it: add --api-key-file FILE, so that they need a key, "
            "or --open for whoever reaches it"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket at a place. ConfigError where there is none, or it is taken, before anything is compiled."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter of a name that is none
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--host {host}: {reason}: give an address of this machine, such as 127.0.0.1") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"--host {host} --port {port}: {error.strerror or error}: choose another one, or --port 0"
        ) from error
    return listener


def is_loopback(host: str) -> bool:
    """Whether an address of a socket answers this machine alone."""
    return ipaddress.ip_address(host.split("%")[0]).is_loopback


def hosts(options: ServeOptions, address: str) -> Collection[str] | None:
    """The names by which a request may call the server; None for any, where it is open to other machines."""
    from gendiff.commands.serve import trusted_hosts

    return {*trusted_hosts.LOOPBACK, options.host.lower(), address} if is_loopback(address) else None


@contextlib.contextmanager
def _log_file(path: str | None) -> Iterator[TextIO | None]:
    """Opened for adding lines. ConfigError where it cannot be."""
    if path is None:
        yield None
        return
    try:
        file = foreign_files.expanded(path).open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--access-log {path}: {error.strerror or error}") from error
    with file:
        yield file


def _served(options: ServeOptions, progress: Progress) -> ServedNetwork:
    compile_cache.use(options.program_cache, progress.line)
    if options.folder is not None:
        return folder_networks.read(options, options.folder, progress)
    return native_networks.read(published.file_of(options.model), options.sampler)


def _app(
    options: ServeOptions, address: str, keys: Sequence[str], progress: Progress
) -> tuple["FastAPI", RequestScheduler, Iterator[int]]:
    """(application, batcher, sizes): it draws one picture at a time, and more after each of the sizes."""
    from gendiff.commands.serve import compiled_steps, web_app

    served = _served(options, progress)
    progress.line(f"{served.name}: {served.about}, {served.width} × {served.height} pixels")
    most = min(options.most_steps, served.most_steps)
    if options.most_steps == ServeOptions.most_steps:
        most = compiled_steps.most_steps(served, most)
    programs = compiled_steps.CompiledSteps(served, options.together, most)
    sizes = programs.warm()
    with progress.phase("compile for one picture at a time"):
        next(sizes)
    batcher = Batcher(programs, options.queue)
    pictures = min(MOST_PICTURES, options.queue, batcher.most_of_client)
    usual = min(served.usual_steps, most)
    limits = Limits(served.name, served.width, served.height, most, usual, pictures, served.references, served.masks)
    return web_app.web_app(served, batcher, limits, hosts(options, address), keys), batcher, sizes


def _text_app(
    options: ServeOptions, address: str, keys: Sequence[str], progress: Progress
) -> tuple["FastAPI", RequestScheduler, Iterator[int]]:
    """The same of a language model, all of whose programs are compiled."""
    from gendiff.commands.serve import text_app, token_steps

    model = str(options.chat)
    compile_cache.use(options.compile_cache, progress.line)
    try:
        name = SMOLLM2 if model == SMOLLM2 else models.located(model).resolve().stem
        chat = models.weighted(model, options.weights or "float32", "".join(options.lora))
    except ConfigError as error:  # `chat` calls the option otherwise
        raise ConfigError(str(error).replace("--model", "--chat")) from error
    context = min(options.context, chat.network.context)
    if options.cache_tokens < context:
        raise ConfigError(
            f"--cache-tokens {options.cache_tokens} has no room for one request of --context {context}: give more, or "
            "a smaller context"
        )
    words = "no chat template: it goes on with texts alone" if chat.template is None else "answers"
    progress.line(f"{name}: {words}, {context} tokens at most, {options.together} replies at a time")
    programs = token_steps.TokenSteps(chat, options.together, context, options.cache_tokens, options.guesses)
    with progress.phase(f"compile for texts of {', '.join(map(str, token_steps.widths(context)))} tokens"):
        programs.warm()
    batcher = TextBatcher(programs, chat.tokenizer.pieces, chat.ends().tolist(), options.queue)
    replies = min(MOST_REPLIES, options.queue, batcher.most_of_client)
    limits = TextLimits(name, context, min(options.most_tokens, context - 1), replies)
    return text_app.text_app(chat, batcher, limits, hosts(options, address), keys), batcher, iter(())
