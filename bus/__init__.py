"""monqbus from the inside: one folder or file a room. docs/rooms.md lists them.

User code imports the public names from ``monqbus``, never from here.
"""

__version__ = "0.1.0"
