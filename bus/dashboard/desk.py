"""What the pages ask of a daemon, and how they are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from bson import ObjectId
from bson.errors import InvalidId
from jinja2 import DictLoader, Environment, StrictUndefined

from .. import __version__
from ..access import Role, visitor_of
from ..access.audit import Audit
from ..admin import Admin
from ..apps.registry import Registry
from ..clock import Clock
from ..config import Config
from ..errors import Refused
from ..http.problem import Answer
from ..model import MonQTask
from ..operations import Operations
from ..store.contract import Backlog
from . import text
from .history import History
from .live import Live
from .remembered import Remembered
from .spark import spark_line

FOLDER: Final = Path(__file__).parent
LONGEST_QUERY: Final = 8 * 1024
MOST_PARAMETERS: Final = 50
NAVIGATION: Final = (
    ("/", "Overview"),
    ("/tasks", "Tasks"),
    ("/errors", "Errors"),
    ("/events", "Events"),
    ("/deliveries", "Deliveries"),
    ("/handlers", "Handlers"),
    ("/schedules", "Schedules"),
    ("/workers", "Workers"),
    ("/config", "Config"),
    ("/audit", "Audit"),
)


class Running(NamedTuple):
    """One task in a slot of this daemon, for so many *seconds*; *printed* gives its output so far."""

    task: MonQTask
    lane: str
    seconds: float
    printed: Callable[[], str | None]


@dataclass(frozen=True)
class Desk:
    """All that pages show and steer.

    Nothing of it but *admin*, *operations* and *audit* asks a store or blocks.
    """

    admin: Admin
    operations: Operations
    audit: Audit
    registry: Callable[[], Registry]
    config: Callable[[], Config]
    clock: Clock
    history: History
    live: Live
    status: Callable[[], Mapping[str, Any]] = dict
    running: Callable[[], Sequence[Running]] = tuple
    slots: Callable[[], Mapping[str, tuple[int, int]]] = dict
    hub_block: Callable[[], str] = str
    is_shared: bool = False
    started: datetime | None = None
    remembered: Remembered = field(init=False)

    def __post_init__(self) -> None:
        """Keep a few answers for a moment."""
        object.__setattr__(self, "remembered", Remembered(self.clock))

    def backlog(self) -> Mapping[str, Backlog]:
        """What is ready by name, as it was a moment ago."""
        return self.remembered.ask("backlog", self.admin.waiting)

    @cached_property
    def templates(self) -> Environment:
        """The pages' templates, read once: an upgrade of the files must not meet the code of before."""
        files = (FOLDER / "templates").glob("*.html")
        made = Environment(
            loader=DictLoader({path.name: path.read_text(encoding="utf-8") for path in files}),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=text.said,
        )
        for name in ("lines", "as_json", "cell", "moment", "duration", "age", "number", "last_line"):
            made.filters[name] = getattr(text, name)
        made.globals.update(
            between=text.between, link=link, navigation=NAVIGATION, spark=spark_line, version=__version__
        )
        return made

    def page(
        self, environ: Mapping[str, Any], template: str, *, status: str = "200 OK", **values: Any
    ) -> Answer:
        """The page of *template* with *values*, for whoever asks."""
        visitor = visitor_of(environ)
        body = (
            self.templates.get_template(template)
            .render(
                visitor=visitor,
                may_act=visitor.may(Role.OPERATOR),
                is_admin=visitor.may(Role.ADMIN),
                path=environ["PATH_INFO"],
                here=here(environ),
                now=self.clock.now(),
                notice=notice(environ),
                **values,
            )
            .encode("utf-8", "backslashreplace")
        )
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        return Answer(status, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body)


def query_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of the URL that say something, the last of each. Raises Refused(400)."""
    query: str = environ.get("QUERY_STRING", "")
    if len(query) > LONGEST_QUERY:
        raise Refused(
            400, "bad_query", f"query: expected at most {LONGEST_QUERY} characters, got {len(query)}"
        )
    try:
        pairs = parse_qsl(query, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        expected = f"expected at most {MOST_PARAMETERS} parameters in UTF-8"
        raise Refused(400, "bad_query", f"query: {expected}") from error
    return {name: value.strip() for name, value in pairs if value.strip()}


def id_of(written: str, noun: str) -> ObjectId:
    """The id that *written* spells. Raises Refused(404), as for one that nobody has."""
    try:
        return ObjectId(written)
    except InvalidId:
        expected = "expected an id of 24 hexadecimal digits"
        raise Refused(404, "not_found", f"{noun}: {expected}, got {text.cell(written)}") from None


def link(path: str, **parameters: Any) -> str:
    """A link into the desk, without those *parameters* that are empty."""
    given = {name: value for name, value in parameters.items() if value not in (None, "", ())}
    return quote(path, safe="/:~") + (f"?{urlencode(given, doseq=True)}" if given else "")


def here(environ: Mapping[str, Any]) -> str:
    """The page itself as a link, without what was told once."""
    try:
        query = {name: value for name, value in query_of(environ).items() if name not in ("done", "number")}
    except Refused:
        query = {}
    return link(environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace"), **query)


_NOTICES: Final[Mapping[str, str]] = {
    "retry": "{} retried",
    "cancel": "{} cancelled",
    "purge": "{} forgotten",
    "pause": "Paused",
    "resume": "Resumed",
    "replay": "Replayed: {} new",
    "fire": "Fired: {} new",
    "post": "Posted again as a new task",
    "publish": "Published: {} new",
    "more": "{} changed; there are more that match, do it again to go on",
}


def notice(environ: Mapping[str, Any]) -> str:
    """What an action has done, told on the page behind it: words of ours and a number alone."""
    try:
        query = query_of(environ)
    except Refused:
        return ""
    words = _NOTICES.get(query.get("done", ""), "")
    count = query.get("number", "")
    if not words or not (count.isascii() and count.isdigit() and len(count) < 10):
        return words if "{}" not in words else ""
    return words.format(f"{text.number(int(count))} task{'' if count == '1' else 's'}")
