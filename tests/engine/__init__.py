"""Each loop ticked by hand, on a real embedded store, under a clock that stands still."""
