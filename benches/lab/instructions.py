#!/usr/bin/env python3
"""Instructions of full_lb per small request over kept connections, as valgrind counts them (user space only).

    cargo build --release --example full_lb
    python3 benches/lab/instructions.py target/release/examples/full_lb [WAY...]

Each way of watching runs twice, with few and with many requests, so that start and end fall out. A request of wrk's
size goes over one connection to an origin with a body of 100 bytes, as in the lab's h1-small.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:20000\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
FEW, MANY = 500, 2500
PATIENCE = 120  # valgrind takes its time

WAYS = {
    "nothing": lambda folder: {},
    "metrics": lambda folder: {"admin": {"unix": f"{folder}/admin"}},
    "log": lambda folder: {"access_log": {"format": "json", "path": f"{folder}/access.log"}},
    "both": lambda folder: {**WAYS["metrics"](folder), **WAYS["log"](folder)},
    "trace_context": lambda folder: {},
}


def origin():
    """Answers whatever comes in one piece, which small requests do."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while stream.recv(65536):
            stream.sendall(ANSWER)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def connect(port, process):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("full_lb does not listen")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def total(binary, way, requests, backend):
    with tempfile.TemporaryDirectory() as folder:
        port, profile = free_port(), f"{folder}/profile"
        filters = ["trace_context"] if way == "trace_context" else []
        config = {
            "workers": 1,
            **WAYS[way](folder),
            "listeners": {"web": {"listen": [f"127.0.0.1:{port}"], "http": {"upstream": "api", "filters": filters}}},
            "upstreams": {"api": {"backends": [f"127.0.0.1:{backend}"]}},
        }
        with open(f"{folder}/lb.json", "w") as file:
            json.dump(config, file)
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", binary, f"{folder}/lb.json"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(port, process) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for _ in range(requests):
                    client.sendall(REQUEST)
                    answer = b""
                    while not answer.endswith(b"x" * 100):
                        part = client.recv(65536)
                        if not part:
                            sys.exit("full_lb closed the connection")
                        answer += part
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
        with open(profile) as file:
            return int(re.search(r"^totals: (\d+)", file.read(), re.MULTILINE).group(1))


def main():
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(WAYS):
        sys.exit(__doc__ + f"\nWays: {', '.join(WAYS)}")
    binary, ways, backend = os.path.abspath(sys.argv[1]), sys.argv[2:] or list(WAYS), origin()
    print(f"{'watched by':<16}{'instructions/request':>22}{'added':>10}{'share':>9}")
    base = None
    for way in ways:
        count = (total(binary, way, MANY, backend) - total(binary, way, FEW, backend)) / (MANY - FEW)
        base = base or count
        print(f"{way:<16}{count:>22.0f}{count - base:>10.0f}{100 * (count / base - 1):>8.1f}%", flush=True)


if __name__ == "__main__":
    main()
