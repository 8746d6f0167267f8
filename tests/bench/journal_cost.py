"""What it costs a stop that it is written down before each step."""
import os
import select
import signal
import time

from table import COMPARED, Table, compared
from world import harness


def journal_cost(world, options):
    rounds = max(20, options.rounds * 2 // 5)
    kept, unkept = [], []
    for number in range(-2, rounds):
        turns = [(kept, {"ECS_DATADIR": world.dir / "data"}), (unkept, {})]
        for figures, place in turns if number % 2 else reversed(turns):
            wall = one(world, number, place)
            if number >= 0:
                figures.append(wall)
    return Table(
        "The journal's cost",
        "`agent run -- sleep 1000`, with its control socket, gets SIGTERM: until the agent has ended, which is when its last record is "
        f"kept. With `ECS_DATADIR` (SQLite, each phase before its action) and without (in memory), in turn; {rounds} rounds.",
        COMPARED, [compared("signal to exit", "with the journal", kept, "without", unkept)], words=(0, 1, 4))


def one(world, number, place):
    socket = world.dir / "run.sock"
    agent = world.start("run", [harness.AGENT, "run", "--", "sleep", "1000"],
                        harness.clean_environment(AGENT_SOCKET=socket, ECS_LOGLEVEL="error", **place))
    harness.wait_until(lambda: harness.answers(socket), "the agent")
    pidfd = os.pidfd_open(agent.pid)
    begin = time.monotonic()
    agent.signal(signal.SIGTERM)
    select.select([pidfd], [], [], 20)
    wall = (time.monotonic() - begin) * 1000
    os.close(pidfd)
    agent.wait()
    return wall
