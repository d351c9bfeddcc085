"""What requests and answers of the API look like, as JSON Schema (OpenAPI 3.1 has draft 2020-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from ..access.roles import OF_TOKENS, OF_USERS
from ..admin import COUNTED_BY
from ..delivery_record import OUTCOMES
from ..filter_checks import LONGEST_TEXT
from ..model import EVENT_OUTCOMES, STATES
from ..pauses import What

Schema = Mapping[str, Any]

OBJECT: Final[Schema] = {"type": "object"}
ARRAY: Final[Schema] = {"type": "array"}
FLAG: Final[Schema] = {"type": "boolean"}
ID: Final[Schema] = {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"}
TEXT: Final[Schema] = {"type": "string", "maxLength": LONGEST_TEXT, "pattern": r"^[^\u0000]*$"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
LIMIT: Final[Schema] = {"type": "integer", "minimum": 1}
SECONDS: Final[Schema] = {"type": "number"}
WORD: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 300, "pattern": r"^[^\u0000]*$"}
CURSOR: Final[Schema] = {
    "description": "As an earlier page has given it.",
    "anyOf": [
        {"type": "null"},
        ID,
        {
            "type": "object",
            "properties": {"base64": {"type": "string"}},
            "required": ["base64"],
            "additionalProperties": False,
        },
    ],
}


def _some(of: Schema) -> Schema:
    return {"type": "array", "items": of, "minItems": 1, "maxItems": 10_000}


def _closed(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _with(**members: Schema) -> Schema:
    """An answer that has these members, and may have others."""
    return {"type": "object", "properties": members, "required": list(members)}


def rows_of(name: str) -> Schema:
    """An answer with one array of objects."""
    return _with(**{name: {"type": "array", "items": OBJECT}})


_MOMENTS: Final = dict.fromkeys(("older", "newer"), MOMENT)
_ENDED: Final = dict.fromkeys(("ended_older", "ended_newer"), MOMENT)
_TASK_TEXTS: Final = dict.fromkeys(("name", "topic"), TEXT)
_ERROR: Final[Schema] = {**TEXT, "description": "A regular expression."}
TASK_FILTER: Final = _closed(
    {
        "ids": _some(ID),
        "states": _some({"enum": list(STATES)}),
        **_TASK_TEXTS,
        "error": _ERROR,
        "names": _some({"type": "string"}),
        "parked": FLAG,
        **_MOMENTS,
        **_ENDED,
    }
)
_EVENT_TEXTS: Final = dict.fromkeys(("topic", "hook", "kind", "delivery"), TEXT)
_EVENT_OUTCOME: Final[Schema] = {"enum": ["", *EVENT_OUTCOMES]}
EVENT_FILTER: Final = _closed({**_EVENT_TEXTS, "outcome": _EVENT_OUTCOME, **_MOMENTS})
_DELIVERY_TEXTS: Final = dict.fromkeys(("hook", "topic", "delivery"), TEXT)
_DELIVERY_OUTCOME: Final[Schema] = {"enum": ["", *OUTCOMES]}
_STATUS: Final[Schema] = {"type": "integer", "minimum": 100, "maximum": 599}
DELIVERY_FILTER: Final = _closed(
    {**_DELIVERY_TEXTS, "outcome": _DELIVERY_OUTCOME, "status": _STATUS, **_MOMENTS}
)

_PAGE_WORDS: Final[Mapping[str, Schema]] = {"limit": LIMIT, "cursor": {"type": "string"}}
_LISTED: Final = "Several with commas."
_TASK_WORDS: Final[Mapping[str, Schema]] = {
    "id": {"type": "string", "description": _LISTED},
    "state": {"type": "string", "description": f"{_LISTED} {', '.join(STATES)}."},
    **_TASK_TEXTS,
    "error": _ERROR,
    "names": {"type": "string"},
    "parked": FLAG,
    **_MOMENTS,
    **_ENDED,
}
TASK_QUERY: Final[Mapping[str, Schema]] = {**_TASK_WORDS, **_PAGE_WORDS}
_BY: Final[Schema] = {"enum": [*COUNTED_BY, "paused"]}
COUNT_QUERY: Final[Mapping[str, Schema]] = {**_TASK_WORDS, "by": _BY}
EVENT_QUERY: Final[Mapping[str, Schema]] = {
    **_EVENT_TEXTS,
    "outcome": _EVENT_OUTCOME,
    **_MOMENTS,
    **_PAGE_WORDS,
}
DELIVERY_QUERY: Final[Mapping[str, Schema]] = {
    **_DELIVERY_TEXTS,
    "outcome": _DELIVERY_OUTCOME,
    "status": _STATUS,
    **_MOMENTS,
    **_PAGE_WORDS,
}
AUDIT_QUERY: Final[Mapping[str, Schema]] = {
    "limit": LIMIT,
    "before": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
}

_PAGE: Final[Mapping[str, Schema]] = {"limit": LIMIT, "cursor": CURSOR}
FIND_TASKS: Final = _closed({"filter": TASK_FILTER, **_PAGE})
FIND_EVENTS: Final = _closed({"filter": EVENT_FILTER, **_PAGE})
FIND_DELIVERIES: Final = _closed({"filter": DELIVERY_FILTER, **_PAGE})
COUNT: Final = _closed({"filter": TASK_FILTER, "by": _BY})
ACT: Final = _closed({"filter": TASK_FILTER, **_PAGE, "dry_run": FLAG, "all": FLAG})
_CALL: Final[Mapping[str, Schema]] = {"args": ARRAY, "kwargs": OBJECT, "context": OBJECT}
_MAYBE_ID: Final[Schema] = {"anyOf": [{"type": "null"}, ID]}
POST: Final = _closed({"id": _MAYBE_ID, "name": WORD, **_CALL, "options": OBJECT, "is_checked": FLAG}, "name")
PUBLISH: Final = _closed({"id": _MAYBE_ID, "topic": WORD, **_CALL}, "topic")
ID_ALONE: Final = _closed({"id": _MAYBE_ID})
_WHAT: Final[Schema] = {"enum": list(get_args(What))}
PAUSE: Final = _closed(
    {
        "what": _WHAT,
        "name": WORD,
        "reason": {"type": "string"},
        "until": {"anyOf": [{"type": "null"}, MOMENT]},
        "by": {"type": "string", "maxLength": 200},
    },
    "name",
    "reason",
)
RESUME: Final = _closed({"what": _WHAT, "name": WORD}, "name")
BACKUP: Final = _closed({"path": {"type": "string"}}, "path")
_ROLE: Final[Schema] = {"enum": [role.word for role in OF_USERS]}
USER: Final = _closed(
    {"name": WORD, "role": _ROLE, "password": {"anyOf": [{"type": "null"}, WORD]}}, "name", "role"
)
PASSWORD: Final = _closed({"password": WORD}, "password")
ROLE: Final = _closed({"role": _ROLE}, "role")
TOKEN: Final = _closed(
    {"name": WORD, "role": {"enum": [role.word for role in OF_TOKENS]}, "seconds": SECONDS},
    "name",
    "role",
)
LINK: Final = _closed({"user": {"anyOf": [{"type": "null"}, WORD]}, "seconds": SECONDS})

_ROWS: Final[Schema] = {"type": "array", "items": OBJECT}
TASKS: Final = _with(tasks=_ROWS, cursor=CURSOR)
EVENTS: Final = _with(events=_ROWS, cursor=CURSOR)
DELIVERIES: Final = _with(deliveries=_ROWS, cursor=CURSOR)
AUDIT: Final = _with(entries=_ROWS, before={"type": ["string", "null"]})
COUNTS: Final = _with(counts={"type": "object", "additionalProperties": {"type": "integer"}})
ONE_TASK: Final = _with(task=OBJECT, waiting={"type": ["string", "null"]})
ONE_EVENT: Final = _with(event=OBJECT)
ONE_DELIVERY: Final = _with(delivery=OBJECT)
ONE_PAUSE: Final = _with(pause=OBJECT)
ONE_USER: Final = _with(user=OBJECT)
ONE_TOKEN: Final = _with(token=OBJECT)
TOPICS: Final = _with(topics=ARRAY, handlers=OBJECT, task_names=ARRAY)
POSTED: Final = _with(task=OBJECT, known=FLAG, near={"type": "string"})
_IDS: Final[Schema] = {"type": "array", "items": ID}
PUBLISHED: Final = _with(event=ID, tasks=_IDS, near={"type": "string"}, filtered=FLAG)
RECEIPT: Final = _with(event=ID, tasks=_IDS)
DONE: Final = _with(done={"type": "integer"})
STEP: Final[Schema] = {
    "anyOf": [
        _with(done={"type": "integer"}, cursor=CURSOR),
        _with(would_be={"type": "integer"}, names={"type": "object"}),
    ]
}
PROBLEM: Final = _with(
    type={"type": "string"},
    title={"type": "string"},
    status={"type": "integer"},
    code={"type": "string"},
    detail={"type": "string"},
)
