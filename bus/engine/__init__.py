"""The path of a task: claim, slot, run, outcome, record."""
