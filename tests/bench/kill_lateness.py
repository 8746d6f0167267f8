"""How late SIGKILL comes to those who don't end by themselves."""
import os
import select
import signal
import statistics

from table import Table, percentile
from world import harness

COUNT, TIMEOUT = 40, 2.0


def kill_lateness(world, options):
    recorded, seen = lateness(world, options.batches)
    rows = [(name, f"{statistics.median(values):.2f}", f"{percentile(values, 0.99):.2f}", f"{max(values):.2f}",
             str(len(values)))
            for name, values in (("by the record", recorded), ("seen from outside", seen))]
    return Table(
        "SIGKILL, late by ms",
        f"{COUNT} tasks at a time that ignore SIGTERM, asked to stop 37 ms apart with `ECS_CONTAINER_STOP_TIMEOUT={TIMEOUT:.0f}`: "
        "by how many milliseconds SIGKILL came after SIGTERM plus the timeout, by the record, and by the task's own notes and its "
        "pidfd.",
        ("", "p50", "p99", "max", "n"), rows)


def lateness(world, batches):
    """Milliseconds by which SIGKILL came after SIGTERM plus 2 s: (by the record, from outside)."""
    agent = harness.Agent(world, ECS_CONTAINER_STOP_TIMEOUT=TIMEOUT, ECS_LOGLEVEL="warn")
    recorded, seen = [], []
    for batch in range(batches):
        names = [f"stubborn{batch}-{i}" for i in range(COUNT)]
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
            recorded.append((kill - term - TIMEOUT) * 1000)
            seen.append((deaths[name] - journals[name].signalled() - TIMEOUT) * 1000)
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
