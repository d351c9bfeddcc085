"""Writes fenced reports one by one after a batch was refused, so that one bad report stops no other."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StoreUnavailable
from ..model import Report
from ..store.contract import Queue


def report_each(store: Queue, reports: Sequence[Report]) -> list[bool | Exception]:
    """For each of *reports* whether its claim held, or why the store refuses it. Raises StoreUnavailable."""
    try:
        return list(store.report(reports))
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - of one of them: a rule of the store, or what nothing can hold
        if len(reports) == 1:
            return [error]
    return [answer for report in reports for answer in report_each(store, [report])]
