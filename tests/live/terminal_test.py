"""`agent run` at a terminal, under a real shell: Ctrl-C, Ctrl-Z, fg, bg, and who may read afterwards."""
import fcntl
import os
import pathlib
import pty
import select
import signal
import subprocess
import termios
import time

import harness
from harness import wait_until

BASH = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
RUN = f"{harness.AGENT} run"
ISOLATED = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
CTRL_C, CTRL_Z = b"\x03", b"\x1a"


class Terminal:
    """A pseudo-terminal, and the program that leads the session on it."""

    def __init__(self, test, command):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.environ.update(PS1="prompt> ", PS2="", HISTFILE="")
                os.execvpe(command[0], command, harness.clean_environment())
            finally:
                os._exit(99)
        self.text, self.at = "", 0
        test.addCleanup(self.close)

    def close(self):
        if self.master != -1:
            os.close(self.master)
            self.master = -1

    def send(self, data):
        os.write(self.master, data if isinstance(data, bytes) else data.encode() + b"\n")

    def expect(self, wanted, seconds=10.0):
        """Waits until the text is shown, after what was waited for before."""
        end = time.monotonic() + seconds
        while (found := self.text.find(wanted, self.at)) == -1:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"waited in vain for {wanted!r}:\n{self.text[self.at:]}\nbefore:\n{self.text[:self.at]}")
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the session ended before {wanted!r}:\n{self.text}") from None
        self.at = found + len(wanted)
        return self

    def foreground(self):
        return os.tcgetpgrp(self.master)

    def wait(self, seconds=10.0):
        """The exit code of the session's leader, as a shell has it."""
        status = wait_until(lambda: (ended := os.waitpid(self.pid, os.WNOHANG)) and ended[0] and [ended[1]],
                            "the session's leader", seconds)[0]
        return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def stat(pid):
    """state, parent, group of a process."""
    try:
        text = pathlib.Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return "gone", 0, 0
    state, parent, group = text[text.rindex(")") + 2:].split()[:3]
    return state, int(parent), int(group)


def children(pid):
    return [each for each in harness.descendants() if stat(each)[1] == pid]


class TerminalTest(harness.LiveTest):
    def shell(self, command=BASH):
        shell = Terminal(self, command)
        if command is BASH:
            shell.send("stty -echo")
            self.prompt(shell)
        return shell

    def prompt(self, shell):
        """A command line works."""
        shell.send("echo its-$((6*7))")
        shell.expect("its-42")
        wait_until(lambda: shell.foreground() == shell.pid, "the shell to have the terminal")

    def fifo(self):
        """What a shell can wait at without a child: one that has just been forked can't be stopped well, vfork(2)."""
        os.mkfifo(self.dir / "go")
        return self.dir / "go"

    def pair(self):
        """The agent, and its command."""
        def found():
            for agent in filter(is_agent, harness.descendants()):
                for command in children(agent):
                    if not is_agent(command):  # as it is for a moment before it executes
                        return agent, command
            return None
        return wait_until(found, "the agent and its command")

    def wait_states(self, states, *pids):
        wait_until(lambda: [stat(pid)[0] in states for pid in pids] == [True] * len(pids),
                   f"{pids} to be {states}", 5)


def name_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "comm").read_text().strip()
    except OSError:
        return ""


def is_agent(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe") == harness.AGENT
    except OSError:
        return False


class UnderAShell(TerminalTest):
    def test_ctrl_c_goes_to_the_command_alone(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'trap \"echo heard; exit 5\" INT; echo ready; while :; do read line; done'")
        shell.expect("ready")
        agent, command = self.pair()
        self.assertEqual(shell.foreground(), command)
        self.assertEqual(stat(command)[2], command)
        shell.send(CTRL_C)
        shell.expect("heard")
        shell.send("echo code-$?")
        shell.expect("code-5")
        self.prompt(shell)

    def test_ctrl_c_ends_a_plain_command_with_130(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'echo ready; exec sleep 60'")
        shell.expect("ready")
        shell.send(CTRL_C)
        shell.send("echo code-$?")
        shell.expect("code-130")

    def test_ctrl_z_stops_both_and_fg_continues_both(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'echo ready; read line; echo got-$line; read line; echo got-$line'")
        shell.expect("ready")
        agent, command = self.pair()
        for round in ("one", "two"):
            shell.send(CTRL_Z)
            shell.expect("Stopped")
            self.prompt(shell)
            self.wait_states("T", agent, command)
            shell.send("fg")
            self.wait_states("SR", agent, command)
            wait_until(lambda: shell.foreground() == command, "the command to have the terminal")
            shell.send(round)
            shell.expect(f"got-{round}")
        self.prompt(shell)

    def test_bg_continues_it_without_the_terminal(self):
        shell = self.shell()
        go = self.fifo()
        shell.send(f"{RUN} -- sh -c 'echo ready; read go <{go}; read line; echo got-$line'")
        shell.expect("ready")
        agent, command = self.pair()
        shell.send(CTRL_Z)
        shell.expect("Stopped")
        shell.send("bg")
        self.wait_states("SR", agent, command)
        self.prompt(shell)
        go.write_text("\n")  # it reads the terminal now: the background may not
        self.wait_states("T", agent, command)
        self.prompt(shell)
        shell.send("fg")
        wait_until(lambda: shell.foreground() == command, "the command to have the terminal")
        shell.send("line")
        shell.expect("got-line")
        self.prompt(shell)

    def test_fg_of_a_running_job_gives_it_the_terminal_once_it_needs_it(self):
        shell = self.shell()
        go = self.fifo()
        shell.send(f"{RUN} -- sh -c 'echo ready; read go <{go}; read line; echo got-$line' &")
        shell.expect("ready")
        agent, command = self.pair()
        self.assertEqual(shell.foreground(), shell.pid)
        shell.send("fg")
        wait_until(lambda: shell.foreground() == stat(agent)[2], "the job to have the terminal")
        go.write_text("\n")
        wait_until(lambda: shell.foreground() == command, "the command to have the terminal")
        shell.send("line")
        shell.expect("got-line")
        self.prompt(shell)

    def test_ctrl_z_and_ctrl_c_reach_a_job_that_was_brought_to_the_front_while_it_ran(self):
        shell = self.shell()
        shell.send(f"{RUN} --signal-scope group -- sh -c 'echo ready; sleep 60; exit 1' &")
        shell.expect("ready")
        agent, command = self.pair()
        child = wait_until(lambda: [pid for pid in children(command) if name_of(pid) == "sleep"], "the sleep")[0]
        for _ in range(2):
            shell.send("fg")
            wait_until(lambda: shell.foreground() == stat(agent)[2], "the job to have the terminal")
            self.wait_states("S", agent, command, child)
            shell.send(CTRL_Z)
            shell.expect("Stopped")
            self.wait_states("T", agent, command, child)
            self.prompt(shell)
            shell.send("bg")
            self.wait_states("S", agent, command, child)
        shell.send("fg")
        wait_until(lambda: shell.foreground() == stat(agent)[2], "the job to have the terminal")
        shell.send(CTRL_C)
        shell.send("echo code-$?")
        shell.expect("code-130")

    def test_sigstop_to_the_command_is_a_stopped_job(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'echo ready; read line; echo got-$line'")
        shell.expect("ready")
        agent, command = self.pair()
        os.kill(command, signal.SIGSTOP)
        shell.expect("Stopped")
        self.prompt(shell)
        shell.send("fg")
        self.wait_states("SR", agent, command)
        shell.send("line")
        shell.expect("got-line")

    def test_a_script_around_it_stops_and_goes_on_with_it(self):
        shell = self.shell()
        shell.send(f"sh -c '{RUN} -- cat; echo after'")
        agent, command = self.pair()
        wait_until(lambda: shell.foreground() == command, "the command to have the terminal")
        shell.send(CTRL_Z)
        shell.expect("Stopped")
        self.prompt(shell)
        shell.send("fg")
        wait_until(lambda: shell.foreground() == command, "the command to have the terminal")
        shell.send("line")
        shell.expect("line")
        shell.send(b"\x04")
        shell.expect("after")
        self.prompt(shell)

    def test_another_process_of_the_pipeline_may_use_the_terminal(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'echo data; exec sleep 60' | "
                   "sh -c 'read data; read line </dev/tty; echo $data-$line; kill -TERM $(pgrep -s 0 -x agent)'")
        self.pair()
        shell.send("typed")
        shell.expect("data-typed")
        self.prompt(shell)

    def test_kill_of_a_stopped_job_ends_it(self):
        shell = self.shell()
        shell.send(f"{RUN} -- sh -c 'trap \"echo asked; exit 3\" TERM; echo ready; while :; do read line; done'")
        shell.expect("ready")
        agent, command = self.pair()
        shell.send(CTRL_Z)
        shell.expect("Stopped")
        shell.send("kill %1")
        shell.expect("asked")
        self.wait_states(("gone", "Z"), agent, command)
        self.prompt(shell)

    def test_an_interactive_shell_inside_has_its_own_jobs(self):
        shell = self.shell()
        shell.send(f"PS1='inner> ' {RUN} -- {' '.join(BASH)}")
        shell.expect("inner>")
        agent, command = self.pair()
        wait_until(lambda: shell.foreground() == command, "the inner shell to have the terminal")
        shell.send("stty -echo; echo quiet-$((6*7))")
        shell.expect("quiet-42")
        shell.send("sleep 60")
        wait_until(lambda: [pid for pid in children(command) if shell.foreground() == pid and name_of(pid) == "sleep"],
                   "the inner job")
        shell.send(CTRL_Z)
        shell.expect("Stopped")
        self.wait_states("SR", agent, command)
        shell.send("exit 4")
        shell.expect("There are stopped jobs")
        shell.send("exit 4")
        shell.send("echo code-$?")
        shell.expect("code-4")
        self.prompt(shell)


class WithoutJobControl(TerminalTest):
    def test_a_script_may_read_after_the_agent_has_ended(self):
        for command, code in (("true", 0), ("sh -c 'kill -9 $$'", 137), ("/nowhere/at-all", 127),
                              (self.dir, 126), ("sh -c 'read line; exit 3'", 3)):
            with self.subTest(command):
                session = self.shell(["sh", "-c", f"{RUN} -- {command}; echo code-$?; read line; echo read-$line"])
                if code == 3:
                    wait_until(lambda: session.foreground() != session.pid, "the command to have the terminal")
                    session.send("first")
                session.expect(f"code-{code}")
                session.send("second")
                session.expect("read-second")
                self.assertEqual(session.wait(), 0)

    def test_as_the_sessions_leader_ctrl_z_has_no_effect(self):
        """Nobody could ever continue it: it is what the kernel does to an orphaned process group."""
        session = self.shell([harness.AGENT, "run", "--", "sh", "-c",
                              "echo ready; read line; echo got-$line; read line; echo got-$line; exit 6"])
        session.expect("ready")
        wait_until(lambda: session.foreground() != session.pid, "the command to have the terminal")
        session.send(CTRL_Z)
        session.send("one")
        session.expect("got-one")
        session.send(CTRL_Z)
        session.send("two")
        session.expect("got-two")
        self.assertEqual(session.wait(), 6)

    def test_a_terminal_that_hangs_up_ends_the_command(self):
        session = self.shell([harness.AGENT, "run", "--", "sh", "-c", "echo ready; exec sleep 60"])
        session.expect("ready")
        session.close()
        self.assertEqual(session.wait(), 128 + signal.SIGHUP)

    def test_input_that_is_no_terminal_leaves_the_terminal_alone(self):
        session = self.shell(["sh", "-c", f"{RUN} -- sh -c 'echo ready; read line </dev/tty; echo got-$line' "
                                          "</dev/null; echo code-$?"])
        session.expect("ready")
        session.send("line")  # the command asks for it, and is given the terminal
        session.expect("got-line")
        session.expect("code-0")


class WithoutATerminal(TerminalTest):
    def test_a_stop_signal_suspends_both_and_sigcont_continues_both(self):
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            with self.subTest(number):
                run = self.agent_run("sleep", "60")
                _, command = self.pair()
                for _ in range(2):
                    run.signal(number)
                    self.wait_states("T", run.pid, command)
                    run.signal(signal.SIGCONT)
                    self.wait_states("SR", run.pid, command)
                run.signal(signal.SIGTERM)
                self.assertEqual(run.wait(), 143)

    def test_a_command_that_somebody_stops_doesnt_stop_the_agent_and_hears_the_stop(self):
        run = self.agent_run("sh", "-c", "trap 'exit 8' TERM; echo ready; while :; do sleep 0.02; done")
        wait_until(run.stdout, "the command")
        command = children(run.pid)[0]
        os.kill(command, signal.SIGSTOP)
        self.wait_states("T", command)
        self.wait_states("SR", run.pid)
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(5), 8)

    def test_pid_1_cannot_be_stopped_and_doesnt_spin(self):
        if subprocess.run([*ISOLATED, "true"], capture_output=True, timeout=20).returncode:
            self.skipTest("cannot make a pid namespace here")
        run = self.agent_run("sleep", "60", prefix=ISOLATED, AGENT_SOCKET="none")
        agent, command = self.pair()
        for _ in range(2):
            os.kill(agent, signal.SIGTSTP)
            self.wait_states("T", command)
            self.wait_states("S", agent)
            self.assertLess(cpu_ticks(agent), 20)
            os.kill(agent, signal.SIGCONT)
            self.wait_states("S", command)
        os.kill(agent, signal.SIGTSTP)
        self.wait_states("T", command)
        os.kill(agent, signal.SIGTERM)
        self.assertEqual(run.wait(5), 143)


def cpu_ticks(pid):
    text = pathlib.Path("/proc", str(pid), "stat").read_text()
    user, system = text[text.rindex(")") + 2:].split()[11:13]
    return int(user) + int(system)


class Blocked(harness.LiveTest):
    """Nobody takes what is written to stderr: the agent goes on all the same."""

    def run_into(self, stderr, **environment):
        environment = harness.clean_environment(ECS_LOGLEVEL="debug", AGENT_DRIAN="x", **environment)
        run = subprocess.Popen([harness.AGENT, "run", "--", "sleep", "60"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
        self.addCleanup(run.kill)
        wait_until(lambda: children(run.pid), "the command")
        run.terminate()
        self.assertEqual(run.wait(5), 143)

    def test_a_terminal_whose_flow_is_stopped(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        termios.tcflow(slave, termios.TCOOFF)
        self.run_into(slave)

    def test_a_full_pipe_a_full_terminal_a_broken_pipe_and_a_full_device(self):
        reader, writer = os.pipe()
        master, slave = pty.openpty()
        broken_reader, broken = os.pipe()
        os.close(broken_reader)
        device = os.open("/dev/full", os.O_WRONLY)
        for full in (writer, slave):
            flags = fcntl.fcntl(full, fcntl.F_GETFL)
            fcntl.fcntl(full, fcntl.F_SETFL, flags | os.O_NONBLOCK)
            try:
                while True:
                    os.write(full, b"x" * 4096)
            except BlockingIOError:
                fcntl.fcntl(full, fcntl.F_SETFL, flags)
        for name, stderr in (("pipe", writer), ("terminal", slave), ("broken", broken), ("device", device)):
            with self.subTest(name):
                self.run_into(stderr)
        for each in (reader, writer, master, slave, broken, device):
            os.close(each)

    def test_a_refusal_keeps_its_code_where_nobody_can_read_it(self):
        with open("/dev/full", "w") as full:
            for words, code in ((("--", "/nowhere/at-all"), 127), (("--user", "no-such-user", "--", "true"), 125),
                                (("--signal-map", "x", "--", "true"), 125)):
                with self.subTest(words):
                    self.assertEqual(subprocess.run([harness.AGENT, "run", *words], stderr=full, timeout=20).returncode,
                                     code)


if __name__ == "__main__":
    harness.main()
