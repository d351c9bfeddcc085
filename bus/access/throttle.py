"""Throttled sign-in: who has failed waits, longer each time; whoever has not, does not wait for him. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

FREE: Final = 5
"""So many failures cost no pause."""
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 900.0
FORGOTTEN_SECONDS: Final = 3_600.0
MOST_KEPT: Final = 20_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Throttle:
    """Counts failures by key, an address or a user's name as strangers try it, by the monotonic clock.

    The sixth failure in a row costs a pause of two seconds, each further one twice the last, up to a quarter
    of an hour. An hour without any is a new beginning.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()

    def pause(self, key: Hashable) -> float:
        """The seconds that *key* has to wait from now; 0 when it may try."""
        found = self._failures.get(key)
        if found is None:
            return 0.0
        since = self._monotonic() - found.last
        if since >= FORGOTTEN_SECONDS:
            del self._failures[key]
            return 0.0
        return max(0.0, _pause_after(found.count) - since)

    def failed(self, key: Hashable) -> float:
        """Note one more failure; the pause that it costs."""
        now = self._monotonic()
        found = self._failures.pop(key, None)
        if found is None or now - found.last >= FORGOTTEN_SECONDS:
            found = _Failures(0, now)
        found.count += 1
        found.last = now
        self._failures[key] = found
        if len(self._failures) > MOST_KEPT:
            self._failures.popitem(last=False)
        return _pause_after(found.count)

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of *key*."""
        self._failures.pop(key, None)


def _pause_after(count: int) -> float:
    if count <= FREE:
        return 0.0
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(count - FREE - 1, 30)))
