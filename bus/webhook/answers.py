"""The answer to a delivery that is stored, where its hook says more of it than the ids.

What a sender has written stands in it as text/plain or inside of JSON's quotes, and every answer has
``nosniff``: no browser takes it for a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from json import dumps
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson import ObjectId

from .. import strict_json
from ..config.answers import ACCEPTED, BODILESS, CONTENT_TYPE, TEXT, is_json, paths_in, template_of, type_of
from ..errors import Refused
from ..http import Queue, problem
from ..http.problem import REQUEST_ID, Answer
from ..model import COMPLETE, ERROR, Event, MonQTask, Receipt
from ..payload import BadPayload
from ..placeholders import Placeholder
from ..presentation import plain
from .endings import Endings
from .streams import MEDIA_TYPE, Stream

if TYPE_CHECKING:
    from ..config import Hook

LONGEST_VALUE: Final = 1024
"""Characters of one value of a delivery that an answer repeats."""
_PARSING = Queue()
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Awaited(NamedTuple):
    """What is answered when *task_ids* have ended within *seconds*, and *otherwise*.

    It holds nothing of the delivery's body.
    """

    event_id: ObjectId
    task_ids: Sequence[ObjectId]
    seconds: float
    headers: list[tuple[str, str]]
    has_output: bool
    otherwise: Answer


def own_answer(hook: Hook, event: Event, receipt: Receipt, answer: Answer) -> Answer | Awaited:
    """What *hook* answers in place of *answer*, that of every hook. Lets the hub turn in a long body.

    A delivery that came before is answered 200, and not waited for.
    """
    headers = [pair for pair in hook.answer_headers if pair[0].lower() != CONTENT_TYPE]
    own = _shaped(hook, event, receipt, answer, headers)
    if not hook.wait or receipt.duplicate or not receipt.task_ids:
        return own
    return Awaited(receipt.event_id or event.id, receipt.task_ids, hook.wait, headers, hook.output, own)


def streamed(hook: Hook, stream: Stream, receipt: Receipt) -> Answer | None:
    """The answer that shows what tasks print; None for a repetition and without tasks, which show nothing."""
    if receipt.duplicate or not receipt.task_ids:
        stream.close()
        return None
    own = [pair for pair in hook.answer_headers if pair[0].lower() != CONTENT_TYPE]
    headers = [("Content-Type", MEDIA_TYPE), ("X-Accel-Buffering", "no"), *own]  # nginx would hold it back
    return Answer(_line(HTTPStatus.OK), headers, b"", stream.begin(receipt.task_ids, hook.stream))


def awaited(answer: Awaited, endings: Endings, environ: Mapping[str, Any]) -> Answer:
    """The answer that *answer* becomes. Blocks until its tasks have ended or its time is over."""
    environ["wsgi.input"].give_back()  # its body is stored; who waits holds a connection and nothing else
    tasks = endings.wait_for(answer.task_ids, answer.seconds, brief=not answer.has_output)
    if tasks is None:
        return answer.otherwise
    if any(task.state == ERROR for task in tasks):
        return _failed(answer, tasks, environ.get(REQUEST_ID, ""))
    if answer.has_output and len(tasks) == 1 and tasks[0].state == COMPLETE:
        text = (tasks[0].output or "").encode("utf-8", "backslashreplace")
        return _of(HTTPStatus.OK, TEXT, text, answer.headers)
    return _of(HTTPStatus.OK, "application/json", _results(answer, tasks), answer.headers)


def _results(answer: Awaited, tasks: Sequence[MonQTask]) -> bytes:
    """The result of the only task, or what became of each; without results where JSON cannot hold them."""
    if len(tasks) == 1 and tasks[0].state == COMPLETE:
        content = plain(tasks[0].result)
    else:
        content = {"event": str(answer.event_id), "tasks": [_row(task, result=True) for task in tasks]}
    try:
        text = dumps(content, allow_nan=False)
    except ValueError:
        text = dumps({"event": str(answer.event_id), "tasks": [_row(task, result=False) for task in tasks]})
    return text.encode() + b"\n"


def _failed(answer: Awaited, tasks: Sequence[MonQTask], request_id: str) -> Answer:
    """A problem document without the error itself: that is for operators, and may hold anything."""
    refusal = Refused(500, "handler_failed", "event: it is stored, and a handler of it has failed")
    rows = [_row(task, result=False) for task in tasks]
    told = problem.answer(refusal, request_id, event=str(answer.event_id), tasks=rows)
    return told._replace(headers=[*told.headers, *answer.headers])


def _row(task: MonQTask, *, result: bool) -> dict[str, Any]:
    row = {"id": str(task.id), "state": task.state}
    return {**row, "result": plain(task.result)} if result else row


def _shaped(
    hook: Hook, event: Event, receipt: Receipt, answer: Answer, headers: list[tuple[str, str]]
) -> Answer:
    status = HTTPStatus.OK.value if receipt.duplicate else hook.status
    if hook.body:
        content_type = type_of(hook.answer_headers)
        text = _filled(hook.body, event, receipt, in_quotes=is_json(content_type))
        return _of(status, content_type, text.encode("utf-8", "backslashreplace"), headers)
    if status in BODILESS:
        return _of(status, "", b"", headers)
    line = answer.status if hook.status == ACCEPTED else _line(status)
    return Answer(line, [*answer.headers, *headers], answer.body)


def _filled(text: str, event: Event, receipt: Receipt, *, in_quotes: bool) -> str:
    paths = paths_in(text)
    content = _content(event, paths) if paths else None
    values = {"id": str(receipt.event_id or event.id), "topic": event.topic}

    def value(placeholder: Placeholder) -> str:
        found = values.get(placeholder.kind)
        if found is None:
            found = strict_json.at_path(content, placeholder.where) or placeholder.default or ""
        found = found[:LONGEST_VALUE]
        return dumps(found)[1:-1] if in_quotes else found

    return template_of(text).fill(value)


def _content(event: Event, paths: Sequence[str]) -> Any:
    """What is at *paths* in the body, which was read before; None where it has no structure."""
    try:
        return event.tree_at(paths, _PARSING.step_back)
    except BadPayload:
        return None


def _of(status: int, content_type: str, body: bytes, headers: list[tuple[str, str]]) -> Answer:
    if status == HTTPStatus.NO_CONTENT:  # RFC 9110 section 8.6: no length with it
        return Answer(_line(status), headers, b"")
    own = [("Content-Type", content_type)] if content_type else []
    return Answer(_line(status), [*own, ("Content-Length", str(len(body))), *headers], body)


def _line(status: int) -> str:
    return f"{int(status)} {_PHRASES.get(int(status), '')}"
