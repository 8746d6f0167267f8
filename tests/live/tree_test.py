"""The whole tree: everything a task ever forked is found and ended, and how it ended is told.

With a cgroup of its own, by descent and mark where none can be made, and wrapped by `agent run`.
"""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

import harness
from harness import AGENTCTL, Agent, boot_now, clean_environment, phase_of, wait_until

PYTHON = [sys.executable, "-ISE"]
FAMILY = str(pathlib.Path(__file__).with_name("family.py"))
KINDS = ("group", "setsid", "orphan")
ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")
STOP_TIMEOUT, KILL_PATIENCE = 1, 10


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


class Leader(TreeTest):
    """The trap that supervisors fall into: the leader exits on SIGTERM, its child doesn't."""

    def start_served(self, cgroups, manner):
        """(socket, task, journal) of a family of each kind."""
        agent = self.serve(cgroups)
        started = []
        for kind in KINDS:
            words, journal = self.family(kind, manner)
            agent.run(kind, *words)
            started.append((agent, kind, journal))
        return started

    def start_wrapped(self, prefix, manner):
        started = []
        for kind in KINDS:
            words, journal = self.family(kind, manner)
            socket = self.dir / f"{kind}{len(self.processes)}.sock"
            run = self.agent_run(*words, prefix=prefix, AGENT_SOCKET=socket,
                                 AGENT_TASK=kind, ECS_CONTAINER_STOP_TIMEOUT=STOP_TIMEOUT)
            run.socket = socket
            wait_until(lambda: harness.answers(socket), "the control socket")
            started.append((run, kind, journal))
        return started

    def everywhere(self, manner):
        """By host: (agent or run, task, journal) of each kind of child."""
        hosts = {"serve, no cgroups": self.start_served(False, manner),
                 "run": self.start_wrapped([], manner),
                 "run as PID 1": self.start_wrapped(ISOLATED, manner)}
        if unified() is not None and os.geteuid() == 0:
            hosts["serve, cgroups"] = self.start_served(True, manner)
        people = [(host, *each) for host, started in hosts.items() for each in started]
        for *_, journal in people:
            self.wait_family(journal)
            wait_until(lambda: len(alive(journal)) == 2, "two processes, and no one between")
        return people

    def check_cgroups(self, host, of, record):
        cleanup = phase_of(record, "CLEANUP")
        if host == "serve, cgroups":
            self.assertEqual(cleanup["outcome"], "completed")
            self.assertTrue(cleanup["detail"]["cgroup"].startswith(str(of.fold)))
        else:
            self.assertIsNone(cleanup)

    def test_a_child_that_ignores_the_signal_is_waited_for_then_killed(self):
        people = self.everywhere("ignore")
        for host, of, *_ in people:
            if host.startswith("serve"):
                self.assertEqual(len(self.names_of_cgroups(of)), len(KINDS) if "no" not in host else 0)
        results = self.stop_all_at_once([(of.socket, task) for _, of, task, _ in people])
        for (host, of, kind, journal), (record, took) in zip(people, results):
            with self.subTest(host, child=kind):
                self.assertEqual(alive(journal), [])
                self.assert_took(took, STOP_TIMEOUT, STOP_TIMEOUT + 0.5, "the stop")
                self.assertEqual(record["outcome"], "killed")
                self.assertEqual(record["survivors"], 0)
                self.assertEqual(self.outcomes(record)["SIGTERM"], "timed_out")
                self.assertEqual(phase_of(record, "SIGTERM")["detail"]["left"], 1)
                self.assertEqual(self.outcomes(record)["SIGKILL"], "completed")
                self.assertEqual(phase_of(record, "SIGKILL")["detail"]["survivors"], 0)
                self.assertGreaterEqual(record["durationMs"], STOP_TIMEOUT * 1000)
                self.assertEqual((record["containers"][0]["exitCode"], record["containers"][0]["killedBy"]), (0, None))
                self.assertIsNotNone(self.heard(journal, "child"), "the rest gets the stop signal too")
                self.check_cgroups(host, of, record)
                if host.startswith("run"):
                    self.assertEqual(of.wait(), 0)
                elif of.fold:
                    self.assertEqual(self.names_of_cgroups(of), [])

    def test_a_child_that_obeys_gets_the_signal_when_the_leader_has_gone(self):
        people = self.everywhere("obey")
        results = self.stop_all_at_once([(of.socket, task) for _, of, task, _ in people])
        for (host, of, kind, journal), (record, took) in zip(people, results):
            with self.subTest(host, child=kind):
                self.assertEqual(alive(journal), [])
                self.assert_took(took, 0, 0.2, "the stop")
                self.assertEqual((record["outcome"], record["survivors"]), ("graceful", 0))
                self.assertEqual(self.outcomes(record)["SIGTERM"], "completed")
                self.assertNotIn("SIGKILL", self.outcomes(record))
                self.assertGreater(self.heard(journal, "child"), self.heard(journal, "main"))
                self.check_cgroups(host, of, record)


class Orphans(TreeTest):
    def wait_orphans(self, agent, *tags):
        """Until each tag's process is a child of the agent, and nothing is between."""
        def ours():
            pids = alive(*tags)
            return len(pids) == len(tags) and all(field(p, "PPid") == str(agent.process.pid) for p in pids) and pids
        return wait_until(ours, "the orphans")

    def test_each_task_of_fifty_loses_its_own_and_no_one_elses(self):
        agent = self.serve(False)
        tags = {f"task{number}": [self.tag() for _ in range(3)] for number in range(50)}
        for name, (main, *orphans) in tags.items():
            forks = " ".join(f"(setsid sleep {tag} &);" for tag in orphans)
            agent.run(name, "sh", "-c", f"{forks} exec sleep {main}")
        self.wait_orphans(agent, *(tag for own in tags.values() for tag in own))
        agent.ctl("stop", "task17")
        self.assertEqual(alive(*tags["task17"]), [])
        others = [tag for name, own in tags.items() if name != "task17" for tag in own]
        self.assertEqual(len(alive(*others)), len(others))
        self.assertEqual(agent.stops("task17")[0]["outcome"], "graceful")
        agent.ctl("stop", "--all")
        self.assertEqual(alive(*others), [])
        self.assertEqual({stop["survivors"] for stop in agent.ctl("history", "--output", "json")["stops"]}, {0})

    def run_with_a_hidden_orphan(self, agent, name, main, hidden):
        """It forks an orphan without an environment when the test says so."""
        gate = self.dir / f"{name}{hidden}.gate"
        os.mkfifo(gate)
        script = f"read go < {gate}; (env -i setsid sleep {hidden} &) ; exec sleep {main}"
        agent.run(name, "sh", "-c", script)
        return gate

    def test_a_task_alone_owns_orphans_without_an_environment(self):
        agent, main, hidden = self.serve(False), self.tag(), self.tag()
        self.run_with_a_hidden_orphan(agent, "alone", main, hidden).write_text("go\n")
        self.wait_orphans(agent, main, hidden)
        record = agent.ctl("stop", "alone", "--output", "json")
        self.assertEqual(alive(hidden), [])
        self.assertEqual((record["outcome"], record["survivors"]), ("graceful", 0))
        self.assertIsNone(phase_of(record, "CLEANUP"))

    def test_with_cgroups_they_are_its_whoever_else_is_there(self):
        agent, tags = self.serve(True), [self.tag() for _ in range(4)]
        gates = [self.run_with_a_hidden_orphan(agent, "a", *tags[:2]),
                 self.run_with_a_hidden_orphan(agent, "b", *tags[2:])]
        for gate in gates:
            gate.write_text("go\n")
        self.wait_orphans(agent, *tags)
        record = agent.ctl("stop", "a", "--output", "json")
        self.assertEqual((alive(*tags[:2]), len(alive(*tags[2:]))), ([], 2))
        self.assertNotIn("unattributed", phase_of(record, "CLEANUP")["detail"])

    def test_what_may_be_another_tasks_is_told_and_left_alone(self):
        agent, tags = self.serve(False), [self.tag() for _ in range(4)]
        gates = [self.run_with_a_hidden_orphan(agent, "a", *tags[:2]),
                 self.run_with_a_hidden_orphan(agent, "b", *tags[2:])]
        for gate in gates:
            gate.write_text("go\n")
        self.wait_orphans(agent, *tags)
        hidden = alive(tags[1], tags[3])
        for name in ("a", "b"):
            record = agent.ctl("stop", name, "--output", "json")
            self.assertEqual(sorted(alive(tags[1], tags[3])), sorted(hidden), "nobody knows whose they are")
            self.assertEqual((record["outcome"], record["survivors"]), ("graceful", 0))
            cleanup = phase_of(record, "CLEANUP")
            self.assertIsNotNone(cleanup, f"{name}: {record['phases']}")
            self.assertEqual(cleanup["detail"]["unattributed"], 2)
            for pid in hidden:
                self.assertIn(f"{pid} 'sleep' S", cleanup["detail"]["unattributedProcesses"])

    def test_a_later_task_is_not_suspected(self):
        agent, tags = self.serve(False), [self.tag() for _ in range(3)]
        self.run_with_a_hidden_orphan(agent, "first", *tags[:2]).write_text("go\n")
        self.wait_orphans(agent, *tags[:2])
        begun = boot_now()
        wait_until(lambda: boot_now() > begun + 0.02, "the next tick of the clock that processes start by")
        agent.run("second", "sleep", tags[2])
        agent.ctl("stop", "second")
        self.assertEqual(len(alive(*tags[:2])), 2)
        agent.ctl("stop", "first")
        self.assertEqual(alive(*tags), [])


class Headless(TreeTest):
    def test_a_child_whose_first_thread_has_ended_is_alive(self):
        """/proc shows a zombie."""
        code = """if True:
            import ctypes, os, signal, threading, time
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                threading.Thread(target=time.sleep, args=(60,)).start()
                ctypes.CDLL(None).syscall(60, 0)
            signal.pause()
            """
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent = self.serve(cgroups)
                agent.run("headless", *PYTHON, "-c", code)
                main = agent.task("headless")["containers"][0]["pid"]

                def headless():
                    pids = [p for p in harness.descendants() if field(p, "PPid") == str(main)]
                    return pids and field(pids[0], "State").startswith("Z") and pids[0]
                child = wait_until(headless, "the zombie that lives")
                self.assertEqual(field(child, "Threads"), "2")
                (record, took), = self.stop_all_at_once([(agent.socket, "headless")])
                self.assert_took(took, STOP_TIMEOUT, STOP_TIMEOUT + 0.5, "the stop")
                self.assertEqual((record["outcome"], record["survivors"]), ("killed", 0))
                self.assertNotIn(child, harness.descendants())


class Halted(TreeTest):
    def test_a_stopped_main_process_hears_the_signal(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent = self.serve(cgroups)
                words, journal = self.family("group", "obey")
                agent.run("halted", *words)
                main = self.wait_family(journal)["main"]
                os.kill(main, signal.SIGSTOP)
                wait_until(lambda: field(main, "State").startswith("T"), "it to be stopped")
                (record, took), = self.stop_all_at_once([(agent.socket, "halted")])
                self.assert_took(took, 0, 0.2, "the stop")
                self.assertEqual(record["outcome"], "graceful")
                self.assertIsNotNone(self.heard(journal, "main"))

    def test_a_frozen_task_is_thawed_and_hears_the_signal(self):
        agent = self.serve(True)
        words, journal = self.family("orphan", "obey")
        agent.run("frozen", *words)
        cgroup = own_cgroup(self.wait_family(journal)["main"])
        self.assertEqual(cgroup.parent, agent.fold)
        (cgroup / "cgroup.freeze").write_text("1")
        wait_until(lambda: "frozen 1" in (cgroup / "cgroup.events").read_text(), "it to be frozen")
        (record, took), = self.stop_all_at_once([(agent.socket, "frozen")])
        self.assert_took(took, 0, 0.2, "the stop")
        self.assertEqual(record["outcome"], "graceful")
        self.assertTrue(self.heard(journal, "main") and self.heard(journal, "child"))


@unittest.skipUnless(os.geteuid() == 0 and (FREEZER / "cgroup.procs").exists(), "no cgroup v1 freezer here")
class Unkillable(TreeTest):
    """A process in a frozen v1 cgroup handles no signal, SIGKILL neither."""

    def setUp(self):
        super().setUp()
        self.ice = FREEZER / self.dir.name
        self.ice.mkdir()
        self.addCleanup(self.melt)

    def thaw(self):
        (self.ice / "freezer.state").write_text("THAWED")

    def melt(self):
        self.thaw()
        for pid in (self.ice / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        harness.kill_descendants()
        wait_until(lambda: not (self.ice / "cgroup.procs").read_text(), "the ice to be empty")
        self.ice.rmdir()

    def freeze(self, *pids):
        self.addCleanup(self.thaw)  # before anything else waits for them
        for pid in pids:
            (self.ice / "cgroup.procs").write_text(str(pid))
        (self.ice / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (self.ice / "freezer.state").read_text().strip() == "FROZEN", "them to be frozen")

    def test_it_is_named_and_the_task_is_not_said_to_be_stopped(self):
        agents = [self.serve(cgroups) for cgroups in (True, False) if not cgroups or unified()]
        pids = []
        for agent in agents:
            tag = self.tag()
            agent.run("ice", "sh", "-c", f"sleep {tag} & exec sleep {tag}")
            wait_until(lambda: len(alive(tag)) == 2, "both")
            main = agent.task("ice")["containers"][0]["pid"]
            agent.child, = set(alive(tag)) - {main}
            pids.append(agent.child)
        tag = self.tag()
        run = self.agent_run("sleep", tag, ECS_CONTAINER_STOP_TIMEOUT=STOP_TIMEOUT)
        pids.append(wait_until(lambda: alive(tag) and [p for p in alive(tag) if p != run.pid], "the sleep")[0])
        self.freeze(*pids)

        asked = boot_now()
        run.signal(signal.SIGTERM)
        stops = [agent.start_ctl("stop", "ice") for agent in agents]
        for agent, stop in zip(agents, stops):
            agent.wait_phase("ice", "SIGKILL")
        for agent, stop in zip(agents, stops):
            with self.subTest(cgroups=agent.has_cgroups):
                self.assertEqual(stop.wait(), 1)
                self.assert_took(boot_now() - asked, STOP_TIMEOUT + KILL_PATIENCE, what="the stop")
                self.check_unkillable(agent, stop.stdout() + stop.stderr())
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assertIn(str(pids[-1]), run.stderr())
        self.thaw()
        for agent in agents:
            agent.wait_status("ice", "STOPPED", 5)
        wait_until(lambda: not alive(tag), "the wrapped one to be gone")

    def check_unkillable(self, agent, told):
        self.assertRegex(told, rf"pid {agent.child}  sleep  state D in \w+")
        self.assertRegex(told, "ice is not stopped: 1 process outlived SIGKILL|cannot stop 'ice'")
        record = agent.stops("ice")[0]
        self.assertEqual((record["outcome"], record["survivors"]), ("unkillable", 1))
        survivor, = record["survivorDetails"]
        self.assertEqual((survivor["pid"], survivor["command"], survivor["state"]), (agent.child, "sleep", "D"))
        self.assertTrue(survivor["waitChannel"])
        self.assertEqual(self.outcomes(record)["SIGKILL"], "failed")
        self.assertNotIn("stoppedAt", record)
        task = agent.task("ice")
        self.assertEqual((task["lastStatus"], task["desiredStatus"]), ("STOPPING", "STOPPED"))
        self.assertEqual(task["survivors"], [survivor])
        self.assertRegex(agent.ctl("inspect", "ice"), rf"pid {agent.child}, sleep, state D in \w+")
        self.assertIn("STOPPING", agent.ctl("ps"))
        shown, = agent.ctl("ps", "--output", "json")["tasks"]
        self.assertEqual(shown["survivors"], [survivor])


class PreStop(TreeTest):
    def test_what_a_hook_leaves_behind_goes_with_it(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent, tag = self.serve(cgroups), self.tag()
                words, journal = self.family("orphan", "obey")
                agent.run("web", *words, flags=["--pre-stop", f"setsid sleep {tag} & (setsid sleep {tag} &)"])
                self.wait_family(journal)
                record = agent.ctl("stop", "web", "--output", "json")
                self.assertEqual(alive(tag), [])
                self.assertEqual(self.outcomes(record)["PRE_STOP"], "completed")
                self.assertEqual(record["outcome"], "graceful")
                if agent.fold:
                    self.assertEqual(self.names_of_cgroups(agent), [])

    def test_a_hook_that_hangs_takes_its_own_along_but_not_the_tasks(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent, tag = self.serve(cgroups), self.tag()
                words, journal = self.family("orphan", "obey")
                hook = f"setsid sleep {tag} & (setsid sleep {tag} &); sleep {tag}"
                agent.run("web", *words, flags=["--pre-stop", hook, "--pre-stop-timeout", "600ms"])
                self.wait_family(journal)
                stop = agent.start_ctl("stop", "web", "--output", "json")
                wait_until(lambda: len(alive(tag)) == 3, "the hook and its own")
                self.assertEqual(stop.wait(), 0)
                record = json.loads(stop.stdout())
                self.assertEqual(alive(tag), [])
                self.assertEqual(self.outcomes(record)["PRE_STOP"], "timed_out")
                self.assertEqual(record["outcome"], "graceful", "main process and orphan had their say")
                self.assertGreater(self.heard(journal, "child"), self.heard(journal, "main"))
                ended = harness.boot_of(phase_of(record, "SIGTERM")["startedAt"])
                self.assertGreater(self.heard(journal, "main"), ended - 0.05)

    def test_a_wrapped_commands_hook_takes_its_own_along_but_not_the_commands(self):
        tag = self.tag()
        words, journal = self.family("orphan", "obey")
        run = self.agent_run(*words, AGENT_PRE_STOP_TIMEOUT="600ms", ECS_CONTAINER_STOP_TIMEOUT=STOP_TIMEOUT,
                             AGENT_PRE_STOP=f"setsid sleep {tag} & (setsid sleep {tag} &); sleep {tag}")
        child = self.wait_family(journal)["child"]
        run.signal(signal.SIGTERM)
        wait_until(lambda: len(alive(tag)) == 3, "the hook and its own")
        wait_until(lambda: not alive(tag), "the hook to be killed")
        wait_until(lambda: self.heard(journal, "child"), "the orphan to hear SIGTERM")
        self.assertEqual(run.wait(), 0)
        self.assertNotIn(child, harness.descendants())


class Cgroups(TreeTest):
    def setUp(self):
        super().setUp()
        self.agent = self.serve(True)

    def test_they_are_gone_after_a_stop_an_exit_and_a_failed_start(self):
        self.agent.run("stopped", "sleep", "60")
        self.agent.run("exiting", "sh", "-c", "exit 3")
        self.agent.wait_status("exiting", "STOPPED")
        self.assertEqual(len(self.names_of_cgroups(self.agent)), 1)
        self.agent.ctl("stop", "stopped")
        for command in ("/nowhere/at-all", str(self.dir), "/etc/passwd"):
            self.agent.ctl("run", "--name", "failing", "--", command, code=1)
            self.assertEqual(self.agent.task("failing")["stopCode"], "TaskFailedToStart")
        self.assertEqual(self.names_of_cgroups(self.agent), [])

    def test_those_that_a_task_has_made_below_its_own_go_too(self):
        words, journal = self.family("orphan", "ignore")
        self.agent.run("nested", *words)
        people = self.wait_family(journal)
        below = own_cgroup(people["main"]) / "below" / "deeper"
        below.mkdir(parents=True)
        (below.parent / "empty").mkdir()
        (below / "cgroup.procs").write_text(str(people["child"]))
        record = self.agent.ctl("stop", "nested", "--output", "json")
        self.assertEqual((record["outcome"], alive(journal)), ("killed", []))
        self.assertEqual(self.outcomes(record)["CLEANUP"], "completed")
        self.assertEqual(self.names_of_cgroups(self.agent), [])

    def test_those_that_a_hook_has_made_go_too(self):
        mine = str(unified()) + '$(sed -n s/^0:://p /proc/self/cgroup)'
        self.agent.run("web", "sleep", "60", flags=["--pre-stop", f'mkdir -p "{mine}/below/deeper"'])
        record = self.agent.ctl("stop", "web", "--output", "json")
        self.assertEqual(self.outcomes(record)["PRE_STOP"], "completed")
        self.assertEqual(self.names_of_cgroups(self.agent), [])


class Ends(TreeTest):
    def ends(self, agent, *names):
        """What each task's record says of its main process."""
        for name in names:
            agent.wait_status(name, "STOPPED")
        return {name: agent.stops(name)[0]["containers"][0] for name in names}

    def shell(self, agent, name, script):
        agent.run(name, "sh", "-c", script, flags=["--chdir", self.dir])

    def test_a_code_a_signal_and_who_sent_it(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent = self.serve(cgroups)
                self.shell(agent, "code", "exit 9")
                self.shell(agent, "as-if-killed", "exit 137")
                self.shell(agent, "fault", "ulimit -c 0; kill -SEGV $$")
                self.shell(agent, "core", "ulimit -c unlimited; kill -ABRT $$")
                tags = {name: self.tag() for name in ("obeys", "ignores", "struck")}
                for name, tag in tags.items():
                    self.shell(agent, name, ("trap '' TERM; " if name == "ignores" else "") + f"exec sleep {tag}")
                    wait_until(lambda: alive(tag), name)
                os.kill(alive(tags["struck"])[0], signal.SIGKILL)
                self.stop_all_at_once([(agent.socket, "obeys"), (agent.socket, "ignores")])
                ends = self.ends(agent, "code", "as-if-killed", "fault", "core", *tags)
                told = {name: (end["exitCode"], end["signal"], end["killedBy"]) for name, end in ends.items()}
                self.assertEqual(told, {"code": (9, None, None), "as-if-killed": (137, None, None),
                                        "fault": (None, "SIGSEGV", None), "core": (None, "SIGABRT", None),
                                        "obeys": (None, "SIGTERM", "SIGTERM"), "ignores": (None, "SIGKILL", "SIGKILL"),
                                        "struck": (None, "SIGKILL", "SomebodyElse")})
                self.assertNotIn("coreDumped", ends["fault"])
                warnings = [line for line in agent.process.stderr().splitlines() if 'killedBy="SomebodyElse"' in line]
                self.assertEqual(len(warnings), 1, agent.process.stderr())
                self.assertIn("level=warn", warnings[0])
                self.assertIn('task="struck"', warnings[0])
                self.assertIn('exitSignal="SIGKILL"', warnings[0])
                if "coreDumped" not in ends["core"]:
                    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
                    self.skipTest(f"no core is dumped here: {pattern}")
                self.assertTrue(ends["core"]["coreDumped"])

    def test_sigterm_from_elsewhere_is_not_ours_even_if_a_stop_follows(self):
        agent = self.serve(False)
        tag = self.tag()
        self.shell(agent, "struck", f"(setsid sleep {tag} &); exec sleep {tag}")
        wait_until(lambda: len(alive(tag)) == 2, "both")
        os.kill(agent.task("struck")["containers"][0]["pid"], signal.SIGTERM)
        end = self.ends(agent, "struck")["struck"]
        self.assertEqual((end["signal"], end["killedBy"]), ("SIGTERM", "SomebodyElse"))
        self.assertEqual(alive(tag), [])


@unittest.skipUnless(os.geteuid() == 0, "a limit on processes is another user's")
class ForkBomb(TreeTest):
    """Sixty processes of a user who may have no more, each becoming a fresh one when it can't fork."""

    user, limit = 54321, 60

    def bombers(self):
        found = []
        for pid in harness.descendants():
            if (field(pid, "Uid") or "").startswith(f"{self.user}\t") and not field(pid, "State").startswith("Z"):
                found.append(pid)
        return found

    def fork_bomb(self, cgroups, prelude):
        """(agent with a bomb in it, and beside it a task that nothing may happen to; that one's tag)."""
        bomb = """trap 'exec sh -c "$BOMB"' EXIT; while :; do sh -c "$BOMB" & done"""
        # PID 1 of the bomb's namespace dies with the test, and everybody with it.
        agent = self.serve(cgroups, prefix=[*ISOLATED, "sh", "-c", '"$@"; exit $?', "sh"])
        bystander = self.tag()
        agent.run("bystander", "sh", "-c", f"(setsid sleep {bystander} &); exec sleep {bystander}")
        wait_until(lambda: len(alive(bystander)) == 2, "the bystander")
        script = prelude + """sh -c "trap '' TERM; $BOMB" 2>/dev/null & exec sleep 60"""
        agent.run("bomb", "prlimit", f"--nproc={self.limit}", "setpriv", f"--reuid={self.user}",
                  f"--regid={self.user}", "--clear-groups", "sh", "-c", script, flags=["--env", f"BOMB={bomb}"])
        wait_until(lambda: len(self.bombers()) >= self.limit * 0.9, "the bomb to grow")
        return agent, bystander

    def check_stop(self, cgroups, prelude, ended_by):
        agent, bystander = self.fork_bomb(cgroups, prelude)
        (record, took), = self.stop_all_at_once([(agent.socket, "bomb")])
        self.assertEqual(self.bombers(), [])
        self.assertEqual(len(alive(bystander)), 2)
        self.assert_took(took, STOP_TIMEOUT, STOP_TIMEOUT + 2, "the stop")
        self.assertEqual((record["outcome"], record["survivors"]), ("killed", 0))
        self.assertEqual(record["containers"][0]["killedBy"], ended_by)

    def test_a_stop_wins(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                self.check_stop(cgroups, "trap '' TERM; ", "SIGKILL")

    def test_a_stop_wins_when_the_main_process_has_gone_first(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                self.check_stop(cgroups, "", "SIGTERM")


if __name__ == "__main__":
    harness.main()
