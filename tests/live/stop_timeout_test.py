"""What ignores SIGTERM is killed at the stop timeout, all of it; what doesn't isn't waited for."""
import os
import pathlib

import harness
from harness import Agent, boot_now, boot_of, free_port, phase_of, wait_until


class StopTimeout(harness.LiveTest):
    def stopped(self, *service_options, stop_flags=(), **environment):
        """The record of stopping one obedient service without a load balancer."""
        port = free_port()
        self.agent = Agent(self, **environment)
        self.service = self.journal()
        self.agent.run("web1", *self.obedient(port, *service_options, journal=self.service), port=port)
        wait_until(lambda: self.service.events("listening"), "the service to listen")
        self.asked = boot_now()
        return self.agent.ctl("stop", "web1", *stop_flags, "--output", "json")

    def test_what_ignores_sigterm_is_killed_at_the_stop_timeout(self):
        record = self.stopped("--ignore-term", ECS_CONTAINER_STOP_TIMEOUT=2)
        self.assertEqual(record["outcome"], "killed")
        self.assertEqual(record["containers"][0]["signal"], "SIGKILL")
        self.assertEqual(phase_of(record, "SIGTERM")["outcome"], "timed_out")
        self.assertEqual(phase_of(record, "SIGKILL")["outcome"], "completed")
        term, kill = (boot_of(phase_of(record, name)["startedAt"]) for name in ("SIGTERM", "SIGKILL"))
        self.assert_took(kill - term, 2, what="SIGKILL")
        self.assert_took(boot_now() - self.service.signalled(), 2, what="the end")

    def test_what_leaves_after_half_a_second_isnt_waited_for(self):
        record = self.stopped("--exit-after-term", 500, ECS_CONTAINER_STOP_TIMEOUT=30)
        self.assertEqual(record["outcome"], "graceful")
        self.assertIsNone(phase_of(record, "SIGKILL"))
        self.assertEqual(record["containers"][0]["exitCode"], 0)
        self.assert_took(record["durationMs"] / 1000, 0.5, what="the stop")

    def test_there_is_no_drain_without_a_load_balancer(self):
        record = self.stopped()
        self.assertEqual(harness.phases_of(record), ["SIGTERM"])

    def test_the_exit_code_is_recorded(self):
        record = self.stopped("--exit-code", 42)
        self.assertEqual(record["containers"][0]["exitCode"], 42)

    def test_children_that_stay_behind_are_killed_before_anybody_says_stopped(self):
        record = self.stopped("--fork", 2, "--setsid-child", ECS_CONTAINER_STOP_TIMEOUT=1)
        self.assertEqual(record["outcome"], "killed")
        self.assert_took(record["durationMs"] / 1000, 1, what="the stop")
        alive = [pid for pid in harness.descendants() if command_of(pid).startswith(harness.OBEDIENT)]
        self.assertEqual(alive, [])

    def test_a_stop_may_bring_its_own_timeout(self):
        record = self.stopped("--ignore-term", stop_flags=("--timeout", "1s"))
        self.assertEqual(record["outcome"], "killed")
        self.assert_took(record["durationMs"] / 1000, 1, what="the stop")

    def test_a_second_stop_shortens_the_wait(self):
        port = free_port()
        agent = Agent(self, ECS_CONTAINER_STOP_TIMEOUT=120)
        service = self.journal()
        agent.run("web1", *self.obedient(port, "--ignore-term", journal=service), port=port)
        wait_until(lambda: service.events("listening"), "the service to listen")
        first = agent.start_ctl("stop", "web1")
        wait_until(service.signalled, "SIGTERM to arrive")
        asked = boot_now()
        record = agent.ctl("stop", "web1", "--timeout", "1s", "--output", "json")
        self.assertEqual(first.wait(), 0)
        self.assert_took(boot_of(record["stoppedAt"]) - asked, 1, what="the end")

    def test_fail_on_kill_says_so_in_the_exit_code(self):
        port = free_port()
        agent = Agent(self, ECS_CONTAINER_STOP_TIMEOUT=1)
        agent.run("web1", *self.obedient(port, "--ignore-term"), port=port)
        agent.ctl("stop", "web1", "--fail-on-kill", code=1)

    def test_a_pre_stop_command_runs_first(self):
        mark = self.dir / "mark"
        record = self.stopped(AGENT_PRE_STOP=f"echo here > {mark}")
        self.assertTrue(mark.exists())
        phases = harness.phases_of(record)
        self.assertEqual(phases, ["PRE_STOP", "SIGTERM"])
        self.assertEqual(phase_of(record, "PRE_STOP")["outcome"], "completed")

    def test_a_pre_stop_command_that_hangs_ends_at_its_own_timeout(self):
        record = self.stopped(AGENT_PRE_STOP="sleep 60", AGENT_PRE_STOP_TIMEOUT="1s")
        self.assertEqual(phase_of(record, "PRE_STOP")["outcome"], "timed_out")
        self.assert_took(record["durationMs"] / 1000, 1, what="the stop")
        self.assertEqual(record["outcome"], "graceful")


def command_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


if __name__ == "__main__":
    harness.main()
