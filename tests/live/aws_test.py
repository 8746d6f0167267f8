"""Tasks behind AWS's load balancers, from the registration to the last request, against the stand-in."""
import json
import pathlib
import signal
import sys

import harness
from harness import Agent, Load, boot_now, boot_of, free_port, phase_of, phases_of, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from aws.standin import Aws  # noqa: E402  (found by the line above)

HERE = "127.0.0.1"
DELAY = 300.0


def heard_last(journal):
    """When its last request was answered, in seconds of boot time."""
    return max((e["boot"] / 1e6 for e in journal.requests()), default=0.0)


class AwsTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.aws = Aws(self)
        self.agent = None

    def serve(self, **environment):
        self.agent = Agent(self, **self.aws.environment(), **environment)
        return self.agent

    def run_service(self, name, port, url, *options):
        journal = self.journal(name)
        self.agent.run(name, *self.obedient(port, *options, journal=journal), load_balancers=[url])
        wait_until(lambda: journal.events("listening"), f"{name} to listen")
        return journal

    def assert_no_secret(self, *texts):
        found = [self.agent.process.stderr(), json.dumps(self.agent.request("GET", "/v1/tasks")[1]), *texts]
        found += [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                  for pid in harness.descendants() if pathlib.Path(f"/proc/{pid}").exists()]
        for secret in self.aws.secrets():
            for text in found:
                self.assertNotIn(secret, text)


class Alb(AwsTest):
    """An ALB shows `draining` for the whole delay: the task's own sockets tell when it is over."""

    def begin(self, url_parameters=None, delay=DELAY, count=2, **plane):
        self.group = self.aws.target_group("web", delay=int(delay))
        self.plane = self.group.serve(self.aws.data_plane(**plane))
        self.serve(AGENT_DRAIN_IDLE="1s")
        self.services = {}
        for number in range(1, count + 1):
            port = free_port()
            url = self.group.url(port, register=1, **(url_parameters or {}))
            self.services[f"web{number}"] = (port, self.run_service(f"web{number}", port, url))
        for port, journal in self.services.values():
            wait_until(lambda: self.group.state(HERE, port) == "healthy", "the registration")
            self.plane.wait_up(HERE, port)
        self.load = Load(self, self.plane.port, connections=10, rate=200)
        for port, journal in self.services.values():
            wait_until(lambda: len(journal.requests()) > 20, "requests")

    def stop_under_load(self, still):
        port, journal = self.services["web1"]
        begun = boot_now()
        self.agent.ctl("stop", "web1")
        took = boot_now() - begun
        record = self.agent.stops("web1")[0]
        self.assertEqual(self.load.finish()["failed"], 0)
        self.assertEqual((record["outcome"], phases_of(record)), ("graceful", ["DEREGISTER", "DRAIN", "SIGTERM"]))
        self.assertEqual(record["deregistrationDelayMs"], DELAY * 1000)
        self.assertAlmostEqual(record["savedMs"], DELAY * 1000 - phase_of(record, "DRAIN")["durationMs"], delta=1)
        self.assertGreater(journal.signalled(), heard_last(journal))
        self.assertGreaterEqual(heard_last(journal) - begun, still - 0.5)    # new ones did come so long
        self.assertEqual(self.group.state(HERE, port), "draining")           # and would be for 300 s
        self.assertEqual(self.aws.count("DeregisterTargets"), 1)
        self.assert_no_secret(json.dumps(record))
        return record, took, journal

    def test_a_pool_that_is_dropped_while_new_connections_come_for_eight_seconds(self):
        self.begin(pool="dropped", still=8.0)
        record, took, journal = self.stop_under_load(8.0)
        # Ten seconds of rest behind the last connection that closed.
        self.assert_took(took, 18.0, 19.5, "the stop")
        self.assertGreater(phase_of(record, "DRAIN")["detail"]["connectionsPeak"], 0)
        self.assertLess(journal.signalled() - heard_last(journal), 11.5)

    def test_a_pool_that_is_kept_with_idle(self):
        self.begin({"drain": "idle"}, pool="kept", still=8.0)
        record, took, journal = self.stop_under_load(8.0)
        self.assert_took(took, 18.0, 20.5, "the stop")
        self.assertGreater(phase_of(record, "DRAIN")["detail"]["connectionsAtEnd"], 0)  # the pool, at rest
        self.assertLess(journal.signalled() - heard_last(journal), 12.5)

    def test_the_groups_own_delay_is_the_default(self):
        self.begin({"settle": "100ms"}, delay=2, pool="kept")
        self.agent.ctl("stop", "web1")
        record = self.agent.stops("web1")[0]
        self.assertEqual(record["deregistrationDelayMs"], 2000)
        drain = phase_of(record, "DRAIN")
        self.assert_took(drain["durationMs"] / 1000, 2.0)
        self.load.finish()

    def test_a_longer_delay_of_ours_is_a_warning(self):
        group = self.aws.target_group("web", delay=60)
        agent = self.serve(AGENT_DEREGISTRATION_DELAY="90s")
        agent.run("web", "sleep", "600", load_balancers=[group.url(80)])
        line, = [line for line in agent.process.stderr().splitlines() if "level=warn" in line]
        self.assertIn("A deregistration delay of 1m30s is longer than the load balancer's own of 1m", line)

    def test_a_deadline_that_leaves_no_time_to_settle_is_a_warning(self):
        group = self.aws.target_group("web", protocol="TCP", delay=300)
        agent = self.serve(AGENT_STOP_DEADLINE="90s")
        agent.run("web", "sleep", "600", load_balancers=[group.url(80)])
        line, = [line for line in agent.process.stderr().splitlines() if "level=warn" in line]
        self.assertIn("The stop deadline of 1m30s leaves 44.5s to drain, and a load balancer needs 2m to settle", line)


class Containers(AwsTest):
    """`agent run` as a container's init."""

    def test_its_target_and_its_credentials_are_found(self):
        group = self.aws.target_group("web", delay=300)
        plane = group.serve(self.aws.data_plane(pool="dropped"))
        port = free_port()
        self.aws.containers.authorization = "Bearer of-good-news"
        environment = self.aws.environment(credentials=False) | {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.aws.containers.credentials_uri,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer of-good-news",
            "ECS_CONTAINER_METADATA_URI_V4": self.aws.containers.metadata_uri}
        run = self.agent_run(*self.obedient(port, journal=self.journal()), **environment, AGENT_LOAD_BALANCERS=(
            f"elbv2:?target-group-arn={group.arn}&port={port}&register=1&settle=200ms"))
        wait_until(lambda: group.state(HERE, port) == "healthy", "the registration")
        plane.wait_up(HERE, port)
        run.signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 0)
        self.assertEqual(group.state(HERE, port), "draining")
        self.assertIn('phase="DRAIN" outcome="completed"', run.stderr())
        for secret in self.aws.secrets():
            self.assertNotIn(secret, run.stderr())


class Classic(AwsTest):
    def test_it_ends_on_its_own_report(self):
        port = free_port()
        balancer = self.aws.load_balancer("front", timeout=300, instance_port=port)
        instance = self.aws.imds.instance_id
        plane = balancer.serve(self.aws.data_plane(pool="kept"))
        self.serve()
        journal = self.run_service("web", port, balancer.url(instance, register=1))
        wait_until(lambda: self.aws.count("RegisterInstancesWithLoadBalancer"), "the registration")
        plane.wait_up(instance, port)
        client = harness.Client(plane.port)
        client.send("/delay/3000")
        wait_until(lambda: journal.events("delayed") or plane.facts(instance, port).scur, "the request")
        stop = self.agent.start_ctl("stop", "web")
        self.agent.wait_phase("web", "DRAIN")
        harness.assert_stays(lambda: not journal.signalled(), "no SIGTERM while a request is in flight", 1.0)
        self.assertEqual(client.response(), 200)
        answered = boot_now()
        self.assertEqual(stop.wait(), 0)
        # Its pool keeps connections open, and its word is enough.
        self.assertLess(journal.signalled() - answered, 2.5)
        record = self.agent.stops("web")[0]
        self.assertEqual(phase_of(record, "DRAIN")["outcome"], "completed")
        self.assertGreater(record["savedMs"], 290_000)

    def test_without_connection_draining_there_is_no_wait(self):
        port = free_port()
        balancer = self.aws.load_balancer("front", timeout=None, instance_port=port)
        self.serve()
        self.run_service("web", port, balancer.url("i-0fedcba9876543210"))
        self.agent.ctl("stop", "web")
        record = self.agent.stops("web")[0]
        self.assertLess(phase_of(record, "DRAIN")["durationMs"], 900)
        self.assertEqual(record["outcome"], "graceful")


class Notices(AwsTest):
    def test_a_lifecycle_hook_is_completed_when_the_last_task_is_stopped(self):
        hook = self.aws.lifecycle_hook("web-asg", "drain", heartbeat=30)
        agent = self.serve(AGENT_LIFECYCLE_HOOK="web-asg/drain")
        journals = []
        for number in range(3):
            port, journal = free_port(), self.journal(f"web{number}")
            agent.run(f"web{number}", *self.obedient(port, "--exit-after-term", f"{number * 2000}ms", journal=journal))
            wait_until(lambda: journal.events("listening"), "it to listen")
            journals.append(journal)
        wait_until(lambda: self.aws.imds.asked("/latest/meta-data/autoscaling/target-lifecycle-state"), "it to watch")
        action = hook.terminate(self.aws.imds.instance_id)
        wait_until(lambda: action.heartbeats, "a heartbeat")
        self.assertIsNone(action.completed)
        agent.wait_status("web2", "STOPPED")
        wait_until(lambda: action.completed, "the completion")
        self.assertEqual(action.result, "CONTINUE")
        last = max(boot_of(agent.task(f"web{number}")["stoppedAt"]) for number in range(3))
        self.assertGreater(action.completed - action.begun, 4.0)
        self.assertEqual(self.aws.count("CompleteLifecycleAction"), 1)
        self.assertLess(last, boot_now())
        self.assertEqual(agent.task("web0")["stopCode"], "TerminationNotice")
        text = agent.ctl("run", "--name", "new", "--", "sleep", "600", code=1)
        self.assertIn("this machine is about to end", text)

    def test_a_spot_notice_is_the_deadline(self):
        agent = self.serve(ECS_ENABLE_SPOT_INSTANCE_DRAINING="true")
        port, journal = free_port(), self.journal()
        agent.run("web", *self.obedient(port, "--ignore-term", journal=journal))
        wait_until(lambda: journal.events("listening"), "it to listen")
        wait_until(lambda: self.aws.imds.asked("/latest/meta-data/spot/instance-action"), "it to watch")
        self.aws.imds.interrupt(seconds=12)
        begun = boot_now()
        agent.wait_status("web", "STOPPED", 25)
        record = agent.stops("web")[0]
        self.assertEqual((record["stopCode"], record["outcome"]), ("SpotInterruption", "killed"))
        self.assertLess(boot_now() - begun, 12.0)  # a second before it, whenever it was heard

    def test_without_the_program_the_agent_does_not_begin(self):
        empty = self.dir / "empty"
        empty.mkdir()
        agent = Agent(self, wait=False, AGENT_LIFECYCLE_HOOK="a/b", AGENT_HELPER_PATH=empty)
        self.assertEqual(agent.process.wait(), 1)
        self.assertIn(f"expected a program agent-lb-aws in {empty}", agent.process.stderr())


class Wrong(AwsTest):
    """What AWS refuses is a clear line; at a start it refuses the task, at a stop the stop goes on."""

    def refused(self, url, *expected, **environment):
        agent = self.agent or self.serve(**environment)
        text = agent.ctl("run", "--name", "web", "--load-balancer", url, "--", "sleep", "600", code=1)
        for part in expected:
            self.assertIn(part, text)
        self.assertEqual(len(text.strip().splitlines()), 1, text)

    def test_at_the_start(self):
        group = self.aws.target_group("web")
        self.refused(group.url(80).replace("targetgroup/web", "targetgroup/wab"), "TargetGroupNotFound", "wab")
        self.refused("elbv2:?target-group-arn=arn:aws:s3:::bucket&target-id=10.0.0.1", "target-group-arn")
        self.refused("elbv2:?target-group=x", "unknown parameter 'target-group'", "target-group-arn")
        self.refused("elbv2:?target-gruop-arn=x", "did you mean 'target-group-arn'?")
        self.refused("elb:?name=nobody&instance-id=i-0123456789abcdef0", "LoadBalancerNotFound")

    def test_credentials_that_are_not_good(self):
        group = self.aws.target_group("web")
        file = self.dir / "credentials"
        file.write_text("[default\naws_access_key_id AKIA\n")
        old = self.aws.issue(lifetime=-10)
        nowhere = {"AWS_EC2_METADATA_DISABLED": "true"}
        for name, environment, expected in (
                ("secret", self.aws.environment(AWS_SECRET_ACCESS_KEY="wrong"), "SignatureDoesNotMatch"),
                ("key", self.aws.environment(AWS_ACCESS_KEY_ID="AKIAUNKNOWN"), "InvalidClientTokenId"),
                ("expired", self.aws.environment(old), "ExpiredToken"),
                ("none", self.aws.environment(False, **nowhere), "AWS_ACCESS_KEY_ID"),
                ("file", self.aws.environment(False, AWS_SHARED_CREDENTIALS_FILE=str(file), **nowhere), str(file))):
            with self.subTest(name):
                self.agent = Agent(self, **environment)
                self.refused(group.url(80), expected)
                self.assert_no_secret()
                self.agent.process.signal(signal.SIGTERM)
                self.assertEqual(self.agent.process.wait(), 0)

    def stop_refused(self, *, outcome="failed", line="", **environment):
        group = self.aws.target_group("web", delay=1)
        agent = self.agent or self.serve(**environment)
        self.run_service("web", free_port(), group.url(80))
        return group, agent, outcome, line

    def finish(self, agent, outcome, line):
        agent.ctl("stop", "web")
        record = agent.stops("web")[0]
        deregister = phase_of(record, "DEREGISTER")
        self.assertEqual(deregister["outcome"], outcome)
        self.assertEqual(record["outcome"], "graceful")
        self.assertIn(line, json.dumps(record) + agent.process.stderr())
        self.assert_no_secret(json.dumps(record))
        return deregister

    def test_no_permission_is_no_reason_to_wait(self):
        _, agent, outcome, _ = self.stop_refused()
        self.aws.troubles.deny("DeregisterTargets")
        deregister = self.finish(agent, outcome, "AccessDenied")
        self.assertLess(deregister["durationMs"], 2000)

    def test_throttling_is_waited_out(self):
        _, agent, _, _ = self.stop_refused()
        self.aws.troubles.throttle(4, "DeregisterTargets")
        deregister = self.finish(agent, "completed", "Throttling")
        self.assertGreater(deregister["durationMs"], 300)
        self.assertEqual(self.aws.count("DeregisterTargets"), 5)

    def test_what_breaks_once_is_tried_again(self):
        for trouble in ("truncate", "garbage", "wrong_root", "reset", "unavailable"):
            with self.subTest(trouble):
                _, agent, _, _ = self.stop_refused()
                getattr(self.aws.troubles, trouble)(action="DeregisterTargets")
                self.finish(agent, "completed", "")
                self.assertEqual(self.aws.troubles.left(), 0)

    def test_a_redirect_is_refused_and_named(self):
        _, agent, _, _ = self.stop_refused(AGENT_DEREGISTER_TIMEOUT="2s")
        self.aws.troubles.redirect("http://evil.example/", times=None, action="DeregisterTargets")
        self.finish(agent, "failed", "evil.example")

    def test_a_service_that_is_gone_costs_its_time_and_no_more(self):
        _, agent, _, _ = self.stop_refused(AGENT_DEREGISTER_TIMEOUT="2s")
        self.aws.go_away()
        deregister = self.finish(agent, "failed", "cannot")
        self.assert_took(deregister["durationMs"] / 1000, 2.0)

    def test_a_clock_that_is_wrong(self):
        self.aws.clock.skew = 3600.0
        _, agent, _, _ = self.stop_refused()
        self.finish(agent, "completed", "")
        self.assertRegex(agent.process.stderr(), r"(?i)clock")


if __name__ == "__main__":
    harness.main()
