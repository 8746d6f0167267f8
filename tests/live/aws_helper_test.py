"""agent-lb-aws by itself, over its stdin and stdout, against the stand-in for AWS."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

import harness
from harness import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from aws.standin import Aws  # noqa: E402  (found by the line above)

HELPER = str(harness.BIN / "agent-lb-aws")


class Helper:
    """The program, its answers as they come. No secret may be in anything it writes, nor in its arguments."""

    def __init__(self, test, *words, program=HELPER, **environment):
        self.test, self.lines, self.times = test, [], []
        env = {"PATH": os.environ.get("PATH", ""), "HOME": str(test.dir), **environment}
        self.popen = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
                                      stderr=open(test.dir / "helper.err", "ab"), env=env, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self.close)

    def _read(self):
        for line in self.popen.stdout:
            said = json.loads(line)
            self.times.append(time.monotonic())
            self.lines += said if isinstance(said, list) else [said]

    def ask(self, *requests):
        text = json.dumps(requests[0] if len(requests) == 1 else requests, separators=(",", ":"))
        assert len(text) < 65536, len(text)
        self.popen.stdin.write(text + "\n")
        self.popen.stdin.flush()

    def deregister(self, number, url):
        self.ask({"id": number, "do": "deregister", "url": url})

    def of(self, number):
        return [line for line in self.lines if line.get("id") == number]

    def wait(self, number, seconds=15.0, **facts):
        """The first line of that request which has these facts."""
        def found():
            fitting = [line for line in self.of(number) if all(line.get(k) == v for k, v in facts.items())]
            return fitting and fitting[0]
        try:
            return wait_until(found, f"{number} {facts}", seconds)
        except AssertionError:
            raise AssertionError(f"{number} {facts}: {self.lines[-5:]} {self.stderr()}") from None

    def error(self, number, seconds=15.0):
        return wait_until(lambda: next((line for line in self.of(number) if "error" in line), None),
                          f"an error of {number}", seconds)

    def stderr(self):
        return (self.test.dir / "helper.err").read_text()

    def close(self):
        """Ends it by the end of its stdin, and looks for secrets."""
        if self.popen.poll() is None:
            arguments = pathlib.Path(f"/proc/{self.popen.pid}/cmdline").read_text()
            self.popen.stdin.close()
            begun = time.monotonic()
            try:
                self.test.assertEqual(self.popen.wait(5), 0)
            finally:
                self.popen.kill()
            self.test.assertLess(time.monotonic() - begun, 2 + harness.SLACK)
            self.reader.join(5)
            everything = json.dumps(self.lines) + self.stderr() + arguments
            for secret in self.test.aws.secrets():
                self.test.assertNotIn(secret, everything)
        self.popen.stdout.close()
        self.test.assertFalse(harness.matches("Sanitizer|runtime error", self.stderr()), self.stderr())


class HelperTest(harness.LiveTest):
    tls = False

    def setUp(self):
        super().setUp()
        self.aws = Aws(self, tls=self.tls)

    def helper(self, *words, credentials=None, **environment):
        return Helper(self, *words, **{**self.aws.environment(credentials), **environment})


class TargetGroupTest(HelperTest):
    def setUp(self):
        super().setUp()
        self.group = self.aws.target_group("web", delay=120)
        self.group.register("127.0.0.1", 8080)
        self.url = self.group.url(8080)

    def test_a_target_is_checked_registered_deregistered_and_drained(self):
        helper = self.helper(program=str(harness.BIN / "agent-lb-elbv2"))
        helper.ask({"id": 1, "do": "check", "url": self.url})
        known = helper.wait(1, state="known")
        self.assertEqual(known, {
            "id": 1, "state": "known", "knows": False, "settleMs": 10000, "delayMs": 120000, "register": False,
            "port": 8080, "target": "127.0.0.1:8080 in target group web"})
        helper.ask({"id": 2, "do": "register", "url": self.group.url(9090)})
        helper.wait(2, state="registered")
        self.assertEqual(self.group.state("127.0.0.1", 9090), "healthy")
        helper.deregister(3, self.url)
        helper.wait(3, state="draining")
        self.assertEqual(self.group.state("127.0.0.1", 8080), "draining")
        self.assertEqual(self.group.state("127.0.0.1", 9090), "healthy")
        self.aws.clock.advance(121)
        helper.wait(3, state="drained")
        self.assertEqual(helper.stderr(), "")

    def test_a_thousand_targets_are_five_calls(self):
        for port in range(10000, 11000):
            self.group.register("127.0.0.1", port)
        helper = self.helper()
        requests = [{"id": port, "do": "deregister", "url": self.group.url(port)} for port in range(10000, 11000)]
        begun = time.monotonic()
        text = "".join(json.dumps(requests[i:i + 250]) + "\n" for i in range(0, 1000, 250))
        helper.popen.stdin.write(text)
        helper.popen.stdin.flush()
        wait_until(lambda: len(helper.lines) > 1000, "all to be draining")
        took = time.monotonic() - begun
        self.assertEqual({line.get("state") for line in helper.lines[1:]}, {"draining"})
        self.assertLessEqual(self.aws.count("DeregisterTargets"), 10)
        self.assertLessEqual(self.aws.count("DescribeTargetHealth"), 1 + took / 5)
        self.assertIsNotNone(self.group.deregistered_at("127.0.0.1", 10999))

    def test_all_ports_of_an_address_leave(self):
        self.group.register("127.0.0.1", 8081)
        helper = self.helper()
        helper.deregister(1, self.url.replace("&port=8080", ""))
        helper.wait(1, state="draining")
        self.assertEqual({self.group.state("127.0.0.1", port) for port in (8080, 8081)}, {"draining"})

    def test_an_imitation_that_refuses_strangers_means_done(self):
        self.group.refuses_strangers = True
        helper = self.helper()
        helper.deregister(1, self.group.url(9999))
        helper.deregister(2, self.url)
        helper.wait(1, state="drained")
        helper.wait(2, state="draining")

    def test_trouble_is_noted_and_waited_out(self):
        trouble = self.aws.troubles
        trouble.throttle(2, "DeregisterTargets")
        trouble.unavailable(1, "DeregisterTargets")
        trouble.reset(1, "DeregisterTargets")
        trouble.truncate(1, "DeregisterTargets")
        helper = self.helper()
        helper.deregister(1, self.url)
        helper.wait(1, state="draining")
        notes = [line["note"] for line in helper.of(1) if "note" in line]
        self.assertEqual(len(notes), 5, notes)
        self.assertIn("Throttling: Rate exceeded; again in", notes[0])
        self.assertIn("status 503", notes[2])
        self.assertIn("doesn't answer", notes[3])

    def test_rubbish_and_refusals_are_errors_that_say_what_came(self):
        trouble, helper = self.aws.troubles, self.helper()
        cases = [
            (lambda: trouble.garbage(action="DeregisterTargets"), "'this is no XML <at & all'", True),
            (lambda: trouble.wrong_root(action="DeregisterTargets"), "the reply is <Portal>", True),
            (lambda: trouble.redirect("http://127.0.0.1:1/x", action="DeregisterTargets"),
             "redirects to 'http://127.0.0.1:1/x' (302), which isn't followed", False),
            (lambda: trouble.deny("DeregisterTargets", 1), "AccessDenied: User: arn:aws:sts::123456789012:assumed", False),
        ]
        for number, (cause, text, retry) in enumerate(cases, 1):
            with self.subTest(text):
                cause()
                helper.deregister(number, self.url)
                error = helper.error(number)
                self.assertTrue(error["error"].startswith("cannot deregister 127.0.0.1:8080 of target group web: "))
                self.assertIn(text, error["error"])
                self.assertEqual(error["retry"], retry)

    def test_a_reply_without_end_is_cut_off(self):
        self.aws.troubles.huge(64 << 20, 1, "DeregisterTargets")
        helper = self.helper()
        helper.deregister(1, self.url)
        helper.wait(1, state="draining", seconds=20)
        self.assertIn("answers more than 8 MiB", helper.of(1)[0]["note"])
        peak = int(harness.re.search(r"VmHWM:\s+(\d+)", pathlib.Path(
            f"/proc/{helper.popen.pid}/status").read_text())[1])
        if b"__asan_init" not in pathlib.Path(HELPER).read_bytes():
            self.assertLess(peak, 64 << 10)

    def test_one_that_hangs_is_heard_of_and_cancelled(self):
        self.aws.troubles.silent(1, "DeregisterTargets")
        helper = self.helper()
        helper.deregister(1, self.url)
        helper.wait(1, note="waiting for AWS")
        helper.ask({"id": 1, "do": "cancel"})
        helper.wait(1, state="cancelled")
        helper.deregister(2, self.url)
        helper.wait(2, state="draining")

    def test_no_connection_is_made_to_nowhere(self):
        self.aws.go_away()
        helper = self.helper()
        helper.deregister(1, self.url)
        wait_until(lambda: len(helper.of(1)) > 2, "some notes")
        self.aws.come_back()
        helper.wait(1, state="draining")

    def test_a_wrong_clock_is_put_right(self):
        self.aws.clock.skew = 3 * 3600
        helper = self.helper()
        helper.deregister(1, self.url)
        helper.wait(1, state="draining")
        self.assertEqual(harness.re.sub(r"10(79|80|81)\d", "10800", helper.stderr()),
                         "This machine's clock is 10800 s behind AWS's: AWS's date is used.\n")
        self.assertEqual(self.aws.count("DeregisterTargets"), 2)

    def test_wrong_keys_and_wrong_groups_are_final(self):
        made = self.aws.credentials
        helper = self.helper(AWS_SECRET_ACCESS_KEY="wrong")
        helper.deregister(1, self.url)
        self.assertIn("SignatureDoesNotMatch", helper.error(1)["error"])
        self.assertFalse(helper.error(1)["retry"])
        helper.close()
        helper = self.helper(AWS_ACCESS_KEY_ID=made.key + "X")
        helper.deregister(1, self.url)
        self.assertIn("InvalidClientTokenId", helper.error(1)["error"])
        self.assertFalse(helper.error(1)["retry"])
        helper.close()
        helper = self.helper()
        helper.ask({"id": 1, "do": "check", "url": self.url.replace("targetgroup/web/", "targetgroup/no/")})
        self.assertIn("TargetGroupNotFound", helper.error(1)["error"])
        self.assertFalse(helper.error(1)["retry"])


class CredentialsTest(HelperTest):
    def setUp(self):
        super().setUp()
        self.group = self.aws.target_group("web")
        self.group.register("127.0.0.1", 8080)

    def drains(self, helper, number=1):
        helper.deregister(number, self.group.url(8080))
        helper.wait(number, state="draining")

    def test_of_a_session(self):
        self.drains(self.helper(credentials=self.aws.issue(3600)))

    def test_of_a_profile(self):
        made = self.aws.issue(3600)
        file = self.dir / "credentials"
        file.write_text(f"[web]\naws_access_key_id = {made.key}\naws_secret_access_key = {made.secret}\n"
                        f"aws_session_token = {made.token}\n")
        self.drains(self.helper(credentials=False, AWS_SHARED_CREDENTIALS_FILE=str(file), AWS_PROFILE="web"))

    def test_of_the_container(self):
        self.aws.containers.authorization = "Basic abc"
        token = self.dir / "token"
        token.write_text("Basic abc\n")
        self.drains(self.helper(credentials=False, AWS_CONTAINER_CREDENTIALS_FULL_URI=self.aws.containers.credentials_uri,
                                AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token)))

    def test_of_the_instance_renewed_when_they_expire(self):
        helper = self.helper(credentials=False)
        self.drains(helper)
        self.assertEqual(self.aws.imds.role.asked, 1)
        self.aws.clock.advance(7 * 3600)  # here it isn't later: AWS says that they have expired
        helper.deregister(2, self.group.url(8081))
        helper.wait(2, state="draining")
        self.assertEqual(self.aws.imds.role.asked, 2)

    def test_nowhere(self):
        helper = self.helper(credentials=False, AWS_EC2_METADATA_DISABLED="true")
        helper.ask({"id": 1, "do": "check", "url": self.group.url(8080)})
        self.assertIn("there are no credentials: AWS_ACCESS_KEY_ID isn't set; profile 'default' in /dev/null",
                      helper.error(1)["error"])
        self.assertFalse(helper.error(1)["retry"])

    def test_the_target_is_the_task_or_the_instance(self):
        helper = self.helper(ECS_CONTAINER_METADATA_URI_V4=self.aws.containers.metadata_uri)
        helper.deregister(1, f"elbv2:?target-group-arn={self.group.arn}&port=8080")
        helper.wait(1, state="draining")
        instances = self.aws.target_group("machines", target_type="instance", protocol="TCP")
        instances.register(self.aws.imds.instance_id, 80)
        url = f"elbv2:?target-group-arn={instances.arn}"
        helper.ask({"id": 2, "do": "check", "url": url})
        self.assertEqual(helper.wait(2, state="known")["settleMs"], 120000)
        helper.deregister(3, url)
        helper.wait(3, state="draining")
        self.assertEqual(instances.state(self.aws.imds.instance_id, 80), "draining")


class ClassicTest(HelperTest):
    def test_it_says_itself_when_it_is_done(self):
        front = self.aws.load_balancer("front", timeout=60)
        front.register("i-0123456789abcdef0")
        front.instances["i-0123456789abcdef0"].in_flight = 2
        helper = self.helper(program=str(harness.BIN / "agent-lb-elb"))
        helper.ask({"id": 1, "do": "check", "url": front.url("i-0123456789abcdef0")})
        known = helper.wait(1, state="known")
        self.assertEqual((known["knows"], known["delayMs"], known["register"]), (True, 60000, False))
        helper.deregister(2, front.url("i-0123456789abcdef0"))
        helper.wait(2, state="draining")
        wait_until(lambda: self.aws.count("DescribeInstanceHealth") >= 2, "two looks")
        self.assertEqual(len(helper.of(2)), 1)
        front.instances["i-0123456789abcdef0"].in_flight = 0
        helper.wait(2, state="drained", seconds=5)

    def test_without_connection_draining_it_is_done_at_once(self):
        front = self.aws.load_balancer("front", timeout=None)
        front.register("i-0123456789abcdef0")
        helper = self.helper()
        helper.ask({"id": 1, "do": "check", "url": "elb:?name=front"})
        self.assertEqual(helper.wait(1, state="known")["delayMs"], 0)
        helper.deregister(2, "elb:?name=front")
        helper.wait(2, state="drained")
        self.assertEqual(self.aws.count("DescribeInstanceHealth"), 0)
        helper.deregister(3, "elb:?name=missing")
        self.assertIn("LoadBalancerNotFound", helper.error(3)["error"])


class TlsTest(HelperTest):
    tls = True

    def test_a_certificate_must_verify(self):
        group = self.aws.target_group("web")
        helper = self.helper()
        helper.deregister(1, group.url(8080))
        error = helper.error(1)
        self.assertIn("has a certificate that doesn't verify", error["error"])
        self.assertFalse(error["retry"])
        self.assertEqual(self.aws.calls, [])
        helper.close()
        helper = self.helper(AWS_CA_BUNDLE=self.aws.certificate)
        helper.deregister(1, group.url(8080))
        helper.wait(1, state="draining")


class NoticesTest(HelperTest):
    def test_a_spot_interruption(self):
        helper = self.helper("watch")
        helper.ask({"id": 1, "do": "watch", "spot": True})
        helper.wait(1, state="watching")
        at = self.aws.imds.interrupt(120)
        notice = helper.wait(1, notice="SpotInterruption")
        self.assertEqual(notice, {"id": 1, "notice": "SpotInterruption", "at": at,
                                  "reason": f"spot instance {self.aws.imds.instance_id} will be terminated"})

    def test_a_terminating_instance_is_kept_until_all_is_stopped(self):
        hook = self.aws.lifecycle_hook("my-group", "my-hook", heartbeat=30)
        helper = self.helper("watch")
        helper.ask({"id": 1, "do": "watch", "spot": False, "hook": "my-group/my-hook"})
        helper.wait(1, state="watching")
        action = hook.terminate(self.aws.imds.instance_id)
        helper.wait(1, notice="TerminationNotice")
        wait_until(lambda: action.heartbeats, "a heartbeat")
        self.assertIsNone(action.completed)
        helper.ask({"id": 2, "do": "complete", "result": "CONTINUE"})
        helper.wait(2, state="completed")
        self.assertEqual(action.result, "CONTINUE")


class ProgramTest(HelperTest):
    def run_with(self, *words, text=""):
        return subprocess.run([HELPER, *words], input=text, capture_output=True, text=True, timeout=20,
                              env={"AWS_EC2_METADATA_DISABLED": "true"})

    def test_it_explains_itself(self):
        done = self.run_with("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("elbv2:?", "elb:?", "AWS_PROFILE", "watch", "isn't meant to be typed"):
            self.assertIn(word, done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 105)
        self.assertRegex(self.run_with("--version").stdout, r"^agent-lb-aws \d+\.\d+\.\d+\n$")
        for words in (("bogus",), ("watch", "this")):
            done = self.run_with(*words)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))

    def test_it_leaves_at_the_end_of_its_stdin(self):
        done = self.run_with()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["protocol"], 1)

    def test_rubbish_is_said_and_survived(self):
        long = '{"id":9,"do":"check","url":"' + "x" * 70000 + '"}\n'
        done = self.run_with(text="hello\n" + long + '{"id":4,"do":"dance"}\n{"id":5,"do":"check","url":"elb:"}\n')
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer.get("id") for answer in answers], [None, 4, 5])
        self.assertEqual(done.returncode, 0)
        self.assertEqual(len(done.stderr.splitlines()), 3)
        self.assertIn("cannot take so long a line: '{\"id\":9", done.stderr)

    def test_what_was_asked_for_is_acknowledged_before_it_leaves(self):
        group = self.aws.target_group("web")
        group.register("127.0.0.1", 8080)
        self.aws.troubles.slow(0.5, 1, "DeregisterTargets")
        helper = self.helper()
        helper.deregister(1, group.url(8080))
        helper.close()
        self.assertEqual([line.get("state") for line in helper.of(1)], ["draining"])
        self.assertEqual(group.state("127.0.0.1", 8080), "draining")

    def test_nobody_who_reads_is_no_reason_to_stay(self):
        helper = Helper(self, **self.aws.environment())
        wait_until(lambda: helper.lines, "the greeting")
        reading = os.dup(helper.popen.stdin.fileno())
        self.addCleanup(os.close, reading)
        helper.popen.send_signal(signal.SIGSTOP)
        helper.ask({"id": 1, "do": "dance"})
        helper.popen.send_signal(signal.SIGCONT)
        helper.wait(1)


del HelperTest  # has no tests of its own

if __name__ == "__main__":
    harness.main()
