"""Agents that die, and others that go on in their place."""
import contextlib
import os
import pathlib
import signal
import sqlite3
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "live"))

import harness  # noqa: E402  (found by the line above)
from harness import Agent, assert_stays, boot_now, boot_of, free_port, phase_of, wait_until  # noqa: E402, F401


class Orphanage:
    """Reaps the tasks that a dead agent leaves, as a machine's init does: orphans come to us."""

    def __init__(self):
        self.orphans, self.over = set(), threading.Event()
        self.thread = threading.Thread(target=self._reap, daemon=True)
        self.thread.start()

    def _reap(self):
        while not self.over.wait(0.002):
            for child in children():
                if child not in self.orphans and is_of_a_task(child):
                    self.orphans.add(child)
            for orphan in list(self.orphans):
                try:
                    if os.waitpid(orphan, os.WNOHANG)[0]:
                        self.orphans.discard(orphan)
                except ChildProcessError:
                    self.orphans.discard(orphan)

    def close(self):
        self.over.set()
        self.thread.join()


def children():
    return [int(word) for word in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def is_of_a_task(pid):
    try:
        return b"\0LASTCALL_TASK=" in b"\0" + pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def command_of(pid):
    """The command line of a living process; None if it is a zombie or gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
        if status[status.rindex(")") + 2] in "ZX":
            return None
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None


def copies(*words):
    """The living processes whose command line has all these words."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (command := command_of(int(entry))):
            if all(str(word).encode() in command for word in words) and command[0].endswith(b"obedient"):
                found.append(int(entry))
    return found


class MortalTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.orphanage = Orphanage()
        self.addCleanup(self.orphanage.close)

    def begin(self, **environment):
        self.environment = environment
        self.agent = Agent(self, **environment)
        return self.agent

    def kill_agent(self):
        """As the OOM killer does it."""
        self.agent.process.kill()

    def go_on(self):
        """Another agent on the same data directory."""
        self.agent = Agent(self, **self.environment)
        return self.agent

    def kill_and_go_on(self):
        self.kill_agent()
        return self.go_on()

    def serve(self, *options, name="web", flags=(), load_balancers=()):
        self.port, self.service = free_port(), self.journal(name)
        self.agent.run(name, *self.obedient(self.port, *options, journal=self.service), port=self.port,
                       load_balancers=load_balancers, flags=flags)
        wait_until(lambda: self.service.events("listening"), f"{name} to listen")
        self.pid = self.agent.task(name)["containers"][0]["pid"]
        self.wait_recorded(name)

    def wait_recorded(self, name, registered=False):
        """Until the journal has the task as RUNNING: it is written down in its turn, behind its launch."""
        def recorded():
            with contextlib.closing(sqlite3.connect(self.agent.data / "journal.db")) as journal:
                return journal.execute("select 1 from tasks where name = ? and last_status = 'RUNNING' "
                                       "and (registered <> '[]' or not ?)", (name, registered)).fetchone()
        wait_until(recorded, f"{name} to be recorded")

    def wait_noted(self, name, key):
        """Until the journal has that detail of the task's stop."""
        def noted():
            with contextlib.closing(sqlite3.connect(self.agent.data / "journal.db")) as journal:
                return journal.execute(
                    "select 1 from phases join stops on stops.id = stop_id where task = ? and detail like ?",
                    (name, f'%"{key}"%')).fetchone()
        wait_until(noted, f"{key} to be recorded")

    def wait_phase_recorded(self, name, phase):
        def recorded():
            with contextlib.closing(sqlite3.connect(self.agent.data / "journal.db")) as journal:
                return journal.execute("select 1 from phases join stops on stops.id = stop_id where task = ? and phase = ?",
                                       (name, phase)).fetchone()
        wait_until(recorded, f"{phase} to be recorded")

    def terms(self, service=None):
        return [e for e in (service or self.service).events("signal") if e["signal"] == signal.SIGTERM]

    def gone_at(self, pid):
        """When a process ended, in seconds of boot time, seen by us: to 2 ms."""
        wait_until(lambda: command_of(pid) is None, f"{pid} to be gone", 60)
        return boot_now()
