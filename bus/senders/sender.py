"""The row of a sender: everything that is to be known about one of them, as data.

A *place* says where a value stands, as a placeholder without its braces: ``header:NAME`` in a header,
``query:NAME`` in the URL, ``body:dotted.path`` in the JSON body, ``item:PREFIX`` in the list inside the
signature (``t=1700000000,v1=…``), "" nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from ..placeholders import ALONE, HEADER, PARAMETER, Grammar, Template

Scheme = Literal["none", "token", "hmac"]
Encoding = Literal["hex", "base64"]
KeyForm = Literal["raw", "whsec"]
Unit = Literal["s", "ms"]

SIGNED: Final = Grammar(
    {
        "body": ALONE,
        "id": ALONE,
        "timestamp": ALONE,
        "method": ALONE,
        "url": ALONE,
        "form": ALONE,
        "header": HEADER,
        "query": PARAMETER,
    }
)
"""What a sender may sign. ``{form}`` is its fields in the order of their names, name and value joined."""


@dataclass(frozen=True, slots=True, eq=False)  # a key of caches, by its identity
class Sender:
    """One sender: how it proves itself, and where it puts the event's type and the delivery's id.

    `title` and `proof` are its line in the pages, `link` is the source of the row. `signed` is the template
    of the signed bytes, of `SIGNED`: where it has no `{id}` and the id stands in a header, somebody who
    captured a delivery can send it again under another id. `key` "whsec" means: base64 after ``whsec_``;
    with "raw" the secret's own bytes are the key. Of the places in `event` and `delivery` the first with a
    value counts. `topic` is the one to begin with, `tests` are the types of events that only try the hook.
    `settings` are those of a hook that are this sender's alone.
    """

    title: str
    proof: str
    scheme: Scheme
    signature: str = ""
    prefix: str = ""
    separator: str = ""
    algorithm: str = "sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "raw"
    signed: str = "{body}"
    timestamp: str = ""
    unit: Unit = "s"
    tolerance: float = 300.0
    delivery: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    topic: str = "{name}"
    tests: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    link: str = ""
    header: str = field(init=False)
    """The lower-case name of the header that carries the proof; "" when no header does."""

    def __post_init__(self) -> None:
        """Take what each delivery asks for out of its place once."""
        kind, _, name = self.signature.partition(":")
        object.__setattr__(self, "header", name if kind == "header" else "")

    @property
    def content(self) -> Template:
        """`signed`, compiled."""
        return SIGNED.compile(self.signed)

    def proves(self, place: str) -> bool:
        """Whether what stands at *place* is covered by the proof, so that nobody else can change it."""
        if self.scheme != "hmac":
            return False
        signed = {placeholder.name.lower() for placeholder in self.content.placeholders}
        if place.startswith("body:"):
            return not signed.isdisjoint({"body", "form"})
        whole = {"url"} if place.startswith("query:") else set[str]()
        return bool(signed & {place.lower(), *whole}) or ("id" in signed and place in self.delivery)

    @property
    def takes(self) -> frozenset[str]:
        """The settings of a hook that do something for this sender and not for every other."""
        own = set(self.settings)
        if self.scheme != "none":
            own.add("secret")
            if self.key == "raw":
                own.add("weak_secret")
        if self.timestamp:
            own.add("tolerance")
        return frozenset(own)
