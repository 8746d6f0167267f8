"""`agent run -- CMD`: an init that a command can be wrapped in without noticing."""
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

import harness
from harness import Client, Haproxy, boot_now, free_port, request, wait_until

ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


class ExitCode(harness.LiveTest):
    def code_of(self, *words, flags=(), **environment):
        self.run_process = self.agent_run(*words, flags=flags, **environment)
        return self.run_process.wait()

    def test_it_is_the_commands(self):
        for code in (0, 1, 2, 42, 125, 126, 127, 128, 143, 255):
            with self.subTest(code):
                self.assertEqual(self.code_of("sh", "-c", f"exit {code}"), code)

    def test_a_signal_is_128_and_its_number(self):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGUSR1):
            with self.subTest(number):
                self.assertEqual(self.code_of("sh", "-c", f"kill -{int(number)} $$"), 128 + number)

    def test_an_absent_command_is_127(self):
        self.assertEqual(self.code_of("/nowhere/at-all"), 127)
        self.assertIn("/nowhere/at-all", self.run_process.stderr())
        self.assertEqual(self.code_of("no-such-command-anywhere"), 127)

    def test_what_cannot_be_executed_is_126(self):
        plain = self.dir / "plain"
        plain.write_text("no program")
        self.assertEqual(self.code_of(plain), 126)
        self.assertIn(str(plain), self.run_process.stderr())
        self.assertEqual(self.code_of(self.dir), 126)

    def test_our_own_failure_is_125_and_the_command_isnt_started(self):
        mark = self.dir / "mark"
        command = ("touch", mark)
        for environment in ({"AGENT_LOAD_BALANCERS": "gopher://127.0.0.1/x"},
                            {"AGENT_LOAD_BALANCERS": "haproxy:///run/haproxy.sock"},
                            {"AGENT_LOAD_BALANCERS": "nonsense"},
                            {"AGENT_STOP_SIGNAL": "FOO"},
                            {"AGENT_STOP_SIGNAL": "99"}):
            with self.subTest(environment):
                self.assertEqual(self.code_of(*command, **environment), 125)
                self.assertIn(next(iter(environment.values())), self.run_process.stderr())
                self.assertFalse(mark.exists())
        self.assertEqual(self.code_of(*command, flags=["--no-such-flag"]), 125)
        self.assertFalse(mark.exists())

    def test_a_bad_duration_is_a_warning(self):
        self.assertEqual(self.code_of("sh", "-c", "exit 7", ECS_CONTAINER_STOP_TIMEOUT="soon"), 7)
        text = self.run_process.stderr()
        self.assertIn("ECS_CONTAINER_STOP_TIMEOUT", text)
        self.assertIn("soon", text)

    def test_a_plain_init_prints_nothing(self):
        self.assertEqual(self.code_of("true"), 0)
        self.assertEqual((self.run_process.stdout(), self.run_process.stderr()), ("", ""))


class Signals(harness.LiveTest):
    def running(self, *options, prefix=(), flags=(), **environment):
        self.port = environment.pop("port", None) or free_port()
        self.service = self.journal()
        self.run_process = self.agent_run(*self.obedient(self.port, *options, journal=self.service),
                                          prefix=prefix, flags=flags, **environment)
        wait_until(lambda: self.service.events("listening"), "the service to listen")
        return self.run_process

    def signals_of_service(self):
        return [e["signal"] for e in self.service.events("signal") if e["signal"] != signal.SIGCONT]

    def test_sigterm_and_sigint_start_the_stop_and_are_passed_on(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                run = self.running("--exit-code", 9)
                run.signal(number)
                self.assertEqual(run.wait(), 9)
                self.assertEqual(self.signals_of_service(), [number])
                self.service.path.unlink()

    def test_sigterm_in_the_first_moments_is_never_lost(self):
        for round in range(40):
            run = self.agent_run("sleep", "60")
            begin = boot_now()
            wait_until(lambda: boot_now() - begin > round * 0.0001, "a tenth of a millisecond more")
            run.signal(signal.SIGTERM)
            self.assertEqual(run.wait(5), 128 + signal.SIGTERM, f"round {round}: {run.stderr()}")
            self.assertEqual(run.stderr(), "")
        self.assertEqual([pid for pid in harness.descendants() if "sleep" in command_of(pid)], [])

    def test_the_configured_stop_signal_is_sent_instead_and_starts_a_stop_too(self):
        for number in (signal.SIGTERM, signal.SIGQUIT):
            with self.subTest(number):
                run = self.running(AGENT_STOP_SIGNAL="QUIT")
                run.signal(number)
                self.assertEqual(run.wait(), 0)
                self.assertEqual(self.signals_of_service(), [signal.SIGQUIT])
                self.service.path.unlink()

    def test_other_signals_go_to_the_command(self):
        run = self.running()
        for count, number in enumerate((signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH), 1):
            run.signal(number)
            wait_until(lambda: len(self.signals_of_service()) == count, f"{number!r} to arrive")
        self.assertEqual(self.signals_of_service(),
                         [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH])
        self.assertTrue(run.running())

    def test_without_a_load_balancer_there_is_no_wait(self):
        run = self.running()
        client = Client(self.port)
        self.addCleanup(client.close)
        self.assertEqual(client.get("/"), 200)
        asked = boot_now()
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assert_took(self.service.signalled() - asked, 0, 0, "SIGTERM")

    def draining(self, *options, delay=120, **environment):
        """A stop that hangs on one request; whatever started it was `first`."""
        port = free_port()
        haproxy = Haproxy(self, {"web1": port})
        run = self.running(*options, port=port, AGENT_LOAD_BALANCERS=haproxy.url("web1"),
                           AGENT_SOCKET=self.dir / "agent.sock", AGENT_TASK="web1",
                           AGENT_DEREGISTRATION_DELAY=delay, **environment)
        haproxy.wait_ready("web1")
        client = Client(haproxy.port).send("/hold")
        self.addCleanup(client.close)
        wait_until(self.service.requests, "the request to arrive")
        return run

    def wait_draining(self):
        def reached():
            task = request(self.dir / "agent.sock", "GET", "/v1/tasks/web1")[1]
            return task.get("stopping") and [p for p in task["stopping"]["stop"]["phases"] if p["phase"] == "DRAIN"]
        return wait_until(reached, "the drain")

    def test_a_repeated_sigterm_changes_nothing(self):
        run = self.draining(delay=3)
        asked = boot_now()
        run.signal(signal.SIGTERM)
        self.wait_draining()
        for moment in (0.5, 1.7, 2.5):
            wait_until(lambda: boot_now() - asked > moment, "the moment")
            run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assert_took(self.service.signalled() - asked, 3, what="SIGTERM")
        self.assertEqual(self.signals_of_service(), [signal.SIGTERM])

    def test_a_second_sigint_ends_the_drain_and_a_third_kills(self):
        run = self.draining("--ignore-term")
        run.signal(signal.SIGINT)
        self.wait_draining()
        first = boot_now()
        run.signal(signal.SIGINT)  # a bounce: within a second it is the same one
        self.wait_draining()
        self.assertIsNone(self.service.signalled(signal.SIGINT))
        wait_until(lambda: boot_now() - first > 1.1, "a second")
        self.assertIsNone(self.service.signalled(signal.SIGINT), "two within a second are one")
        second = boot_now()
        run.signal(signal.SIGINT)
        wait_until(lambda: self.service.signalled(signal.SIGINT), "the drain to end")
        self.assert_took(self.service.signalled(signal.SIGINT) - second, 0, 0.5, "the signal")
        wait_until(lambda: boot_now() - second > 1.1, "a second")
        self.assertTrue(run.running())
        third = boot_now()
        run.signal(signal.SIGINT)
        self.assertEqual(run.wait(), 128 + signal.SIGKILL)
        self.assert_took(boot_now() - third, 0, 0.5, "the end")

    def test_what_the_command_leaves_behind_is_signalled_then_killed(self):
        run = self.running("--fork", 1, "--setsid-child", ECS_CONTAINER_STOP_TIMEOUT=1)
        asked = boot_now()
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assert_took(boot_now() - asked, 1, what="the end")
        left = [pid for pid in harness.descendants() if harness.OBEDIENT in command_of(pid)]
        self.assertEqual(left, [])


class FirstProcess(harness.LiveTest):
    """As PID 1, in a pid namespace of its own."""

    def setUp(self):
        super().setUp()
        if subprocess.run([*ISOLATED, "true"], capture_output=True, timeout=20).returncode != 0:
            self.skipTest("cannot make a pid namespace here")

    def test_zombies_are_reaped_whoevers_they_were(self):
        script = "for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 3' &) ; done; echo born; exec sleep 60"
        run = self.agent_run("sh", "-c", script, prefix=ISOLATED)
        wait_until(lambda: "born" in run.stdout(), "the orphans")
        agent = wait_until(lambda: agent_below(run.pid), "the agent")
        wait_until(lambda: [s for s in states_below(agent)] == ["S"], "only the command to be left")

    def test_zombies_are_reaped_elsewhere_too(self):
        script = "for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 3' &) ; done; echo born; exec sleep 60"
        run = self.agent_run("sh", "-c", script)
        wait_until(lambda: "born" in run.stdout(), "the orphans")
        wait_until(lambda: states_below(run.pid) == ["S"], "only the command to be left")

    def test_it_opens_a_control_socket_and_takes_requests(self):
        path = self.dir / "agent.sock"
        port, service = free_port(), self.journal()
        run = self.agent_run(*self.obedient(port, "--exit-code", 5, journal=service), prefix=ISOLATED,
                             AGENT_SOCKET=path, AGENT_TASK="web")
        wait_until(lambda: service.events("listening") and harness.answers(path), "the socket")
        environment = harness.clean_environment(AGENT_SOCKET=path)
        tasks = subprocess.run([harness.AGENTCTL, "ps", "--output", "json"], env=environment, text=True,
                               capture_output=True, timeout=20)
        self.assertEqual(tasks.returncode, 0, tasks.stderr)
        self.assertIn('"web"', tasks.stdout)
        stop = subprocess.run([harness.AGENTCTL, "stop", "web"], env=environment, capture_output=True, timeout=20)
        self.assertEqual(stop.returncode, 0, stop.stderr)
        self.assertEqual(run.wait(), 5)

    def test_sigterm_reaches_the_command_as_pid_1(self):
        service = self.journal()
        run = self.agent_run(*self.obedient(free_port(), "--exit-code", 6, journal=service), prefix=ISOLATED,
                             AGENT_SOCKET=self.dir / "agent.sock")
        wait_until(lambda: service.events("listening"), "the service")
        os.kill(wait_until(lambda: agent_below(run.pid), "the agent"), signal.SIGTERM)
        self.assertEqual(run.wait(), 6)
        self.assertIsNotNone(service.signalled())

    def test_a_missing_socket_directory_is_one_warning_at_most(self):
        run = self.agent_run("sh", "-c", "exit 4", prefix=ISOLATED, AGENT_SOCKET="/proc/nowhere/agent.sock")
        self.assertEqual(run.wait(), 4)
        self.assertLessEqual(len(run.stderr().splitlines()), 1, run.stderr())


class Readiness(harness.LiveTest):
    def probe(self, port):
        """The status a load balancer would see; None if nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def test_it_turns_from_200_to_503_and_the_signal_waits_for_the_probes_and_the_connections(self):
        port, probe_port, service = free_port(), free_port(), self.journal()
        run = self.agent_run(*self.obedient(port, "--listen-after", 300, journal=service),
                             AGENT_LOAD_BALANCERS=f"readiness://127.0.0.1:{probe_port}/ready?settle=200ms&fails=3",
                             AGENT_DEREGISTRATION_DELAY=60)
        first = wait_until(lambda: self.probe(probe_port), "the endpoint")
        if not service.events("listening"):
            self.assertEqual(first, 503, "not ready before the task listens")
        wait_until(lambda: self.probe(probe_port) == 200, "ready")
        self.assertTrue(service.events("listening"))
        client = Client(port)
        self.assertEqual(client.get("/"), 200)
        run.signal(signal.SIGTERM)
        statuses = []

        def failed():
            statuses.append(self.probe(probe_port))
            return statuses.count(503) == 2
        wait_until(failed, "the first failures")
        self.assertIsNone(service.signalled(), "two probes of three")
        self.assertEqual(self.probe(probe_port), 503)
        self.assertEqual(client.get("/"), 200)
        self.assertIsNone(service.signalled(), "a connection is open")
        client.close()
        closed = boot_now()
        self.assertEqual(run.wait(), 0)
        self.assert_took(service.signalled() - closed, 0.2, 1.2, "SIGTERM")

    def test_if_nobody_ever_probed_only_the_connections_count(self):
        port, probe_port, service = free_port(), free_port(), self.journal()
        run = self.agent_run(*self.obedient(port, journal=service),
                             AGENT_LOAD_BALANCERS=f"readiness://127.0.0.1:{probe_port}/ready?settle=200ms",
                             AGENT_DEREGISTRATION_DELAY=60)
        wait_until(lambda: service.events("listening"), "the service")
        asked = boot_now()
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assert_took(service.signalled() - asked, 0.2, 1.2, "SIGTERM")


def command_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def states_below(parent):
    """The states of a process's children."""
    states = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            state, ppid = stat[stat.rindex(")") + 2:].split()[:2]
            if int(ppid) == parent:
                states.append(state)
    return states


def agent_below(parent):
    """The agent that `unshare` has forked."""
    for pid in harness.descendants():
        if command_of(pid).startswith(harness.AGENT + "\0") and pid != parent:
            return pid
    return None


if __name__ == "__main__":
    harness.main()
