"""Turns hooks of adnanh/webhook into sections of our configuration, and says what it cannot carry over.

A hook whose rule or command would not mean the same is left out whole: half of a rule lets in more.
"""

from .conversion import Conversion, converted
from .reading import hooks_of

__all__ = ["Conversion", "converted", "hooks_of"]
