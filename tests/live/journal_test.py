"""The journal on bad disks: whatever happens to it, tasks are stopped in time, and the trouble is told."""
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time

import harness
from harness import Agent, assert_stays, boot_of, free_port, phase_of, wait_until


class JournalTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.data = self.dir / "data"

    def sqlite(self, sql, path=None):
        with sqlite3.connect(path or self.data / "journal.db", timeout=10) as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    def serve(self, **more):
        return Agent(self, ECS_DATADIR=self.data, **more)

    def start_service(self, agent, name="web", *options):
        journal = self.journal(name)
        port = free_port()
        agent.run(name, *self.obedient(port, *options, journal=journal), port=port)
        wait_until(lambda: journal.events("listening"), f"{name} to listen")
        return journal

    def assert_trouble(self, agent, text):
        """`ps`, its JSON, the metadata and the log all tell of it."""
        wait_until(lambda: text in agent.ctl("ps"), f"'{text}' in ps")
        for state in (agent.ctl("ps", "--output", "json")["journal"], agent.request("GET", "/v1/metadata")[1]["journal"]):
            self.assertEqual(state["status"], "degraded")
            self.assertIn(text, state["trouble"])
            self.assertRegex(state["since"], r"Z$")
        self.assertEqual(agent.request("GET", "/healthz"), (200, {"status": "ok", "journal": "degraded"}))
        log = agent.process.stderr()
        lines = [line for line in log.splitlines() if "Journal can't be written" in line]
        self.assertEqual(len(lines), 1, log)
        self.assertIn(text, lines[0])
        self.assertIn(str(self.data), lines[0])
        self.assertIn("remedy=", lines[0])

    def assert_well(self, agent):
        wait_until(lambda: agent.ctl("ps", "--output", "json")["journal"] == {"status": "ok", "waiting": 0}, "a journal that is well")
        self.assertNotIn("journal", agent.ctl("ps"))

    def assert_stops(self, agent, name="web"):
        record = agent.ctl("stop", name, "--output", "json")
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(agent.stops(name)[0], record)
        return record


class Start(JournalTest):
    def setUp(self):
        super().setUp()
        agent = self.serve()
        self.start_service(agent)
        self.stopped = self.assert_stops(agent)
        agent.process.signal(signal.SIGTERM)
        agent.process.wait()

    def test_a_newer_agents_journal_is_read_and_not_written(self):
        self.sqlite("pragma user_version = 99")
        self.sqlite("alter table stops add column weather text")
        agent = self.serve()
        self.assert_trouble(agent, "its schema is version 99")
        self.assertEqual(agent.stops("web"), [self.stopped])
        self.start_service(agent, "web2")
        self.assert_stops(agent, "web2")
        agent.process.signal(signal.SIGTERM)
        self.assertEqual(agent.process.wait(), 0)
        self.assertIn("Journal ends without its last records", agent.process.stderr())
        self.assertEqual(self.sqlite("select task from stops"), [("web",)])

    def test_another_programs_database_is_left_alone(self):
        for file in self.data.glob("journal.db*"):
            file.unlink()
        self.sqlite("create table bookmarks (url)")
        before = (self.data / "journal.db").read_bytes()
        agent = self.serve()
        self.assert_trouble(agent, "another program's database")
        self.start_service(agent, "web2")
        self.assert_stops(agent, "web2")
        agent.process.signal(signal.SIGTERM)
        agent.process.wait()
        self.assertEqual((self.data / "journal.db").read_bytes(), before)

    def test_what_can_be_read_of_a_damaged_journal_is_carried_over(self):
        agent = self.serve()
        for number in range(40):
            agent.run(f"t{number}", "sleep", "60")
            agent.ctl("stop", f"t{number}", "--reason", "x" * 400)
        agent.process.signal(signal.SIGTERM)
        agent.process.wait()
        path = self.data / "journal.db"
        pages = self.sqlite("select pageno from dbstat where name = 'stops' and pagetype = 'leaf'")
        with open(path, "r+b") as file:
            file.seek((pages[1][0] - 1) * 4096)
            file.write(b"\xff" * 4096)
        again = self.serve()
        stops = again.request("GET", "/v1/stops?limit=1000")[1]["stops"]
        self.assertGreater(len(stops), 10)
        self.assertLess(len(stops), 41)
        wait_until(lambda: f"stopsCarriedOver={len(stops)}" in again.process.stderr(), "how much was carried over")
        self.assertEqual(len(list(self.data.glob("journal.db.corrupt-*Z"))), 1)
        self.start_service(again, "web2")
        self.assert_stops(again, "web2")
        self.assertEqual(self.sqlite("pragma integrity_check"), [("ok",)])

    def test_a_second_agent_is_refused_also_when_the_directory_was_made_again(self):
        first = self.serve()
        self.start_service(first, "web2")
        shutil.rmtree(self.data)
        self.assert_stops(first, "web2")
        second = Agent(self, wait=False, ECS_DATADIR=self.data, AGENT_SOCKET=self.dir / "second.sock")
        self.assertEqual(second.process.wait(), 1)
        self.assertIn(f"another agent (pid {first.process.pid}) has it", second.process.stderr())

    def test_paths_that_can_be_no_directory_are_refused(self):
        (self.dir / "plain").write_text("")
        for path in (self.dir / "plain", self.dir / "plain" / "below", "/proc/lastcall"):
            agent = Agent(self, wait=False, ECS_DATADIR=path)
            self.assertEqual(agent.process.wait(), 1)
            self.assertIn(str(path), agent.process.stderr())


class Adoption(JournalTest):
    """What runs when the agent dies is found again, though its journal can only be read."""

    def kill_agent(self):
        self.first = self.serve()
        self.service = self.start_service(self.first)
        wait_until(lambda: self.sqlite("select last_status from tasks") == [("RUNNING",)], "the record")
        self.first.process.signal(signal.SIGKILL)
        self.first.process.wait()

    def assert_adopted(self, agent):
        [task] = agent.ctl("ps", "--output", "json")["tasks"]
        self.assertEqual((task["lastStatus"], task["containers"][0]["pid"]), ("RUNNING", self.service.events()[0]["pid"]))
        self.assertIsNone(self.service.signalled())
        self.assertEqual(agent.ctl("stop", "web", "--output", "json")["outcome"], "graceful")
        self.assertIsNotNone(self.service.signalled())
        self.assertEqual(len(agent.stops("web")), 1)

    def test_from_a_newer_agents_journal(self):
        self.kill_agent()
        self.sqlite("pragma user_version = 99")
        self.sqlite("alter table tasks add column weather text")
        agent = self.serve()
        self.assert_trouble(agent, "its schema is version 99")
        self.assert_adopted(agent)
        self.assertEqual(self.sqlite("select last_status from tasks"), [("RUNNING",)])

    def test_from_a_read_only_disk(self):
        self.kill_agent()
        agent = self.serve(prefix=["unshare", "-m", "sh", "-c", f'mount --bind {self.data} {self.data} && '
                                   f'mount -o remount,ro,bind {self.data} && exec "$@"', "sh"])
        self.assert_trouble(agent, "Read-only file system")
        self.assert_adopted(agent)

    def test_from_a_damaged_journal(self):
        self.kill_agent()
        self.sqlite("pragma wal_checkpoint(truncate)")
        page = self.sqlite("select rootpage from sqlite_schema where name = 'stops'")[0][0]
        with open(self.data / "journal.db", "r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        agent = self.serve()
        wait_until(lambda: "tasksCarriedOver=1" in agent.process.stderr(), "the task to be carried over")
        self.assert_adopted(agent)


class Running(JournalTest):
    def test_a_removed_directory_is_made_again_with_what_goes_on(self):
        agent = self.serve()
        self.start_service(agent, "goes-on")
        self.start_service(agent, "web")
        shutil.rmtree(self.data)
        record = self.assert_stops(agent)
        wait_until(lambda: sorted(self.sqlite("select name, last_status from tasks"))
                   == [("goes-on", "RUNNING"), ("web", "STOPPED")], "the tasks to be recorded again")
        phases = [phase for phase, in self.sqlite("select phase from phases order by position")]
        self.assertEqual(phases, [phase["phase"] for phase in record["phases"]])
        self.assertEqual(agent.process.stderr().count("Journal was removed or replaced"), 1)
        self.assert_well(agent)
        self.start_service(agent, "later")  # its log has a place again
        self.assert_stops(agent, "goes-on")

    def test_a_file_that_is_replaced_is_noticed(self):
        agent = self.serve()
        self.start_service(agent)
        for file in self.data.glob("journal.db*"):
            file.unlink()
        self.sqlite("create table bookmarks (url)")
        self.assert_stops(agent)
        self.assert_trouble(agent, "another program's database")
        (self.data / "journal.db").unlink()
        wait_until(lambda: "Journal is well again" in agent.process.stderr(), "it to be well", 30)
        self.assertEqual(self.sqlite("select task, outcome from stops"), [("web", "graceful")])

    def test_a_journal_damaged_under_the_agent_is_replaced(self):
        agent = self.serve()
        self.start_service(agent, "goes-on")
        self.start_service(agent)
        for name in ("journal.db", "journal.db-wal"):
            with open(self.data / name, "r+b") as file:
                file.write(b"\xff" * max(300_000, os.fstat(file.fileno()).st_size))
        self.assert_stops(agent)
        wait_until(lambda: "Journal is damaged" in agent.process.stderr(), "a word in the log")
        wait_until(lambda: ("goes-on", "RUNNING") in self.sqlite("select name, last_status from tasks"), "the live task")
        self.assertEqual(self.sqlite("select task, outcome from stops"), [("web", "graceful")])
        self.assertTrue(list(self.data.glob("journal.db.corrupt-*")))
        self.assert_well(agent)

    def test_a_disk_that_is_slow_delays_no_signal(self):
        agent = self.serve()
        count = 4
        journals = {f"web{n}": self.start_service(agent, f"web{n}", "--ignore-term") for n in range(count)}
        wait_until(lambda: len(self.sqlite("select 1 from tasks")) == count, "the tasks' records")
        holding = sqlite3.connect(self.data / "journal.db", isolation_level=None)
        holding.execute("begin exclusive")
        asked = time.clock_gettime(time.CLOCK_BOOTTIME)
        stops = [agent.start_ctl("stop", name, "--timeout", "1s", "--output", "json") for name in journals]
        wait_until(lambda: "a record has been waiting for" in agent.ctl("ps"), "it in ps")
        for stop in stops:
            self.assertEqual(stop.wait(), 0)
        for name, journal in journals.items():
            term = journal.signalled() - asked
            self.assertLess(term, 0.1 + harness.SLACK, name)
            stop = next(iter(agent.ctl("inspect", name, "--output", "json")["containers"]))
            self.assertEqual(stop["signal"], "SIGKILL")
        self.assertLess(time.clock_gettime(time.CLOCK_BOOTTIME) - asked, 5, "the lock was still held")
        holding.execute("rollback")
        holding.close()
        said = agent.process.stderr()
        for name in journals:
            lines = [line for line in said.splitlines() if "Stop goes on without its journal" in line and name in line]
            self.assertTrue(lines, f"{name} in:\n{said}")
        self.assert_well(agent)
        for name in journals:
            record = agent.stops(name)[0]
            self.assertEqual(record["outcome"], "killed")
            sigterm, sigkill = phase_of(record, "SIGTERM"), phase_of(record, "SIGKILL")
            wait = boot_of(sigkill["startedAt"]) - boot_of(sigterm["startedAt"])
            self.assert_took(wait, 1.0, what="SIGKILL")
            rows = self.sqlite(f"select phase, phases.outcome from phases join stops on stops.id = stop_id where task = '{name}' order by position")
            self.assertEqual(rows, [(phase["phase"], phase["outcome"]) for phase in record["phases"]])

    def test_a_disk_that_hangs_holds_up_the_end_for_two_seconds(self):
        agent = self.serve()
        self.start_service(agent)
        holding = sqlite3.connect(self.data / "journal.db", isolation_level=None, timeout=10)
        holding.execute("begin exclusive")
        begin = time.monotonic()
        agent.process.signal(signal.SIGTERM)
        self.assertEqual(agent.process.wait(), 0)
        self.assertLess(time.monotonic() - begin, 3 + harness.SLACK)
        self.assertIn("the disk takes longer than 2s", agent.process.stderr())
        holding.close()


class Disk(JournalTest):
    """On a small disk in a mount namespace of the agent's own."""

    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=20).returncode != 0:
            self.skipTest("cannot make a mount namespace here")
        self.data.mkdir()

    def serve_on(self, options, before="true", **more):
        agent = Agent(self, ECS_DATADIR=self.data, **more, prefix=[
            "unshare", "-m", "sh", "-c",
            f'mount -t tmpfs -o {options} tmpfs {self.data} && {before} && exec "$@"', "sh"])
        self.pid = str(agent.process.pid)
        self.inside = pathlib.Path(f"/proc/{agent.process.pid}/root{self.data}")
        return agent

    def fill(self):
        with open(self.inside / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"\0" * 4096)
            except OSError:
                pass

    def enter(self):
        return ["nsenter", "-t", self.pid, "-m"]

    def remount(self, path):
        subprocess.run([*self.enter(), "mount", "-o", "remount,rw", path], check=True, capture_output=True, timeout=20)

    def inside_rows(self, sql):
        done = subprocess.run([*self.enter(), "sqlite3", "-json", self.data / "journal.db", sql],
                              capture_output=True, text=True, check=True, timeout=20)
        return [tuple(row.values()) for row in json.loads(done.stdout or "[]")]

    def test_a_disk_that_fills_up_loses_no_record(self):
        agent = self.serve_on("size=2m")
        names = [f"web{n}" for n in range(6)]
        for name in names:
            self.start_service(agent, name)
        self.fill()
        records = [self.assert_stops(agent, name) for name in names]
        self.assert_trouble(agent, "disk is full")
        self.assertGreaterEqual(agent.ctl("ps", "--output", "json")["journal"]["waiting"], 6)
        (self.inside / "filler").unlink()
        wait_until(lambda: "Journal is well again" in agent.process.stderr(), "it to be well", 30)
        self.assert_well(agent)
        rows = self.inside_rows("select task, outcome, (select count(*) from phases where stop_id = id) from stops order by task")
        self.assertEqual(rows, [(record["task"], "graceful", len(record["phases"])) for record in records])
        self.assertEqual(self.inside_rows("select distinct last_status from tasks"), [("STOPPED",)])

    def test_a_full_disk_at_the_start(self):
        agent = self.serve_on("size=1m", before=f"(dd if=/dev/zero of={self.data}/filler bs=4k 2>/dev/null || true)")
        self.assert_trouble(agent, "full")
        self.assertEqual(agent.ctl("ps", "--output", "json")["tasks"], [])
        (self.inside / "filler").unlink()
        wait_until(lambda: "Journal is well again" in agent.process.stderr(), "it to be well", 30)
        wait_until(lambda: agent.ctl_process("run", "--name", "web", "--", "sleep", "60").returncode == 0, "a task to start")
        self.assert_stops(agent)

    def test_a_read_only_disk_at_the_start_is_read(self):
        agent = Agent(self, ECS_DATADIR=self.data)
        self.start_service(agent)
        record = self.assert_stops(agent)
        agent.process.kill()
        shutil.copytree(self.data, self.dir / "saved")
        second = self.serve_on("size=4m", before=f"cp -a {self.dir}/saved/. {self.data} && mount -o remount,ro {self.data}")
        self.assert_trouble(second, "Read-only file system")
        self.assertEqual(second.stops("web"), [record])
        refused = second.ctl_process("run", "--name", "new", "--", "sleep", "60")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("Read-only file system", refused.stderr)
        third = Agent(self, wait=False, AGENT_SOCKET=self.dir / "third.sock", ECS_DATADIR=self.data, prefix=self.enter())
        self.assertEqual(third.process.wait(), 1)
        self.assertIn("has it", third.process.stderr())
        self.remount(self.data)
        wait_until(lambda: "Journal is well again" in second.process.stderr(), "it to be well", 30)
        self.start_service(second, "web2")
        self.assert_stops(second, "web2")

    def test_a_disk_without_a_directory_that_can_be_made(self):
        self.data = self.data / "below" / "it"
        below = self.data.parent.parent
        agent = Agent(self, ECS_DATADIR=self.data, prefix=[
            "unshare", "-m", "sh", "-c", f'mount -t tmpfs -o ro tmpfs {below} && exec "$@"', "sh"])
        self.assert_trouble(agent, "Read-only file system")
        self.pid = str(agent.process.pid)
        self.remount(below)
        wait_until(lambda: "Journal is well again" in agent.process.stderr(), "it to be well", 30)


if __name__ == "__main__":
    harness.main()
