"""What hooks and tasks leave behind: processes, and cgroups."""
import json
import pathlib
import signal
import time

import harness
from harness import phase_of, wait_until
from tree import STOP_TIMEOUT, TreeTest, alive, own_cgroup, unified


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


class Quiet(TreeTest):
    def test_an_agent_whose_tasks_have_ended_does_nothing(self):
        for cgroups in (True, False):
            with self.subTest(cgroups=cgroups):
                agent = self.serve(cgroups)
                agent.run("stopped", "sleep", "60")
                agent.run("exiting", "sh", "-c", "setsid sleep 60 & exit 3")
                agent.run("going-on", "sleep", "60")
                agent.ctl("stop", "stopped")
                agent.wait_status("exiting", "STOPPED")
                seen = []

                def quiet():
                    time.sleep(0.3)  # to see that nothing happens takes time
                    seen.append(activity(agent.process.pid))
                    return len(seen) > 1 and seen[-1] == seen[-2]
                wait_until(quiet, "the agent to sleep")


def activity(pid):
    """Wake-ups and CPU time of all threads: one that spins isn't woken."""
    facts = []
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status, stat = (thread / "status").read_text(), (thread / "stat").read_text()
        facts += [int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line]
        facts += stat[stat.rindex(")") + 2:].split()[11:13]
    return facts


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


if __name__ == "__main__":
    harness.main()
