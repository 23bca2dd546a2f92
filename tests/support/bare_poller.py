"""A process that does nothing but poll a key of a Redis server at the pace at which replicas poll their log.

python bare_poller.py PORT KEY LONGEST_PAUSE

Writes a line `VALUE MONOTONIC_SECONDS` for each new value, when it has seen it: how late a process of this
machine is by its load alone. Ends with its standard input.
"""

from __future__ import annotations

import random
import select
import socket
import sys
import time


def main(port: int, key: str, longest_pause: float) -> None:
    command = f"GET {key}\r\n".encode()
    known = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while not select.select([sys.stdin], [], [], longest_pause * random.uniform(0.5, 1.0))[0]:
            connection.sendall(command)
            reply = connection.recv(4096)
            if reply != known:
                known = reply
                value = reply.split(b"\r\n")[1].decode()
                sys.stdout.write(f"{value} {time.monotonic()}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
