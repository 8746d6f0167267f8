"""The stand-in for AWS, held to AWS's own tools: Debian's awscli and botocore must understand every reply."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import unittest.mock
import urllib.error
import urllib.request

import harness
from harness import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from aws.standin import Aws  # noqa: E402  (found by the line above)

CLI = "/usr/bin/aws" if os.path.exists("/usr/bin/aws") else shutil.which("aws")
TARGETS = [{"Id": "127.0.0.1", "Port": 8080}, {"Id": "127.0.0.1", "Port": 8081}]
ONE, TWO = "Id=127.0.0.1,Port=8080", "Id=127.0.0.1,Port=8081"
INSTANCE, OTHER = "i-0123456789abcdef0", "i-0fedcba9876543210"
PATH = os.environ.get("PATH", "")
NO_TOKEN = "The security token included in the request is invalid."


class AwsTest(harness.LiveTest):
    tls = False

    def setUp(self):
        super().setUp()
        self.aws = Aws(self, tls=self.tls)

    def environment(self, credentials=None, **more):
        """What AWS's tools need to ask nobody else."""
        ours = {"HOME": str(self.dir), "PATH": PATH, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1",
                "AWS_DEFAULT_REGION": self.aws.region, "LC_ALL": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}
        return ours | self.aws.environment(credentials, **more)


@harness.unittest.skipUnless(CLI, "awscli isn't here")
class Awscli(AwsTest):
    def call(self, *words, credentials=None, **more):
        """The decoded output of `aws WORDS`; None if there is none."""
        done = self.run_cli(words, self.environment(credentials, **more))
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *words, credentials=None, **more):
        """What it says of an error: "(Code) when calling the … operation: message"."""
        done = self.run_cli(words, self.environment(credentials, **more))
        self.assertEqual(done.returncode, 254, done.stdout)
        return done.stderr.strip().removeprefix("An error occurred ").replace(" (reached max retries: 0)", "")

    def run_cli(self, words, environment):
        return subprocess.run([CLI, *words, "--endpoint-url", self.aws.url, "--output", "json"], capture_output=True,
                              text=True, timeout=30, env=environment, stdin=subprocess.DEVNULL)

    def test_elbv2(self):
        group = self.aws.target_group("web", delay=300, initial=60)
        arn = ("--target-group-arn", group.arn)
        self.assertIsNone(self.call("elbv2", "register-targets", *arn, "--targets", ONE, TWO))
        self.aws.clock.advance(30)
        self.assertEqual(self.call("elbv2", "describe-target-health", *arn), {"TargetHealthDescriptions": [
            {"Target": target, "HealthCheckPort": str(target["Port"]), "TargetHealth": {
                "State": "initial", "Reason": "Elb.RegistrationInProgress",
                "Description": "Target registration is in progress"}} for target in TARGETS]})
        self.aws.clock.advance(30)
        self.assertIsNone(self.call("elbv2", "deregister-targets", *arn, "--targets", ONE))
        self.aws.clock.advance(270)
        self.assertEqual(self.call("elbv2", "describe-target-health", *arn), {"TargetHealthDescriptions": [
            {"Target": TARGETS[0], "HealthCheckPort": "8080", "TargetHealth": {
                "State": "draining", "Reason": "Target.DeregistrationInProgress",
                "Description": "Target deregistration is in progress"}},
            {"Target": TARGETS[1], "HealthCheckPort": "8081", "TargetHealth": {"State": "healthy"}}]})
        self.aws.clock.advance(30)
        self.assertEqual(self.call("elbv2", "describe-target-health", *arn, "--targets", ONE), {
            "TargetHealthDescriptions": [{"Target": TARGETS[0], "HealthCheckPort": "8080", "TargetHealth": {
                "State": "unused", "Reason": "Target.NotRegistered",
                "Description": "Target is not registered to the target group"}}]})
        self.call("elbv2", "deregister-targets", *arn, "--targets", "Id=10.9.9.9")     # nobody's: a success
        self.assertEqual(self.aws.count("DeregisterTargets", status=200), 2)
        deregistered = self.aws.called("DeregisterTargets")[0]
        self.assertEqual(deregistered.parameters.members("Targets"), [{"Id": "127.0.0.1", "Port": "8080"}])
        self.assertEqual((deregistered.service, deregistered.key), ("2015-12-01", self.aws.credentials.key))

    def test_target_groups_and_their_attributes(self):
        group = self.aws.target_group("web", protocol="TCP", port=443, delay=120)
        [told] = self.call("elbv2", "describe-target-groups", "--target-group-arns", group.arn)["TargetGroups"]
        self.assertEqual({key: told[key] for key in ("TargetGroupName", "Protocol", "Port", "TargetType")},
                         {"TargetGroupName": "web", "Protocol": "TCP", "Port": 443, "TargetType": "ip"})
        told = self.call("elbv2", "describe-target-group-attributes", "--target-group-arn", group.arn)["Attributes"]
        attributes = {attribute["Key"]: attribute["Value"] for attribute in told}
        self.assertEqual(attributes["deregistration_delay.timeout_seconds"], "120")
        self.assertEqual(attributes["deregistration_delay.connection_termination.enabled"], "false")

    def test_classic(self):
        balancer = self.aws.load_balancer("old", timeout=60)
        name, ours = ("--load-balancer-name", "old"), ("--instances", INSTANCE)
        registered = self.call("elb", "register-instances-with-load-balancer", *name, *ours, OTHER)
        self.assertEqual(registered, {"Instances": [{"InstanceId": INSTANCE}, {"InstanceId": OTHER}]})
        balancer.instances[INSTANCE].in_flight = 2
        left = self.call("elb", "deregister-instances-from-load-balancer", *name, *ours)
        self.assertEqual(left, {"Instances": [{"InstanceId": OTHER}]})
        self.assertEqual(self.call("elb", "describe-instance-health", *name, *ours), {"InstanceStates": [
            {"InstanceId": INSTANCE, "State": "InService", "ReasonCode": "N/A",
             "Description": "Instance deregistration currently in progress."}]})
        balancer.instances[INSTANCE].in_flight = 0
        self.assertEqual(self.call("elb", "describe-instance-health", *name, *ours), {"InstanceStates": [
            {"InstanceId": INSTANCE, "State": "OutOfService", "ReasonCode": "N/A",
             "Description": "Instance is not currently registered with the LoadBalancer."}]})
        told = self.call("elb", "describe-load-balancer-attributes", *name)["LoadBalancerAttributes"]
        self.assertEqual(told["ConnectionDraining"], {"Enabled": True, "Timeout": 60})

    def test_lifecycle_hooks(self):
        hook = self.aws.lifecycle_hook("web-group", "web-hook", heartbeat=30)
        ours = ("--auto-scaling-group-name", "web-group", "--lifecycle-hook-name", "web-hook", "--instance-id", INSTANCE)
        [told] = self.call("autoscaling", "describe-lifecycle-hooks", *ours[:2])["LifecycleHooks"]
        self.assertEqual((told["LifecycleHookName"], told["HeartbeatTimeout"], told["GlobalTimeout"],
                          told["DefaultResult"]), ("web-hook", 30, 3000, "ABANDON"))
        self.assertEqual(self.refused("autoscaling", "record-lifecycle-action-heartbeat", *ours),
                         "(ValidationError) when calling the RecordLifecycleActionHeartbeat operation: "
                         f"No active Lifecycle Action found with instance ID {INSTANCE}")
        action = hook.terminate(INSTANCE)
        self.aws.clock.advance(20)
        self.assertIsNone(self.call("autoscaling", "record-lifecycle-action-heartbeat", *ours))
        self.aws.clock.advance(20)
        self.assertIsNone(self.call("autoscaling", "complete-lifecycle-action", *ours, "--lifecycle-action-result",
                                    "CONTINUE"))
        self.assertEqual((len(action.heartbeats), action.result), (1, "CONTINUE"))

    def test_whose_call_it_is(self):
        group = self.aws.target_group("web")
        words = ("elbv2", "describe-target-health", "--target-group-arn", group.arn)
        self.assertEqual(self.call(*words, credentials=self.aws.issue(900)), {"TargetHealthDescriptions": []})
        self.assertIn("(SignatureDoesNotMatch) when calling the DescribeTargetHealth operation: The request signature",
                      self.refused(*words, AWS_SECRET_ACCESS_KEY="wrong"))
        self.assertIn(f"(InvalidClientTokenId) when calling the DescribeTargetHealth operation: {NO_TOKEN}",
                      self.refused(*words, AWS_ACCESS_KEY_ID="AKIASTRANGER"))
        self.aws.clock.skew = 3600
        self.assertIn("(SignatureDoesNotMatch) when calling the DescribeTargetHealth operation: Signature expired: ",
                      self.refused(*words))
        self.assertEqual([call.status for call in self.aws.calls], [200, 403, 403, 403])

    def test_troubles(self):
        group = self.aws.target_group("web")
        words = ("elbv2", "deregister-targets", "--target-group-arn", group.arn, "--targets", ONE)
        group.register("127.0.0.1", 8080)
        self.aws.troubles.throttle()
        self.assertEqual(self.refused(*words), "(Throttling) when calling the DeregisterTargets operation: Rate exceeded")
        self.aws.troubles.deny("DeregisterTargets")
        self.assertIn("(AccessDenied) when calling the DeregisterTargets operation: User: arn:aws:sts::123456789012:",
                      self.refused(*words))
        self.aws.troubles.clear()
        self.assertEqual(group.state("127.0.0.1", 8080), "healthy")     # nothing had its effect
        nowhere = group.arn.replace("/web/", "/wob/")
        self.assertEqual(self.refused(*words[:3], nowhere, *words[4:]), "(TargetGroupNotFound) when calling the "
                         "DeregisterTargets operation: One or more target groups not found")


class BotocoreTest(AwsTest):
    """Many calls, in one process; the same models."""

    def client(self, service, credentials=None, retries=0, **environment):
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            self.skipTest("boto3 isn't here")
        ours = unittest.mock.patch.dict(os.environ, self.environment(credentials, **environment), clear=True)
        ours.start()
        self.addCleanup(ours.stop)
        config = Config(retries={"total_max_attempts": retries + 1, "mode": "standard"}, connect_timeout=2,
                        read_timeout=2)
        return boto3.session.Session(region_name=self.aws.region).client(
            service, endpoint_url=self.aws.url, config=config, verify=environment.get("AWS_CA_BUNDLE"))

    def assert_code(self, code, call, **facts):
        from botocore.exceptions import ClientError
        with self.assertRaises(ClientError) as caught:
            call(**facts)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response


class Botocore(BotocoreTest):
    def test_a_thousand_targets_and_the_waiter(self):
        elbv2 = self.client("elbv2")
        arn = elbv2.create_target_group(Name="many", Protocol="HTTP", Port=80, TargetType="ip")[
            "TargetGroups"][0]["TargetGroupArn"]
        elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[
            {"Key": "deregistration_delay.timeout_seconds", "Value": "30"}])
        targets = [{"Id": "127.0.0.1", "Port": 10000 + number} for number in range(1000)]
        elbv2.register_targets(TargetGroupArn=arn, Targets=targets)
        elbv2.get_waiter("target_in_service").wait(TargetGroupArn=arn, WaiterConfig={"Delay": 0.01, "MaxAttempts": 2})
        elbv2.deregister_targets(TargetGroupArn=arn, Targets=targets)
        states = [each["TargetHealth"]["State"] for each in
                  elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]]
        self.assertEqual(states, ["draining"] * 1000)
        self.aws.clock.advance(29.5)    # the waiter sees both
        elbv2.get_waiter("target_deregistered").wait(TargetGroupArn=arn, Targets=targets[:1],
                                                     WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
        deregistered = self.aws.elbv2.groups[arn].deregistered_at("127.0.0.1", 10000)
        self.assertGreaterEqual(self.aws.clock.now() - deregistered, 30)
        self.assertEqual(elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"], [])
        self.assertEqual(self.aws.count("RegisterTargets"), 1)

    def test_elbv2_refusals(self):
        elbv2, group = self.client("elbv2"), self.aws.target_group("web")
        ours = {"TargetGroupArn": group.arn, "Targets": [{"Id": "127.0.0.1"}]}
        self.assert_code("ValidationError", elbv2.describe_target_health, TargetGroupArn="web")
        self.assert_code("TargetGroupNotFound", elbv2.describe_target_groups, Names=["nobody"])
        self.assert_code("DuplicateTargetGroupName", elbv2.create_target_group, Name="web")
        self.assert_code("ValidationError", elbv2.register_targets, TargetGroupArn=group.arn, Targets=[{"Id": INSTANCE}])
        self.assert_code("ValidationError", elbv2.deregister_targets, TargetGroupArn=group.arn, Targets=[])
        group.refuses_strangers = True
        self.assert_code("InvalidTarget", elbv2.deregister_targets, **ours)
        self.aws.elbv2.most_targets = 1
        self.assert_code("TooManyTargets", elbv2.deregister_targets, TargetGroupArn=group.arn, Targets=TARGETS)
        answer = self.assert_code("InvalidAction", elbv2.describe_listeners)
        self.assertEqual(answer["ResponseMetadata"]["RequestId"],
                         answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"])

    def test_a_target_registered_again_while_it_drains(self):
        elbv2, group = self.client("elbv2"), self.aws.target_group("web", port=8080)
        ours = {"TargetGroupArn": group.arn, "Targets": [{"Id": "127.0.0.1"}]}    # the group's port
        for wanted, call in (("healthy", elbv2.register_targets), ("draining", elbv2.deregister_targets),
                             ("draining", elbv2.deregister_targets), ("healthy", elbv2.register_targets)):
            call(**ours)
            self.assertEqual(group.state("127.0.0.1", 8080), wanted)
        self.aws.clock.advance(400)
        self.assertEqual(group.state("127.0.0.1", 8080), "healthy")

    def test_classic_manners(self):
        elb = self.client("elb")
        slow, quick = self.aws.load_balancer("slow", timeout=60), self.aws.load_balancer("quick", timeout=None)
        for balancer in (slow, quick):
            ours = {"LoadBalancerName": balancer.name, "Instances": [{"InstanceId": INSTANCE}]}
            elb.register_instances_with_load_balancer(**ours)
            elb.get_waiter("instance_in_service").wait(**ours, WaiterConfig={"Delay": 0.01, "MaxAttempts": 2})
            balancer.instances[INSTANCE].in_flight = 1
            elb.deregister_instances_from_load_balancer(**ours)
            wanted = "InService" if balancer is slow else "OutOfService"    # disabled draining is no wait
            self.assertEqual(elb.describe_instance_health(**ours)["InstanceStates"][0]["State"], wanted)
        self.aws.clock.advance(60)      # its timeout, whatever is in flight
        elb.get_waiter("instance_deregistered").wait(LoadBalancerName="slow", Instances=[{"InstanceId": INSTANCE}],
                                                     WaiterConfig={"Delay": 0.01, "MaxAttempts": 1})
        told = elb.describe_load_balancer_attributes(LoadBalancerName="quick")["LoadBalancerAttributes"]
        self.assertFalse(told["ConnectionDraining"]["Enabled"])
        self.assertEqual(elb.describe_instance_health(LoadBalancerName="slow")["InstanceStates"], [])
        self.assert_code("LoadBalancerNotFound", elb.describe_instance_health, LoadBalancerName="nobody")
        self.aws.elb.missing.add(OTHER)
        self.assert_code("InvalidInstance", elb.deregister_instances_from_load_balancer, LoadBalancerName="slow",
                         Instances=[{"InstanceId": OTHER}])

    def test_a_hook_that_nobody_answers_ends(self):
        scaling, hook = self.client("autoscaling"), self.aws.lifecycle_hook("group", "hook", heartbeat=30)
        ours = {"AutoScalingGroupName": "group", "LifecycleHookName": "hook"}
        action = hook.terminate(INSTANCE)
        self.assertEqual(self.aws.imds.lifecycle_state, "Terminated")
        self.aws.clock.advance(29)
        scaling.record_lifecycle_action_heartbeat(**ours, LifecycleActionToken=action.token)
        self.aws.clock.advance(31)
        self.assert_code("ValidationError", scaling.complete_lifecycle_action, **ours, InstanceId=INSTANCE,
                         LifecycleActionResult="CONTINUE")
        self.assertEqual((len(action.heartbeats), action.result), (1, None))
        self.assert_code("ValidationError", scaling.describe_lifecycle_hooks, AutoScalingGroupName="nobody")

    def test_it_tries_again_when_throttled_or_broken(self):
        elbv2, group = self.client("elbv2", retries=1), self.aws.target_group("web")
        for trouble, wanted in ((self.aws.troubles.throttle, (400, "Throttling")), (self.aws.troubles.reset, (0, "")),
                                (self.aws.troubles.unavailable, (503, "")),
                                (self.aws.troubles.error, (500, "InternalFailure"))):
            trouble()
            elbv2.deregister_targets(TargetGroupArn=group.arn, Targets=TARGETS)
            self.assertEqual([(call.status, call.code) for call in self.aws.calls[-2:]], [wanted, (200, "")])
        self.assertEqual(self.aws.troubles.left(), 0)

    def test_spoiled_answers(self):
        from botocore import exceptions, parsers
        elbv2, group = self.client("elbv2"), self.aws.target_group("web")
        group.register("127.0.0.1", 8080)
        for spoil, wanted in ((self.aws.troubles.garbage, parsers.ResponseParserError),
                              (self.aws.troubles.truncate, parsers.ResponseParserError),
                              (self.aws.troubles.silent, exceptions.ReadTimeoutError),
                              (lambda: self.aws.troubles.slow(3), exceptions.ReadTimeoutError)):
            spoil()
            with self.assertRaises(wanted):
                elbv2.describe_target_health(TargetGroupArn=group.arn)
        wait_until(lambda: self.aws.calls[-1].seconds >= 3, "the slow call's end")
        self.aws.troubles.wrong_root()
        with self.assertRaises(KeyError):
            elbv2.describe_target_health(TargetGroupArn=group.arn)
        self.aws.troubles.huge(3 << 20)
        self.assertEqual(len(elbv2.describe_target_health(TargetGroupArn=group.arn)["TargetHealthDescriptions"]), 1)
        self.aws.troubles.redirect("http://127.0.0.2:1/")
        with self.assertRaises(parsers.ResponseParserError):
            elbv2.describe_target_health(TargetGroupArn=group.arn)
        self.assertEqual(self.aws.calls[-1].status, 302)
        self.aws.go_away()
        with self.assertRaises(exceptions.EndpointConnectionError):
            elbv2.describe_target_health(TargetGroupArn=group.arn)
        self.aws.come_back()
        self.assertEqual(len(elbv2.describe_target_health(TargetGroupArn=group.arn)["TargetHealthDescriptions"]), 1)

    def test_an_expired_token(self):
        credentials = self.aws.issue(900)
        elbv2 = self.client("elbv2", credentials)
        self.aws.target_group("web")
        elbv2.describe_target_groups()
        credentials.expires = self.aws.clock.wall()
        self.assert_code("ExpiredToken", elbv2.describe_target_groups)

    def test_credentials_of_the_instance(self):
        elbv2 = self.client("elbv2", False, AWS_EC2_METADATA_DISABLED="false")
        elbv2.describe_target_groups()
        [issued] = self.aws.imds.role.issued
        self.assertEqual(self.aws.calls[-1].key, issued.key)
        self.assertEqual(self.aws.imds.asked("/latest/meta-data/iam/security-credentials/web"), 1)

    def test_credentials_of_the_container(self):
        self.aws.containers.authorization = "let me in"
        elbv2 = self.client("elbv2", False, AWS_CONTAINER_CREDENTIALS_FULL_URI=self.aws.containers.credentials_uri,
                            AWS_CONTAINER_AUTHORIZATION_TOKEN="let me in")
        elbv2.describe_target_groups()
        self.assertEqual(self.aws.calls[-1].key, self.aws.containers.role.issued[0].key)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(self.aws.containers.credentials_uri)
        self.assertEqual(caught.exception.code, 401)


class Tls(BotocoreTest):
    tls = True

    def test_a_certificate_that_nobody_signed(self):
        self.client("elbv2")
        from botocore.exceptions import SSLError
        with self.assertRaises(SSLError):
            self.client("elbv2").describe_target_groups()
        self.assertEqual(self.aws.calls, [])
        self.client("elbv2", AWS_CA_BUNDLE=self.aws.certificate).describe_target_groups()
        self.assertEqual(self.aws.count("DescribeTargetGroups", status=200), 1)


class Metadata(AwsTest):
    def ask(self, path, method="GET", **headers):
        """(status, text) from the instance's metadata."""
        request = urllib.request.Request(self.aws.imds.url + path, method=method,
                                         headers={name.replace("_", "-"): text for name, text in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def token(self, seconds=60):
        status, token = self.ask("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds=str(seconds))
        self.assertEqual(status, 200)
        return {"X_aws_ec2_metadata_token": token}

    def test_only_with_a_token_that_lives(self):
        path = "/latest/meta-data/instance-id"
        self.assertEqual(self.ask(path)[0], 401)
        self.assertEqual(self.ask(path, X_aws_ec2_metadata_token="made up")[0], 401)
        token = self.token(60)
        self.assertEqual(self.ask(path, **token), (200, INSTANCE))
        self.aws.clock.advance(60)
        self.assertEqual(self.ask(path, **token)[0], 401)
        for seconds in ("", "0", "21601", "soon"):
            self.assertEqual(self.ask("/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds=seconds)[0], 400)
        self.aws.imds.v1 = True
        self.assertEqual(self.ask(path), (200, INSTANCE))

    def test_notices(self):
        token, meta = self.token(), "/latest/meta-data/"
        self.assertEqual(self.ask(meta + "spot/instance-action", **token)[0], 404)
        when = self.aws.imds.interrupt(120)
        self.assertEqual(self.ask(meta + "spot/instance-action", **token),
                         (200, json.dumps({"action": "terminate", "time": when})))
        self.assertRegex(when, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(self.ask(meta + "autoscaling/target-lifecycle-state", **token), (200, "InService"))
        self.aws.lifecycle_hook("group", "hook").terminate(INSTANCE)
        self.assertEqual(self.ask(meta + "autoscaling/target-lifecycle-state", **token), (200, "Terminated"))
        self.assertEqual(self.ask(meta + "placement/region", **token), (200, self.aws.region))

    def test_credentials_are_renewed_before_they_expire(self):
        self.aws.imds.role.lifetime, token = 900, self.token(3600)
        def key():
            return json.loads(self.ask("/latest/meta-data/iam/security-credentials/web", **token)[1])["AccessKeyId"]
        first = key()
        self.aws.clock.advance(599)
        self.assertEqual(key(), first)
        self.aws.clock.advance(2)
        self.assertNotEqual(key(), first)

    def test_a_task_about_itself(self):
        with urllib.request.urlopen(self.aws.containers.metadata_uri + "/task") as answer:
            [container] = json.load(answer)["Containers"]
        self.assertEqual(container["Networks"][0]["IPv4Addresses"], ["127.0.0.1"])

    def test_troubles_and_the_date(self):
        self.aws.imds.troubles.error(503, message="busy")
        self.assertEqual(self.ask("/latest/api/token", "PUT"), (503, "busy"))
        self.aws.clock.skew = -86400
        with urllib.request.urlopen(self.aws.containers.metadata_uri) as answer:
            date = time.mktime(time.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
        self.assertAlmostEqual(time.time() - date, 86400, delta=5)

    def test_a_client_that_says_nothing_holds_up_nobody(self):
        with socket.create_connection(("127.0.0.1", self.aws.api.web.port)):
            self.assertEqual(self.ask("/latest/meta-data/instance-id")[0], 401)


if __name__ == "__main__":
    harness.main()
