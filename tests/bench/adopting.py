"""What it costs that a stop survives its agent: adoption, the journal, and many tasks at once."""
import os
import signal
import sqlite3
import subprocess
import time

from stops import until_gone
from table import Table
from world import harness

LITTLE, MUCH = 500, 5000


def adopting(world, options):
    return Table(
        "Many tasks, and an agent that dies",
        f"`agent serve` with `sleep 10000` tasks, started through its API. Stopped: `agentctl stop --all`, until the last process is "
        "gone, in ms a task, and the CPU of the agent a task; beside one process that sends SIGTERM to as many of its children and "
        "waits for them. Adopted: `kill -9`, then from the start of another agent to its first answer. Memory: private dirty of the "
        "agent, what each task adds. The ratio is of what a task costs among many to what it costs among few: 1 is linear.",
        ("", "few", "many", "a task, few", "a task, many", "ratio"), rows(world))


def rows(world):
    few, many = (measured(world, count) for count in (LITTLE, MUCH))
    lines = []
    for what, unit in (("stopped, last one gone", "ms"), ("stopped, CPU of the agent", "ms"), ("bare kill and wait, last one gone", "ms"),
                       ("bare kill and wait, CPU", "ms"), ("adopted, first answer", "ms"), ("adopted and stopped, last one gone", "ms"),
                       ("memory", "kB")):
        a, b = few[what], many[what]
        lines.append((what, f"{a:,.0f} {unit}", f"{b:,.0f} {unit}", f"{a / LITTLE:.3f} {unit}", f"{b / MUCH:.3f} {unit}",
                      f"{(b / MUCH) / (a / LITTLE):.2f}"))
    lines.append(("stopped beside bare, last one gone", f"{few['stopped, last one gone'] / few['bare kill and wait, last one gone']:.1f}",
                  f"{many['stopped, last one gone'] / many['bare kill and wait, last one gone']:.1f}", "", "", ""))
    return lines


def measured(world, count):
    figures = {}
    place, agent, pids = begun(world, f"first{count}", count, figures)
    stop_all(agent, pids, "stopped", figures)
    place, agent, pids = begun(world, f"second{count}", count, {})
    agent.process.kill()
    begin = time.monotonic()
    agent = harness.Agent(world, ECS_LOGLEVEL="error", **place)
    figures["adopted, first answer"] = (time.monotonic() - begin) * 1000
    assert len(agent.request("GET", "/v1/tasks")[1]["tasks"]) == count
    stop_all(agent, pids, "adopted and stopped", figures)
    return figures | bare(count)


def begun(world, name, count, figures):
    folder = world.dir / name
    folder.mkdir()
    place = {"ECS_DATADIR": folder / "data", "AGENT_SOCKET": folder / "agent.sock"}
    agent = harness.Agent(world, ECS_LOGLEVEL="error", **place)
    empty = memory(agent)
    pids = [agent.request("POST", "/v1/tasks", {"name": f"task{number}", "command": ["sleep", "10000"]})[1]["containers"][0]["pid"]
            for number in range(count)]
    harness.wait_until(lambda: recorded(folder) == count, "the journal to have all", 60)
    figures["memory"] = memory(agent) - empty
    return place, agent, pids


def stop_all(agent, pids, what, figures):
    """Until the last process is gone; the agent ends with them."""
    cpu = cpu_of(agent.process.pid)
    command = [harness.AGENTCTL, "stop", "--all", "--detach", "--socket", agent.socket]
    figures[f"{what}, last one gone"] = until_gone(
        pids, lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False))
    harness.wait_until(lambda: stopped(agent) == len(pids), "all to be STOPPED", 120)
    figures[f"{what}, CPU of the agent"] = cpu_of(agent.process.pid) - cpu
    agent.process.signal(signal.SIGTERM)
    agent.process.wait(60)


BARE = """
import os, signal, subprocess, sys, time
pids = [os.posix_spawn('/bin/sleep', ['sleep', '10000'], {}) for _ in range(int(sys.argv[1]))]
cpu, begin = time.process_time(), time.monotonic()
for pid in pids: os.kill(pid, signal.SIGTERM)
for pid in pids: os.waitpid(pid, 0)
print(1000 * (time.monotonic() - begin), 1000 * (time.process_time() - cpu))
"""


def bare(count):
    out = subprocess.run(["python3", "-c", BARE, str(count)], check=True, capture_output=True, text=True).stdout.split()
    return {"bare kill and wait, last one gone": float(out[0]), "bare kill and wait, CPU": float(out[1])}


def recorded(folder):
    with sqlite3.connect(folder / "data/journal.db") as journal:
        return journal.execute("select count(*) from tasks where last_status = 'RUNNING'").fetchone()[0]


def stopped(agent):
    tasks = agent.request("GET", "/v1/tasks")[1]["tasks"]
    return sum(task["lastStatus"] == "STOPPED" for task in tasks)


def memory(agent):
    """kB of private dirty memory."""
    with open(f"/proc/{agent.process.pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty"))


def cpu_of(pid):
    """ms of user and system time."""
    with open(f"/proc/{pid}/stat") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) * 1000 / os.sysconf("SC_CLK_TCK")
