"""Senders: one row each says how a service signs its deliveries, and where it names event and delivery.

A leaf below `config`: the settings, `check`, the verifier, the topics, the pages and the messages read
the same row.
"""

from .sender import Sender
from .table import SENDERS, adapted, either, names, those

__all__ = ["SENDERS", "Sender", "adapted", "either", "names", "those"]
