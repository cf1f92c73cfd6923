#!/usr/bin/env python3
"""Proxy benchmark lab: CPU microseconds per request and friends, for any proxy.

Everything listens on and talks to 127.0.0.1. See README.md.
"""
import argparse, fcntl, json, os, re, resource, signal, socket, ssl, statistics as st
import subprocess as sp, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.environ.get("LAB_DIR", "/tmp/lab")
OPORT = int(os.environ.get("LAB_ORIGIN_PORT", "19000"))
LOCK = "/tmp/bench.lock"
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROXY_CPU, LOAD_CPU = "0", "1"
GIB = 1 << 30
BIG = 2 * GIB
NICE = os.environ.get("LAB_NICE", "-13")            # of the whole lab's scheduling group

# name -> (kind, caps needed, parameters). One connection count etc. per scenario.
SCN = {
    "h1-small":    ("wrk", "http", dict(c=64, path="/small")),
    "h1-c1":       ("wrk", "http", dict(c=1, path="/small")),
    "h1-10k":      ("wrk", "http", dict(c=64, path="/10k")),
    "h1-1m":       ("wrk", "http", dict(c=16, path="/1m")),
    "h1-post16k":  ("wrk", "http", dict(c=64, path="/post", lua="post16k.lua")),
    "h1-close":    ("wrk", "http", dict(c=64, path="/small", hdr="Connection: close")),
    "h2-small":    ("h2load", "h2c", dict(c=16, m=8, path="/small")),
    "h2-10k":      ("h2load", "h2c", dict(c=16, m=8, path="/10k")),
    "tls-small":   ("wrk", "tls", dict(c=64, path="/small")),
    "tls-10k":     ("wrk", "tls", dict(c=64, path="/10k")),
    "tls-close":   ("wrk", "tls", dict(c=32, path="/small", hdr="Connection: close")),
    "tcp-small":   ("wrk", "tcp", dict(c=64, path="/small")),
    "tcp-2g":      ("sink", "tcp", {}),
    "tcp-2g-splice": ("sink", "splice", {}),
    "files-small": ("wrk", "files", dict(c=64, path="/100")),
    "files-10k":   ("wrk", "files", dict(c=64, path="/10k")),
    "files-1m":    ("wrk", "files", dict(c=16, path="/1m")),
    "sys-small":   ("sys", "http", dict(c=64, path="/small")),
    "idle":        ("idle", "http", dict(n=5000)),
    "idle-tls":    ("idle", "tls", dict(n=2000)),
}
SYSCALLS = ("read readv recvfrom recvmsg write writev sendto sendmsg sendfile64 splice epoll_wait "
            "epoll_pwait epoll_pwait2 epoll_ctl accept4 connect socket close shutdown setsockopt getsockopt "
            "getpeername getsockname futex sched_yield io_uring_enter timerfd_settime madvise mmap munmap").split()


# ---------------------------------------------------------------- processes
def tree(root):
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            kids.setdefault(int(f[1]), []).append(int(d))
    out, todo = [], [root]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu(pids):
    """(user_s, sys_s) of all threads of all pids, finished threads included."""
    u = s = 0
    for p in pids:
        try:
            f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            u, s = u + int(f[11]), s + int(f[12])
        except OSError:
            pass
    return u / TICK, s / TICK


def mem(pids, key="Pss"):
    """KiB; Pss counts pages shared by a master and its workers once."""
    kb = 0
    for p in pids:
        try:
            kb += int(re.search(rf"^{key}:\s+(\d+)", open(f"/proc/{p}/smaps_rollup").read(), re.M)[1])
        except (OSError, TypeError):
            pass
    return kb


def machine():
    f = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return sum(f[:3]) + sum(f[5:7]), f[7]          # busy ticks, steal ticks


def wait_port(port, proc, secs=15):
    end = time.time() + secs
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if proc.poll() is not None:
                break
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port} (rc={proc.poll()})")


def stop(proc):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for p in tree(proc.pid):
            try:
                os.kill(p, sig)
            except OSError:
                pass
        try:
            proc.wait(3)
            return
        except sp.TimeoutExpired:
            pass


def own_group():
    """Become a process group leader with a scheduling group (autogroup) of its own: give it more weight than
    other programs. A plain `nice` has no effect across groups."""
    try:
        os.setsid()
        open("/proc/self/autogroup", "w").write(NICE)
    except OSError as e:
        print(f"!! no scheduling group of our own: {e}", file=sys.stderr)


def prepare():
    os.makedirs(f"{LAB}/www", exist_ok=True)
    for name, size in (("100", 100), ("10k", 10240), ("1m", 1 << 20)):
        if not os.path.exists(f"{LAB}/www/{name}"):
            open(f"{LAB}/www/{name}", "wb").write(os.urandom(size))
    if not os.path.exists(f"{LAB}/www/big"):
        with open(f"{LAB}/www/big", "wb") as f:
            f.truncate(BIG)                          # sparse: zero pages, page cache only
    with open(f"{LAB}/www/big", "rb") as f:
        while f.read(1 << 22):
            pass
    if not os.path.exists(f"{LAB}/cert.pem"):
        sp.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "3650", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{LAB}/key.pem",
                "-out", f"{LAB}/cert.pem"], check=True, stderr=sp.DEVNULL)
        open(f"{LAB}/both.pem", "w").write(open(f"{LAB}/cert.pem").read() + open(f"{LAB}/key.pem").read())
        for f in ("cert.pem", "key.pem", "both.pem"):
            os.chmod(f"{LAB}/{f}", 0o644)
    os.chmod(LAB, 0o755)


class Peer:
    def __init__(self, name, cmd, caps, port, env=None):
        self.name, self.cmd, self.caps, self.port = name, cmd, caps, port
        self.extra, self.proc = env or {}, None

    def ports(self):
        b = self.port
        return dict(http=b, h2c=b + 1, tls=b + 2, tcp=b + 3, splice=b + 4, files=b + 6)

    def start(self):
        run = f"{LAB}/run/{self.name}"
        os.makedirs(run, exist_ok=True)
        env = dict(os.environ, RUN=run, ORIGIN=f"127.0.0.1:{OPORT}", CERT=f"{LAB}/cert.pem",
                   KEY=f"{LAB}/key.pem", PEM=f"{LAB}/both.pem", **self.extra)
        env.update({k.upper(): str(v) for k, v in self.ports().items()})
        cpus = LOAD_CPU if self.name == "origin" else PROXY_CPU
        log = open(f"{run}/log", "w")
        self.proc = sp.Popen(["taskset", "-c", cpus, "bash", "-c", "exec " + self.cmd], env=env,
                             cwd=HERE, stdout=log, stderr=log)
        for cap, port in self.ports().items():
            if cap in self.caps:
                wait_port(port, self.proc)
        time.sleep(0.2)
        return self

    def pids(self):
        return tree(self.proc.pid)


# ---------------------------------------------------------------- load
def us(v):
    n, unit = re.match(r"([\d.]+)(us|ms|s|m)", v).groups()
    return float(n) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def wrk(peer, proto, p, secs):
    port = peer.ports()[proto]
    cmd = ["wrk", "-t1", f"-c{p['c']}", f"-d{secs}s", "--timeout", "10s", "--latency"]
    if "hdr" in p:
        cmd += ["-H", p["hdr"]]
    if "lua" in p:
        cmd += ["-s", f"{HERE}/{p['lua']}"]
    cmd.append(f"{'https' if proto == 'tls' else 'http'}://127.0.0.1:{port}{p['path']}")
    o = sp.run(["taskset", "-c", LOAD_CPU] + cmd, capture_output=True, text=True, timeout=secs + 30).stdout
    m = re.search(r"(\d+) requests in ([\d.]+\w+), ([\d.]+)(\w+) read", o)
    err = sum(int(x) for x in re.findall(r"(?:connect|read|write|timeout) (\d+)", o))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", o)
    pc = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", o, re.M))
    return dict(n=int(m[1]), rps=int(m[1]) / (us(m[2]) / 1e6), p50=us(pc["50"]), p99=us(pc["99"]),
                err=err + (int(bad[1]) if bad else 0))


def h2load(peer, proto, p, secs):
    log = f"{LAB}/h2.log"
    if os.path.exists(log):
        os.unlink(log)
    o = sp.run(["taskset", "-c", LOAD_CPU, "h2load", "-t1", f"-c{p['c']}", f"-m{p['m']}", f"-D{secs}",
                f"--log-file={log}", f"http://127.0.0.1:{peer.ports()[proto]}{p['path']}"],
               capture_output=True, text=True, timeout=secs + 30).stdout
    m = re.search(r"requests: \d+ total.*?(\d+) succeeded, (\d+) failed", o)
    lat = sorted(int(l.split("\t")[2]) for l in open(log) if l.count("\t") == 2)
    return dict(n=int(m[1]), rps=int(m[1]) / secs, err=int(m[2]),
                p50=lat[len(lat) // 2], p99=lat[int(len(lat) * .99)])


def sink(peer, proto, p, secs, size=BIG):
    """Download `size` bytes; MSG_TRUNC drops them in the kernel, so the client is nearly free."""
    t = time.time()
    r = sp.run(["taskset", "-c", LOAD_CPU, sys.executable, __file__, "_sink", str(peer.ports()[proto]), str(size)],
               capture_output=True, text=True, timeout=120)
    if r.returncode:
        raise RuntimeError(r.stderr[-300:])
    return dict(n=size / GIB, rps=size / GIB / (time.time() - t), p50=0, p99=0, err=0)


def sink_client(port, size):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-%d\r\nConnection: close\r\n\r\n" % (size - 1))
    buf, got = bytearray(1 << 20), 0
    while True:
        n = s.recv_into(buf, len(buf), socket.MSG_TRUNC)
        if not n:
            break
        got += n
    if got < size:
        sys.exit(f"short: {got}")


def syscalls(peer, proto, p, secs):
    """Counts with perf tracepoints: far lighter than strace, so batching is undisturbed."""
    have = [s for s in SYSCALLS if os.path.isdir(f"/sys/kernel/tracing/events/syscalls/sys_enter_{s}")
            or os.path.isdir(f"/sys/kernel/tracing/events/syscalls/sys_enter_new{s}")]
    ev = ",".join(["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{s}" for s in have])
    pf = sp.Popen(["perf", "stat", "-x,", "-e", ev, "-p", ",".join(map(str, peer.pids())), "-o", f"{LAB}/perf.out"])
    time.sleep(0.5)
    r = wrk(peer, proto, p, secs)
    pf.send_signal(signal.SIGINT)
    pf.wait()
    cnt = {}
    for l in open(f"{LAB}/perf.out"):
        f = l.split(",")
        if len(f) > 3 and f[0].isdigit():
            cnt[f[2].split("sys_enter_")[-1].split(":")[-1]] = int(f[0])
    tot = cnt.pop("sys_enter", 0)
    r["sys_per_req"] = tot / r["n"]
    r["top"] = {k: round(v / r["n"], 2) for k, v in sorted(cnt.items(), key=lambda x: -x[1]) if v / r["n"] >= .02}
    return r


def idle(peer, proto, p, secs):
    """Memory per idle keep-alive connection, each after one request. Proxy freshly started."""
    req = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    port = peer.ports()[proto]

    def one():
        s = socket.create_connection(("127.0.0.1", port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proto == "tls":
            s = ctx.wrap_socket(s)
        s.sendall(req)
        d = b""
        while b"\r\n\r\n" not in d or len(d.split(b"\r\n\r\n", 1)[1]) < 100:
            x = s.recv(4096)
            if not x:
                raise RuntimeError("closed")
            d += x
        return s
    keep = [one() for _ in range(50)]
    time.sleep(0.5)
    m0 = mem(peer.pids())
    keep += [one() for _ in range(p["n"])]
    time.sleep(1)
    m1 = mem(peer.pids())
    alive = 0
    for s in keep[:: max(1, p["n"] // 50)]:
        try:
            s.sendall(req)
            alive += bool(s.recv(4096))
        except OSError:
            pass
    want = len(keep[:: max(1, p["n"] // 50)])
    for s in keep:
        s.close()
    return dict(n=p["n"], kib_per_conn=(m1 - m0) / p["n"], mib0=m0 / 1024, mib1=m1 / 1024, rps=0, p50=0, p99=0,
                err=want - alive)


KIND = dict(wrk=wrk, h2load=h2load, sink=sink, sys=syscalls, idle=idle)


def measure(peer, origin, scn, secs):
    kind, proto, p = SCN[scn]
    fn = KIND[kind]
    fresh = kind == "idle" and peer.name != "direct"
    if fresh:                                    # memory is only comparable from a fresh start
        stop(peer.proc)
        peer.start()
    if kind == "sink":                           # the kernel drops cold page cache here: read it again
        sink_client(OPORT, BIG)
    if kind in ("wrk", "h2load", "sys"):
        (h2load if kind == "h2load" else wrk)(peer, proto, p, 1)
    pids = origin.pids() if peer.name == "direct" else peer.pids()
    u0, s0 = cpu(pids)
    o0, b0, t0 = sum(cpu(origin.pids())), machine(), time.time()
    r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
    m0 = resource.getrusage(resource.RUSAGE_SELF)
    r = fn(peer, proto, p, secs)
    u1, s1 = cpu(pids)
    o1, b1, wall = sum(cpu(origin.pids())), machine(), time.time() - t0
    r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    m1 = resource.getrusage(resource.RUSAGE_SELF)
    load = sum(a[i] - b[i] for a, b in ((r1, r0), (m1, m0)) for i in (0, 1))
    mine = (u1 - u0) + (s1 - s0) + load + (0 if peer.name == "direct" else o1 - o0)
    n = max(r["n"], 1e-9)
    r.update(peer=peer.name, scn=scn, wall=wall, user_us=(u1 - u0) / n * 1e6, sys_us=(s1 - s0) / n * 1e6,
             cpu_us=(u1 - u0 + s1 - s0) / n * 1e6, busy=(u1 - u0 + s1 - s0) / wall, load_busy=load / wall,
             origin_busy=(o1 - o0) / wall, pss_mib=mem(pids) / 1024,
             # share of one core used by other programs and kernel threads
             foreign=max(0, (b1[0] - b0[0]) / TICK - mine) / wall, steal=(b1[1] - b0[1]) / TICK / wall)
    return r


class Lock:
    """Machine-wide measurement lock, let go after every few measurements so that other programs get a turn."""

    def __init__(self, hold):
        self.f, self.hold, self.left = open(LOCK, "w"), hold, 0

    def take(self):
        if self.left == 0:
            fcntl.flock(self.f, fcntl.LOCK_UN)
            time.sleep(0.05)
            fcntl.flock(self.f, fcntl.LOCK_EX)
            self.left = self.hold
        self.left -= 1


# ---------------------------------------------------------------- peers and reports
def load_peers(names, adds):
    peers, port = [], 20000
    for name in names:
        base, _, binary = name.partition("=")        # haproxy-3.4=/path uses peers/haproxy.sh with BIN
        script = f"{HERE}/peers/{base}.sh"
        if not os.path.exists(script):
            script = f"{HERE}/peers/{base.split('-')[0]}.sh"
        caps = re.search(r"^# caps: (.*)$", open(script).read(), re.M)[1].split()
        binary = os.path.abspath(binary) if "/" in binary else binary
        peers.append(Peer(base, f"bash {script}", caps, port, {"BIN": binary} if binary else {}))
        port += 20
    for name, cmd, caps, p in adds:
        peers.append(Peer(name, cmd, caps.split(","), int(p or port)))
        port += 20
    return peers


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    sub = ap.add_subparsers(dest="cmd", required=True)
    r = sub.add_parser("run", help="measure peers, append to a JSON-lines file, print the table")
    r.add_argument("--peers", default="nginx,haproxy", help="comma list: NAME or NAME=BINARY (see peers/)")
    r.add_argument("--add", nargs=4, action="append", default=[], metavar=("NAME", "COMMAND", "CAPS", "PORT"),
                   help="another proxy: command (gets $HTTP $H2C $TLS $TCP $SPLICE $FILES $ORIGIN $CERT $KEY), caps, base port")
    r.add_argument("--scn", default=",".join(SCN), help="comma list of scenarios")
    r.add_argument("--rounds", type=int, default=3)
    r.add_argument("--secs", type=int, default=3)
    r.add_argument("--out", default=f"{LAB}/results.jsonl")
    r.add_argument("--max-foreign", type=float, default=0.30, help="repeat (once) above this foreign CPU, in cores")
    r.add_argument("--hold", type=int, default=3, help="measurements per hold of the machine-wide lock")
    r.add_argument("--ref", default="nginx")
    p = sub.add_parser("report", help="tables from JSON-lines files")
    p.add_argument("files", nargs="+")
    p.add_argument("--ref", default="nginx")
    s = sub.add_parser("_sink")
    s.add_argument("port", type=int)
    s.add_argument("size", type=int)
    c = sub.add_parser("serve", help="start the origin and one peer and wait: for poking by hand")
    c.add_argument("peer")
    a = ap.parse_args()
    if a.cmd == "_sink":
        return sink_client(a.port, a.size)
    if a.cmd == "report":
        return report([json.loads(l) for f in a.files for l in open(f)], a.ref)
    own_group()
    prepare()
    origin = Peer("origin", f"bash {HERE}/origin.sh", ["http"], OPORT)
    started, rows = [origin], []
    try:
        origin.start()
        if a.cmd == "serve":
            peer = load_peers([a.peer], [])[0]
            started.append(peer)
            peer.start()
            print("origin", OPORT, peer.name, peer.ports(), "pids", peer.pids(), flush=True)
            return signal.pause()
        peers = load_peers([x for x in a.peers.split(",") if x and x != "direct"], a.add)
        if "direct" in a.peers.split(","):           # the load generator straight at the origin
            peers.append(Peer("direct", "", ["http", "tcp"], OPORT))
            peers[-1].ports = lambda: dict(http=OPORT, tcp=OPORT)
            peers[-1].proc = origin.proc
        for x in list(peers):
            if x.name != "direct":
                started.append(x)
                try:
                    x.start()
                except RuntimeError as e:
                    print(f"!! {x.name}: {e}; log: {LAB}/run/{x.name}/log", file=sys.stderr)
                    peers.remove(x)
        lock = Lock(a.hold)
        with open(a.out, "a") as out:
            for rnd in range(a.rounds):
                for scn in a.scn.split(","):
                    if SCN[scn][0] in ("sys", "idle") and rnd:
                        continue                     # counts do not vary: once is enough
                    for x in peers:
                        if SCN[scn][1] not in x.caps or (x.name == "direct" and SCN[scn][0] in ("sys", "idle")):
                            continue
                        best = None
                        for _ in range(2):
                            lock.take()
                            try:
                                m = measure(x, origin, scn, a.secs)
                            except Exception as e:
                                print(f"!! {x.name} {scn}: {e!r}", file=sys.stderr)
                                break
                            if best is None or m["foreign"] < best["foreign"]:
                                best = m
                            if best["foreign"] <= a.max_foreign:
                                break
                        if best:
                            best["round"] = rnd
                            rows.append(best)
                            out.write(json.dumps(best) + "\n")
                            out.flush()
                            print(f"{rnd} {scn:13} {x.name:14} {best['rps']:10.1f}/s cpu {best['cpu_us']:9.1f}us "
                                  f"p50 {best['p50']:7.0f} p99 {best['p99']:8.0f} busy {best['busy']:.2f} "
                                  f"foreign {best['foreign']:.2f} err {best['err']}", file=sys.stderr, flush=True)
    finally:
        for x in reversed(started):
            if x.proc:
                stop(x.proc)
        if rows:
            report(rows, a.ref)


def report(rows, ref):
    names = list(dict.fromkeys(r["peer"] for r in rows))

    def med(peer, scn, key):
        v = [r[key] for r in rows if r["peer"] == peer and r["scn"] == scn and key in r]
        return st.median(v) if v else None

    print(f"CPU us/request (tcp-2g: ms/GiB): median, in brackets the ratio to {ref}, after the slash the lowest round.\n")
    print("| scenario | " + " | ".join(names) + " |\n|---|" + "--:|" * len(names))
    for scn in SCN:
        if SCN[scn][0] in ("idle", "sys"):
            continue
        k = 1e-3 if SCN[scn][0] == "sink" else 1
        base = med(ref, "tcp-2g" if SCN[scn][0] == "sink" else scn, "cpu_us")
        cells = []
        for n in names:
            v = [r["cpu_us"] * k for r in rows if r["peer"] == n and r["scn"] == scn]
            ratio = f" ({st.median(v) / k / base:.2f})" if v and base else ""
            cells.append(f"{st.median(v):.3g}{ratio} / {min(v):.3g}" if v else "")
        if any(cells):
            print(f"| {scn} | " + " | ".join(cells) + " |")
    for scn in SCN:
        kind = SCN[scn][0]
        have = [n for n in names if med(n, scn, "n") is not None]
        if not have:
            continue
        print(f"\n### {scn}\n")
        if kind == "idle":
            print("| peer | KiB per idle conn | PSS before, MiB | PSS with, MiB | dead |\n|---|--:|--:|--:|--:|")
            for n in have:
                print(f"| {n} | {med(n, scn, 'kib_per_conn'):.1f} | {med(n, scn, 'mib0'):.0f} | "
                      f"{med(n, scn, 'mib1'):.0f} | {med(n, scn, 'err'):.0f} |")
            continue
        if kind == "sys":
            print("| peer | syscalls/request | by name |\n|---|--:|---|")
            for n in have:
                top = [r["top"] for r in rows if r["peer"] == n and r["scn"] == scn][-1]
                print(f"| {n} | {med(n, scn, 'sys_per_req'):.2f} | {', '.join(f'{k} {v}' for k, v in top.items())} |")
            continue
        refv = med(ref, scn, "cpu_us")
        if kind == "sink":
            print(f"| peer | CPU s/GiB | user | sys | vs {ref} (tcp-2g) | GiB/s | foreign |\n|---|--:|--:|--:|--:|--:|--:|")
            refv = med(ref, "tcp-2g", "cpu_us")
        else:
            print(f"| peer | CPU us/req | min | user | sys | vs {ref} | spread | req/s | p50 us | p99 us | PSS MiB | "
                  "busy | foreign | err |\n|---|" + "--:|" * 13)
        for n in have:
            g = lambda k: med(n, scn, k)
            ratio = f"{g('cpu_us') / refv:.2f}" if refv else "-"
            if kind == "sink":
                print(f"| {n} | {g('cpu_us') / 1e6:.3f} | {g('user_us') / 1e6:.3f} | {g('sys_us') / 1e6:.3f} | {ratio} | "
                      f"{g('rps'):.2f} | {g('foreign'):.2f} |")
            else:
                v = [r["cpu_us"] for r in rows if r["peer"] == n and r["scn"] == scn]
                pss = min(r["pss_mib"] for r in rows if r["peer"] == n and r["scn"] == scn)
                print(f"| {n} | {g('cpu_us'):.1f} | {min(v):.1f} | {g('user_us'):.1f} | {g('sys_us'):.1f} | {ratio} | "
                      f"{(max(v) - min(v)) / st.median(v) * 100:.0f}% | {g('rps'):.0f} | {g('p50'):.0f} | {g('p99'):.0f} | "
                      f"{pss:.0f} | {g('busy'):.2f} | {g('foreign'):.2f} | {g('err'):.0f} |")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
