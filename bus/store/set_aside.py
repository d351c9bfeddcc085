"""Items that were set aside because nobody can read or run them, kept until they are told."""

from __future__ import annotations

from typing import Any, Final

from .contract import Notice

MOST_TOLD: Final = 100


class SetAside:
    """Collects what was set aside between two looks; beyond MOST_TOLD it only counts."""

    def __init__(self) -> None:
        self._told: list[Notice] = []
        self._more = 0

    def add(self, task_id: Any, reason: str) -> None:
        """Remember that the task was set aside for this *reason*."""
        if len(self._told) < MOST_TOLD:
            self._told.append(Notice("task.set_aside", {"task_id": task_id, "reason": reason}))
        else:
            self._more += 1

    def news(self) -> list[Notice]:
        """What was set aside since the last call."""
        told, more = self._told, self._more
        self._told, self._more = [], 0
        if more:
            told.append(Notice("task.set_aside", {"count": more, "reason": "and more of them"}))
        return told
