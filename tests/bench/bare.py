"""Stand-ins that answer without storing: the ceiling that the webhook path is compared with.

``pywsgi``: one WSGI function on gevent's server as it comes, with TCP_NODELAY.
``flask``: a Flask view on monqbus's own server.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - patched first

from flask import Flask, request  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from bus.http import Server, listen_tcp  # noqa: E402

BODY = b'{"hello": "world"}\n'


def hello(environ, start_response):
    """Reads the body, answers."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def flask_app():
    """The same as a Flask view."""
    app = Flask("hello")

    @app.post("/hooks/bench")
    def view():
        request.get_data()
        return BODY, 200, {"Content-Type": "application/json"}

    return app


def main(kind):
    """Serve until killed."""
    listener = listen_tcp("127.0.0.1", 0)
    host, port = listener.getsockname()
    print(f"listen=http://{host}:{port}", file=sys.stderr, flush=True)
    if kind == "pywsgi":
        WSGIServer(listener, hello, log=None).serve_forever()
    else:
        Server([listener], flask_app()).serve_forever()


main(sys.argv[1])
