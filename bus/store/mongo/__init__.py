"""The MongoDB adapter. `store` implements the contract, the rest are its hands."""

from .store import MongoStore

__all__ = ["MongoStore"]
