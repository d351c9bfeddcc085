"""Senders: one row each says how a service signs its deliveries, and where it names event and delivery.

A leaf below `config`: the settings, `check`, the verifier, the handshakes, the topics, the pages and the
messages read the same row.
"""

from .sender import SIGNED_BY_HOOK, Handshake, Proof, Sender
from .table import SENDERS, adapted, either, names, those

__all__ = ["SENDERS", "SIGNED_BY_HOOK", "Handshake", "Proof", "Sender", "adapted", "either", "names", "those"]
