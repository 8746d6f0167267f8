"""How quick a stop is: of one task, and of a hundred."""
import os
import select
import signal
import subprocess
import time

from idle import MANY, children_named, s6
from table import COMPARED, Table, compared
from world import Stopwatch, harness, installed


def stop(world, options):
    count = max(10, options.rounds * 2 // 5)
    few = max(3, count // 10)
    return Table(
        "Stopping",
        "One task: from the start of the command to its return, when the task is gone; no load balancer, so nothing is drained. "
        f"{MANY} tasks: from the start of one command to the end of the last task, `sleep 1000` each; s6 is told to end altogether, "
        f"its quickest way. `bare kill` is one process that sends SIGTERM to {MANY} others. All sides in turn; {count} rounds of the "
        f"one, {few} of the many.",
        COMPARED, [one(world, count), *many(world, few)], words=(0, 1, 4))


def one(world, rounds):
    scan = s6(world, 1)
    service = world.dir / "scan/task0"
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
    os.kill(scan[0], signal.SIGTERM)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait()
    return compared("one task, command to return", "agentctl stop", ours, "s6-svc -wD -d", theirs)


def many(world, rounds):
    figures = {"agentctl stop --all": [], "s6-svscanctl -t": [], "bare kill": []}
    measures = dict(zip(figures, (all_of_ours, all_of_s6, all_bare)))
    order = list(figures)
    for number in range(-1, rounds):
        for name in order:
            folder = world.dir / f"many{number}.{name.split()[0]}"
            folder.mkdir()
            wall = measures[name](world, folder)
            if number >= 0:
                figures[name].append(wall)
        order = order[1:] + order[:1]
    ours, *others = figures
    return [compared(f"{MANY} tasks, last one gone", ours, figures[ours], other, figures[other]) for other in others]


def all_of_ours(world, folder):
    agent = harness.Agent(world, ECS_LOGLEVEL="warn", ECS_DATADIR=folder / "data", AGENT_SOCKET=folder / "agent.sock")
    for number in range(MANY):
        agent.request("POST", "/v1/tasks", {"name": f"task{number}", "command": ["sleep", "1000"]})
    tasks = harness.wait_until(lambda: len(found := children_named(agent.process.pid, "sleep")) == MANY and found,
                               "the tasks")
    command = [harness.AGENTCTL, "stop", "--all", "--socket", agent.socket]
    wall = until_gone(tasks, lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL, close_fds=False))
    agent.process.signal(signal.SIGTERM)
    agent.process.wait()
    return wall


def all_of_s6(world, folder):
    scan, *supervisors = s6(world, MANY, folder)
    services = [child for pid in supervisors for child in children_named(pid, "sleep")]
    command = [installed("s6-svscanctl"), "-t", folder / "scan"]
    return until_gone(services, lambda: subprocess.Popen(command, close_fds=False), [scan])


def all_bare(world, _):
    processes = [world.start("sleep", ["sleep", "1000"]) for _ in range(MANY)]

    def kill_all():
        for process in processes:
            os.kill(process.pid, signal.SIGTERM)
    wall = until_gone([process.pid for process in processes], kill_all)
    for process in processes:
        process.popen.wait()
    return wall


def until_gone(pids, act, then=()):
    """Milliseconds from an act to the end of the last process; waits for some more, and for what was started."""
    poll, left = select.poll(), {os.pidfd_open(pid) for pid in pids}
    later = [os.pidfd_open(pid) for pid in then]
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    begin = time.monotonic()
    started = act()
    while left:
        ready = poll.poll(20_000)
        if not ready:
            raise AssertionError(f"{len(left)} processes have not ended")
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            left.discard(descriptor)
            os.close(descriptor)
    wall = (time.monotonic() - begin) * 1000
    if started is not None and started.wait(20) != 0:
        raise AssertionError(f"{started.args} ended with {started.returncode}")
    for descriptor in later:
        select.select([descriptor], [], [], 20)
        os.close(descriptor)
    return wall
