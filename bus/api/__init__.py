"""The API of one daemon on its control socket: the server in it, the client in every other process."""
