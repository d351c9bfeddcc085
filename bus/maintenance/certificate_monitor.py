"""Takes over a renewed TLS certificate, and tells of one that cannot be used or will soon end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..clock import Clock
from ..engine.loop import Loop
from ..errors import ConfigError
from ..http import Tls
from ..process import key_pair
from ..process.key_pair import KeyPair, Unusable
from ..telemetry import ToldOnce, emit

if TYPE_CHECKING:
    from ..config.settings import Http

LOOK_SECONDS: Final = 60.0


class CertificateMonitor:
    """Compares the contents of the two files every LOOK_SECONDS: links are exchanged, and clocks lie.

    It reads where *away* lets it: a disk that does not answer holds up nobody else. Raises ConfigError when
    the first pair cannot be used; a later one that cannot is told once, and the one before is kept.
    """

    def __init__(self, cert: Path, key: Path, clock: Clock, away: Callable[[Callable[[], Any]], Any]) -> None:
        self.loop = Loop("certificate", self.tick, LOOK_SECONDS)
        self._files = cert, key
        self._clock = clock
        self._away = away
        self._refused = ToldOnce()
        self._expiring = ToldOnce()
        try:
            self._pair = key_pair.load(cert, key)
        except Unusable as unusable:
            raise ConfigError(str(unusable)) from unusable
        self.tls = Tls(self._pair.context)
        """What connections are encrypted with: always the last pair that could be used."""

    def use(self, http: Http) -> None:
        """Look at the files that a reload has named, soon. Never blocks."""
        if http.tls_cert is not None and http.tls_key is not None:
            self._files = http.tls_cert, http.tls_key
            self.loop.wake()

    def tick(self) -> float:
        """Take over what has changed, and tell it; the seconds until the next look."""
        problems = []
        try:
            self._take_over()
        except Unusable as unusable:
            problems = [str(unusable)]
        for problem in self._refused.now(problems):
            emit("certificate.refused", error=problem)
        ending = self._pair.expiry(self._clock.wall())
        for sentence in self._expiring.now([ending] if ending else []):
            emit("certificate.expiring", cert=str(self._files[0]), reason=sentence)
        return LOOK_SECONDS

    def _take_over(self) -> None:
        cert, key = self._files
        if self._away(partial(key_pair.digest, cert, key)) == self._pair.digest:
            return
        pair: KeyPair = self._away(partial(key_pair.load, cert, key))
        self._pair = pair
        self.tls.context = pair.context
        emit("certificate.reloaded", cert=str(cert), expires=f"{pair.expires:%Y-%m-%d %H:%M:%SZ}")
