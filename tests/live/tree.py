"""What tests of whole process trees share: agents with and without cgroups, services with children.

Whatever a test leaves alive goes with the cgroup that its agent lives in.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import harness
from harness import AGENTCTL, Agent, boot_now, clean_environment, wait_until

PYTHON = [sys.executable, "-ISE"]
FAMILY = str(pathlib.Path(__file__).with_name("family.py"))
ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
STOP_TIMEOUT = 1


def mounts():
    """(mount point, type, is writable) of all."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        yield pathlib.Path(left.split()[4]), right.split()[0], "rw" in left.split()[5].split(",")


def unified():
    """Where cgroups v2 can be made; None if nowhere."""
    found = [point for point, kind, writable in mounts() if kind == "cgroup2" and writable]
    return found[0] if found and os.access(found[0], os.W_OK) else None


def own_cgroup(pid):
    """A process's cgroup v2, as a path here."""
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    inside = next(line[3:] for line in lines if line.startswith("0::"))
    return unified() / inside.lstrip("/")


def words_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []  # gone meanwhile


def alive(*tags):
    """Our sleeps and families with one of these words on their command line; not zombies, nor wrappers."""
    wanted, found = {str(tag) for tag in tags}, []
    for pid in harness.descendants():
        words = words_of(pid)  # a zombie has none
        if words[:1] in (["sleep"], PYTHON[:1]) and wanted & set(words):
            found.append(pid)
    return found


def field(pid, name):
    """Of /proc/PID/status; None if the process is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
    return None


class TreeTest(harness.LiveTest):
    count = 0

    def fold(self):
        """A cgroup that an agent may make its own below; nothing survives it. None without cgroup v2."""
        if os.geteuid() != 0 or unified() is None:
            return None
        path = unified() / self.dir.name / str(len(self.processes))
        path.mkdir(parents=True)
        self.addCleanup(self._burn, path)
        return path

    def _burn(self, path):
        (path / "cgroup.kill").write_text("1")

        def empty():
            for procs in path.glob("**/cgroup.procs"):  # cgroup.kill passes those over that lost their first thread
                for pid in filter(int, map(int, procs.read_text().split())):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return "populated 0" in (path / "cgroup.events").read_text()
        wait_until(empty, f"{path} to be empty")
        for each, _, _ in os.walk(path, topdown=False):
            os.rmdir(each)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def serve(self, cgroups, prefix=(), **environment):
        """An agent that can, or can't, make cgroups. `fold`: the one it lives in."""
        fold = self.fold()
        if cgroups and fold is None:
            self.skipTest("no cgroup v2 that we may write to")
        if not cgroups and os.geteuid() == 0:
            points = " ".join(str(point) for point, kind, _ in mounts() if kind == "cgroup2")
            script = f'for each in {points}; do mount -o bind,remount,ro "$each" || exit 9; done; exec "$@"'
            prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *prefix]
        if fold is not None:
            prefix = ["sh", "-c", f'echo 0 > {fold}/cgroup.procs && exec "$@"', "sh", *prefix]
        environment.setdefault("ECS_CONTAINER_STOP_TIMEOUT", STOP_TIMEOUT)
        place = self.dir / f"agent{len(self.processes)}"
        place.mkdir()
        agent = Agent(self, prefix=prefix, ECS_DATADIR=place / "data", AGENT_SOCKET=place / "sock", **environment)
        agent.fold, agent.has_cgroups = fold, cgroups
        return agent

    def tag(self):
        """How long a `sleep` sleeps: a minute, and a number that is this one's alone."""
        TreeTest.count += 1
        return f"60.{os.getpid()}{TreeTest.count:04}"

    def family(self, kind, manner, main="exits"):
        """A command line, and the file that its people write to."""
        journal = self.dir / f"{kind}-{manner}-{self.tag()}.journal"
        return [*PYTHON, FAMILY, journal, kind, manner, main], journal

    def wait_family(self, journal):
        """The pids of main process and child, once both are there, and the child is where it belongs."""
        def ready():
            return {e["role"]: e["pid"] for e in harness.json_lines(journal) if e["event"] == "ready"}
        return wait_until(lambda: len(ready()) == 2 and ready(), "the family")

    def heard(self, journal, role):
        """When it heard SIGTERM first; None if it never did."""
        times = [e["boot"] for e in harness.json_lines(journal) if e["role"] == role and e["event"] == "signal"]
        return times[0] if times else None

    def stop_all_at_once(self, stops):
        """`agentctl stop` for each (socket, task), side by side: (record, seconds until it returned) of each."""
        begin = boot_now()
        running = [subprocess.Popen([AGENTCTL, "stop", task, "--output", "json"], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=clean_environment(AGENT_SOCKET=socket)) for socket, task in stops]
        took = {}

        def over():
            for index, process in enumerate(running):
                if index not in took and process.poll() is not None:
                    took[index] = boot_now() - begin
            return len(took) == len(running)
        wait_until(over, "the stops to return", 30)
        results = []
        for index, process in enumerate(running):
            out, err = process.communicate()
            self.assertEqual(process.returncode, 0, f"{stops[index]}: {out}{err}")
            results.append((json.loads(out), took[index]))
        return results

    def outcomes(self, record):
        return {phase["phase"]: phase["outcome"] for phase in record["phases"]}

    def names_of_cgroups(self, agent):
        return sorted(path.name for path in agent.fold.glob("**/*") if path.is_dir())
