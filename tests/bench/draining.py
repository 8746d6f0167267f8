"""What waiting for connections to close costs, and how soon after the last one SIGTERM comes."""
import pathlib
import random
import signal
import socket
import statistics
import time

from idle import memory, wake_ups
from table import Table, percentile
from world import Stopwatch, harness, installed

CROWD, TASKS = 20_000, 200
WINDOW = 5  # seconds; figures are for one
PATIENCE = 30
LOOKS = 5  # with other programs
SIDES = {"with events": (), "without": (str(harness.BIN / "forbid"), "membership", "--")}
WITHOUT = (
    "Without events: a seccomp filter keeps the kernel's notifications from the agent, which then looks at its connections, the more "
    "often the fewer are left.")


class Side:
    """An agent and its services (tests/bench/closer.cpp), behind a readiness endpoint that nobody probes."""

    def __init__(self, world, name):
        self.name, self.home = name, world.dir / name.replace(" ", "-")
        self.home.mkdir()
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.settimeout(PATIENCE)
        self.ear.bind(str(self.home / "ear"))
        self.readiness, self.ports = harness.free_port(), {}
        self.agent = harness.Agent(world, prefix=SIDES[name], AGENT_DRAIN="closed", ECS_LOGLEVEL="warn",
                                   ECS_DATADIR=self.home / "data", AGENT_SOCKET=self.home / "agent.sock")
        self.pid = self.agent.process.pid

    def start(self, name, connections=1):
        port = self.ports.setdefault(name, harness.free_port())
        command = [harness.BIN / "closer", port, self.home / "ear", connections]
        status, answer = self.agent.request("POST", "/v1/tasks", {
            "name": name, "command": [str(word) for word in command],
            "loadBalancers": [f"readiness://127.0.0.1:{self.readiness}/{name}?settle=0&port={port}"]})
        if status >= 300 or self.ear.recv(100) != b"listening":
            raise AssertionError(f"{name} has not started: {answer}")

    def drain(self, *names):
        """Asks for stops; returns when all wait for their connections."""
        for name in names:
            self.agent.request("POST", f"/v1/tasks/{name}/stop?wait=false", {})
        for name in names:
            self.agent.wait_phase(name, "DRAIN")

    def close(self, *names):
        """Has all connections closed: milliseconds from the very last one to the last SIGTERM."""
        for name in names:
            self.ear.sendto(b"!", str(self.home / f"ear.{self.ports[name]}"))
        moments = [tuple(map(int, self.ear.recv(100).split())) for _ in names]
        for name in names:
            self.agent.wait_status(name, "STOPPED")
            _, answer = self.agent.request("GET", f"/v1/tasks/{name}/stops?limit=1")
            drain = harness.phase_of(answer["stops"][0], "DRAIN")
            if (drain["outcome"], drain["detail"].get("connectionsAtEnd")) != ("completed", 0):
                raise AssertionError(f"{name}'s connections were not seen to close: {drain}")
        closed, signalled = (max(kind) for kind in zip(*moments))
        return (signalled - closed) / 1e6

    def work(self):
        """(milliseconds of CPU time, wake-ups) of the agent in a second of waiting."""
        before, begin = (self.cpu(), wake_ups(self.pid)), time.monotonic()
        time.sleep(WINDOW)
        after, window = (self.cpu(), wake_ups(self.pid)), time.monotonic() - begin
        return tuple((late - early) / window for early, late in zip(before, after))

    def cpu(self):
        """Milliseconds of all threads, so far."""
        threads = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6

    def end(self):
        self.agent.process.signal(signal.SIGTERM)
        self.agent.process.wait()
        self.ear.close()


def close_to_sigterm(world, options):
    """Stops of one task each, with events and without in turn."""
    sides = [Side(world, name) for name in SIDES]
    figures = {name: [] for name in SIDES}
    for number in range(-5, options.rounds * 2):
        for side in sides if number % 2 else reversed(sides):
            side.start("web")
            side.drain("web")
            time.sleep(random.uniform(0.002, 0.012))  # any moment between two looks
            wait = side.close("web")
            if number >= 0:
                figures[side.name].append(wait)
    for side in sides:
        side.end()
    rows = [(f"`agent serve` {name}", f"{statistics.median(waits):.2f}", f"{percentile(waits, 0.99):.2f}",
             f"{max(waits):.2f}", str(len(waits))) for name, waits in figures.items()]
    return Table(
        "From the last close to SIGTERM, ms",
        "A task behind `readiness://…?settle=0` with one open connection, in DRAIN: from just before its `close()` to the arrival of "
        "SIGTERM there, by the service's own clock. The client closes its end when it reads the end of the stream; all of it on "
        f"loopback. Both sides in turn. {WITHOUT}",
        ("", "p50", "p99", "max", "n"), rows)


def crowd(world, options):
    """One task with a great many connections."""
    rows, beside = [], []
    for name in SIDES:
        side = Side(world, name)
        for count, closes in ((1, 1), (CROWD, max(1, options.rounds // 50))):
            side.start("web", count)
            side.drain("web")
            cpu, _ = side.work()
            pss, dirty = memory(side.pid)
            if count == CROWD and not beside:
                beside = others(side.ports["web"])
            waits = [side.close("web")]
            while len(waits) < closes:
                side.start("web", count)
                side.drain("web")
                waits.append(side.close("web"))
            rows.append((f"`agent serve` {name}, {count:,} open", f"{cpu:.2f}", str(pss), str(dirty),
                         f"{statistics.median(waits):.1f}", f"{max(waits):.1f}", str(len(waits))))
        side.end()
    return Table(
        f"{CROWD:,} connections",
        "A task in DRAIN whose clients stay: the agent's CPU time in one second of waiting (with events it looks once a second) and its "
        "memory; then the time from the very last close, all of them closed together by four processes, to SIGTERM. Beside it the CPU "
        f"time of other programs' looking once, output thrown away. {WITHOUT}",
        ("", "CPU ms", "PSS kB", "private dirty kB", "close to SIGTERM, p50 ms", "max", "n"), rows + beside)


def others(port):
    """What one look costs with other programs."""
    watch = Stopwatch()
    rows = []
    for words in (["ss", "-tn", f"sport = :{port}"], ["ss", "-tin", f"sport = :{port}"], ["cat", "/proc/net/tcp"]):
        took = [watch.time(installed(words[0]), *words[1:])[1] for _ in range(LOOKS)]
        rows.append((f"`{' '.join(words)}`, once".replace(str(port), "PORT"), f"{statistics.median(took):.2f}", *[""] * 5))
    watch.close()
    return rows


def many_draining(world, _):
    """Many tasks with one connection each."""
    names = [f"task{number}" for number in range(TASKS)]
    rows = []
    for name in SIDES:
        side = Side(world, name)
        for each in names:
            side.start(each)
        side.drain(*names)
        cpu, woken = side.work()
        rows.append((f"`agent serve` {name}", f"{cpu:.2f}", f"{woken:.1f}", f"{side.close(*names):.1f}"))
        side.end()
    return Table(
        f"{TASKS} tasks draining at once",
        "Each with a port and an open connection of its own: the agent's CPU time and wake-ups in one second of waiting; then all "
        f"connections close, and the time from the last close to the last SIGTERM. {WITHOUT}",
        ("", "CPU ms", "wake-ups", "last close to last SIGTERM, ms"), rows)
