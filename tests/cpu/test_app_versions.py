"""New code comes to the workers without anybody being dropped."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from bus.cpu.app_version import Apps
from bus.errors import ConfigError

from .conftest import Laboratory, New, is_alive, until

APP = """\
import os, time
from pathlib import Path
from monqbus import task
@task(cpu=True)
def version(seconds, place=""):
    if place:
        Path(place).write_text("begun")
    time.sleep(seconds)
    return [{number}, os.getpid()]
"""


@pytest.fixture
def changing(new_laboratory: New, tmp_path: Path) -> Laboratory:
    """A laboratory with version 1 of an app of its own, and two workers."""
    (tmp_path / "changing.py").write_text(APP.format(number=1))
    return new_laboratory(2, folder=tmp_path, modules=("changing",))


def begin(laboratory: Laboratory, *args: object):
    """A run of `version`."""
    task = laboratory.waiting(*args, name="changing.version")
    (claimed,) = laboratory.store.claim(laboratory.instance, ["changing.version"], 1, task.time_queue).tasks
    from bus.engine.run import Run

    run = Run(claimed, 0.0)
    return run, gevent.spawn(laboratory.executor.run, run)


def renew(laboratory: Laboratory, text: str) -> None:
    """The app becomes *text*, and the farm is told."""
    (folder,) = laboratory.worker_pool._apps.folders
    (folder / "changing.py").write_text(text)
    laboratory.worker_pool.renew(Apps(("changing",), (folder,)), at_once=True)


def test_new_tasks_get_new_code_while_an_old_one_runs_on(changing: Laboratory, tmp_path: Path):
    """The old version ends with its last task, and so does its app process."""
    place = tmp_path / "begun"
    idle = changing.ended(*begin(changing, 0)).result[1]
    old = begin(changing, 1.0, str(place))
    until(place.exists)
    before = changing.worker_pool._current
    renew(changing, APP.format(number=2))
    fresh = changing.ended(*begin(changing, 0)).result
    is_running = not old[1].ready()
    ended = changing.ended(*old).result

    assert (2, True, 1) == (fresh[0], is_running, ended[0])
    assert fresh[1] not in (idle, ended[1])
    until(lambda: not is_alive(idle) and not is_alive(ended[1]))
    until(lambda: before not in changing.worker_pool._app_versions)


def test_apps_that_cannot_be_imported_leave_the_old_ones_in_use(changing: Laboratory, facts):
    """What is wrong is told with its place."""
    first = changing.ended(*begin(changing, 0)).result
    renew(changing, "1 / 0\n")
    second = changing.ended(*begin(changing, 0)).result

    assert first == second
    assert "the old apps stay: app changing: " in facts.of("cpu.failed")[0]["reason"]
    assert "changing.py:1: ZeroDivisionError" in facts.of("cpu.failed")[0]["reason"]


def test_an_import_that_kills_its_process_is_told(changing: Laboratory):
    (folder,) = changing.worker_pool._apps.folders
    (folder / "changing.py").write_text("import os\nos._exit(3)\n")

    with pytest.raises(ConfigError, match="the process that imports them ended: status 3"):
        changing.worker_pool.prepare(Apps(("changing",), (folder,)))


def test_an_import_that_never_ends_is_cut_short(changing: Laboratory, monkeypatch: pytest.MonkeyPatch):
    """With its process."""
    (folder,) = changing.worker_pool._apps.folders
    (folder / "changing.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr("bus.cpu.app_version.IMPORT_SECONDS", 0.3)

    with pytest.raises(ConfigError, match=r"expected their import to end within 0\.3 s"):
        changing.worker_pool.prepare(Apps(("changing",), (folder,)))
    assert set() == changing.worker_pool._app_versions


def test_threads_that_an_import_starts_are_told(changing: Laboratory, facts):
    """A forked worker does not have them, and may wait for their locks for ever."""
    renew(changing, f"import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True,"
          f" name='poller').start()\n{APP.format(number=2)}")  # fmt: skip
    ended = changing.ended(*begin(changing, 0))

    assert 2 == ended.result[0]
    assert "poller" == facts.of("apps.threaded")[0]["threads"]


def test_a_name_that_the_workers_do_not_know_goes_back_after_a_pause(changing: Laboratory, facts):
    """Not at once: it would come again and again."""
    renew(changing, APP.format(number=2).replace("def version", "def other"))
    changing.ended(*begin(changing, 0))

    assert "no task of this name is registered any more" == facts.of("cpu.failed")[0]["reason"]
    assert ["task.released"] == facts.names[-1:]


def test_apps_without_cpu_tasks_cost_no_process(changing: Laboratory, tmp_path: Path):
    """Neither at the start nor after a reload: the app process is made at the first need."""
    (folder,) = changing.worker_pool._apps.folders
    before = set(changing.worker_pool._app_versions)
    changing.worker_pool.renew(Apps((), (folder,)), at_once=False)

    assert (set(), set()) == (before, changing.worker_pool._app_versions)
