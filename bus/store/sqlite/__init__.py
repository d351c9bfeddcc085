"""The embedded store: one SQLite file. `store` implements the contract, the rest are its parts."""
