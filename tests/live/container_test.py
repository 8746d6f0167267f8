"""`agent` as PID 1 of a real container: what an engine does to it, what the kernel does to it."""
import json
import signal

import container
import harness
from container import bound, scratch_root
from harness import Haproxy, Load, boot_now, free_port, phase_of, server_of, wait_until


class Stop(container.ContainerTest):
    def service(self, *options, port=None, env=None, **more):
        """An obedient service wrapped by PID 1, its journal in the test's directory."""
        port, self.journal = port or free_port(), harness.LiveTest.journal(self)
        command = ["/obedient", *self.obedient(port, *options, journal=self.journal)[1:]]
        run = self.container("/agent", "run", "--", *command, env=env,
                             mounts=[bound(self.dir, writable=True)], **more)
        wait_until(lambda: self.journal.events("listening") or not run.run.running(), "the service")
        return run

    def test_kill_term_goes_through_the_whole_sequence(self):
        ports = {"web1": free_port(), "web2": free_port()}
        haproxy = Haproxy(self, ports)
        self.agent_run(*self.obedient(ports["web2"]), AGENT_LOAD_BALANCERS=haproxy.url("web2"))
        run = self.service("--exit-code", 7, "--haproxy-on-term", haproxy.socket, port=ports["web1"],
                           env={"AGENT_LOAD_BALANCERS": haproxy.url("web1"), "AGENT_TASK": "web1"})
        for name in ports:
            haproxy.wait_ready(name)
        load = Load(self, haproxy.port, "--slow-share", 0.07, "--slow-path", "/delay/1000", rate=300)
        wait_until(lambda: [r for r in self.journal.requests() if r["path"] == "/delay/1000"],
                   "a slow request in flight")
        run.kill(signal.SIGTERM)
        stop = json.loads(run.exec("/agentctl", "timeline", "web1", "--output", "json"))
        drawn = run.exec("/agentctl", "timeline", "web1")
        self.assertIsNone(self.journal.signalled(), "the drain comes before the signal")
        self.assertEqual(phase_of(stop, "DEREGISTER")["outcome"], "completed")
        self.assertEqual((stop["task"], stop["stoppedReason"]), ("web1", "Received SIGTERM"))
        self.assertIn("DRAIN", drawn)
        self.assertEqual(run.wait(), 7)
        counts = load.finish()

        self.assertEqual(counts["failed"], 0, counts)
        self.assertGreater(counts["ok"], 100)
        seen = server_of(self.journal.events("haproxy")[0]["answer"], "web1")
        self.assertTrue(seen["admin_state"] & 0x09, seen)
        self.assertEqual((seen["scur"], seen["qcur"]), (0, 0), seen)
        term = self.journal.signalled()
        self.assertEqual([r for r in self.journal.requests() if r["boot"] / 1e6 > term], [])
        self.assertEqual(len(self.journal.requests()), len(self.journal.events("answer")), "all were answered")

    def test_the_exit_code_is_the_commands(self):
        for code in (0, 1, 42, 255):
            run = self.container("/agent", "run", "--", "sh", "-c", f"exit {code}", sys=False)
            self.assertEqual(run.wait(), code)

    def test_a_stop_signal_of_the_image_starts_a_stop_and_reaches_the_command(self):
        # STOPSIGNAL SIGQUIT, as nginx's image has: its master ends its workers' requests on QUIT only.
        script = "trap 'echo heard QUIT; exit 3' QUIT; trap 'echo heard TERM' TERM; echo ready; while :; do sleep 1; done"
        run = self.container("/agent", "run", "--", "sh", "-c", script, env={"AGENT_STOP_SIGNAL": "QUIT"})
        run.wait_output("ready")
        run.kill(signal.SIGQUIT)
        self.assertEqual(run.wait(), 3)
        self.assertEqual(run.run.stdout().splitlines(), ["ready", "heard QUIT"])

    def test_what_ignores_the_signal_is_killed_when_the_time_is_over(self):
        run = self.service("--ignore-term", env={"ECS_CONTAINER_STOP_TIMEOUT": 1})
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assert_took(boot_now() - asked, 1, what="the end")

    def test_a_child_that_ignores_the_signal_and_outlives_its_leader_is_waited_for_then_killed(self):
        run = self.service("--fork", 1, "--setsid-child", env={"ECS_CONTAINER_STOP_TIMEOUT": 1})
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assert_took(boot_now() - asked, 1, what="the end")


class FirstProcess(container.ContainerTest):
    def wait_only_the_command(self, run):
        wait_until(lambda: [state for state, _ in run.processes().values()] == ["S", "S"],
                   "nobody but PID 1 and its command to be left")

    def stop_at_once(self, run, code=128 + signal.SIGTERM):
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), code)
        self.assert_took(boot_now() - asked, 0, what="the end")

    def test_a_thousand_orphans_leave_no_zombie(self):
        script = "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done; echo born; exec sleep 60"
        run = self.container("/agent", "run", "--", "sh", "-c", script)
        run.wait_output("born", 30)
        self.wait_only_the_command(run)
        self.assertGreater(int(run.exec("sh", "-c", "echo $$")), 1000, "they were a thousand")
        self.stop_at_once(run)

    def test_a_thousand_living_orphans_are_ended_with_the_command(self):
        script = "i=0; while [ $i -lt 1000 ]; do (sleep 60 &); i=$((i+1)); done; echo born; exec sleep 60"
        run = self.container("/agent", "run", "--", "sh", "-c", script)
        run.wait_output("born", 30)
        wait_until(lambda: len(run.processes()) == 1002, "them all")
        self.stop_at_once(run)

    def test_exec_agentctl_needs_no_argument(self):
        run = self.container("/agent", "run", "--", "sh", "-c", "echo ready; exec sleep 60", env={"AGENT_TASK": "web"})
        run.wait_output("ready")
        wait_until(run.path("/run/lastcall/agent.sock").exists, "the socket")
        tasks = run.exec("/agentctl", "ps")
        self.assertIn("web", tasks)
        self.assertIn("RUNNING", tasks)
        self.assertIn("web", run.exec("agentctl", "ps", "--output", "json"))
        run.exec("/agentctl", "stop", "web", code=None)  # what it runs in ends with the task
        self.assertEqual(run.wait(), 128 + signal.SIGTERM)

    def test_no_place_for_a_socket_is_one_warning(self):
        for reason, options in (("read-only root", {"read_only": True}), ("no root", {"user": 65534})):
            with self.subTest(reason):
                run = self.container("/agent", "run", "--", "sh", "-c", "echo ready; exec sleep 60", **options)
                run.wait_output("ready")
                self.stop_at_once(run)
                lines = run.stderr().splitlines()
                self.assertLessEqual(len(lines), 1, lines)
                for line in lines:
                    self.assertIn("level=warn", line)
                    self.assertIn("socket", line)

    def test_the_command_finds_what_it_would_find_as_pid_1(self):
        script = "cat /proc/self/status; exec sleep 60"
        facts = {}
        for command in (["sh", "-c", script], ["/agent", "run", "--", "sh", "-c", script]):
            run = self.container(*command)
            run.wait_output("nonvoluntary_ctxt_switches")
            lines = run.run.stdout().splitlines()
            facts[command[0]] = [line for line in lines if line.startswith(("Sig", "Shd", "Cap", "NoNew", "Seccomp"))
                                 and not line.startswith("SigQ")]
            run.delete()
        self.assertEqual(facts["sh"], facts["/agent"])


class EmptyImage(container.ContainerTest):
    """`FROM scratch`: the agent, one static program, and nothing else."""

    def setUp(self):
        super().setUp()
        if not container.is_static(harness.AGENT):
            self.skipTest("this agent isn't static: sanitizers are shared libraries")

    def stop(self, run, code):
        wait_until(lambda: [name for _, name in run.processes().values()] == ["agent", "busybox"], "the command")
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(5), code, run.stderr())
        self.assert_took(boot_now() - asked, 0, what="the end")

    def test_it_is_enough(self):
        for options in ({}, {"lacks": ["/dev"], "sys": False}, {"lacks": ["/dev"], "sys": False, "read_only": True}):
            with self.subTest(options):
                run = self.container("/agent", "run", "--", "/busybox", "sleep", "60", root=scratch_root, **options)
                self.stop(run, 128 + signal.SIGTERM)
                warnings = 1 if options.get("read_only") else 0  # no socket
                self.assertEqual(len(run.stderr().splitlines()), warnings, run.stderr())

    def test_a_user_is_a_number_there(self):
        run = self.container("/agent", "run", "--", "/busybox", "sh", "-c", "exec /busybox id -u", root=scratch_root,
                             user=4711)
        self.assertEqual(run.wait(), 0, run.stderr())
        self.assertEqual(run.run.stdout(), "4711\n")

    def without_proc(self, *command, **env):
        return self.container("/agent", "run", "--", *command, root=scratch_root, lacks=["/proc", "/dev"], sys=False,
                              env=env)

    def test_without_proc_it_stops_its_command_and_says_what_it_lacks(self):
        run = self.without_proc("/busybox", "sleep", "60")
        self.stop(run, 128 + signal.SIGTERM)
        self.assertEqual(run.stderr().count("/proc"), 1, run.stderr())

    def test_without_proc_exit_codes_come_back(self):
        for code in (0, 7, 255):
            self.assertEqual(self.without_proc("/busybox", "sh", "-c", f"exit {code}").wait(), code)
        self.assertEqual(self.without_proc("/nowhere").wait(), 127)

    def test_without_proc_orphans_are_reaped(self):
        script = "for i in 1 2 3 4 5 6 7 8; do (/busybox true &); done; echo born; exec /busybox sleep 60"
        run = self.without_proc("/busybox", "sh", "-c", script)
        run.wait_output("born")
        wait_until(lambda: [state for state, _ in run.processes().values()] == ["S", "S"], "no zombie to be left")
        self.stop(run, 128 + signal.SIGTERM)

    def test_without_proc_what_ignores_the_signal_is_killed_all_the_same(self):
        run = self.without_proc("/busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do /busybox sleep 1; done",
                                ECS_CONTAINER_STOP_TIMEOUT=1)
        run.wait_output("ready")
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(5), 128 + signal.SIGKILL, run.stderr())
        self.assert_took(boot_now() - asked, 1, what="the end")


class Limits(container.ContainerTest):
    MEMORY = 128 << 20

    def test_a_command_that_exceeds_its_memory_is_said_to_have(self):
        run = self.container("/agent", "run", "--", "tail", "/dev/zero", memory=self.MEMORY,
                             env={"ECS_LOGLEVEL": "info"})
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assertIn("OutOfMemoryError", run.stderr())

    def test_one_that_is_killed_otherwise_is_not(self):
        run = self.container("/agent", "run", "--", "sh", "-c", "kill -KILL $$", memory=self.MEMORY,
                             env={"ECS_LOGLEVEL": "info"})
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assertNotIn("OutOfMemoryError", run.stderr())

    def test_a_child_that_exceeds_it_ends_alone(self):
        script = "tail /dev/zero; echo child $?; exec sleep 60"
        run = self.container("/agent", "run", "--", "sh", "-c", script, memory=self.MEMORY)
        run.wait_output("child 137")
        wait_until(lambda: sorted(name for _, name in run.processes().values()) == ["agent", "sleep"],
                   "the command to go on")
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), 128 + signal.SIGTERM)
        self.assertNotIn("OutOfMemoryError", run.stderr(), "the main process did not die of that")

    def fork_bomb(self, prelude):
        """It has used its limit up and goes on: each shell that can't fork becomes a fresh one, without a fork."""
        bomb = """trap 'exec sh -c "$BOMB"' EXIT; while :; do sh -c "$BOMB" & done"""
        script = prelude + 'sh -c "$BOMB" 2>/dev/null & echo lit; exec sleep 60'
        run = self.container("/agent", "run", "--", "sh", "-c", script, pids=100,
                             env={"BOMB": bomb, "ECS_CONTAINER_STOP_TIMEOUT": 2})
        run.wait_output("lit")
        wait_until(lambda: len(run.processes()) >= 90, "the bomb to grow")
        return run

    def test_a_fork_bomb_is_stopped(self):
        run = self.fork_bomb("")
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), 128 + signal.SIGTERM, run.stderr())
        self.assert_took(boot_now() - asked, 0, 4, "the end")
        self.assertNotIn("unkillable", run.stderr())

    def test_a_fork_bomb_that_ignores_the_signal_is_killed(self):
        run = self.fork_bomb("trap '' TERM; ")
        asked = boot_now()
        run.kill(signal.SIGTERM)
        self.assertEqual(run.wait(), 128 + signal.SIGKILL, run.stderr())
        self.assert_took(boot_now() - asked, 2, 4, "the end")
        self.assertNotIn("unkillable", run.stderr())


if __name__ == "__main__":
    harness.main()
