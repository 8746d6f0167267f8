"""Nonsense gets a clear line, and nothing is lost: the agent and the other tasks go on."""
import os
import pathlib
import signal
import socket
import subprocess

import harness
from harness import Agent, Client, Haproxy, answers, boot_now, free_port, phase_of, wait_until


class Names(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.agent = Agent(self)

    def test_a_name_that_is_none_is_refused(self):
        for name in ("", "..", ".", "a/b", "/", "../x", "a b", "-x", "n" * 300, "ümlaut", "a\nb"):
            with self.subTest(name[:10]):
                status, problem = self.agent.request(
                    "POST", "/v1/tasks", {"name": name, "command": ["sleep", "60"]})
                self.assertEqual(status, 400, problem)
                self.assertIn("name", problem["detail"])
                done = self.agent.ctl_process("run", f"--name={name}", "--", "sleep", "60")
                self.assertIn(done.returncode, (1, 2))
                self.assertLess(len(done.stderr.splitlines()), 4)
        self.assertEqual(self.agent.request("GET", "/v1/tasks")[1]["tasks"], [])

    def test_a_name_in_use_is_a_conflict(self):
        self.agent.run("web", "sleep", "60")
        self.assertIn("web", self.agent.ctl("run", "--name", "web", "--", "sleep", "60", code=1))
        status, _ = self.agent.request("POST", "/v1/tasks", {"name": "web", "command": ["sleep", "60"]})
        self.assertEqual(status, 409)
        self.assertEqual(len(self.agent.request("GET", "/v1/tasks")[1]["tasks"]), 1)

    def test_a_command_that_cannot_be_executed(self):
        plain = self.dir / "plain"
        plain.write_text("no program")
        for command, cause in (("/nowhere/at-all", "No such file"), (plain, "ermission denied")):
            with self.subTest(command):
                text = self.agent.ctl("run", "--name", "broken", "--", command, code=1)
                self.assertIn(str(command), text)
                self.assertIn(cause, text)
        self.agent.ctl("run", "--name", "nothing", code=2)
        task = self.agent.task("broken")
        if task:
            self.assertEqual((task["lastStatus"], task["stopCode"]), ("STOPPED", "TaskFailedToStart"))
        self.agent.run("broken", "sleep", "60")


class Requests(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.agent = Agent(self)

    def raw(self, data, timeout=20):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self.agent.socket))
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all of it was sent
            parts = []
            try:
                while part := connection.recv(65536):
                    parts.append(part)
            except ConnectionResetError:
                pass
        return b"".join(parts).decode(errors="replace")

    def assert_alive(self):
        self.assertTrue(answers(self.agent.socket))

    def test_what_is_no_http(self):
        for data in (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(200)) + b"\r\n\r\n",
                     b"hello?\r\n\r\n", b"\0" * 5000 + b"\r\n\r\n"):
            answer = self.raw(data)
            self.assertTrue(answer == "" or answer.startswith("HTTP/1.1 4"), answer[:80])
            self.assert_alive()

    def test_a_body_over_the_limit(self):
        head = b"POST /v1/tasks HTTP/1.1\r\nHost: agent\r\nContent-Length: 2000000\r\n\r\n"
        answer = self.raw(head + b"x" * 2000000)
        self.assertTrue(answer.startswith("HTTP/1.1 413"), answer[:80])
        self.assert_alive()

    def test_headers_without_end(self):
        answer = self.raw(b"GET / HTTP/1.1\r\n" + b"X-Filler: abcdefgh\r\n" * 20000)
        self.assertTrue(answer == "" or answer.startswith("HTTP/1.1 4"), answer[:80])
        self.assert_alive()

    def test_half_a_request_and_then_silence(self):
        asked = boot_now()
        self.raw(b"POST /v1/tasks HTTP/1.1\r\nHost: agent\r\nContent-Length: 50\r\n\r\n{", timeout=25)
        self.assertLess(boot_now() - asked, 15)
        self.assert_alive()

    def test_json_that_is_none_or_something_else(self):
        for body in (b"{", b"[]", b"7", b'{"name": 7}', b'{"name": "a", "command": "ls"}',
                     b'{"nmae": "a", "command": ["ls"]}', b'{"name": "a", "command": []}',
                     b"[" * 5000, b'{"name": "\xff", "command": ["ls"]}'):
            with self.subTest(body[:30]):
                answer = self.raw(b"POST /v1/tasks HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
                                  b"Content-Type: application/json\r\n"
                                  b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                self.assertTrue(answer.startswith("HTTP/1.1 400"), answer[:200])
                self.assertIn("application/problem+json", answer)
        self.assertEqual(self.agent.request("GET", "/v1/tasks")[1]["tasks"], [])

    def test_paths_and_methods_that_arent_there(self):
        self.assertEqual(self.agent.request("GET", "/v1/nothing")[0], 404)
        self.assertEqual(self.agent.request("GET", "/v1/tasks/nobody")[0], 404)
        self.assertEqual(self.agent.request("POST", "/v1/tasks/nobody/stop", {})[0], 404)
        self.assertEqual(self.agent.request("DELETE", "/v1/tasks")[0], 405)

    def test_a_client_that_disappears_in_the_middle_of_a_stop_cancels_nothing(self):
        port, journal = free_port(), self.journal()
        self.agent.run("web1", *self.obedient(port, "--exit-after-term", 1000, journal=journal), port=port)
        wait_until(lambda: journal.events("listening"), "the service")
        stop = self.agent.start_ctl("stop", "web1")
        wait_until(journal.signalled, "SIGTERM")
        stop.kill()
        self.agent.wait_status("web1", "STOPPED")
        self.assertEqual(self.agent.stops("web1")[0]["outcome"], "graceful")

    def test_a_crowd_of_silent_clients_doesnt_lock_others_out(self):
        crowd = []
        for _ in range(100):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self.agent.socket))
            crowd.append(connection)
        self.assert_alive()
        for connection in crowd:
            connection.close()


class OneAgent(harness.LiveTest):
    def test_a_second_one_on_the_same_socket_or_data_directory_ends(self):
        first = Agent(self)
        first.run("web", "sleep", "60")
        for changed in ({"ECS_DATADIR": self.dir / "other"}, {"AGENT_SOCKET": self.dir / "other.sock"}):
            with self.subTest(changed):
                second = Agent(self, wait=False, **changed)
                self.assertEqual(second.process.wait(), 1)
                self.assertIn("cannot", second.process.stderr())
                self.assertTrue(answers(first.socket))
        self.assertEqual(first.task("web")["lastStatus"], "RUNNING")

    def test_a_socket_that_a_dead_agent_left_is_replaced(self):
        first = Agent(self)
        first.process.kill()
        self.assertTrue(first.socket.exists())
        Agent(self)

    def test_values_that_are_none_are_warned_of_and_replaced(self):
        agent = Agent(self, ECS_CONTAINER_STOP_TIMEOUT="soon", AGENT_DEREGISTRATION_DELAY="2h",
                      AGENT_DEREGISTRATION_DELYA="5s")
        log = agent.process.stderr()
        for word in ("soon", "2h", "AGENT_DEREGISTRATION_DELYA"):
            self.assertIn(word, log)
        rows = {row["name"]: row["value"] for row in agent.ctl("config", "--output", "json")["settings"]}
        self.assertEqual(rows["ECS_CONTAINER_STOP_TIMEOUT"], "30s")


class LoadBalancers(harness.LiveTest):
    def test_a_url_that_is_none_is_refused(self):
        agent = Agent(self)
        for url in ("gopher://x", "haproxy:///run/x.sock", "haproxy://localhost:9999?server=web/a",
                    "nonsense", "haproxy:///x?server=web", "readiness://", "haproxy:///x?server=a/b&sevrer=1"):
            with self.subTest(url):
                text = agent.ctl("run", "--name", "web", "--load-balancer", url, "--", "sleep", "60", code=1)
                self.assertIn(url.split("?")[0], text)
        self.assertEqual(agent.request("GET", "/v1/tasks")[1]["tasks"], [])

    def stop_behind(self, url, haproxy=None, hold=None, **environment):
        """The record of a stop of web1; `hold` keeps a connection straight to it for so many seconds' delay."""
        agent = Agent(self, **environment)
        journal = self.journal()
        agent.run("web1", *self.obedient(self.port, journal=journal), port=self.port, load_balancers=[url])
        wait_until(lambda: journal.events("listening"), "the service")
        record = agent.ctl("stop", "web1", "--output", "json")
        self.assertEqual(agent.task("web1")["lastStatus"], "STOPPED")
        self.assertIsNotNone(journal.signalled())
        return record

    def setUp(self):
        super().setUp()
        self.port = free_port()

    def test_an_absent_socket(self):
        record = self.stop_behind(f"haproxy://{self.dir}/nowhere.sock?server=web/web1",
                                  AGENT_DEREGISTER_TIMEOUT="1s", AGENT_DEREGISTRATION_DELAY=20)
        deregister = phase_of(record, "DEREGISTER")
        self.assertEqual(deregister["outcome"], "failed")
        self.assert_took(deregister["durationMs"] / 1000, 0, 1, "the attempts")
        self.assertIn("nowhere.sock", str(deregister["detail"]))
        self.assert_took(record["durationMs"] / 1000, 0, 2, "the stop")

    def test_a_server_that_haproxy_doesnt_know(self):
        haproxy = Haproxy(self, {"other": self.port})
        record = self.stop_behind(haproxy.url("web1"), AGENT_DEREGISTRATION_DELAY=20)
        deregister = phase_of(record, "DEREGISTER")
        self.assertEqual(deregister["outcome"], "failed")
        self.assertIn("No such server", str(deregister["detail"]))
        self.assert_took(record["durationMs"] / 1000, 0, 1, "the stop")

    def test_a_haproxy_without_admin_level(self):
        haproxy = Haproxy(self, {"web1": self.port}, level="operator", server_options="")
        record = self.stop_behind(haproxy.url("web1"), AGENT_DEREGISTRATION_DELAY=20)
        deregister = phase_of(record, "DEREGISTER")
        self.assertEqual(deregister["outcome"], "failed")
        self.assertIn("Permission denied", str(deregister["detail"]))
        self.assert_took(record["durationMs"] / 1000, 0, 1, "the stop")

    def in_the_middle_of_a_drain(self, delay, mode="closed"):
        """haproxy, agent, the service's journal, and the stop, which hangs on a request in flight."""
        haproxy = Haproxy(self, {"web1": self.port}, server_options="")
        agent = Agent(self, AGENT_DEREGISTRATION_DELAY=delay, AGENT_DRAIN=mode)
        journal = self.journal()
        agent.run("web1", *self.obedient(self.port, journal=journal), port=self.port,
                  load_balancers=[haproxy.url("web1", timeout="500ms")])
        wait_until(lambda: journal.events("listening"), "the service")
        client = Client(haproxy.port).send("/hold")
        self.addCleanup(client.close)
        direct = Client(self.port)
        self.addCleanup(direct.close)
        self.assertEqual(direct.get("/"), 200)
        wait_until(lambda: len(journal.requests()) == 2, "both requests")
        stop = agent.start_ctl("stop", "web1", "--output", "json")
        agent.wait_phase("web1", "DRAIN")
        self.assertIsNone(journal.signalled())
        return haproxy, agent, journal, stop, direct

    def check_end(self, agent, journal, stop, asked, bound):
        self.assertEqual(stop.wait(bound + 10), 0)
        self.assertIsNotNone(journal.signalled())
        self.assert_took(journal.signalled() - asked, 0, bound, "SIGTERM")
        record = agent.stops("web1")[0]
        self.assertEqual(record["containers"][0]["exitCode"], 0)
        self.assertTrue(answers(agent.socket))
        return record

    def test_haproxy_killed_in_the_middle_of_a_drain(self):
        asked = boot_now()
        haproxy, agent, journal, stop, _ = self.in_the_middle_of_a_drain(delay=4)
        haproxy.process.kill()
        self.check_end(agent, journal, stop, asked, 4)

    def test_haproxy_hung_in_the_middle_of_a_drain(self):
        asked = boot_now()
        haproxy, agent, journal, stop, _ = self.in_the_middle_of_a_drain(delay=4)
        haproxy.process.signal(signal.SIGSTOP)
        self.check_end(agent, journal, stop, asked, 4)
        haproxy.process.signal(signal.SIGCONT)

    def test_haproxy_hung_before_the_stop(self):
        haproxy = Haproxy(self, {"web1": self.port})
        agent = Agent(self, AGENT_DEREGISTRATION_DELAY=20, AGENT_DEREGISTER_TIMEOUT="2s")
        journal = self.journal()
        agent.run("web1", *self.obedient(self.port, journal=journal), port=self.port,
                  load_balancers=[haproxy.url("web1", timeout="500ms")])
        haproxy.wait_ready("web1")
        haproxy.process.signal(signal.SIGSTOP)
        record = agent.ctl("stop", "web1", "--output", "json")
        haproxy.process.signal(signal.SIGCONT)
        self.assertEqual(phase_of(record, "DEREGISTER")["outcome"], "failed")
        self.assert_took(record["durationMs"] / 1000, 0, 3, "the stop")

    def test_haproxy_restarted_in_the_middle_of_a_drain_is_told_again(self):
        asked = boot_now()
        haproxy, agent, journal, stop, direct = self.in_the_middle_of_a_drain(delay=30, mode="strict")
        haproxy.process.kill()
        haproxy.start()
        wait_until(lambda: haproxy.server("web1")["admin_state"] & 0x09, "the state to be asserted again", 10)
        self.assertIsNone(journal.signalled())
        direct.close()
        record = self.check_end(agent, journal, stop, asked, 10)
        self.assertEqual(phase_of(record, "DRAIN")["outcome"], "completed")


class Disk(harness.LiveTest):
    """The journal's disk, in a mount namespace of the agent's own."""

    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=20).returncode != 0:
            self.skipTest("cannot make a mount namespace here")
        self.data = self.dir / "disk"
        self.data.mkdir()

    def on_tmpfs(self, options):
        return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs {self.data} && exec "$@"', "sh"]

    def test_a_full_disk_stops_nobody_from_stopping(self):
        agent = Agent(self, prefix=self.on_tmpfs("size=2m"), ECS_DATADIR=self.data)
        port, journal = free_port(), self.journal()
        agent.run("web1", *self.obedient(port, journal=journal), port=port)
        wait_until(lambda: journal.events("listening"), "the service")
        inside = pathlib.Path(f"/proc/{agent.process.pid}/root{self.data}")
        with open(inside / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"\0" * 4096)
            except OSError:
                pass
        record = agent.ctl("stop", "web1", "--output", "json")
        self.assertEqual(record["outcome"], "graceful")
        self.assertIsNotNone(journal.signalled())
        wait_until(lambda: "journal" in agent.process.stderr(), "a word in the log")
        self.assertTrue(answers(agent.socket))
        os.unlink(inside / "filler")
        agent.run("web2", "sleep", "60")
        agent.ctl("stop", "web2")
        self.assertEqual(agent.stops("web2")[0]["outcome"], "graceful")

    def test_a_read_only_data_directory_is_said_at_start(self):
        agent = Agent(self, prefix=self.on_tmpfs("ro"), ECS_DATADIR=self.data)
        self.assertIn("Journal can't be written", agent.process.stderr())
        self.assertIn(str(self.data), agent.process.stderr())

    def test_a_data_directory_that_is_a_file(self):
        plain = self.dir / "plain"
        plain.write_text("")
        agent = Agent(self, ECS_DATADIR=plain, wait=False)
        self.assertEqual(agent.process.wait(), 1)
        self.assertIn(str(plain), agent.process.stderr())

    def test_a_journal_that_is_no_database_is_moved_aside(self):
        data = self.dir / "data"
        data.mkdir()
        text = "this is no database, and it is long enough to look at. " * 50
        (data / "journal.db").write_text(text)
        agent = Agent(self)
        self.assertIn("journal.db", agent.process.stderr())
        self.assertIn(text, [kept.read_text(errors="replace") for kept in data.glob("journal.db.*")])
        agent.run("web", "sleep", "60")
        agent.ctl("stop", "web")
        self.assertEqual(len(agent.stops("web")), 1)


class Run(harness.LiveTest):
    """`agent run`: what can't be done is one line and 125 to 127, and nothing was started."""

    def refused(self, code, *words, flags=(), prefix=(), **environment):
        run = self.agent_run(*words, flags=flags, prefix=prefix, **environment)
        self.assertEqual(run.wait(), code, run.stderr())
        self.assertEqual(run.stdout(), "")
        lines = run.stderr().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_flags_that_are_none(self):
        for flags, named in ((["--user", "no-such-user"], "no-such-user"),
                             (["--user", "root:no-such-group"], "no-such-group"),
                             (["--chdir", "/nowhere/at-all"], "/nowhere/at-all"),
                             (["--env-file", "/nowhere/at-all"], "/nowhere/at-all"),
                             (["--signal-map", "HUP"], "'HUP', not FROM:TO"),
                             (["--signal-map", "HUP:USR1", "--signal-map", "FOO:0"], "'FOO:0', not FROM:TO"),
                             (["--expect-exit-code", "256"], "'256', not an exit code from 0 to 255"),
                             (["--expect-exit-code", "one"], "'one', not an exit code from 0 to 255"),
                             (["--parent-death-signal", "never"], "'never', not the name")):
            with self.subTest(flags):
                self.assertIn(named, self.refused(125, "echo", "started", flags=flags))
        self.assertIn("'x:y', not FROM:TO", self.refused(125, "echo", "started", AGENT_SIGNAL_MAP="x:y"))

    def test_a_scope_that_is_none_is_a_warning(self):
        run = self.agent_run("sh", "-c", "exit 3", flags=["--signal-scope", "everybody"])
        self.assertEqual(run.wait(), 3)
        self.assertIn("'everybody', not main, group or tree", run.stderr())

    def test_a_script_without_an_interpreter_line_goes_to_the_shell(self):
        script = self.dir / "script"
        script.write_text("echo shell-$1; exit 5\n")
        script.chmod(0o755)
        run = self.agent_run(script, "word")
        self.assertEqual((run.wait(), run.stdout()), (5, "shell-word\n"))

    def test_an_interpreter_that_is_missing_is_127(self):
        script = self.dir / "script"
        script.write_text("#!/nowhere/at-all\n")
        script.chmod(0o755)
        self.assertIn(str(script), self.refused(127, script))

    def test_a_directory_as_command_is_126(self):
        self.assertIn("Permission denied", self.refused(126, self.dir))
        self.assertIn(f"{self.dir}/x", self.refused(127, self.dir / "x"))
        (self.dir / "plain").write_text("")
        self.refused(127, self.dir / "plain" / "x")
        self.refused(127, "")

    def test_a_limit_of_processes_is_our_own_failure(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to be a user without processes")
        other = ["prlimit", "--nproc=1", "setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
        probe = subprocess.run([*other, harness.AGENT, "version"], capture_output=True, timeout=20)
        if probe.returncode != 0:
            self.skipTest("another user can't execute the agent here")
        self.assertIn("Resource temporarily unavailable", self.refused(125, "/bin/echo", "started", prefix=other))


if __name__ == "__main__":
    harness.main()
