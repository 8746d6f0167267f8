"""`agent serve` and agentctl: a task's life in commands."""
import os
import signal

import harness
from harness import Agent, boot_now, boot_of, free_port, wait_until


class Serve(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.agent = Agent(self, ECS_CLUSTER="blue")

    def run_service(self, name, *options, flags=()):
        port, journal = free_port(), self.journal(name)
        self.agent.run(name, *self.obedient(port, *options, journal=journal), port=port, flags=flags)
        wait_until(lambda: journal.events("listening"), f"{name} to listen")
        return port, journal

    def test_run_returns_when_the_command_was_executed_and_ps_shows_it(self):
        port, journal = self.run_service("web1")
        self.run_service("web2")
        text = self.agent.ctl("ps")
        self.assertIn("web1", text)
        self.assertIn("RUNNING", text)
        tasks = {task["name"]: task for task in self.agent.ctl("ps", "--output", "json")["tasks"]}
        self.assertEqual(set(tasks), {"web1", "web2"})
        self.assertEqual(tasks["web1"]["lastStatus"], "RUNNING")
        self.assertEqual(tasks["web1"]["desiredStatus"], "RUNNING")
        self.assertEqual(tasks["web1"]["ports"], [port])
        self.assertEqual(tasks["web1"]["containers"][0]["pid"], journal.events()[0]["pid"])

    def test_inspect_shows_a_task_before_and_after_its_stop(self):
        self.run_service("web1", "--exit-code", 7)
        self.assertEqual(self.agent.ctl("inspect", "web1", "--output", "json")["lastStatus"], "RUNNING")
        self.agent.ctl("stop", "web1", "--reason", "enough")
        task = self.agent.ctl("inspect", "web1", "--output", "json")
        self.assertEqual(task["lastStatus"], "STOPPED")
        self.assertEqual(task["desiredStatus"], "STOPPED")
        self.assertEqual(task["stopCode"], "UserInitiated")
        self.assertEqual(task["stoppedReason"], "enough")
        self.assertEqual(task["containers"][0]["exitCode"], 7)
        self.assertIn("web1", self.agent.ctl("inspect", "web1"))

    def test_logs_are_what_the_task_wrote(self):
        self.agent.run("talker", "sh", "-c", "echo to stdout; echo to stderr >&2; exec sleep 60")
        wait_until(lambda: "to stderr" in self.agent.ctl("logs", "talker"), "the log")
        self.assertIn("to stdout", self.agent.ctl("logs", "talker"))
        self.assertNotIn("to stdout", self.agent.process.stdout() + self.agent.process.stderr())

    def test_the_environment_is_the_agents_without_our_names(self):
        self.agent.run("env", "sh", "-c", "env; exec sleep 60", flags=["--env", "COLOUR=deep blue"])
        text = wait_until(lambda: "COLOUR" in (log := self.agent.ctl("logs", "env")) and log, "the log")
        self.assertIn("COLOUR=deep blue\n", text)
        self.assertNotIn("ECS_CLUSTER", text)
        self.assertNotIn("ECS_DATADIR", text)
        self.assertRegex(text, r"LASTCALL_TASK=[0-9a-f]{32}")

    def test_the_working_directory_can_be_chosen(self):
        self.agent.run("where", "sh", "-c", "pwd; exec sleep 60", flags=["--chdir", self.dir])
        wait_until(lambda: str(self.dir) in self.agent.ctl("logs", "where"), "the log")

    def test_a_task_that_exits_by_itself_is_recorded(self):
        self.agent.run("short", "sh", "-c", "exit 9")
        task = self.agent.wait_status("short", "STOPPED")
        self.assertEqual(task["stopCode"], "EssentialContainerExited")
        self.assertEqual(task["containers"][0]["exitCode"], 9)
        self.assertEqual(self.agent.stops("short")[0]["outcome"], "exited")

    def test_restart_is_a_new_process_of_the_same_name(self):
        _, journal = self.run_service("web1")
        self.agent.ctl("restart", "web1")
        wait_until(lambda: len(journal.events("listening")) == 2, "the new one to listen")
        first, second = (event["pid"] for event in journal.events("listening"))
        self.assertNotEqual(first, second)
        self.assertEqual(self.agent.task("web1")["lastStatus"], "RUNNING")
        self.assertEqual(len(self.agent.stops("web1")), 1)

    def test_history_is_newest_first(self):
        self.run_service("web1")
        self.agent.ctl("stop", "web1", "--reason", "the first")
        self.run_service("web2")
        self.agent.ctl("stop", "web2", "--reason", "the second")
        stops = self.agent.ctl("history", "--output", "json")["stops"]
        self.assertEqual([stop["stoppedReason"] for stop in stops], ["the second", "the first"])
        self.assertEqual(len(self.agent.ctl("history", "web1", "--output", "json")["stops"]), 1)
        self.assertIn("web2", self.agent.ctl("history"))

    def test_timeline_draws_the_phases(self):
        self.run_service("web1", "--exit-after-term", 300)
        self.agent.ctl("stop", "web1")
        self.assertIn("SIGTERM", self.agent.ctl("timeline", "web1"))

    def test_stop_prints_a_line_a_phase_where_there_is_no_terminal(self):
        self.run_service("web1")
        text = self.agent.ctl("stop", "web1")
        self.assertIn("SIGTERM", text)
        self.assertNotIn("\x1b", text)
        self.assertLess(len(text.splitlines()), 6, text)

    def test_stop_detached_returns_at_once(self):
        _, journal = self.run_service("web1", "--exit-after-term", 1500)
        self.agent.ctl("stop", "web1", "--detach")
        wait_until(journal.signalled, "SIGTERM")
        self.assertNotEqual(self.agent.task("web1")["lastStatus"], "STOPPED")
        self.agent.wait_status("web1", "STOPPED")

    def test_several_tasks_are_stopped_side_by_side(self):
        for name in ("a", "b", "c", "d"):
            self.run_service(name, "--exit-after-term", 800)
        asked = boot_now()
        self.agent.ctl("stop", "--all")
        self.assert_took(boot_now() - asked, 0.8, 0.9)
        ends = [boot_of(self.agent.stops(name)[0]["requestedAt"]) for name in ("a", "b", "c", "d")]
        self.assertLess(max(ends) - min(ends), 0.6)

    def test_stopping_what_is_stopped_is_no_error(self):
        self.run_service("web1")
        self.agent.ctl("stop", "web1")
        self.agent.ctl("stop", "web1")
        self.assertEqual(len(self.agent.stops("web1")), 1)

    def test_signal_goes_to_the_main_process(self):
        _, journal = self.run_service("web1")
        self.agent.ctl("signal", "web1", "USR1")
        wait_until(lambda: journal.signalled(signal.SIGUSR1), "USR1")
        self.agent.ctl("signal", "web1", "NONSENSE", code=None)
        self.assertEqual(self.agent.task("web1")["lastStatus"], "RUNNING")

    def test_config_shows_every_value_and_its_source(self):
        rows = {row["name"]: row for row in self.agent.ctl("config", "--output", "json")["settings"]}
        self.assertEqual((rows["ECS_CLUSTER"]["value"], rows["ECS_CLUSTER"]["source"]), ("blue", "environment"))
        self.assertEqual((rows["AGENT_DEREGISTRATION_DELAY"]["value"],
                          rows["AGENT_DEREGISTRATION_DELAY"]["source"]), ("5m", "default"))
        self.assertIn("ECS_CONTAINER_STOP_TIMEOUT", self.agent.ctl("config"))

    def test_version_and_metadata(self):
        self.assertRegex(self.agent.ctl("version"), r"\d+\.\d+\.\d+")
        self.assertEqual(self.agent.request("GET", "/v1/metadata")[1]["Cluster"], "blue")

    def test_exit_codes_of_agentctl(self):
        self.assertIn("nobody", self.agent.ctl("stop", "nobody", code=3))
        self.agent.ctl("inspect", "nobody", code=3)
        self.agent.ctl("stop", code=2)
        self.agent.ctl("frobnicate", code=2)
        self.run_service("web1")
        self.assertIn("soon", self.agent.ctl("stop", "web1", "--timeout", "soon", code=None))
        self.assertEqual(self.agent.task("web1")["lastStatus"], "RUNNING")
        nowhere = self.dir / "nowhere.sock"
        text = self.agent.ctl("ps", code=4, env=harness.clean_environment(AGENT_SOCKET=nowhere))
        self.assertIn(str(nowhere), text)

    def test_a_stopped_task_can_be_forgotten_and_its_name_reused(self):
        self.run_service("web1")
        self.assertEqual(self.agent.request("DELETE", "/v1/tasks/web1")[0], 409)
        self.agent.ctl("stop", "web1")
        self.assertLess(self.agent.request("DELETE", "/v1/tasks/web1")[0], 300)
        self.assertEqual(self.agent.request("GET", "/v1/tasks/web1")[0], 404)
        self.agent.run("web1", "sleep", "60")

    def test_sigterm_to_the_daemon_stops_all_tasks_side_by_side(self):
        journals = [self.run_service(name, "--exit-after-term", 700)[1] for name in ("a", "b", "c")]
        asked = boot_now()
        self.agent.process.signal(signal.SIGTERM)
        self.assertEqual(self.agent.process.wait(), 0)
        self.assert_took(boot_now() - asked, 0.7, 0.9)
        self.assertTrue(all(journal.events("exit") for journal in journals))
        self.assertFalse(self.agent.socket.exists())
        again = Agent(self)
        stops = again.ctl("history", "--output", "json")["stops"]
        self.assertEqual({stop["outcome"] for stop in stops}, {"graceful"})
        self.assertEqual(len(stops), 3)

    def test_a_stop_in_progress_can_be_watched(self):
        _, journal = self.run_service("web1", "--exit-after-term", 1500)
        self.agent.ctl("stop", "web1", "--detach")
        wait_until(journal.signalled, "SIGTERM")
        task = self.agent.task("web1")
        self.assertEqual(task["lastStatus"], "STOPPING")
        self.assertEqual(task["stopping"]["next"], "SIGKILL")
        self.assertGreater(task["stopping"]["nextInMs"], 20000)
        self.assertLess(task["stopping"]["nextInMs"], 30000)
        self.agent.wait_status("web1", "STOPPED")

    def test_the_socket_is_ours_alone(self):
        self.assertEqual(os.stat(self.agent.socket).st_mode & 0o777, 0o600)


if __name__ == "__main__":
    harness.main()
