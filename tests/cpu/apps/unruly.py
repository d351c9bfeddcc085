"""Tasks whose exceptions cannot be printed, and verdicts that cannot be told."""

from monqbus import Retry, task


class Evasive(Exception):
    """Nothing can be asked of it."""

    def __getattribute__(self, name):
        raise KeyError(name)


@task(cpu=True, max_attempts=1)
def misplace():
    """As template engines do: bytes where a line of the program should be."""
    raise SyntaxError("bad template", ("t.html", 3, 5, b"{% x"))


@task(cpu=True, max_attempts=1)
def evade():
    """Raises what cannot even be printed."""
    raise Evasive


@task(cpu=True, max_attempts=1)
def delay():
    """A verdict that its handler has spoilt."""
    verdict = Retry("later")
    verdict.delay = object()
    raise verdict
