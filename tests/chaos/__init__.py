"""Chaos: a real daemon under load, a fault on purpose, and a ledger that says what was promised.

``python -m tests.chaos`` runs it, docs/testing.md tells how to read it. The parts, in the order of a run:

=========  ==================================================================================
scenario   what a scenario is, its controls, and the table that a module of scenarios fills
arena      the place of one run: starts daemons and load, does the faults, makes the verdict
victim     one daemon as a process: start, kill, freeze, thaw
weakened   the runner that switches one guarantee off from outside, for the controls (weaknesses/)
sender     connections that send deliveries at a pace
ledger     what was sent and how it was answered, append-only
apps/      the handlers, which append when they begin and when they end
witness    reads what the handlers have written
stores     looks into a store from outside: what is busy, what is there at the end
disk       a disk that fills up, fails to sync, or loses power (powercut.c)
report     the figures of all runs as a table
servers    what scenarios on MongoDB share: deployments, daemons on them, outages
spool, …   the scenarios: embedded, mongodb, cutoff, spool
checker    compares what was promised with what was done: figures, and whether they are right
=========  ==================================================================================
"""
