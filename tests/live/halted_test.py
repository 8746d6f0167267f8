"""Processes that can't handle a signal just now, can't at all, or look dead and aren't."""
import contextlib
import os
import pathlib
import signal
import unittest

import harness
from harness import boot_now, wait_until
from tree import PYTHON, STOP_TIMEOUT, TreeTest, alive, field, own_cgroup, unified

FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")
KILL_PATIENCE = 10


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
        self.assertRegex(agent.ctl("ps"), rf"(?s)STOPPING.*ice is not stopped.*pid {agent.child}, sleep, state D in \w+")
        shown, = agent.ctl("ps", "--output", "json")["tasks"]
        self.assertEqual(shown["survivors"], [survivor])


if __name__ == "__main__":
    harness.main()
