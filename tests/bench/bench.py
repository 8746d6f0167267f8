#!/usr/bin/env python3
"""How quick a stop is, how late a kill, how dear a wrapping: each beside another supervisor, interleaved.

Ratios of one run are what counts: the machine changes from day to day, and both sides with it.
"""
import argparse
import os
import pathlib
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "live"))
import harness  # noqa: E402


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Stopwatch:
    """tests/bench/stopwatch.cpp, on all CPUs or on one."""

    def __init__(self, prefix=()):
        self.process = subprocess.Popen([*prefix, str(harness.BIN / "stopwatch")], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def time(self, *words, code=0):
        """(wall, CPU) in milliseconds."""
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        wall, cpu, exit_code = self.process.stdout.readline().split()
        if int(exit_code) != code:
            raise RuntimeError(f"{' '.join(map(str, words))} ended with {exit_code}, not {code}")
        return float(wall) / 1000, float(cpu) / 1000

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class World(harness.LiveTest):
    """The live tests' world, borrowed: a directory, processes, and an end to them all."""

    def runTest(self):
        """Nothing: this is no test, but a place to measure in."""


def stop(world, rounds):
    """A task without a load balancer, request to return, against s6."""
    scan = world.dir / "scan"
    service = scan / "web"
    service.mkdir(parents=True)
    (service / "run").write_text("#!/bin/sh\nexec sleep 1000\n")
    (service / "run").chmod(0o755)
    world.start("s6-svscan", ["s6-svscan", scan])
    harness.wait_until(lambda: (service / "supervise/control").exists(), "s6-supervise")
    agent = harness.Agent(world, ECS_LOGLEVEL="warn")
    os.environ["AGENT_SOCKET"] = str(agent.socket)
    watch = Stopwatch()
    ours, theirs = [], []
    for number in range(-2, rounds):
        watch.time(harness.AGENTCTL, "run", "--name", "web", "--", "sleep", "1000")
        watch.time("s6-svc", "-wu", "-u", service)
        turns = [lambda: (ours, watch.time(harness.AGENTCTL, "stop", "web")[0]),
                 lambda: (theirs, watch.time("s6-svc", "-wD", "-d", service)[0])]
        for turn in turns if number % 2 else reversed(turns):
            figures, wall = turn()
            if number >= 0:
                figures.append(wall)
    watch.close()
    del os.environ["AGENT_SOCKET"]
    return [("one stop, request to return", "`agentctl stop`", ours, "`s6-svc -wD -d`", theirs)]


def kill_lateness(world, batches):
    """Milliseconds by which SIGKILL came after SIGTERM plus 2 s: (by the record, from outside)."""
    count, timeout = 40, 2.0
    agent = harness.Agent(world, ECS_CONTAINER_STOP_TIMEOUT=timeout, ECS_LOGLEVEL="warn")
    recorded, seen = [], []
    for batch in range(batches):
        names = [f"stubborn{batch}-{i}" for i in range(count)]
        journals = {name: world.journal(name) for name in names}
        pidfds = {}
        for name in names:
            command = world.obedient(0, "--ignore-term", journal=journals[name])
            agent.request("POST", "/v1/tasks", {"name": name, "command": [str(word) for word in command]})
            harness.wait_until(lambda: journals[name].events("listening"), f"{name} to listen")
            pidfds[os.pidfd_open(journals[name].events()[0]["pid"])] = name
        deaths = watch_deaths(agent, names, pidfds)
        for name in names:
            agent.wait_status(name, "STOPPED")
            record = agent.stops(name)[0]
            term, kill = (harness.boot_of(harness.phase_of(record, phase)["startedAt"])
                          for phase in ("SIGTERM", "SIGKILL"))
            recorded.append((kill - term - timeout) * 1000)
            seen.append((deaths[name] - journals[name].signalled() - timeout) * 1000)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait()
    return recorded, seen


def watch_deaths(agent, names, pidfds):
    """Asks for a stop of each, 37 ms apart, and notes when each died."""
    poll = select.poll()
    for descriptor in pidfds:
        poll.register(descriptor, select.POLLIN)
    deaths, asked, begin = {}, 0, harness.boot_now()
    while len(deaths) < len(names):
        if asked < len(names) and harness.boot_now() >= begin + asked * 0.037:
            agent.request("POST", f"/v1/tasks/{names[asked]}/stop?wait=false", {})
            asked += 1
        left = begin + asked * 0.037 - harness.boot_now() if asked < len(names) else 10
        for descriptor, _ in poll.poll(max(0, left * 1000)):
            deaths[pidfds[descriptor]] = harness.boot_now()
            poll.unregister(descriptor)
            os.close(descriptor)
    return deaths


def wrapping(world, rounds):
    """`agent run -- /bin/true` against the smallest init there is, on all CPUs and on one."""
    copies = world.dir / "fresh"
    copies.mkdir()
    # A freshly copied program starts quicker than an aged one: both are fresh.
    agent, tini, true = (shutil.copy(program, copies) for program in
                         (harness.AGENT, shutil.which("tini-static"), "/bin/true"))
    rows = []
    for place, prefix in (("all CPUs", ()), ("one CPU", ("taskset", "-c", "0"))):
        watch = Stopwatch(prefix)
        commands = {"ours": (agent, "run", "--", true), "theirs": (tini, "-s", "--", true), "bare": (true,)}
        figures = {name: [] for name in commands}
        cpu = {name: [] for name in commands}
        order = list(commands)
        for number in range(-1, rounds):
            for name in order:
                wall, used = watch.time(*commands[name])
                if number >= 0:
                    figures[name].append(wall)
                    cpu[name].append(used)
            order = order[1:] + order[:1]
        watch.close()
        rows.append((f"wrapping `/bin/true`, {place}", "`agent run --`", figures["ours"], "`tini-static -s --`",
                     figures["theirs"]))
        rows.append((f"wrapping `/bin/true`, {place}", "`agent run --`", figures["ours"], "bare vfork and exec",
                     figures["bare"]))
        rows.append((f"… its CPU time, {place}", "`agent run --`", cpu["ours"], "`tini-static -s --`",
                     cpu["theirs"]))
    return rows


def table(rows, markdown):
    head = ("what", "ours", "p50 ms", "p99 ms", "beside", "p50 ms", "p99 ms", "paired ratio")
    lines = [head]
    for what, our_name, ours, their_name, theirs in rows:
        # Of each round, then their median: what disturbs a round disturbs both sides of it.
        ratio = statistics.median(a / b for a, b in zip(ours, theirs) if b > 0)
        lines.append((what, our_name, f"{statistics.median(ours):.2f}", f"{percentile(ours, 0.99):.2f}", their_name,
                      f"{statistics.median(theirs):.2f}", f"{percentile(theirs, 0.99):.2f}", f"{ratio:.2f}"))
    if markdown:
        lines.insert(1, tuple("---" if i in (0, 1, 4) else "---:" for i in range(len(head))))
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(word.ljust(width) if i in (0, 1, 4) else word.rjust(width)
                               for i, (word, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--markdown", action="store_true", help="print what docs/BENCHMARKS.md holds")
    options.add_argument("--rounds", type=int, default=250, help="of the wrapping; the stop takes two fifths")
    options.add_argument("--batches", type=int, default=3, help="of 40 stubborn tasks each")
    options = options.parse_args()
    for key in [key for key in os.environ if key.startswith(("AGENT_", "ECS_"))]:
        del os.environ[key]

    World.setUpClass()
    signal.alarm(900)
    rows, lateness = [], None
    for measure in ("wrapping", "stop", "kill"):
        world = World()
        world.setUp()
        try:
            if measure == "wrapping":
                rows += wrapping(world, options.rounds)
            elif measure == "stop":
                rows += stop(world, max(10, options.rounds * 2 // 5))
            else:
                lateness = kill_lateness(world, options.batches)
        finally:
            harness.kill_descendants()
            shutil.rmtree(world.dir, ignore_errors=True)

    mark = "`" if options.markdown else ""
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, {options.rounds} rounds, interleaved\n")
    print(table(rows, options.markdown))
    print(f"\nSIGKILL after {mark}ECS_CONTAINER_STOP_TIMEOUT=2{mark}, 40 staggered tasks at a time, late by ms\n")
    head, body = ("", "p50", "p99", "max", "n"), []
    for name, values in zip(("by the record", "seen from outside"), lateness):
        body.append((name, f"{statistics.median(values):.2f}", f"{percentile(values, 0.99):.2f}",
                     f"{max(values):.2f}", str(len(values))))
    if options.markdown:
        body.insert(0, ("---", "---:", "---:", "---:", "---:"))
    for line in [head, *body]:
        print("| " + " | ".join(line) + " |" if options.markdown else
              line[0].ljust(20) + "".join(word.rjust(9) for word in line[1:]))


if __name__ == "__main__":
    main()
