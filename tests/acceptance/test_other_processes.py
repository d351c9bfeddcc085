"""Other processes beside a running daemon: without gevent, on both stores."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .conftest import New
from .daemons import ROOT

PROGRAM = """
import sys, threading, json
sys.path[:0] = [{root!r}, {apps!r}]
import monqbus
monqbus.connect({config!r})
from accepted import add, fail, whose
from monqbus import c

def work(number, sums):
    sums.append(add.post(number, 1).join(20))

sums = []
threads = [threading.Thread(target=work, args=(n, sums)) for n in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
c.project, c.user = "shop", 7
context = whose.post().join(20)
try:
    fail.post("in vain").join(20)
except monqbus.TaskFailed as error:
    failed = error.traceback
handled = add.options(delay=0.2, priority=50).post(2, right=3).join(20)
print(json.dumps([sorted(sums), context, failed, handled, "gevent.monkey" in sys.modules]))
"""
UNTOUCHED = """
import socket, sys, threading
sys.path.insert(0, {root!r})
before = socket.socket
import monqbus
print(socket.socket is before, threading.active_count(), "flask" in sys.modules, "pymongo" in sys.modules)
"""


@pytest.mark.parametrize("kind", ["sqlite", "standalone"])
def test_a_program_without_gevent_posts_and_joins(kind, request: pytest.FixtureRequest, new_daemon: New):
    """Threads post and wait; context, results and remote tracebacks come back as they were."""
    store = kind
    if kind == "standalone":
        deployment: Deployment = request.getfixturevalue(kind)
        store = deployment.address(f"others_{uuid4().hex[:8]}")
    daemon = new_daemon(store).start()
    apps = ROOT / "tests" / "acceptance" / "apps"
    program = PROGRAM.format(root=str(ROOT), apps=str(apps), config=str(daemon.config))

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=daemon.environ,
        check=False,
    )

    assert "" == done.stderr
    sums, context, failed, handled, patched = json.loads(done.stdout)
    assert list(range(1, 9)) == sums
    assert ["shop", 7] == context
    assert "ValueError: in vain" in failed
    assert 5 == handled
    assert not patched


def test_importing_monqbus_touches_nothing():
    """No patch, no thread, no connection, no web framework."""
    done = subprocess.run(
        [sys.executable, "-c", UNTOUCHED.format(root=str(ROOT))], capture_output=True, text=True, check=True
    )

    assert ["True", "1", "False"] == done.stdout.split()[:3]
