"""`agent serve` is killed; another one on the same data directory goes on with its tasks."""
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys

import mortal
import tree
from mortal import boot_now, boot_of, command_of, copies, harness, phase_of, wait_until

LONG = os.environ.get("LASTCALL_LONG") == "1"


class Adoption(mortal.MortalTest):
    def test_a_task_is_supervised_as_before(self):
        self.begin()
        self.serve("--exit-code", 7)
        before = self.agent.task("web")
        self.kill_and_go_on()
        after = self.agent.task("web")
        for fact in ("id", "name", "lastStatus", "desiredStatus", "createdAt", "startedAt", "ports"):
            self.assertEqual(after[fact], before[fact], fact)
        self.assertEqual(after["containers"], before["containers"])
        self.assertEqual(copies(f"127.0.0.1:{self.port}"), [self.pid])
        again = self.agent.ctl("run", "--name", "web", "--", "sleep", "60", code=1)
        self.assertIn("a task of that name is RUNNING", again)
        record = self.agent.ctl("stop", "web", "--output", "json")
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(record["containers"][0]["exitCode"], 7)
        self.assertEqual(len(self.terms()), 1)
        self.assertIsNone(command_of(self.pid))
        self.assertEqual(self.agent.task("web")["lastStatus"], "STOPPED")

    def test_its_exit_code_is_known_when_it_ends_after_its_adoption(self):
        self.begin()
        self.agent.run("web", "sh", "-c", "read line < " + str(self.fifo()) + "; exit 42")
        self.kill_and_go_on()
        with open(self.dir / "fifo", "w") as fifo:
            fifo.write("end\n")
        task = self.agent.wait_status("web", "STOPPED")
        self.assertEqual(task["stopCode"], "EssentialContainerExited")
        self.assertEqual(task["containers"][0]["exitCode"], 42, task)
        self.assertEqual(self.agent.stops("web")[0]["containers"][0]["exitCode"], 42)
        self.assertEqual(self.agent.stops("web")[0]["outcome"], "exited")

    def test_the_signal_that_ended_it_is_known_too(self):
        self.begin()
        self.serve()
        self.kill_and_go_on()
        os.kill(self.pid, signal.SIGKILL)
        task = self.agent.wait_status("web", "STOPPED")
        self.assertEqual(task["containers"][0]["signal"], "SIGKILL")

    def test_one_that_ended_while_no_agent_lived_is_unknown_and_says_so(self):
        self.begin()
        self.serve()
        self.kill_agent()
        os.kill(self.pid, signal.SIGTERM)
        self.gone_at(self.pid)
        self.go_on()
        task = self.agent.wait_status("web", "STOPPED")
        self.assertEqual(task["containers"][0].get("exitCode"), None)
        self.assertEqual(task["containers"][0]["reason"],
                         "UnknownExitCode: it ended while no agent was there to see how")
        self.assertIn("UnknownExitCode", self.agent.ctl("inspect", "web"))
        self.assertIn("exit code unknown", self.agent.ctl("ps"))
        self.assertEqual(self.agent.stops("web")[0]["outcome"], "exited")
        self.serve()  # its name is free

    def behind_two(self):
        """Behind HAProxy, and a load balancer whose program will not be there any more."""
        helpers, flag = self.dir / "helpers", self.dir / "web.up"
        helpers.mkdir()
        shutil.copy(harness.ROOT / "scripts/examples/agent-lb-flag", helpers)
        self.begin(AGENT_HELPER_PATH=helpers)
        self.port, self.service = harness.free_port(), self.journal("web")
        self.haproxy = harness.Haproxy(self, {"web": self.port})
        self.agent.run("web", *self.obedient(self.port, journal=self.service), port=self.port,
                       load_balancers=[self.haproxy.url("web"), f"flag:{flag}?settle=100ms"])
        self.haproxy.wait_ready("web")
        wait_until(flag.exists, "the flag")
        self.wait_recorded("web", registered=True)
        return helpers / "agent-lb-flag"

    def assert_two_left(self, flag_outcome):
        record = self.agent.stops("web")[0]
        left = {phase["detail"]["loadBalancer"].partition(":")[0]: phase for phase in record["phases"]
                if phase["phase"] == "DEREGISTER"}
        self.assertEqual(left["haproxy"]["outcome"], "completed", record)
        self.assertEqual(left["flag"]["outcome"], flag_outcome, record)
        self.assertEqual(phase_of(record, "DRAIN")["outcome"], "completed", record)
        self.assertEqual(record["outcome"], "graceful")
        return left["flag"]

    def test_a_load_balancer_that_is_lost_hides_no_other(self):
        program = self.behind_two()
        self.kill_agent()
        program.unlink()
        self.go_on()
        self.assertIn("can't be spoken to", self.agent.process.stderr())
        self.agent.ctl("stop", "web")
        self.assertIn("a program agent-lb-flag in", self.assert_two_left("failed")["detail"]["error"])
        self.assertTrue(self.haproxy.server("web")["admin_state"] & 0x09, "HAProxy would still send")

    def test_a_drain_goes_on_without_a_load_balancer_that_is_lost(self):
        program = self.behind_two()
        client = harness.Client(self.haproxy.port)
        self.addCleanup(client.close)
        client.send("/delay/1500")
        wait_until(lambda: self.haproxy.server("web")["scur"], "the request")
        self.agent.ctl("stop", "web", "--detach")
        self.wait_phase_recorded("web", "DRAIN")
        self.kill_agent()
        program.unlink()
        self.go_on()
        self.assertEqual(client.response(), 200)
        self.agent.wait_status("web", "STOPPED")
        self.assert_two_left("completed")
        self.assertEqual(len(self.terms()), 1)

    def left_to_a_stranger(self):
        """The agent is dead, and so is its task; somebody else runs."""
        self.begin()
        self.serve()
        self.kill_agent()
        os.kill(self.pid, signal.SIGKILL)
        self.gone_at(self.pid)
        return self.start("stranger", ["sleep", "600"])

    def test_a_stranger_with_its_number_is_never_touched(self):
        stranger = self.left_to_a_stranger()
        with sqlite3.connect(self.agent.data / "journal.db") as journal:
            journal.execute("update containers set pid = ?", (stranger.pid,))
        journal.close()
        self.go_on()
        self.agent.wait_status("web", "STOPPED")
        self.agent.ctl("stop", "web", "--force")
        self.assertTrue(stranger.running())

    def test_after_a_reboot_even_the_same_number_and_start_are_a_stranger(self):
        stranger = self.left_to_a_stranger()
        start = pathlib.Path(f"/proc/{stranger.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        with sqlite3.connect(self.agent.data / "journal.db") as journal:
            journal.execute("update containers set pid = ?, start_time = ?", (stranger.pid, start))
            journal.execute("update tasks set boot_id = 'another'")
        journal.close()
        self.go_on()
        task = self.agent.wait_status("web", "STOPPED")
        self.assertIn("UnknownExitCode", task["containers"][0]["reason"])
        self.assertTrue(stranger.running())

    def test_its_whole_tree_is_learnt_again(self):
        self.begin()
        self.serve("--fork", 3, "--setsid-child", "--ignore-term")
        wait_until(lambda: len(copies(f"127.0.0.1:{self.port}")) == 5, "the children")
        self.kill_and_go_on()
        record = self.agent.ctl("stop", "web", "--timeout", "1s", "--output", "json")
        self.assertEqual(record["outcome"], "killed")
        self.assertEqual(phase_of(record, "SIGTERM")["detail"]["left"], 5)
        self.assertEqual(copies(f"127.0.0.1:{self.port}"), [])
        self.assertEqual(record["survivors"], 0)

    def test_its_output_goes_on(self):
        self.begin()
        self.agent.run("talker", "sh", "-c", "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done")
        def lines():
            return (self.agent.data / "logs/talker.log").read_text().splitlines()
        wait_until(lambda: len(lines()) > 20, "some lines")
        self.kill_agent()
        seen = len(lines())
        wait_until(lambda: len(lines()) > seen + 20, "lines without an agent")
        self.go_on()
        self.agent.ctl("stop", "talker")
        self.assertEqual(lines(), [f"line {number + 1}" for number in range(len(lines()))])

    def test_a_task_without_a_cgroup_is_found_by_its_mark(self):
        """As in a container: cgroups are read-only."""
        self.environment = {}
        points = " ".join(str(point) for point, kind, _ in tree.mounts() if kind == "cgroup2")
        script = f'for each in {points}; do mount -o bind,remount,ro "$each" || exit 9; done; exec "$@"'
        prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        self.agent = mortal.Agent(self, prefix=prefix)
        self.serve("--fork", 2, "--setsid-child", "--ignore-term")
        wait_until(lambda: len(copies(f"127.0.0.1:{self.port}")) == 4, "the children")
        self.kill_agent()
        self.agent = mortal.Agent(self, prefix=prefix)
        record = self.agent.ctl("stop", "web", "--timeout", "1s", "--output", "json")
        self.assertEqual(record["outcome"], "killed")
        self.assertIsNone(phase_of(record, "CLEANUP"))
        self.assertEqual(phase_of(record, "SIGTERM")["detail"]["left"], 4)
        self.assertEqual(copies(f"127.0.0.1:{self.port}"), [])

    def test_stopped_tasks_are_still_shown_and_can_be_started_again(self):
        self.begin()
        self.serve()
        self.agent.ctl("stop", "web")
        self.kill_and_go_on()
        self.assertEqual(self.agent.task("web")["lastStatus"], "STOPPED")
        self.agent.ctl("restart", "web")
        self.assertEqual(self.agent.task("web")["lastStatus"], "RUNNING")

    def fifo(self):
        os.mkfifo(self.dir / "fifo")
        return self.dir / "fifo"


class Resume(mortal.MortalTest):
    """Killed in the middle of a drain, and again in the middle of a stop timeout."""

    DRAIN, TIMEOUT = (20.0, 10.0) if LONG else (3.0, 3.0)

    def test_sigterm_and_sigkill_come_when_they_were_planned(self):
        self.begin(AGENT_DEREGISTRATION_DELAY=self.DRAIN, ECS_CONTAINER_STOP_TIMEOUT=self.TIMEOUT)
        ready = mortal.free_port()
        self.serve("--ignore-term", load_balancers=[f"readiness://127.0.0.1:{ready}/ready?settle=100ms"])
        client = harness.Client(self.port)
        self.addCleanup(client.close)
        self.assertEqual(client.get("/"), 200)
        wait_until(lambda: harness.Client(ready).get("/ready") == 200, "its registration")
        self.agent.ctl("stop", "web", "--detach")
        wait_until(lambda: harness.Client(ready).get("/ready") == 503 and self.phase() == "DRAIN", "its drain")
        drain = phase_of(self.agent.task("web")["stopping"]["stop"], "DRAIN")
        began = boot_of(drain["startedAt"])
        wait_until(lambda: boot_now() > began + self.DRAIN / 2, "the middle of the drain", 30)
        self.kill_and_go_on()
        self.assertEqual(harness.Client(ready).get("/ready"), 503, "it was taken back")
        self.assertEqual(self.agent.task("web")["lastStatus"], "DEACTIVATING")
        self.assertEqual(self.terms(), [])
        wait_until(self.terms, "SIGTERM", 30)
        term = self.terms()[0]["boot"] / 1e6
        self.assert_on_time(term, began + self.DRAIN, "SIGTERM")
        wait_until(lambda: boot_now() > term + self.TIMEOUT / 2, "the middle of the stop timeout", 30)
        self.kill_and_go_on()
        self.assertEqual(self.agent.task("web")["lastStatus"], "STOPPING")
        self.assertEqual(copies(f"127.0.0.1:{self.port}"), [self.pid])
        killed = self.gone_at(self.pid)
        self.assert_on_time(killed, term + self.TIMEOUT, "SIGKILL")
        self.agent.wait_status("web", "STOPPED")
        self.assertEqual(len(self.terms()), 1)
        [record] = self.agent.stops("web")
        self.assertEqual(record["outcome"], "killed")
        self.assertEqual([p["phase"] for p in record["phases"] if p["phase"] != "CLEANUP"],
                         ["DEREGISTER", "DRAIN", "SIGTERM", "SIGKILL"])
        self.assertEqual(phase_of(record, "DRAIN")["outcome"], "timed_out")
        self.assertEqual(phase_of(record, "DRAIN")["detail"]["agentRestarts"], 1)
        self.assertEqual(phase_of(record, "SIGTERM")["detail"]["agentRestarts"], 1)
        self.assertAlmostEqual(phase_of(record, "DRAIN")["durationMs"] / 1000, self.DRAIN, delta=0.1)
        self.assertAlmostEqual(phase_of(record, "SIGTERM")["durationMs"] / 1000, self.TIMEOUT, delta=0.1)
        self.assertEqual(record["containers"][0]["signal"], "SIGKILL")
        self.assertEqual(record["containers"][0]["killedBy"], "SIGKILL")

    def phase(self):
        stopping = (self.agent.task("web") or {}).get("stopping")
        return stopping and stopping["stop"]["phases"][-1]["phase"]

    def assert_on_time(self, at, planned, what):
        self.assertGreaterEqual(at, planned - 0.005, f"{what} was early")
        self.assertLess(at, planned + 0.1, f"{what} was late by {at - planned:.3f} s")
        print(f"{what}: {1000 * (at - planned):.1f} ms after its time", file=sys.stderr)

    def test_a_deadline_that_passed_while_no_agent_lived(self):
        self.begin(ECS_CONTAINER_STOP_TIMEOUT=1)
        self.serve("--ignore-term")
        self.agent.ctl("stop", "web", "--detach")
        wait_until(self.terms, "SIGTERM")
        due = self.terms()[0]["boot"] / 1e6 + 1
        self.kill_agent()
        wait_until(lambda: boot_now() > due + 0.5, "the deadline to be over")
        self.assertIsNotNone(command_of(self.pid))
        begun = boot_now()
        self.go_on()
        self.assertLess(self.gone_at(self.pid) - begun, 0.1 + mortal.harness.SLACK)
        self.agent.wait_status("web", "STOPPED")
        self.assertEqual(len(self.terms()), 1)

    def test_a_hook_that_goes_on_is_waited_for_and_not_run_again(self):
        self.begin()
        ran = self.dir / "ran"
        self.serve(flags=["--pre-stop", f"echo x >> {ran}; while [ ! -e {self.dir}/go ]; do sleep 0.01; done"])
        self.agent.ctl("stop", "web", "--detach")
        wait_until(ran.exists, "the hook")
        self.kill_and_go_on()
        mortal.assert_stays(lambda: not self.terms(), "no SIGTERM while the hook runs", 0.3)
        (self.dir / "go").touch()
        self.agent.wait_status("web", "STOPPED")
        self.assertEqual(ran.read_text(), "x\n")
        [record] = self.agent.stops("web")
        self.assertEqual(phase_of(record, "PRE_STOP")["outcome"], "completed", record)
        self.assertEqual(len(self.terms()), 1)


class Many(mortal.MortalTest):
    COUNT = 500

    def test_five_hundred_tasks_are_adopted_at_once(self):
        self.begin(ECS_LOGLEVEL="warn")
        script = f"for i in $(seq {self.COUNT}); do \"$0\" run --name t$i -- sleep 1000 & [ $((i % 20)) -ne 0 ] || wait; done; wait"
        subprocess.run(["sh", "-c", script, harness.AGENTCTL], check=True, stdout=subprocess.DEVNULL, timeout=120,
                       env=harness.clean_environment(AGENT_SOCKET=self.agent.socket))
        before = {t["name"]: t["containers"][0]["pid"] for t in self.agent.request("GET", "/v1/tasks")[1]["tasks"]}
        self.assertEqual(len(before), self.COUNT)
        self.kill_agent()
        begun = boot_now()
        self.go_on()
        print(f"{self.COUNT} tasks adopted in {1000 * (boot_now() - begun):.0f} ms", file=sys.stderr)
        tasks = self.agent.request("GET", "/v1/tasks")[1]["tasks"]
        self.assertEqual({t["name"]: t["containers"][0]["pid"] for t in tasks}, before)
        self.assertEqual({t["lastStatus"] for t in tasks}, {"RUNNING"})
        self.agent.ctl("stop", "--all", timeout=120)
        self.assertEqual([pid for pid in before.values() if command_of(pid)], [])


if __name__ == "__main__":
    harness.main()
