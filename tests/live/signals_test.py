"""Signals of `agent run`: which ones reach the command, whom, as what, and how it finds them itself."""
import ctypes
import os
import pathlib
import signal
import sys

import harness
from harness import wait_until

# Blocks everything, then tells each signal that arrives; signal 17 (SIGCHLD) ends it.
TELLER = """
import os, signal, sys
every = set(range(1, 65)) - {9, 19, 32, 33}
signal.pthread_sigmask(signal.SIG_SETMASK, every)
out = open(sys.argv[1], "a", buffering=1)
if len(sys.argv) > 2:
    for name in sys.argv[2:]:
        if os.fork() == 0:
            if name == "other":
                os.setsid()
            out = open(sys.argv[1] + "." + name, "a", buffering=1)
            break
out.write("ready\\n")
while True:
    number = signal.sigwait(every)
    out.write(f"{int(number)}\\n")
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT) and len(sys.argv) > 2:
        os._exit(0)
"""
FORWARDED = [number for number in range(1, 65)
             if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, 32, 33)]
_libc = ctypes.CDLL(None)


class Told:
    """What a teller has written."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def lines(self):
        return self.path.read_text().split() if self.path.exists() else []

    def signals(self):
        return [int(line) for line in self.lines() if line != "ready"]

    def wait(self):
        wait_until(lambda: "ready" in self.lines(), f"{self.path.name} to be ready")
        return self


class Signals(harness.LiveTest):
    def tell(self, *beside, flags=(), **environment):
        path = self.dir / "told"
        self.run_process = self.agent_run(sys.executable, "-c", TELLER, path, *beside, flags=flags, **environment)
        self.main = Told(path).wait()
        self.beside = [Told(f"{path}.{name}").wait() for name in beside]
        return self.run_process

    def assert_told(self, told, numbers):
        wait_until(lambda: told.signals() == numbers or len(told.signals()) > len(numbers) or None,
                   f"{numbers} of {told.path.name}, which has {told.signals()}", 5)
        self.assertEqual(told.signals(), numbers)

    def test_every_signal_that_can_be_caught_is_passed_on_in_order(self):
        run = self.tell()
        for count, number in enumerate(FORWARDED, 1):
            self.assertEqual(_libc.kill(run.pid, number), 0)
            wait_until(lambda: len(self.main.signals()) == count, f"signal {number}")
        self.assertEqual(self.main.signals(), FORWARDED)
        self.assertTrue(run.running())
        self.assertEqual(run.stderr(), "")

    def test_real_time_signals_queue(self):
        run = self.tell()
        numbers = [number for number in range(34, 65) for _ in range(5)]
        run.signal(signal.SIGSTOP)
        for number in reversed(numbers):
            _libc.kill(run.pid, number)
        run.signal(signal.SIGCONT)
        self.assert_told(self.main, [int(signal.SIGCONT), *numbers])

    def test_a_fault_that_somebody_sends_doesnt_end_the_agent(self):
        run = self.agent_run("sh", "-c", "trap 'exit 9' SEGV; echo ready; while :; do sleep 0.02; done")
        wait_until(run.stdout, "the command")
        run.signal(signal.SIGSEGV)
        self.assertEqual(run.wait(), 9)

    def test_sigchld_is_the_agents(self):
        run = self.tell()
        run.signal(signal.SIGCHLD)
        run.signal(signal.SIGHUP)
        self.assert_told(self.main, [signal.SIGHUP])

    def test_the_scope_says_who_gets_it(self):
        for scope, reached in (("main", (1, 0, 0)), ("group", (1, 1, 0)), ("tree", (1, 1, 1))):
            for by_flag in (True, False):
                with self.subTest(scope, by_flag=by_flag):
                    chosen = {"flags": ["--signal-scope", scope]} if by_flag else {"AGENT_SIGNAL_SCOPE": scope}
                    run = self.tell("same", "other", **chosen)
                    for number in (signal.SIGHUP, signal.SIGUSR1):
                        run.signal(number)
                        for told, reaches in zip((self.main, *self.beside), reached):
                            wait_until(lambda: not reaches or number in told.signals(), f"{number!r} for {told.path}")
                    self.assertEqual([len(told.signals()) for told in (self.main, *self.beside)],
                                     [2 * reaches for reaches in reached])
                    # The stop signal goes to the same ones first, then to what is left.
                    run.signal(signal.SIGTERM)
                    self.assertEqual(run.wait(), 0)
                    for told in (self.main, *self.beside):
                        told.path.unlink()

    def test_the_map_changes_what_is_delivered(self):
        run = self.tell(flags=["--signal-map", "HUP:USR1", "--signal-map", "12:0", "--signal-map", "34:RTMIN+5"])
        _libc.kill(run.pid, int(signal.SIGUSR2))
        heard = []
        for number, as_number in ((signal.SIGHUP, signal.SIGUSR1), (34, signal.SIGRTMIN + 5),
                                  (signal.SIGUSR1, signal.SIGUSR1)):
            _libc.kill(run.pid, int(number))
            heard.append(as_number)
            self.assert_told(self.main, heard)  # one after the other: two pending ones of a kind are one

    def test_a_mapped_sigterm_starts_the_stop_with_what_it_is_mapped_to(self):
        for number, flags, delivered in ((signal.SIGTERM, ["TERM:QUIT"], signal.SIGQUIT),
                                         (signal.SIGINT, ["TERM:QUIT"], signal.SIGINT),
                                         (signal.SIGINT, ["INT:TERM"], signal.SIGTERM)):
            with self.subTest(number):
                run = self.tell("same", AGENT_SIGNAL_MAP=" ".join(flags))
                run.signal(number)
                self.assertEqual(run.wait(), 0)
                self.assertEqual(self.main.signals()[0], delivered)
                self.main.path.unlink()

    def test_a_stop_by_the_socket_delivers_what_sigterm_is_mapped_to(self):
        socket = self.dir / "agent.sock"
        run = self.tell("same", AGENT_SIGNAL_MAP="TERM:QUIT", AGENT_SOCKET=socket, AGENT_TASK="told")
        wait_until(lambda: harness.answers(socket), "the control socket")
        status, record = harness.request(socket, "POST", "/v1/tasks/told/stop", {})
        self.assertEqual((status, run.wait()), (200, 0))
        self.assertEqual(self.main.signals()[0], signal.SIGQUIT)
        self.assertEqual(harness.phase_of(record, "SIGTERM")["detail"]["signal"], "SIGQUIT")

    def test_a_dropped_sigterm_starts_nothing(self):
        run = self.tell("same", AGENT_SIGNAL_MAP="TERM:0")
        run.signal(signal.SIGTERM)
        run.signal(signal.SIGHUP)
        self.assert_told(self.main, [signal.SIGHUP])
        run.signal(signal.SIGINT)
        self.assertEqual(run.wait(), 0)
        self.assertEqual(self.main.signals()[:2], [signal.SIGHUP, signal.SIGINT])


class Serve(harness.LiveTest):
    # Passes nothing on, and ends when its child has.
    WRAPPER = "trap : TERM; sleep 60 & while kill -0 $! 2>/dev/null; do wait; done; exit 4"

    def test_the_scope_of_a_tasks_stop_signal(self):
        agent = harness.Agent(self)
        for scope, outcome in (("main", "killed"), ("group", "graceful"), ("tree", "graceful")):
            with self.subTest(scope):
                agent.run(scope, "sh", "-c", self.WRAPPER, flags=["--signal-scope", scope, "--stop-timeout", 1])
                pid = agent.task(scope)["containers"][0]["pid"]
                wait_until(lambda: "sleep" in names_below(pid), "the wrapper's child")
                record = agent.ctl("stop", scope, "--output", "json")
                self.assertEqual(record["outcome"], outcome)
        text = agent.ctl("run", "--name", "none", "--signal-scope", "all", "--", "sleep", "60", code=1)
        self.assertIn("'all', not main, group or tree", text)


def names_below(parent):
    names = []
    for pid in harness.descendants():
        try:
            text = pathlib.Path("/proc", str(pid), "stat").read_text()
        except OSError:
            continue
        if int(text[text.rindex(")") + 2:].split()[1]) == parent:
            names.append(text[text.index("(") + 1:text.rindex(")")])
    return names


class Inheritance(harness.LiveTest):
    def status(self, setup):
        """SigBlk and SigIgn of a command, with and without an agent around it."""
        rows = []
        for wrapped in (False, True):
            script = f"import os, signal\n{setup}\nos.execv({harness.AGENT!r}, ['agent', 'run', '--', '/bin/cat', " \
                     "'/proc/self/status'])" if wrapped else \
                     f"import os, signal\n{setup}\nos.execv('/bin/cat', ['cat', '/proc/self/status'])"
            process = self.start("cat", [sys.executable, "-c", script])
            self.assertEqual(process.wait(), 0, process.stderr())
            rows.append([line for line in process.stdout().splitlines() if line.startswith(("SigBlk", "SigIgn"))])
        return rows

    def test_mask_and_dispositions_are_those_that_the_agent_inherited(self):
        for setup in ("",
                      "signal.pthread_sigmask(signal.SIG_SETMASK, {1, 10, 15, 17, 40, 64})",
                      "signal.pthread_sigmask(signal.SIG_SETMASK, set(range(1, 65)) - {32, 33})",
                      "[signal.signal(n, signal.SIG_IGN) for n in (1, 13, 15, 17, 20, 40)]",
                      "signal.signal(signal.SIGPIPE, signal.SIG_DFL)"):
            with self.subTest(setup):
                alone, wrapped = self.status(setup)
                self.assertEqual(len(alone), 2)
                self.assertEqual(alone, wrapped)

    def test_descriptors_and_directory_reach_the_command_and_ours_dont(self):
        probe = ("import os; print(os.getcwd(), sorted(int(n) for n in os.listdir('/proc/self/fd') "
                 "if os.path.exists(f'/proc/self/fd/{n}')))")
        script = f"import os; os.dup2(0, 7, True); os.execv({harness.AGENT!r}, ['agent', 'run', '--', " \
                 f"{sys.executable!r}, '-c', {probe!r}])"
        run = self.start("run", [sys.executable, "-c", script], cwd=self.dir)
        self.assertEqual(run.wait(), 0)
        self.assertEqual(run.stdout(), f"{self.dir} [0, 1, 2, 7]\n")

    def test_the_agent_holds_no_directory_and_relative_paths_stay_where_they_were(self):
        run = self.start("run", [harness.AGENT, "run", "--", "sh", "-c", "pwd; exec sleep 60"],
                         harness.clean_environment(AGENT_SOCKET="a.sock", ECS_LOGFILE="a.log", ECS_DATADIR="data",
                                                   AGENT_DEREGISTRATION_DELYA=1, AGENT_PRE_STOP="pwd > pre-stop",
                                                   AGENT_TASK="web"),
                         cwd=self.dir)
        wait_until(lambda: harness.answers(self.dir / "a.sock"), "the socket")
        self.assertEqual(os.readlink(f"/proc/{run.pid}/cwd"), "/")
        self.assertEqual(run.stdout(), f"{self.dir}\n")
        self.assertIn("DELYA", (self.dir / "a.log").read_text())
        self.assertTrue((self.dir / "data" / "journal.db").exists())
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 143)
        self.assertEqual((self.dir / "pre-stop").read_text(), f"{self.dir}\n")
        self.assertFalse((self.dir / "a.sock").exists())

    def test_closed_standard_descriptors_stay_closed_and_none_of_ours_lands_there(self):
        for closed in ([0], [1], [2], [0, 1, 2], [0, 2]):
            with self.subTest(closed):
                out = self.dir / "out"
                probe = f"import os; print(*[n for n in (0, 1, 2) if not os.path.exists(f'/proc/self/fd/{{n}}')], " \
                        f"file=open({str(out)!r}, 'w')); import time; time.sleep(60)"
                script = f"import os; [os.close(n) for n in {closed}]; os.execv({harness.AGENT!r}, ['agent', 'run', " \
                         f"'--', {sys.executable!r}, '-c', {probe!r}])"
                run = self.start("run", [sys.executable, "-c", script])
                wait_until(lambda: out.exists() and out.read_text().endswith("\n"), "the probe")
                self.assertEqual(out.read_text().split(), [str(number) for number in closed])
                for number in closed:
                    self.assertEqual(os.readlink(f"/proc/{run.pid}/fd/{number}"), "/dev/null")
                run.signal(signal.SIGTERM)
                self.assertEqual(run.wait(), 143)
                out.unlink()


class ParentDeath(harness.LiveTest):
    def below(self, *flags, command="exec sleep 60"):
        """A shell that has started an agent: (the shell, the agent's pid, the command's pid)."""
        words = " ".join([harness.AGENT, "run", *flags, "--", "sh", "-c", f"'echo $PPID $$; {command}'"])
        shell = self.start("shell", ["sh", "-c", f"{words}; true"])
        wait_until(lambda: shell.stdout().endswith("\n"), "the command")
        return shell, *[int(word) for word in shell.stdout().split()]

    def wait_gone(self, *pids):
        wait_until(lambda: not any(state != "Z" for pid, state in harness.descendants().items() if pid in pids),
                   f"{pids} to be gone", 5)

    def test_its_signal_arrives_when_the_parent_dies(self):
        shell, agent, command = self.below("--parent-death-signal", "TERM")
        shell.kill()
        self.wait_gone(agent, command)

    def test_kill_leaves_nobody_behind(self):
        shell, agent, command = self.below(
            "--parent-death-signal", "KILL", command="trap \"\" TERM; echo; while :; do sleep 0.1; done")
        shell.kill()
        self.wait_gone(agent, command)

    def test_another_signal_goes_to_the_command(self):
        shell, agent, command = self.below("--parent-death-signal=HUP", command="exec sleep 60")
        shell.kill()
        self.wait_gone(agent, command)

    def test_without_it_the_command_goes_on(self):
        shell, agent, command = self.below()
        shell.kill()
        self.assertIn(agent, harness.descendants())
        os.kill(agent, signal.SIGTERM)
        self.wait_gone(agent, command)

    def test_what_is_no_signal_is_refused(self):
        run = self.agent_run("true", flags=["--parent-death-signal", "FOO"])
        self.assertEqual(run.wait(), 125)
        self.assertIn("FOO", run.stderr())


class Subreaper(harness.LiveTest):
    def test_it_can_be_left_to_somebody_else(self):
        orphan = "sh -c 'sleep 60 & echo $!'; exec sleep 60"
        for flags, mine in (([], True), (["--no-subreaper"], False)):
            with self.subTest(flags):
                run = self.agent_run("sh", "-c", orphan, flags=flags)
                wait_until(lambda: run.stdout().endswith("\n"), "the orphan")
                pid = int(run.stdout())
                parent = run.pid if mine else os.getpid()

                def adopted():
                    stat = pathlib.Path("/proc", str(pid), "stat").read_text()
                    return int(stat[stat.rindex(")") + 2:].split()[1]) == parent
                wait_until(adopted, f"{pid} to be a child of {parent}")
                run.signal(signal.SIGTERM)
                self.assertEqual(run.wait(), 143)
                self.assertTrue(is_gone(pid), "found by its mark where it isn't ours")

    def test_who_is_left_is_ended_whosever_child_it_is(self):
        for flags in ([], ["--no-subreaper"]):
            with self.subTest(flags):
                run = self.agent_run("sh", "-c", "(setsid sleep 60 & echo $!); exit 3", flags=flags)
                self.assertEqual(run.wait(), 3)
                self.assertTrue(is_gone(int(run.stdout())))


def is_gone(pid):
    """A zombie is: its parent is to reap it."""
    return harness.descendants().get(pid, "Z") == "Z"


if __name__ == "__main__":
    harness.main()
