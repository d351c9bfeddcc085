"""The HTTP server: pywsgi hardened for strangers, and what all listeners share.

::

    listen   sockets that are open for connections
    control  the Unix socket for commands, which comes back when its file is deleted
    server   accepts, caps, stops gracefully
    connection   one client: waits, reads, lets the application answer, closes
    deadline_reader  bytes from a socket under a deadline
    request  bytes → one strictly parsed request head
    body     bytes → one bounded body
    chunked  the same in chunks
    body_budget  the memory for all of them together
    connection_quota  how many connections one address has
    eviction  which one is closed when all connections are taken
    turns    long work in slices, between which the hub turns
    problem  an error → an RFC 9457 document

Why not bare ``gevent.pywsgi``: it has no timeouts, lets a second Content-Length and folded headers
pass, drains what it refused, and buffers nothing on the way out.
"""

from .body import check_size, read_body
from .control import ControlSocket
from .limits import Limits, open_files, too_few_files
from .listen import listen_tcp, listen_unix
from .problem import REQUEST_ID
from .server import Server, WsgiApp
from .turns import Queue

__all__ = [
    "REQUEST_ID",
    "ControlSocket",
    "Limits",
    "Queue",
    "Server",
    "WsgiApp",
    "check_size",
    "listen_tcp",
    "listen_unix",
    "open_files",
    "read_body",
    "too_few_files",
]
