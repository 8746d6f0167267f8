"""Tasks' logs: capped without touching who writes them, and whole when the agent dies."""
import os
import pathlib
import re
import signal
import subprocess

import harness
from harness import Agent, assert_stays, wait_until

# Writes numbered lines, each with one write(2), until there are so many; then one word more.
WRITER = """
import os, sys, time
count, pause = int(sys.argv[1]), float(sys.argv[2])
for number in range(count):
    os.write(1, b"line %07d %s\\n" % (number, b"x" * 80))
    if pause and number % 50 == 0: time.sleep(pause)
os.write(1, b"over\\n")
time.sleep(1000)
"""


def numbers(text):
    return [int(number) for number in re.findall(r"^line (\d{7}) x{80}$", text, re.MULTILINE)]


def wake_ups(pid, thread="*"):
    """How often its threads, or that one, have waited and gone on."""
    return sum(int(line.split()[1]) for status in pathlib.Path(f"/proc/{pid}/task").glob(f"{thread}/status")
               for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches:"))


class Logs(harness.LiveTest):
    def serve(self, size="64K", **more):
        self.agent = Agent(self, AGENT_LOG_MAX_SIZE=size, **more)
        self.logs = self.agent.data / "logs"
        return self.agent

    def write(self, count, pause=0.0, name="web"):
        self.agent.run(name, "/usr/bin/python3", "-c", WRITER, str(count), str(pause))

    def size(self, name):
        path = self.logs / name
        return path.stat().st_size if path.exists() else 0

    def wait_over(self, name="web"):
        both = (self.logs / f"{name}.log", self.logs / f"{name}.log.1")
        wait_until(lambda: any(p.exists() and p.read_bytes().endswith(b"over\n") for p in both), "the last line", 60)

    def test_a_log_is_cut_and_what_was_before_is_kept_in_one_older_file(self):
        self.serve()
        self.write(4000, 0.01)
        self.wait_over()
        wait_until(lambda: self.size("web.log") <= 64 * 1024, "it to be cut")
        self.assertGreater(self.size("web.log.1"), 64 * 1024)
        self.assertEqual(sorted(os.listdir(self.logs)), ["web.log", "web.log.1"])
        self.assertEqual((self.logs / "web.log.1").stat().st_mode & 0o077, (self.logs / "web.log").stat().st_mode & 0o077)
        printed = self.agent.ctl("logs", "web")
        here = numbers(printed)
        self.assertEqual(here, list(range(here[0], 4000)))
        self.assertTrue(printed.endswith("over\n"))

    def test_agentctl_prints_the_last_lines_across_both_files(self):
        self.serve()
        self.write(2000)
        self.wait_over()
        wait_until(lambda: self.size("web.log.1") > 0 and self.size("web.log") == 0, "it to be cut")
        with open(self.logs / "web.log", "a") as log:
            log.write("a\nb\n")
        self.assertEqual(self.agent.ctl("logs", "web", "--tail", 2), "a\nb\n")
        self.assertEqual(self.agent.ctl("logs", "web", "--tail", 3), "over\na\nb\n")
        self.assertEqual(numbers(self.agent.ctl("logs", "web", "--tail", 4)), [1999])
        self.assertEqual(numbers(self.agent.ctl("logs", "web", "--tail", 2003)), list(range(2000)))
        self.assertEqual(numbers(self.agent.ctl("logs", "web", "--tail", 9999)), list(range(2000)))
        self.assertEqual(self.agent.ctl("logs", "web", "--tail", 0), "")

    def test_no_line_is_lost_when_nobody_writes_at_the_moment_of_the_cut(self):
        self.serve()
        self.write(3000)
        self.wait_over()
        wait_until(lambda: self.size("web.log") == 0, "it to be cut")
        self.assertEqual(numbers((self.logs / "web.log.1").read_text()), list(range(3000)))

    def test_a_writer_in_a_hurry_loses_next_to_nothing(self):
        """The window is some microseconds: of many cuts few lose a line, and each few lines."""
        self.serve(size="4K")
        seen, cuts, place = set(), 0, None
        self.write(40000, 0.005)
        older = self.logs / "web.log.1"
        def collect():
            nonlocal cuts, place
            for path in (older, self.logs / "web.log"):
                if path.exists():
                    with open(path) as file:
                        inode = os.fstat(file.fileno()).st_ino
                        seen.update(numbers(file.read()))
                    if path == older and inode != place:
                        place, cuts = inode, cuts + 1
            return 39999 in seen
        wait_until(collect, "the last line", 60)
        collect()
        self.assertGreaterEqual(cuts, 2)
        missing = sorted(set(range(40000)) - seen)
        self.assertLessEqual(len(missing), 2 * cuts, missing)

    def test_the_agents_death_breaks_no_pipe(self):
        self.serve(size="0")
        self.write(20000, 0.005)
        wait_until(lambda: self.size("web.log") > 20_000, "the first lines")
        pid = self.agent.task("web")["containers"][0]["pid"]
        self.agent.process.signal(signal.SIGKILL)
        self.agent.process.wait()
        self.wait_over()
        self.assertTrue(pathlib.Path(f"/proc/{pid}").exists())
        self.assertEqual(numbers((self.logs / "web.log").read_text()), list(range(20000)))

    def test_the_agents_death_in_the_middle_of_cutting_loses_nothing(self):
        self.serve(size="4K")
        self.write(20000, 0.005)
        wait_until(lambda: self.size("web.log.1"), "a cut")
        self.agent.process.signal(signal.SIGKILL)
        self.agent.process.wait()
        self.wait_over()
        here = numbers((self.logs / "web.log.1").read_text() + (self.logs / "web.log").read_text())
        self.assertEqual(here[-1], 19999)
        missing = set(range(here[0], 20000)) - set(here)
        self.assertLessEqual(len(missing), 2, missing)

    def test_a_log_is_as_long_as_it_likes_without_a_cap(self):
        self.serve(size="0")
        self.write(3000)
        self.wait_over()
        assert_stays(lambda: self.size("web.log") > 250_000 and not (self.logs / "web.log.1").exists(), "one long log", 2.5)

    def test_what_is_no_regular_file_is_not_followed_and_said_once(self):
        self.serve(size="1K")
        victim = self.dir / "victim"
        victim.write_text("v" * 10_000)
        (self.logs / "link.log").symlink_to(victim)
        os.mkfifo(self.logs / "fifo.log")
        (self.logs / "dir.log").mkdir()
        self.write(3000, 0.05)
        self.wait_over()
        wait_until(lambda: self.size("web.log.1"), "the other log to be cut")
        self.assertEqual(victim.stat().st_size, 10_000)
        said = self.agent.process.stderr()
        for name in ("link", "fifo", "dir"):
            self.assertEqual(said.count(f"{name}.log"), 1, said)
        refused = self.agent.ctl_process("run", "--name", "link", "--", "sh", "-c", "echo no")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        refused = self.agent.ctl_process("run", "--name", "fifo", "--", "sh", "-c", "echo no")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertEqual(victim.stat().st_size, 10_000)

    def test_a_directory_of_logs_that_was_removed_is_said_once(self):
        self.serve()
        (self.logs).rmdir()
        wait_until(lambda: "cannot watch the logs" in self.agent.process.stderr(), "a word in the log")
        assert_stays(lambda: self.agent.process.stderr().count("cannot watch the logs") == 1, "one word", 3)

    def test_nothing_written_is_no_wake_up_and_much_written_is_few(self):
        self.serve()
        self.agent.run("quiet", "sleep", "1000")
        pid = self.agent.process.pid
        def still():
            before = wake_ups(pid)
            try:
                assert_stays(lambda: wake_ups(pid) == before, "no wake-up", 2)
            except AssertionError:
                return False
            return True
        wait_until(still, "two seconds without a wake-up", 20)
        self.write(10**7, 0.001, name="chatty")
        wait_until(lambda: self.size("chatty.log.1"), "the first cut")
        before = wake_ups(pid, pid)  # of the loop: how often the disk's thread waits is the disk's affair
        assert_stays(lambda: True, "", 5)
        # A look a second, a cut a second: the copy's own writes are heard too, some ten times each.
        self.assertLess(wake_ups(pid, pid) - before, 100)


if __name__ == "__main__":
    harness.main()
