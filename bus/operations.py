"""What an operator changes through a daemon: actions of `admin`, by a visitor who may, noted in the audit.

The API, on the control socket too, and the pages call this: `Operations.by(visitor)` is all of it for one
visitor. A command without a daemon calls `admin` itself (`cli/session`). A new action stands in `admin`,
here, and in the table of routes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from .access.audit import Audit
from .access.roles import Role
from .access.visitor import Visitor, Way
from .admin import MOVABLE, PAGE, Admin, Step, narrowed, why_not
from .apps.calls import Posted, Published
from .errors import Refused
from .model import Filter, MonQTask, Receipt
from .pauses import Pause, What
from .posting import PostOffice

ROLE_OF: Final[Mapping[str, Role]] = {
    "retry": Role.OPERATOR,
    "cancel": Role.OPERATOR,
    "purge": Role.ADMIN,
    "pause": Role.OPERATOR,
    "resume": Role.OPERATOR,
    "replay": Role.OPERATOR,
    "publish": Role.OPERATOR,
    "post": Role.OPERATOR,
    "run schedule": Role.OPERATOR,
    "backup": Role.ADMIN,
}
"""The least role that each action takes, for whoever shows or routes it."""
BY_PROGRAMS: Final = frozenset({"post", "publish"})
"""What applications do all the time through the control socket: noted, it would push out the rest."""
OPERATOR: Final = Visitor("operator", Role.ADMIN)
"""Who acts where nobody says who: whoever may open the store or the control socket."""


class Operations:
    """The actions, as Admin and PostOffice have them, for *visitor*. Blocks and raises as they do.

    Raises Refused(403) for one whose role is less than the action takes. Without an *audit* nothing is noted.
    """

    def __init__(
        self,
        admin: Admin,
        office: PostOffice,
        audit: Audit | None = None,
        visitor: Visitor = OPERATOR,
    ) -> None:
        self._admin = admin
        self._office = office
        self._audit = audit
        self._visitor = visitor

    def by(self, visitor: Visitor) -> Operations:
        """The same for another visitor."""
        made = copy.copy(self)
        made._visitor = visitor
        return made

    # tasks

    def forecast(self, verb: str, filter: Filter) -> dict[str, int]:
        """How many tasks of each name `retry`, `cancel` or `purge` would go through: a dry run."""
        meant = narrowed(filter, MOVABLE[verb])
        return {} if meant is None else self._admin.count(meant, "name")

    def step(self, verb: str, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """One page of `retry`, `cancel` or `purge`; the pages of one action are one entry of the audit."""
        self._require(verb)
        act = {"retry": self._admin.retry, "cancel": self._admin.cancel, "purge": self._admin.purge}[verb]
        step = act(filter, cursor, limit)
        if step.done:
            self._note(verb, told(filter), step.done, joins=True)
        return step

    def act(self, verb: str, task_id: ObjectId, generation: int | None = None) -> int:
        """`retry`, `cancel` or `purge` of one task.

        Raises NotFound; Refused(409) when its state forbids it; Refused(412) when it is not of the
        *generation* any more that was looked at: it has been begun since.
        """
        self._require(verb)
        task = self._admin.show(task_id)
        require_generation(task, generation)
        step = self.step(verb, Filter(ids=(task.id,)))
        if not step.done:
            raise Refused(409, "illegal_move", why_not(verb, task))
        return step.done

    def post_named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Posted:
        """As PostOffice.post_named."""
        self._require("post")
        posted = self._office.post_named(name, args, kwargs, changes)
        self._note("post", {"name": name, "task": posted.task.id})
        return posted

    def submit(self, task: MonQTask) -> MonQTask:
        """As PostOffice.submit."""
        self._require("post")
        stored = self._office.submit(task)
        self._note("post", {"name": task.task_name, "task": stored.id})
        return stored

    # events and schedules

    def publish_named(
        self,
        topic: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        event_id: ObjectId | None = None,
    ) -> Published:
        """As PostOffice.publish_named."""
        self._require("publish")
        published = self._office.publish_named(topic, args, kwargs, context=context, event_id=event_id)
        self._note("publish", {"topic": topic, "event": published.receipt.event_id})
        return published

    def replay(self, event_id: ObjectId, first_id: ObjectId | None = None) -> Receipt:
        """As PostOffice.replay."""
        self._require("replay")
        receipt = self._office.replay(event_id, first_id)
        self._note("replay", {"event": event_id}, len(receipt.task_ids))
        return receipt

    def fire_now(self, name: str, event_id: ObjectId | None = None) -> Receipt:
        """As PostOffice.fire_now."""
        self._require("run schedule")
        receipt = self._office.fire_now(name, event_id)
        self._note("run schedule", {"name": name}, len(receipt.task_ids))
        return receipt

    # pauses and the store

    def pause(
        self, what: What, name: str, reason: str, *, until: datetime | None = None, by: str = ""
    ) -> Pause:
        """As Admin.pause; *by* is the visitor where nothing else is said."""
        self._require("pause")
        who = "" if self._visitor.way is Way.MACHINE else self._visitor.name
        pause = self._admin.pause(what, name, reason, until=until, by=by or who)
        self._note("pause", {"what": what, "name": name, "reason": reason, "until": until})
        return pause

    def resume(self, what: What, name: str) -> Pause:
        """As Admin.resume."""
        self._require("resume")
        pause = self._admin.resume(what, name)
        self._note("resume", {"what": what, "name": name})
        return pause

    def backup(self, path: Path) -> None:
        """As Admin.backup."""
        self._require("backup")
        self._admin.backup(path)
        self._note("backup", {"path": str(path)})

    def _require(self, action: str) -> None:
        self._visitor.require(ROLE_OF[action])

    def _note(self, action: str, about: Mapping[str, Any], number: int = 1, *, joins: bool = False) -> None:
        is_program = action in BY_PROGRAMS and self._visitor.way is Way.MACHINE
        if self._audit is not None and not is_program:
            self._audit.note(self._visitor, action, about, number, joins=joins)


def require_generation(task: MonQTask, generation: int | None) -> None:
    """Raise Refused(412) unless *task* is still of the *generation* that somebody has looked at."""
    if generation is not None and task.generation != generation:
        raise Refused(
            412,
            "changed_meanwhile",
            f"task {task.id}: expected generation {generation}, got {task.generation}: it has been begun "
            "since; look at it again",
        )


def told(filter: Filter) -> dict[str, Any]:
    """The parts of *filter* that say something."""
    return {name: value for name, value in asdict(filter).items() if value}
