"""Claims about one room at a time, without a server."""
