"""The row of a sender: everything that is to be known about one of them, as data.

A *place* says where a value stands, as a placeholder without its braces: ``header:NAME`` in a header,
``query:NAME`` in the URL, ``body:dotted.path`` in the JSON body (``*`` being every item of a list),
``item:PREFIX`` in the list inside the signature (``t=1700000000,v1=…``), "" nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from ..placeholders import ALONE, HEADER, PARAMETER, PATH, Grammar, Template, Where

Scheme = Literal["none", "token", "hmac", "ed25519", "ecdsa"]
Encoding = Literal["hex", "base64"]
KeyForm = Literal["raw", "basic", "hex", "base64", "whsec", "whpk", "ed25519", "p256"]
Unit = Literal["s", "ms", "rfc3339", "http"]

_KINDS: Final[Mapping[str, Where]] = {
    "body": ALONE,
    "timestamp": ALONE,
    "method": ALONE,
    "url": ALONE,
    "form": ALONE,
    "payload": ALONE,
    "header": HEADER,
    "query": PARAMETER,
    "json": PATH,
}
PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,1024}")
"""What a handshake's answer may repeat, unless its row says less."""
SIGNED_BY_HOOK: Final = Grammar(_KINDS)
"""What a hook says that its sender signs. An id is a header there."""
SIGNED: Final = Grammar({**_KINDS, "id": ALONE, "binary": ALONE})
"""What a sender may sign.

``{form}`` is its fields in the order of their names, name and value joined; ``{payload}`` the body, or the
one field ``payload`` of a form; ``{json:dotted.path}`` a value in the body; ``{binary}`` the text of
a body that is not ASCII, of each UTF-16 unit the lower byte.
"""


@dataclass(frozen=True, eq=False)  # a key of caches, by its identity
class Proof:
    """One way in which a sender proves itself: where the proof stands, of what, and by which key.

    `place` is that of the proof. `signed` is the template of the signed bytes, of `SIGNED`: where it has no
    `{id}`, and the id stands in a header, somebody who captured a delivery can send it again under another
    one. `key` is the form of the secret (`keys.py`). `id` is the place of what `{id}` stands for. With
    `digest` the way is taken only where that place holds the SHA-256 of the body, which `signed` then covers
    by it; with `unless` only where that place is empty. `timed` is `signed` for hooks that name a time of
    their own.
    """

    scheme: Scheme
    place: str = ""
    prefix: str = ""
    separator: str = ""
    algorithm: str = "sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "raw"
    signed: str = "{body}"
    timestamp: str = ""
    unit: Unit = "s"
    tolerance: float = 300.0
    id: str = ""
    digest: str = ""
    unless: str = ""
    timed: str = ""
    user: str = ""
    header: str = field(init=False)
    """The lower-case name of the header that carries the proof; "" when no header does."""
    parameter: str = field(init=False)
    """The name of the query parameter that does."""
    is_in_body: bool = field(init=False)
    """Whether the proof, or its time, stands in the body, so that the head alone says nothing."""
    is_plain: bool = field(init=False)
    """Whether the head has only to hold the proof itself."""

    prefix_length: int = field(init=False)
    lower_prefix: str = field(init=False)
    is_hex: bool = field(init=False)
    """Whether letters of the proof count in both cases."""

    def __post_init__(self) -> None:
        """Take what each delivery asks for out of its places once."""
        kind, _, name = self.place.partition(":")
        object.__setattr__(self, "header", name if kind == "header" else "")
        object.__setattr__(self, "parameter", name if kind == "query" else "")
        object.__setattr__(self, "is_in_body", "body:" in (self.place[:5], self.timestamp[:5]))
        object.__setattr__(self, "prefix_length", len(self.prefix))
        object.__setattr__(self, "lower_prefix", self.prefix.lower())
        object.__setattr__(self, "is_hex", self.encoding == "hex" and self.scheme != "token")
        object.__setattr__(self, "is_plain", not (self.timestamp or self.id or self.digest or self.unless))

    @cached_property
    def content(self) -> Template:
        """`signed`, compiled."""
        return SIGNED.compile(self.signed)

    def proves(self, place: str) -> bool:
        """Whether what stands at *place* is covered by the proof, so that nobody else can change it.

        ``body:`` alone is the body, ``url`` and ``form`` are what they stand for in `signed`.
        """
        if self.scheme in ("none", "token"):
            return False
        signed = {placeholder.name for placeholder in self.content.placeholders}
        if place.startswith("body:"):
            is_whole = bool(self.digest) or not signed.isdisjoint({"body", "form", "payload", "binary"})
            return is_whole or f"json:{place[5:]}" in signed
        if place.startswith("query:") and "url" in signed:
            return True
        return place.lower() in {name.lower() for name in signed} or ("id" in signed and place == self.id)

    @property
    def is_asymmetric(self) -> bool:
        """Whether it needs the package cryptography."""
        return self.scheme in ("ed25519", "ecdsa")


@dataclass(frozen=True)
class Handshake:
    """How a sender asks first whether the address is that of somebody who knows what is coming.

    It is recognised by its `method`, by `given`, places and what stands there ("" for anything), and by
    `absent`, places where nothing does. The answer holds the value at `echo`: alone as text, or in `fields`
    of a JSON object, where ``{value}`` is it and ``{mac}`` its HMAC by the hook's secret, in `encoding`.
    `verified` ones are answered once the delivery is proven; of others the value at `token` must be one of
    the hook's `verify_token`, if that is named. The value has to match `value`, a pattern: an HMAC of
    whatever a stranger likes would be a signature.
    """

    method: Literal["POST", "GET", "HEAD"] = "POST"
    given: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    echo: str = ""
    value: re.Pattern[str] = PRINTABLE
    fields: tuple[tuple[str, str | int], ...] = ()
    encoding: Encoding = "hex"
    verified: bool = True
    token: str = ""
    empty: bool = False
    """Whether its body must be empty."""
    header: str = ""
    """The header that the value goes into, in place of the body."""
    precedes_secret: bool = False
    """Whether it comes before anybody can know the hook's secret: a hook that is closed answers it."""


@dataclass(frozen=True, eq=False)
class Sender:
    """One sender: how it proves itself, and where it puts the event's type and the delivery's id.

    `title` and `proof` are its line in the pages, `link` is the source of the row, `ways` how it proves
    itself: a secret belongs to the first whose form of key it has, and to those of the same form. Of the
    places in `event` and `delivery` the first with a value counts. `topic` is the one to begin with, `tests`
    are the types of events that only try the hook. `settings` are those of a hook that are this sender's
    alone, `required` those among them that it cannot do without.
    """

    title: str
    proof: str
    ways: tuple[Proof, ...] = ()
    delivery: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    topic: str = "{name}"
    tests: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    link: str = ""
    offered: str = ""
    """The place of a URL by which a person confirms a subscription, in a delivery whose event is `offers`."""
    offers: str = ""
    offered_at: re.Pattern[str] = PRINTABLE
    """What such a URL looks like where it is the sender's own."""
    once: str = ""
    """The place in the body of what proves one delivery and no other; "" where the body is signed."""

    @cached_property
    def is_open(self) -> bool:
        """Whether it is believed without a proof."""
        return not self.ways

    @cached_property
    def header(self) -> str:
        """The lower-case name of the header that carries the proof; "" when none does."""
        return self.ways[0].header if self.ways else ""

    @cached_property
    def parameter(self) -> str:
        """The name of the query parameter that carries the proof; "" when none does."""
        return self.ways[0].parameter if self.ways else ""

    def proves(self, place: str) -> bool:
        """Whether each of its ways covers what stands at *place*: whoever sends it again may choose one."""
        return bool(self.ways) and all(way.proves(place) for way in self.ways)

    @cached_property
    def has_time(self) -> bool:
        """Whether the head alone can be too old."""
        return any(way.timestamp and not way.is_in_body for way in self.ways)

    @property
    def is_timed(self) -> bool:
        """Whether a signature of it wears out."""
        return any(way.timestamp for way in self.ways)

    @cached_property
    def takes(self) -> frozenset[str]:
        """The settings of a hook that do something for this sender and not for every other."""
        own = {*self.settings, *self.required}
        if self.ways:
            own.add("secret")
        if any(way.key in ("raw", "basic") for way in self.ways):
            own.add("weak_secret")
        if self.is_timed:
            own.add("tolerance")
        return frozenset(own)
