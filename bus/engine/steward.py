"""Lets the store look after itself, and tells what that brings to light."""

from __future__ import annotations

from typing import Final

from ..errors import StoreError
from ..store import Store
from ..telemetry import emit
from .loop import Loop

PAUSE_SECONDS: Final = 1.0


class Steward:
    """Once a second: room on the disk, the reserve. An adapter is silent, so its notices are told here."""

    def __init__(self, store: Store) -> None:
        self.loop = Loop("steward", self.tick)
        self._store = store

    def tick(self) -> float:
        """Tend the store. One that fails is told of by those who need it for their work."""
        try:
            notices = self._store.tend()
        except StoreError:
            return PAUSE_SECONDS
        for notice in notices:
            emit(notice.fact, **notice.fields)
        return PAUSE_SECONDS
