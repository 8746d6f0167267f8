"""`agentctl upgrade`: the agent executes its binary anew, and nobody notices but who asks."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import harness
from harness import AGENT, Agent, wait_until


class Asker:
    """Asks for /healthz on a new connection each, one after the other, and notes what fails."""

    def __init__(self, socket):
        self.socket, self.asked, self.longest, self.failures = socket, 0, 0.0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                status, _ = harness.request(self.socket, "GET", "/healthz", timeout=10)
                if status != 200:
                    self.failures.append(status)
            except OSError as error:
                self.failures.append(repr(error))
            self.longest = max(self.longest, time.monotonic() - began)
            self.asked += 1

    def finish(self):
        self.over.set()
        self.thread.join(15)
        return self


class UpgradeTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.binary = self.dir / "agent"
        shutil.copy(AGENT, self.binary)

    def serve(self, **environment):
        return Agent(self, binary=self.binary, **environment)

    def started_at(self, agent):
        return agent.request("GET", "/v1/metadata")[1]["startedAt"]

    def replace(self, content=None, mode=0o755):
        """As a package does: another file under the same name."""
        new = self.dir / "agent.new"
        if content is None:
            new.write_bytes(pathlib.Path(AGENT).read_bytes())
        else:
            new.write_text(content)
        new.chmod(mode)
        new.rename(self.binary)

    def replace_by_version(self, version):
        old = re.search(r"\d+\.\d+\.\d+", subprocess.run(
            [AGENT, "version"], capture_output=True, text=True, check=True).stdout).group()
        self.assertEqual(len(version), len(old))
        text = pathlib.Path(AGENT).read_bytes().replace(old.encode(), version.encode())
        new = self.dir / "agent.new"
        new.write_bytes(text)
        new.chmod(0o755)
        new.rename(self.binary)
        return old

    def refused(self, agent, *words, code=1):
        """What agentctl says; the agent is as it was, and works."""
        before = self.started_at(agent)
        text = agent.ctl("upgrade", *words, code=code)
        self.assertEqual(self.started_at(agent), before)
        self.count = getattr(self, "count", 0) + 1
        name = f"after{self.count}"
        agent.run(name, "sleep", "60")
        self.assertEqual(agent.task(name)["lastStatus"], "RUNNING")
        return text

    def test_pid_children_and_socket_stay(self):
        agent = self.serve()
        agent.run("web1", "sleep", "60")
        pid = agent.task("web1")["containers"][0]["pid"]
        before = self.started_at(agent)
        old = self.replace_by_version("9.8.7")
        asker = Asker(agent.socket)
        wait_until(lambda: asker.asked > 20, "some requests")
        answer = agent.ctl("upgrade", "--output", "json")
        asked = asker.asked
        wait_until(lambda: asker.asked > asked + 20, "some more requests")
        asker.finish()
        self.assertEqual(answer["from"]["startedAt"], before)
        self.assertEqual((answer["from"]["Version"], answer["to"]["Version"]), (old, "9.8.7"))
        self.assertEqual((answer["from"]["pid"], answer["to"]["pid"]), (agent.process.pid,) * 2)
        self.assertNotEqual(answer["to"]["startedAt"], before)
        self.assertLess(answer["silentMs"], 1000 * harness.SLACK)
        # A connection that is open in that moment is closed; no new one is refused.
        self.assertFalse([f for f in asker.failures if "Refused" in str(f) or "No such" in str(f)])
        self.assertLessEqual(len(asker.failures), 1, asker.failures)
        self.assertEqual(parent_of(pid), agent.process.pid)
        print(f"\n  silent for {answer['silentMs']:.1f} ms, the longest answer took {asker.longest * 1000:.1f} ms")

    def test_people_read_what_happened(self):
        agent = self.serve()
        old = self.replace_by_version("9.8.7")
        self.assertRegex(agent.ctl("upgrade"),
                         rf"^agent {old} -> 9\.8\.7, pid {agent.process.pid} as before; "
                         r"the socket was silent for [\d.]+ m?s\n$")

    def test_a_child_that_ends_afterwards_is_reaped(self):
        agent = self.serve()
        agent.run("web1", "sleep", "60")
        pid = agent.task("web1")["containers"][0]["pid"]
        agent.ctl("upgrade")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the child to be reaped")

    def test_tasks_get_what_the_first_image_inherited(self):
        agent = Agent(self, binary=self.binary, MARK="here",
                      prefix=["bash", "-c", "ulimit -Sn 777; trap '' USR2; exec \"$0\" \"$@\""])
        script = "grep Sig[BI] /proc/self/status; ulimit -Sn; env | grep -c HANDOVER; echo $MARK"

        def inherited(name):
            agent.run(name, "sh", "-c", f"{script}; sleep 60")
            log = agent.data / "logs" / f"{name}.log"
            return wait_until(lambda: log.exists() and "here" in log.read_text() and log.read_text(), "a log")
        before = inherited("before")
        self.assertIn("\n777\n0\n", before)
        for _ in range(2):
            agent.ctl("upgrade")
        self.assertEqual(inherited("after"), before)

    def test_the_data_directory_stays_locked(self):
        agent = self.serve()
        agent.ctl("upgrade")
        other = Agent(self, ECS_DATADIR=agent.data, AGENT_SOCKET=self.dir / "other.sock", wait=False)
        self.assertEqual(other.process.wait(), 1)
        self.assertIn(f"another agent (pid {agent.process.pid}) has it", other.process.stderr())

    def test_nothing_is_left_open(self):
        agent = self.serve()

        def descriptors():
            links = [os.readlink(f"/proc/{agent.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{agent.process.pid}/fd")]
            return sorted(re.sub(r"\d+", "", link) for link in links)
        agent.ctl("upgrade")
        wait_until(lambda: descriptors() == (time.sleep(0.3) or descriptors()), "quiet")
        before = descriptors()
        for _ in range(5):
            clients = [harness.socket.socket(harness.socket.AF_UNIX) for _ in range(3)]
            for client in clients:
                client.connect(str(agent.socket))
            agent.ctl("upgrade")
            for client in clients:  # the old image's, which the new one doesn't hold open
                client.settimeout(10)
                self.assertEqual(client.recv(1), b"")
                client.close()
        try:
            wait_until(lambda: descriptors() == before, "as many descriptors as before", 5)
        except AssertionError:
            self.assertEqual(descriptors(), before)

    def test_a_new_binary_that_cannot_take_over_leaves_the_old_one_running(self):
        agent = self.serve()
        agent.run("web1", "sleep", "60")
        pid = agent.task("web1")["containers"][0]["pid"]
        cases = [
            ("#!/bin/sh\necho 'agent: cannot read the stars: cloudy' >&2; exit 3\n", "cannot read the stars: cloudy"),
            ("#!/bin/sh\nexit 3\n", "it exited with 3"),
            ("#!/bin/sh\nkill -9 $$\n", "it was ended by SIGKILL"),
            ("#!/bin/sh\nexit 0\n", "it is no agent that could take over"),
            ("#!/bin/sh\necho 'agent 0.1.0 can take over, handover 99'\n", "it is no agent that could take over"),
            ("#!/nonexistent\n", "No such file or directory"),
        ]
        for script, reason in cases:
            with self.subTest(reason):
                self.replace(script)
                text = self.refused(agent)
                self.assertIn(reason, text)
                self.assertIn(f"cannot upgrade to '{self.binary}'", text)
                self.assertIn("Upgrade refused", agent.process.stderr())
        self.replace("no program", 0o644)
        self.assertIn("Permission denied", self.refused(agent))
        self.binary.unlink()
        self.assertIn("No such file or directory", self.refused(agent))
        self.assertIn("No such file", self.refused(agent, "--binary", "/nonexistent/agent"))
        self.assertIn("no agent that could take over", self.refused(agent, "--binary", "/bin/true"))
        self.assertIn("absolute path", self.refused(agent, "--binary", "agent"))
        self.assertEqual(parent_of(pid), agent.process.pid)
        self.replace()
        agent.ctl("upgrade")

    def test_a_new_binary_that_hangs_is_given_five_seconds(self):
        agent = self.serve()
        self.replace("#!/bin/sh\nsleep 60\n")
        asked = harness.boot_now()
        self.assertIn("no answer within 5 s", self.refused(agent))
        self.assert_took(harness.boot_now() - asked, 5)
        wait_until(lambda: not [p for p in harness.descendants() if command_of(p) == "sleep 60 --check"
                                or "--check" in command_of(p)], "the hanging binary to be gone")

    def test_an_exec_that_fails_leaves_the_old_one_running(self):
        agent = self.serve()
        known = subprocess.run([AGENT, "serve", "--check"], capture_output=True, text=True, check=True,
                               env=harness.clean_environment(ECS_DATADIR=agent.data)).stdout.strip()
        self.replace(f"#!/bin/sh\necho '{known}'; rm $0\n")
        text = self.refused(agent)
        self.assertIn("No such file or directory", text)
        self.assertIn("going on as before", agent.process.stderr())
        self.replace()
        agent.ctl("upgrade")
        self.assertNotIn("upgradeFailure", agent.request("GET", "/v1/metadata")[1])

    def test_a_journal_of_a_newer_schema_is_in_the_way(self):
        agent = self.serve()
        agent.run("web1", "sleep", "60")
        subprocess.run(["sqlite3", agent.data / "journal.db", "pragma user_version = 99"], check=True)
        self.assertIn("its schema is version 99", self.refused(agent))

    def test_check_changes_nothing(self):
        data = self.dir / "nowhere"
        environment = harness.clean_environment(ECS_DATADIR=data, AGENT_SOCKET=self.dir / "x" / "s")
        done = subprocess.run([AGENT, "serve", "--check"], capture_output=True, text=True, env=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertFalse(data.exists() or (self.dir / "x").exists())
        done = subprocess.run([AGENT, "serve", "--check", "--load-balancer", "gopher:x"], capture_output=True,
                              text=True, env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_a_signal_that_comes_meanwhile_is_not_lost(self):
        for delay in range(0, 20, 2):
            with self.subTest(delay):
                agent = Agent(self, binary=self.binary, ECS_DATADIR=self.dir / f"data{delay}",
                              AGENT_SOCKET=self.dir / f"agent{delay}.sock")
                self.assertEqual(agent.request("POST", "/v1/upgrade")[0], 202)
                end = time.monotonic() + delay / 1000
                while time.monotonic() < end:
                    pass
                agent.process.signal(signal.SIGTERM)
                self.assertEqual(agent.process.wait(), 0)
                self.assertFalse(agent.socket.exists())

    def test_one_upgrade_at_a_time_and_none_while_shutting_down(self):
        agent = self.serve()
        self.replace("#!/bin/sh\nsleep 60\n")
        first = agent.start_ctl("upgrade")
        wait_until(lambda: [p for p in harness.descendants() if "--check" in command_of(p)], "the check to run")
        self.assertIn("another upgrade is going on", agent.ctl("upgrade", code=1))
        self.assertEqual(first.wait(), 1)
        service = self.journal("slow")
        agent.run("slow", *self.obedient(harness.free_port(), "--exit-after-term", 1500, journal=service))
        wait_until(lambda: service.events("listening"), "it to listen")
        agent.process.signal(signal.SIGTERM)
        wait_until(lambda: agent.task("slow")["lastStatus"] == "STOPPING", "the shutdown")
        self.assertIn("shutting down", agent.ctl("upgrade", code=1))
        self.assertEqual(agent.process.wait(), 0)

    def test_an_agent_that_wraps_a_command_is_not_upgraded(self):
        socket = self.dir / "run.sock"
        run = self.agent_run("sleep", "60", AGENT_SOCKET=socket)
        wait_until(lambda: harness.answers(socket), "the socket")
        status, problem = harness.request(socket, "POST", "/v1/upgrade")
        self.assertEqual(status, 409)
        self.assertIn("wraps one command", problem["detail"])
        run.kill()


def parent_of(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2:].split()[1])


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


if __name__ == "__main__":
    harness.main()
