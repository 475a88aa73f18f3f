"""A server in a thread, for tests that talk to it over sockets."""

import contextlib
import threading

import uvicorn

from gendiff.commands.serve import command, signalled_server
from gendiff.commands.serve.access_log import AccessLog


@contextlib.contextmanager
def serving(app, log_file=None):
    """(port, server) until the end."""
    with command.listening("127.0.0.1", 0) as listener:
        # which takes no signals outside the main thread
        server = uvicorn.Server(signalled_server.config(app, AccessLog(log_file)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
