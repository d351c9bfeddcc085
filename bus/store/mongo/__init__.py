"""The MongoDB store. `store` implements the contract, the rest are its parts."""

from .store import MongoStore

__all__ = ["MongoStore"]
