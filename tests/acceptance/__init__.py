"""The whole program as its users run it: a process, its sockets, its signals."""
