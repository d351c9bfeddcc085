"""monqbus from the inside: one folder or file a room, floors drawn in docs/architecture.md.

User code imports the public names from ``monqbus``, never from here.
"""

__version__ = "0.1.0"
