"""`.post` and `.options().post` take what the function takes; a wrong call is a type error."""

from __future__ import annotations

from monqbus import MonQTask, event_handler, task


@task
def send(to: str, *, urgent: bool = False) -> int:
    """Declared plainly."""
    return len(to) if urgent else 0


@task(max_attempts=3, timeout=5)
def resize(width: int, height: int) -> None:
    """Declared with options."""


@event_handler("shop.paid")
def paid(topic: str, number: int) -> None:
    """A handler is a task too."""


accepted: list[MonQTask] = [
    send.post("a@b", urgent=True),
    send.options(delay=60, key="a@b").post("a@b"),
    resize.post(1, height=2),
    paid.post("shop.paid", 7),
]
direct: int = send("a@b")

send.post(1)  # type: ignore[arg-type]
send.post()  # type: ignore[call-arg]
send.post("a@b", hurry=True)  # type: ignore[call-arg]
send.options(delay=1).post(urgent="no")  # type: ignore[call-arg, arg-type]
resize.post(1)  # type: ignore[call-arg]
resize.options(priority=1).post("1", 2)  # type: ignore[arg-type]
paid.post("shop.paid", "7")  # type: ignore[arg-type]
