"""The whole tree: everything a task ever forked is found and ended, its leader first or last.

With a cgroup of its own, by descent and mark where none can be made, and wrapped by `agent run`.
"""
import os

import harness
from harness import boot_now, phase_of, wait_until
from tree import ISOLATED, STOP_TIMEOUT, TreeTest, alive, field, unified

KINDS = ("group", "setsid", "orphan")


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


if __name__ == "__main__":
    harness.main()
