"""The log: each fact a line, written by a thread of its own."""
