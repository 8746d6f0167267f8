"""Load balancers that are programs: what a helper does well, and everything that it may do wrong."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import harness
from harness import wait_until

ODD = pathlib.Path(__file__).with_name("odd_helper.py")
URL = "odd:?pool=web&api-token=geheim"
KNOWS = {"known": {"knows": True}}


class HelperTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.programs = self.dir / "programs"
        self.programs.mkdir()
        shutil.copy(ODD, self.programs / "agent-lb-odd")
        os.chmod(self.programs / "agent-lb-odd", 0o755)
        self.manners(**KNOWS)
        self.port = harness.free_port()

    def manners(self, **moments):
        new = self.programs / "manners.new"
        new.write_text(json.dumps(moments))
        new.rename(self.programs / "manners.json")

    def heard(self, event=None, do=None):
        events = harness.json_lines(self.programs / "heard.jsonl")
        return [e for e in events if event in (None, e["event"]) and do in (None, e.get("do"))]

    def quiet(self):
        """No request of the task's is in flight any more, the helper reports."""
        (self.programs / "quiet").touch()

    def serve(self, **environment):
        return harness.Agent(self, AGENT_HELPER_PATH=self.programs, **environment)

    def begin(self, agent, url=URL, **service):
        agent.run("web", *self.obedient(self.port, journal=self.journal()), load_balancers=[url], **service)
        wait_until(lambda: self.heard(do="register"), "the registration")

    def stopped(self, agent, *flags):
        agent.ctl("stop", "web", *flags)
        return agent.stops("web")[0]

    def gone(self, pid):
        wait_until(lambda: harness.descendants().get(pid, "Z") == "Z", f"{pid} to be gone")

    def assert_signalled_once(self):
        signals = [e["signal"] for e in self.journal().events("signal") if e["signal"] != signal.SIGCONT]
        self.assertEqual(signals, [signal.SIGTERM])


class Works(HelperTest):
    def test_the_sequence_waits_for_its_word(self):
        agent = self.serve()
        self.begin(agent)
        stop = agent.start_ctl("stop", "web")
        agent.wait_phase("web", "DRAIN")
        harness.assert_stays(lambda: not self.journal().signalled(), "no SIGTERM before it is drained", 0.3)
        self.quiet()
        self.assertEqual(stop.wait(), 0)
        record = agent.stops("web")[0]
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(harness.phases_of(record), ["DEREGISTER", "DRAIN", "SIGTERM"])
        start, = self.heard("start")
        self.assertEqual((start["arguments"], start["protocol"], start["cwd"]), ([], "1", "/"))
        self.assertEqual([e["do"] for e in self.heard("request")][:3], ["check", "register", "deregister"])
        self.assertEqual(self.heard(do="deregister")[0]["url"], URL)

    def test_one_program_for_all_tasks_and_it_leaves_with_the_agent(self):
        agent = self.serve()
        self.begin(agent)
        for name in ("two", "three"):
            agent.run(name, "sleep", "600", load_balancers=[f"odd:?pool={name}&register=0"])
        self.assertEqual(len(self.heard("start")), 1)
        self.quiet()
        agent.process.signal(signal.SIGTERM)
        self.assertEqual(agent.process.wait(), 0)
        self.assertEqual(len(self.heard("end")), 1)
        self.gone(self.heard("start")[0]["pid"])

    def test_its_own_delay_is_the_default_of_ours(self):
        self.manners(known={"knows": True, "delayMs": 1000})
        agent = self.serve()
        self.begin(agent)
        record = self.stopped(agent)
        self.assertEqual(record["deregistrationDelayMs"], 1000)
        drain = harness.phase_of(record, "DRAIN")
        self.assertEqual(drain["outcome"], "timed_out")
        self.assert_took(drain["durationMs"] / 1000, 1.0)
        agent.run("two", *self.obedient(harness.free_port()), load_balancers=["odd:?pool=two"],
                  flags=["--deregistration-delay", "2s"])
        agent.ctl("stop", "two", "--no-drain")
        self.assertEqual(agent.stops("two")[0]["deregistrationDelayMs"], 2000)

    def test_who_exits_by_itself_is_deregistered_all_the_same(self):
        self.quiet()
        agent = self.serve()
        self.begin(agent)
        os.kill(agent.task("web")["containers"][0]["pid"], signal.SIGKILL)
        wait_until(lambda: self.heard(do="deregister"), "the deregistration")
        agent.wait_status("web", "STOPPED")

    def test_as_an_init_it_outlives_the_command_until_its_answer_is_in(self):
        self.quiet()
        run = self.agent_run(*self.obedient(self.port), AGENT_HELPER_PATH=self.programs, AGENT_LOAD_BALANCERS=URL)
        wait_until(lambda: self.heard(do="register"), "the registration")
        pid, = [int(p) for p in pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
                if int(p) != self.heard("start")[0]["pid"]]
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(run.wait(), 137)
        self.assertEqual(len(self.heard(do="deregister")), 1)
        self.assertEqual(len(self.heard("end")), 1)

    def test_a_secret_in_its_url_is_nowhere_but_with_the_helper(self):
        agent = self.serve()
        self.begin(agent)
        self.quiet()
        self.stopped(agent)
        shown = [agent.process.stderr(), json.dumps(agent.task("web")), json.dumps(agent.stops("web")),
                 agent.ctl("ps", "--output", "table"), agent.ctl("inspect", "web"), agent.ctl("timeline", "web")]
        for text in shown:
            self.assertNotIn("geheim", text)
        self.assertIn("geheim", json.dumps(self.heard(do="check")))


class InShell(harness.LiveTest):
    def test_a_helper_of_thirty_lines_stops_a_task_in_order(self):
        flag, port, journal = self.dir / "up", harness.free_port(), self.journal()
        agent = harness.Agent(self, AGENT_HELPER_PATH=harness.ROOT / "scripts/examples")
        agent.run("web", *self.obedient(port, journal=journal), load_balancers=[f"flag:{flag}?settle=500ms"])
        wait_until(flag.exists, "the registration")
        client = harness.Client(port).send("/delay/1500")
        wait_until(lambda: (agent.task("web") or {}).get("connections"), "the request")
        stop = agent.start_ctl("stop", "web")
        wait_until(lambda: not flag.exists(), "the deregistration")
        self.assertEqual(client.response(), 200)
        client.close()
        closed = harness.boot_now()
        self.assertEqual(stop.wait(), 0)
        self.assert_took(journal.signalled() - closed, 0.5, what="SIGTERM")
        record = agent.stops("web")[0]
        self.assertEqual([p["outcome"] for p in record["phases"][:3]], ["completed"] * 3)


class NoTasksOwn(HelperTest):
    """The helper, and whatever it leaves behind, is no part of the task's process tree."""

    def test_what_it_leaves_behind_keeps_no_task_from_being_stopped(self):
        self.stop_beside_an_orphan()
        self.assertEqual(len(self.heard("start")), 1)

    def test_nor_does_what_holds_its_output_open(self):
        self.stop_beside_an_orphan(deregister={"exit": 1, "life": 1})
        self.assertEqual(len(self.heard("start")), 2)

    def stop_beside_an_orphan(self, **moments):
        self.quiet()
        self.manners(check={"leave_behind": True, "life": 1}, **moments, **KNOWS)
        run = self.agent_run(*self.obedient(self.port), AGENT_HELPER_PATH=self.programs, AGENT_LOAD_BALANCERS=URL)
        wait_until(lambda: self.heard(do="register"), "the registration")
        child = self.heard("left")[0]["child"]
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(5), 0)
        self.assertIn('outcome="graceful"', run.stderr())
        self.gone(child)

    def test_no_signal_to_the_tree_reaches_it(self):
        self.quiet()
        self.manners(check={"leave_behind": True, "life": 1}, **KNOWS)
        run = self.agent_run(*self.obedient(self.port, "--ignore-term"), flags=["--signal-scope", "tree"],
                             AGENT_HELPER_PATH=self.programs, AGENT_LOAD_BALANCERS=URL,
                             ECS_CONTAINER_STOP_TIMEOUT="1s")
        wait_until(lambda: self.heard(do="register"), "the registration")
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 137)
        self.assertEqual(len(self.heard("start")), 1)
        self.assertEqual(len(self.heard("end")), 1)  # by itself, when it was dismissed


class Refuses(HelperTest):
    """What can be known at a task's start is an error then, and not at its stop."""

    def refused(self, agent, url, expected):
        text = agent.ctl("run", "--name", "web", "--load-balancer", url, "--", "sleep", "600", code=1)
        self.assertIn(expected, text)
        self.assertEqual(len(text.strip().splitlines()), 1)

    def test_one_that_is_missing(self):
        agent = self.serve()
        self.refused(agent, "nope:?x=1", f"a program agent-lb-nope in {self.programs} (AGENT_HELPER_PATH)")
        (self.programs / "agent-lb-plain").write_text("no program")
        self.refused(agent, "plain:x", "unknown load balancer scheme 'plain'")
        run = self.agent_run("true", AGENT_LOAD_BALANCERS="nope:?x=1", AGENT_HELPER_PATH=self.programs)
        self.assertEqual(run.wait(), 125)
        self.assertIn("agent-lb-nope", run.stderr())

    def test_one_that_speaks_another_protocol(self):
        self.manners(start={"write": '{"helper":"odd","protocol":2,"abilities":[]}\n'})
        self.refused(self.serve(), URL, "cannot ask agent-lb-odd: it speaks protocol 2, expected 1")

    def test_one_that_cannot_be_executed(self):
        program = self.programs / "agent-lb-broken"
        program.write_text("#!/no/such/interpreter\n")
        program.chmod(0o755)
        self.refused(self.serve(), "broken:x", "cannot start")

    def test_one_that_refuses_the_url_itself(self):
        self.manners(check={"answer": {"error": "cannot find pool 'web': expected one of a, b"}})
        agent = self.serve()
        self.refused(agent, URL, "cannot find pool 'web': expected one of a, b")
        self.assertEqual(agent.task("web")["stopCode"], "TaskFailedToStart")

    def test_one_that_only_cannot_say_now_is_a_warning(self):
        self.manners(check={"answer": {"error": "cannot reach 10.0.0.1: no route", "retry": True}})
        agent = self.serve()
        agent.run("web", "sleep", "600", load_balancers=[URL])
        self.assertIn("cannot reach 10.0.0.1: no route", agent.process.stderr())

    def test_a_command_that_runs_already_is_told_of_in_the_log(self):
        self.manners(start={"write": "Welcome to odd 1.0\n"})
        run = self.agent_run(*self.obedient(self.port), AGENT_HELPER_PATH=self.programs, AGENT_LOAD_BALANCERS=URL)
        wait_until(lambda: "it wrote 'Welcome to odd 1.0', expected" in run.stderr(), "the error")
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assertIn('phase="DEREGISTER" outcome="failed"', run.stderr())


class Breaks(HelperTest):
    """Each time: one clear line, and the stop goes on by its rules."""

    def stop_with(self, *flags, expected="completed", line="", lives=2, **environment):
        agent = self.serve(**environment)
        self.begin(agent)
        self.quiet()
        record = self.stopped(agent, *flags)
        self.assertEqual(harness.phase_of(record, "DEREGISTER")["outcome"], expected)
        self.assertEqual(record["outcome"], "graceful")
        self.assert_signalled_once()
        self.assertIn(line, agent.process.stderr())
        self.assertEqual(len(self.heard("start")), lives)
        return record

    def test_killed_in_the_middle_of_a_deregistration(self):
        self.manners(deregister={"kill": signal.SIGSEGV, "life": 1, "silent": True}, **KNOWS)
        record = self.stop_with(line="it was killed by SIGSEGV")
        self.assertEqual(harness.phase_of(record, "DEREGISTER")["detail"]["attempts"], 2)

    def test_killed_when_it_has_acknowledged(self):
        self.manners(drain={"kill": signal.SIGKILL, "life": 1}, **KNOWS)
        record = self.stop_with(line="it was killed by SIGKILL")
        self.assertEqual(harness.phase_of(record, "DRAIN")["outcome"], "completed")
        self.assertEqual(len(self.heard(do="deregister")), 2)

    def test_rubbish_instead_of_an_answer(self):
        self.manners(deregister={"write": "what?\n", "life": 1}, **KNOWS)
        self.stop_with(line="it wrote 'what?', expected a line of JSON")

    def test_a_line_without_an_end(self):
        self.manners(deregister={"write": "x" * 1000, "times": 100, "life": 1}, **KNOWS)
        self.stop_with(line="it wrote a line of more than 65536 bytes, which begins 'xxxx")

    def test_a_flood(self):
        self.manners(deregister={"write": '{"id":1000,"note":"x"}\n', "times": 50000, "life": 1}, **KNOWS)
        self.stop_with(line="it writes more than 20000 lines a second")

    def test_an_unknown_id(self):
        self.manners(deregister={"write": '{"id":1000,"state":"drained"}\n', "silent": True, "life": 1},
                     check={"life": 0}, **KNOWS)
        agent = self.serve(AGENT_DEREGISTER_TIMEOUT="1s")
        self.begin(agent)
        record = self.stopped(agent)
        self.assertEqual(harness.phase_of(record, "DEREGISTER")["outcome"], "failed")
        self.assertIn("it answers 1000, which isn't asked", agent.process.stderr())

    def test_no_answer_at_all_costs_its_time_and_no_more(self):
        self.manners(deregister={"silent": True}, **KNOWS)
        record = self.stop_with(expected="failed", lives=1, AGENT_DEREGISTER_TIMEOUT="1s")
        self.assert_took(harness.phase_of(record, "DEREGISTER")["durationMs"] / 1000, 1.0)

    def test_what_it_said_last_is_why(self):
        self.manners(deregister={"answer": {"note": "throttled, again in 2.1 s"}}, **KNOWS)
        record = self.stop_with(expected="failed", lives=1, AGENT_DEREGISTER_TIMEOUT="1s")
        self.assertIn("no answer in time (throttled, again in 2.1 s)",
                      harness.phase_of(record, "DEREGISTER")["detail"]["error"])

    def test_a_refusal_that_no_retry_mends(self):
        self.manners(deregister={"answer": {"error": "cannot deregister x: access denied"}}, **KNOWS)
        record = self.stop_with(expected="failed", lives=1)
        self.assertLess(harness.phase_of(record, "DEREGISTER")["durationMs"], 900)
        self.assertIn("access denied", harness.phase_of(record, "DEREGISTER")["detail"]["error"])

    def test_replaced_under_our_feet(self):
        agent = self.serve()
        self.begin(agent)
        new = self.programs / "new"
        new.write_text(ODD.read_text().replace('VERSION = "1"', 'VERSION = "2"'))
        new.chmod(0o755)
        new.rename(self.programs / "agent-lb-odd")
        os.kill(self.heard("start")[0]["pid"], signal.SIGKILL)
        self.quiet()
        record = self.stopped(agent)
        self.assertEqual(record["outcome"], "graceful")
        self.assertEqual(harness.phase_of(record, "DEREGISTER")["outcome"], "completed")
        self.assertIn("version=2", agent.process.stderr())

    def test_removed_under_our_feet(self):
        agent = self.serve()
        self.begin(agent)
        (self.programs / "agent-lb-odd").unlink()
        os.kill(self.heard("start")[0]["pid"], signal.SIGKILL)
        wait_until(lambda: "it was killed by SIGKILL" in agent.process.stderr(), "its end to be said")
        record = self.stopped(agent)
        deregister = harness.phase_of(record, "DEREGISTER")
        self.assertEqual(deregister["outcome"], "failed")
        self.assertIn("No such file or directory", deregister["detail"]["error"])
        self.assertLess(deregister["durationMs"], 900)

    def test_one_that_will_not_leave_is_made_to(self):
        self.manners(end={"silent": True}, start={"stderr": "hello", "life": 1}, **KNOWS)
        program = self.programs / "agent-lb-odd"
        program.write_text(ODD.read_text() + "\nsignal = __import__('signal')\n"
                           "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n")
        agent = self.serve()
        self.begin(agent)
        self.quiet()
        self.stopped(agent)
        agent.process.signal(signal.SIGTERM)
        self.assertEqual(agent.process.wait(5), 0)
        self.gone(self.heard("start")[0]["pid"])


class AgentDies(HelperTest):
    def test_the_next_agent_asks_again_and_waits_for_the_word(self):
        agent = self.serve()
        self.begin(agent)
        agent.start_ctl("stop", "web")
        agent.wait_phase("web", "DRAIN")
        helper = self.heard("start")[0]["pid"]
        agent.process.signal(signal.SIGKILL)
        agent.process.wait()
        self.gone(helper)  # its stdin ended
        agent = self.serve()
        agent.wait_phase("web", "DRAIN")
        wait_until(lambda: len(self.heard(do="deregister")) == 2, "it to be asked again")
        harness.assert_stays(lambda: not self.journal().signalled(), "no SIGTERM before it is drained", 0.3)
        self.quiet()
        agent.wait_status("web", "STOPPED")
        self.assert_signalled_once()
        self.assertEqual(len(self.heard(do="register")), 1)


if __name__ == "__main__":
    harness.main()
