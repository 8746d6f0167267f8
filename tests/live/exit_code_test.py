"""Every way that a command can end comes back from `agent run` as a shell would have it."""
import concurrent.futures
import pathlib
import signal
import subprocess
import sys

import harness

# What ends a process by default: signal(7).
FATAL = [number for number in range(1, 65)
         if number not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN,
                           signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH, 32, 33)]
SUICIDE = "import ctypes, os, resource, signal, sys; number = int(sys.argv[1]); " \
          "number in (signal.SIGPIPE, signal.SIGXFSZ) and signal.signal(number, signal.SIG_DFL); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); " \
          "ctypes.CDLL(None).kill(os.getpid(), number)"


# A plain init as long as that is enough, and one with everything an agent consists of.
WAYS = {"plain": (), "whole": ("--data-dir", "DIR")}


def code_of(*words, flags=()):
    return subprocess.run([harness.AGENT, "run", *flags, "--", *words], stdin=subprocess.DEVNULL, timeout=20,
                          capture_output=True, env=harness.clean_environment()).returncode


class ExitCodes(harness.LiveTest):
    def assert_codes(self, commands, expected, flags=()):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda command: code_of(*command, flags=flags), commands))
        self.assertEqual(codes, expected)

    def each_way(self):
        for name, flags in WAYS.items():
            with self.subTest(name):
                yield [str(self.dir / "data") if word == "DIR" else word for word in flags]

    def test_all_256_codes(self):
        for flags in self.each_way():
            self.assert_codes([("sh", "-c", f"exit {code}") for code in range(256)], list(range(256)), flags)

    def test_every_fatal_signal_is_128_and_its_number(self):
        for flags in self.each_way():
            self.assert_codes([(sys.executable, "-c", SUICIDE, str(number)) for number in FATAL],
                              [128 + number for number in FATAL], flags)

    def test_who_is_left_is_ended_before_the_code_comes_back(self):
        for flags in self.each_way():
            mark = self.dir / "mark"
            script = f"(trap 'sleep 0.2; echo gone >{mark}; exit' TERM; echo up >&2; while :; do sleep 0.01; done) & " \
                     "sleep 0.1; exit 9"
            self.assertEqual(code_of("sh", "-c", script, flags=flags), 9)
            self.assertEqual(mark.read_text(), "gone\n")
            mark.unlink()

    def test_an_expected_code_is_0_and_no_other(self):
        flags = ["--expect-exit-code", "3", "--expect-exit-code", "143"]
        commands = [("sh", "-c", f"exit {code}") for code in (3, 143, 0, 4, 255)]
        self.assert_codes([*commands, ("sh", "-c", "kill -TERM $$"), ("sh", "-c", "kill -HUP $$")],
                          [0, 0, 0, 4, 255, 0, 129], flags)

    def test_an_expected_code_is_0_after_a_stop_too(self):
        run = self.agent_run("sh", "-c", "echo ready; exec sleep 60", AGENT_EXPECT_EXIT_CODE="143")
        harness.wait_until(run.stdout, "the command")
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)

    def test_the_agents_own_failure_isnt_mapped(self):
        self.assertEqual(code_of("true", flags=["--expect-exit-code", "125", "--user", "no-such-user"]), 125)

    def test_a_failure_of_the_agent_while_the_command_runs_doesnt_end_the_command(self):
        """With so few descriptors the command can be started, and nothing of the agent built."""
        if b"__asan_init" in pathlib.Path(harness.AGENT).read_bytes():
            self.skipTest("a sanitizer needs descriptors itself")
        seen = set()
        for limit in range(3, 12):
            limited = f"import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, 64)); "
            script = f"{limited} os.execv({harness.AGENT!r}, ['agent', 'run', '--', '/bin/sh', '-c', " \
                     "'ulimit -n 64; sleep 0.05 & sleep 0.3 & trap \"exit 7\" USR1; echo $$; " \
                     "while :; do sleep 0.02; done'])"
            run = self.start("run", [sys.executable, "-c", script])
            harness.wait_until(lambda: run.stdout() or not run.running(), "the command")
            if not run.running():
                self.assertEqual(run.wait(), 125)
                self.assertEqual(len(run.stderr().splitlines()), 1)
                seen.add("not started")
                continue
            plain = "only passed on" in run.stderr()
            seen.add("plain" if plain else "whole")
            run.signal(signal.SIGUSR1)
            self.assertEqual(run.wait(), 7, f"{limit} descriptors: {run.stderr()}")
        self.assertLessEqual({"not started", "plain"}, seen)


if __name__ == "__main__":
    harness.main()
