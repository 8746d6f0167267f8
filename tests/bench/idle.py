"""What doing nothing costs: memory, and how often it wakes up."""
import pathlib
import time

from table import Table
from world import harness, inits, installed

WINDOW, QUIET, PATIENCE = 10, 3, 20  # seconds
MANY = 100
WITH_SOCKET = "agent run --, with its socket"  # as PID 1 it has one
PROSE = (
    "The inits wrap `sleep 1000`; only their own process is counted. `agent serve`'s tasks and s6's services are the same command; s6 "
    "is the sum of s6-svscan and its supervisors. PSS and private dirty memory from `/proc/PID/smaps_rollup`, read when two readings a "
    "quarter of a second apart were the same. Every init and agent is a copy of its own, so nothing but the C library of the dynamic "
    "ones is shared; the kernel maps much of a file that it has in its cache, used or not.")


def memory(pid):
    """PSS and private dirty memory of one process, in kB."""
    facts = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        facts[name] = int(value)
    return facts["Pss:"], facts["Private_Dirty:"]


def wake_ups(pid):
    """How often all threads of a process were switched to, so far."""
    count = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text().splitlines():
            if "ctxt_switches:" in line:
                count += int(line.split()[1])
    return count


def settled(pids):
    """The memory of each when two readings have been the same."""
    before, end = None, time.monotonic() + PATIENCE
    while (now := [memory(pid) for pid in pids]) != before:
        if time.monotonic() > end:
            raise AssertionError("memory in use doesn't come to rest")
        before = now
        time.sleep(0.25)
    return dict(zip(pids, now))


def wait_quiet(pids):
    """Until none of them has woken up for a while; not for ever: who never rests is measured so."""
    before, end = None, time.monotonic() + PATIENCE
    while (now := [wake_ups(pid) for pid in pids]) != before and time.monotonic() < end:
        before = now
        time.sleep(QUIET)


def children_named(pid, name):
    """The children of a process that have executed a program of that name."""
    found = []
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            try:
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == name:
                    found.append(int(child))
            except OSError:
                pass
    return found


def serve(world, tasks):
    """The pid of an `agent serve` with idle tasks."""
    home = world.dir / f"serve{tasks}"
    home.mkdir()
    socket = home / "agent.sock"
    process = world.start("agent", [world.fresh(harness.AGENT, f"agent{tasks}"), "serve"], harness.clean_environment(
        ECS_LOGLEVEL="warn", ECS_DATADIR=home / "data", AGENT_SOCKET=socket))
    harness.wait_until(lambda: harness.answers(socket), "the agent's control socket")
    for number in range(tasks):
        harness.request(socket, "POST", "/v1/tasks", {"name": f"task{number}", "command": ["sleep", "1000"]})
    harness.wait_until(lambda: len(children_named(process.pid, "sleep")) == tasks, "the tasks")
    return process.pid


def s6(world, services, folder=None):
    """The pids of an s6-svscan and its supervisors, with idle services."""
    scan = (folder or world.dir) / "scan"
    for number in range(services):
        service = scan / f"task{number}"
        service.mkdir(parents=True)
        (service / "run").write_text("#!/bin/sh\nexec sleep 1000\n")
        (service / "run").chmod(0o755)
    pid = world.start("s6-svscan", [installed("s6-svscan"), scan]).pid
    supervisors = harness.wait_until(
        lambda: len(found := children_named(pid, "s6-supervise")) == services and found, "s6's supervisors")
    harness.wait_until(lambda: all(children_named(pid, "sleep") for pid in supervisors), "s6's services")
    return [pid, *supervisors]


def wrapped_sleeps(world):
    """The pids of all inits that wrap `sleep 1000`, by the name that the table shows."""
    environment = harness.clean_environment()
    pids = {name: [world.start(name.split()[0], [*words, "sleep", "1000"], environment).pid]
            for name, words in inits(world).items()}
    pids[WITH_SOCKET] = [world.start(
        "run", [world.fresh(harness.AGENT, "agent-run"), "run", "--", "sleep", "1000"],
        environment | {"AGENT_SOCKET": str(world.dir / "run.sock")}).pid]
    for [pid] in pids.values():
        harness.wait_until(lambda: children_named(pid, "sleep"), "sleep to be executed")
    return pids


def idle(world, _):
    """Everything at once, so that all are measured in the same ten seconds."""
    pids = wrapped_sleeps(world)
    for tasks in (0, 10, MANY):
        pids[f"agent serve, {tasks or 'no'} tasks"] = [serve(world, tasks)]
    agents = [pid for name, group in pids.items() for pid in group if name.startswith("agent ")]
    pids[f"s6-svscan, {MANY} services"] = s6(world, MANY)
    wait_quiet(agents)  # a journal's checkpoint follows a second after its last record
    used = settled([pid for group in pids.values() for pid in group])

    before = {pid: wake_ups(pid) for pid in used}
    begin = time.monotonic()
    time.sleep(WINDOW)
    counts = {pid: wake_ups(pid) - count for pid, count in before.items()}
    window = time.monotonic() - begin

    def sums(name):
        return [sum(used[pid][kind] for pid in pids[name]) for kind in (0, 1)]
    rows = []
    for name, group in pids.items():
        pss, dirty = sums(name)
        ours = sums(f"agent serve, {MANY} tasks" if name.startswith("s6") else "agent run --")[0]
        ratio = "" if name.startswith("agent ") else f"{ours / pss:.2f}"
        rows.append((f"`{name}`", str(len(group)), str(pss), str(dirty), ratio, str(sum(counts[pid] for pid in group))))
    return Table("Idle", PROSE + f" Wake-ups are the voluntary and involuntary context switches of all threads, of all programs "
                 f"in the same {window:.1f} s, begun when the agents had been quiet for {QUIET} s.",
                 ("program", "processes", "PSS kB", "private dirty kB", "our PSS to theirs", f"wake-ups in {WINDOW} s"), rows)
