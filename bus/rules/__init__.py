"""Rules: expressions such as ``body.ref == "refs/heads/main"``, compiled when they are loaded, true or false.

::

    tokens     text → words with their columns
    parser     words → a tree of closures, by recursive descent; every mistake is a `BadRule` with its column
    conditions what the operators and functions do, for values of every type
    paths      what a name such as ``body.commits.0.id`` reads
    subject    what a rule sees of one event
    key        a path alone, and the text of what stands there

Nothing of Python is reached from a rule: there are no attributes, no calls but the functions of a table, and
no text is ever evaluated. A compiled rule never raises and its work is bounded, whatever the event holds.
"""

from .key import KeyPath, key_path
from .mistake import BadRule
from .parser import LONGEST_RULE, Rule, compiled
from .paths import OF_A_DELIVERY, OF_AN_EVENT, OF_REQUESTS, Names
from .subject import Subject, subject_of

__all__ = [
    "LONGEST_RULE",
    "OF_AN_EVENT",
    "OF_A_DELIVERY",
    "OF_REQUESTS",
    "BadRule",
    "KeyPath",
    "Names",
    "Rule",
    "Subject",
    "compiled",
    "key_path",
    "subject_of",
]
