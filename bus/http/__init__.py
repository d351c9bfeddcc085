"""The HTTP server: pywsgi hardened for strangers, and what all listeners share.

Why not bare ``gevent.pywsgi``: it has no timeouts, lets a second Content-Length and folded headers
pass, drains what it refused, and buffers nothing on the way out.
"""

from .access_log import AccessLog
from .body import check_size, read_body
from .control import ControlSocket
from .limits import Limits, open_files, require_files, too_few_files
from .listen import addresses_of, adopt, listen_tcp, listen_unix
from .origin import client, scheme
from .problem import REQUEST_ID
from .server import Server, WsgiApp
from .tls import Tls
from .turns import Queue
from .url_map import Endpoint, UrlMap

__all__ = [
    "REQUEST_ID",
    "AccessLog",
    "ControlSocket",
    "Endpoint",
    "Limits",
    "Queue",
    "Server",
    "Tls",
    "UrlMap",
    "WsgiApp",
    "addresses_of",
    "adopt",
    "check_size",
    "client",
    "listen_tcp",
    "listen_unix",
    "open_files",
    "read_body",
    "require_files",
    "scheme",
    "too_few_files",
]
