"""Who a wrapped command is, where, and with which variables: --user, --chdir, --env-file, and a nested agent."""
import os
import unittest

import harness
from harness import wait_until


class Identity(harness.LiveTest):
    def said(self, *words, flags=(), code=0, cwd=None, **environment):
        self.run_process = self.start("run", [harness.AGENT, "run", *flags, "--", *words],
                                      harness.clean_environment(**environment), cwd=cwd)
        self.assertEqual(self.run_process.wait(), code, self.run_process.stderr())
        return self.run_process.stdout()

    def refused(self, *flags, **environment):
        """The one line that a refusal is."""
        mark = self.dir / "mark"
        self.assertEqual(self.said("touch", mark, flags=flags, code=125, **environment), "")
        self.assertFalse(mark.exists(), "the command was started")
        lines = self.run_process.stderr().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class User(Identity):
    ID = "id -u; id -g; id -G; echo $HOME; cat /proc/self/status | grep -c '^CapEff:.*0000000000000000'"

    def test_a_name(self):
        self.assertEqual(self.said("sh", "-c", self.ID, flags=["--user", "daemon"]).split(),
                         ["1", "1", "1", "/usr/sbin", "1"])

    def test_numbers_without_entries(self):
        self.assertEqual(self.said("sh", "-c", self.ID, flags=["--user", "54321:54322"]).split(),
                         ["54321", "54322", "54322", "/", "1"])

    def test_a_name_and_a_group(self):
        self.assertEqual(self.said("sh", "-c", self.ID, flags=["--user", "daemon:bin"]).split(),
                         ["1", "2", "2", "/usr/sbin", "1"])

    def test_the_agent_stays_who_it_is_and_may_still_stop_the_command(self):
        run = self.agent_run("sh", "-c", "echo ready; exec sleep 60", flags=["--user", "nobody"])
        wait_until(run.stdout, "the command")
        self.assertEqual(os.stat(f"/proc/{run.pid}").st_uid, 0)
        run.signal(15)
        self.assertEqual(run.wait(), 143)

    def test_who_is_unknown_starts_nothing(self):
        self.assertIn("'no-such-user'", self.refused("--user", "no-such-user"))
        self.assertIn("'no-such-group'", self.refused("--user", "daemon:no-such-group"))
        self.assertIn("4294967295", self.refused("--user", "4294967295"))
        self.refused("--user", "")

    def test_a_directory_is_entered_as_that_user(self):
        closed = self.dir / "closed"
        closed.mkdir(mode=0o700)
        self.assertIn("Permission denied", self.refused("--user", "nobody", "--chdir", closed))

    def test_a_command_that_this_user_may_not_execute_is_126(self):
        program = self.dir / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        self.dir.chmod(0o755)
        self.said(program, flags=["--user", "nobody"], code=126)


class Directory(Identity):
    def test_it_is_entered(self):
        inner = self.dir / "inner"
        inner.mkdir()
        self.assertEqual(self.said("pwd", flags=["--chdir", inner]), f"{inner}\n")
        self.assertEqual(self.said("pwd", flags=["--chdir", "inner"], cwd=self.dir), f"{inner}\n")

    def test_one_that_is_missing_starts_nothing(self):
        self.assertIn(f"in the directory '{self.dir}/nowhere': No such file or directory",
                      self.refused("--chdir", self.dir / "nowhere"))
        plain = self.dir / "plain"
        plain.write_text("")
        self.assertIn("Not a directory", self.refused("--chdir", plain))
        self.refused("--chdir", "")


class EnvironmentFile(Identity):
    def file(self, text, name="web.env"):
        (self.dir / name).write_text(text)
        return self.dir / name

    def test_the_command_has_its_variables_and_later_ones_win(self):
        first = self.file("# comment\n\nA=1\nB= two words \nTAKEN\nNOT_THERE\nC=\n")
        second = self.file("A=2\n", "second.env")
        said = self.said("sh", "-c", 'echo "$A|$B|$TAKEN|${NOT_THERE-unset}|${C-unset}"',
                         flags=["--env-file", first, "--env-file", second], TAKEN="mine", A="0")
        self.assertEqual(said, "2| two words |mine|unset|\n")
        self.assertEqual(self.run_process.stderr(), "")

    def test_it_sets_home_against_the_user(self):
        if os.geteuid() == 0:
            flags = ["--user", "daemon", "--env-file", self.file("HOME=/elsewhere\n")]
            self.assertEqual(self.said("sh", "-c", "echo $HOME", flags=flags), "/elsewhere\n")

    def test_our_own_settings_in_it_are_one_warning_and_configure_nothing(self):
        path = self.file("AGENT_STOP_SIGNAL=QUIT\nECS_LOGLEVEL=none\nAGENT_MINE=1\n")
        said = self.said("sh", "-c", "echo $AGENT_STOP_SIGNAL $ECS_LOGLEVEL $AGENT_MINE", flags=["--env-file", path])
        self.assertEqual(said, "QUIT none 1\n")
        lines = self.run_process.stderr().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("AGENT_STOP_SIGNAL, ECS_LOGLEVEL", lines[0])
        self.assertNotIn("MINE", lines[0])

    def test_a_bad_line_starts_nothing(self):
        path = self.file("A=1\n\n= 2\n")
        line = self.refused("--env-file", path)
        self.assertIn(str(path), line)
        self.assertIn("line 3", line)
        self.assertIn("nowhere.env", self.refused("--env-file", self.dir / "nowhere.env"))


class Nested(Identity):
    def test_an_inner_agent_leaves_the_outer_ones_socket_alone(self):
        socket = self.dir / "outer.sock"
        run = self.agent_run(harness.AGENT, "run", "--", "sh", "-c", "echo $AGENT_SOCKET; exec sleep 60",
                             AGENT_SOCKET=socket, AGENT_TASK="outer")
        wait_until(run.stdout, "the command")
        self.assertEqual(run.stdout(), f"{socket}\n")
        wait_until(lambda: harness.answers(socket), "the outer agent")
        self.assertEqual(harness.request(socket, "GET", "/v1/metadata")[1]["pid"], run.pid)
        run.signal(15)
        self.assertEqual(run.wait(), 143)
        self.assertEqual(run.stderr(), "")


if __name__ == "__main__":
    harness.main()
