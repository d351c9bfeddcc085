"""Claims that mypy checks: an unused `type: ignore` is an error, so each one below is a wrong call found.

Never imported, never run.
"""
