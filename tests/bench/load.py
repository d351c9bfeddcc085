"""A small HTTP load: keep-alive connections in one epoll loop, signed GitHub deliveries.

Run as a process of its own, so that it shares no interpreter with what it measures.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import selectors
import socket
import sys
import time

BODY = {"ref": "refs/heads/main", "repository": {"name": "demo"}, "pad": "x" * 900}


def request(number: int, secret: str) -> bytes:
    """One delivery with an id and a body of its own: the same body would be the same delivery."""
    body = json.dumps({**BODY, "number": number}).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return (
        f"POST /hooks/bench HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: {number}\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\n\r\n"
    ).encode() + body


class Client:
    """One connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0

    def send(self, data: bytes) -> None:
        """Send one request."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(data)

    def receive(self) -> str:
        """Read one answer, which is small and arrives whole; its status."""
        data = self.socket.recv(65536)
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        return head[9:12].decode()


def run(address: tuple[str, int], connections: int, seconds: float, secret: str) -> dict[str, object]:
    """Send as fast as *connections* allow; rate, latencies in ms and statuses."""
    selector = selectors.DefaultSelector()
    clients = [Client(address) for _ in range(connections)]
    start = number = time.time_ns()
    latencies, statuses = [], {}
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        number += 1
        client.send(request(number, secret))
    began = time.perf_counter()
    waiting, stop_at = len(clients), began + seconds
    while waiting:
        for key, _ in selector.select(5):
            client = key.data
            status = client.receive()
            now = time.perf_counter()
            latencies.append(now - client.sent_at)
            statuses[status] = statuses.get(status, 0) + 1
            if now < stop_at:
                number += 1
                client.send(request(number, secret))
            else:
                waiting -= 1
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "rate": len(latencies) / took,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000,
        "statuses": statuses,
        "sent": number - start,
    }


if __name__ == "__main__":
    host, port, connections, seconds, secret = sys.argv[1:]
    print(json.dumps(run((host, int(port)), int(connections), float(seconds), secret)))
