#!/usr/bin/env python3
"""Forward proxies against each other: ours, tinyproxy and Squid, as far as they are installed.

    cargo build --release --example full_lb
    python3 benches/lab/forward.py

CPU seconds per GiB through a CONNECT tunnel, new tunnels per second of CPU, and CPU per small request in absolute form
over connections that are kept. Interleaved (A B C, A B C), each proxy alone on CPU 0, load and origin on CPU 1; the table
has medians. See README.md for the method and for `foreign`: the CPU, in cores, that others used meanwhile.
"""
import argparse, os, shutil, socket, statistics as st, subprocess as sp, sys, time

import lab

ROOT = os.path.dirname(os.path.dirname(lab.HERE))
ORIGIN = f"127.0.0.1:{lab.OPORT}"
SCENARIOS = {                                        # name -> (unit, peers that it is for)
    "bulk": ("CPU s/GiB in a tunnel", ("ours", "tinyproxy", "squid")),
    "tunnels": ("new tunnels per CPU second", ("ours", "tinyproxy", "squid")),
    "small": ("CPU us per request in absolute form", ("ours", "squid")),
}


def tunnel(port):
    """A socket through which the origin is reached."""
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = s.recv(4096)
        if not part:
            sys.exit(f"no tunnel: {head!r}")
        head += part
    if head.split(b" ")[1] != b"200":
        sys.exit(f"no tunnel: {head!r}")
    return s


def bulk_client(port, size):
    """MSG_TRUNC drops the bytes in the kernel, so the client is nearly free."""
    s = tunnel(port)
    s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-%d\r\nConnection: close\r\n\r\n" % (size - 1))
    buffer, got = bytearray(1 << 20), 0
    while n := s.recv_into(buffer, len(buffer), socket.MSG_TRUNC):
        got += n
    if got < size:
        sys.exit(f"short: {got}")


def tunnels_client(port, secs):
    """Opens tunnels one after the other, uses each for one small request, and prints how many."""
    count, end = 0, time.time() + secs
    while time.time() < end:
        s = tunnel(port)
        s.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while s.recv(4096):
            pass
        s.close()
        count += 1
    print(count)


def client(*arguments):
    command = ["taskset", "-c", lab.LOAD_CPU, sys.executable, __file__, *map(str, arguments)]
    r = sp.run(command, capture_output=True, text=True, timeout=120)
    if r.returncode:
        raise RuntimeError(r.stderr[-300:])
    return r.stdout


def load(scenario, port, secs):
    """Runs it, and returns how many of its units were done."""
    if scenario == "bulk":
        client("_bulk", port, lab.BIG)
        return lab.BIG / lab.GIB
    if scenario == "tunnels":
        return int(client("_tunnels", port, secs))
    command = ["taskset", "-c", lab.LOAD_CPU, "wrk", "-t1", "-c64", f"-d{secs}s", "-s", f"{lab.HERE}/forward.lua",
               f"http://127.0.0.1:{port}/"]
    out = sp.run(command, capture_output=True, text=True, env=dict(os.environ, TARGET=f"http://{ORIGIN}/small")).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    return int(out.split(" requests in ")[0].split()[-1])


def measure(peer, origin, scenario, secs):
    if scenario == "bulk":                           # the kernel drops cold page cache: read it again
        lab.sink_client(lab.OPORT, lab.BIG)
    else:
        load(scenario, peer.port, 1)
    before, machine, origins, start = sum(lab.cpu(peer.pids())), lab.machine()[0], sum(lab.cpu(origin.pids())), time.time()
    mine = os.times()
    done = load(scenario, peer.port, secs)
    used, wall, now = sum(lab.cpu(peer.pids())) - before, time.time() - start, os.times()
    ours = used + sum(lab.cpu(origin.pids())) - origins + sum(now[i] - mine[i] for i in range(4))
    foreign = max(0, (lab.machine()[0] - machine) / lab.TICK - ours) / wall
    value = {"bulk": used / done, "tunnels": done / used, "small": used / done * 1e6}[scenario]
    return value, foreign, done / wall


def peers(binary):
    found, port = [], 21000
    for name in ("ours", "tinyproxy", "squid"):
        program = binary if name == "ours" else shutil.which(name)
        if not program or not os.path.exists(program):
            print(f"!! {name} is not there: left out", file=sys.stderr)
            continue
        found.append(lab.Peer(name, f"bash {lab.HERE}/forward/{name}.sh", ["http"], port, {"BIN": os.path.abspath(program)}))
        port += 20
    return found


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--ours", default=f"{ROOT}/target/release/examples/full_lb", help="the built example full_lb")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--secs", type=int, default=3)
    a = ap.parse_args()
    lab.own_group()
    lab.prepare()
    origin = lab.Peer("origin", f"bash {lab.HERE}/origin.sh", ["http"], lab.OPORT)
    started, rows = [origin], {}
    try:
        origin.start()
        for peer in peers(a.ours):
            started.append(peer)
            peer.start()
        lock = lab.Lock(1)
        for number in range(a.rounds):
            for scenario, (_, names) in SCENARIOS.items():
                for peer in started[1:]:
                    if peer.name not in names:
                        continue
                    lock.take()
                    value, foreign, rate = measure(peer, origin, scenario, a.secs)
                    rows.setdefault((scenario, peer.name), []).append((value, foreign))
                    print(f"{number} {scenario:8} {peer.name:10} {value:10.3f} foreign {foreign:.2f} {rate:10.1f}/s",
                          file=sys.stderr, flush=True)
    finally:
        for peer in reversed(started):
            if peer.proc:
                lab.stop(peer.proc)
        report(rows, [peer.name for peer in started[1:]])


def report(rows, names):
    print("| | " + " | ".join(names) + " |\n|---|" + "--:|" * len(names))
    for scenario, (unit, _) in SCENARIOS.items():
        ours = rows.get((scenario, "ours"))
        cells = []
        for name in names:
            values = rows.get((scenario, name))
            if not values:
                cells.append("")
                continue
            value = st.median(v for v, _ in values)
            ratio = f" ({value / st.median(v for v, _ in ours):.2f})" if ours else ""
            cells.append(f"{value:.3g}{ratio}, foreign {max(f for _, f in values):.2f}")
        print(f"| {unit} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["_bulk"]:
        bulk_client(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["_tunnels"]:
        tunnels_client(int(sys.argv[2]), float(sys.argv[3]))
    else:
        main()
