"""The stand-in's data plane: a real HAProxy that sends traffic as the API says it, late and with its pool."""
import pathlib
import sys

import harness
from harness import Load, boot_now, free_port, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from aws import network  # noqa: E402  (found by the line above)
from aws.standin import Aws  # noqa: E402

HERE, INSTANCE = "127.0.0.1", "i-0123456789abcdef0"


class DataPlaneTest(harness.LiveTest):
    def setUp(self):
        super().setUp()
        self.aws = Aws(self)

    def serve(self, register, plane, count=2):
        """Services on ports of their own, registered one by one."""
        self.plane, self.services = plane, {}
        for number in range(count):
            port = free_port()
            journal = self.services[port] = self.journal(f"web{number}")
            self.start("obedient", self.obedient(port, journal=journal))
            wait_until(lambda: journal.events("listening"), "a service to listen")
            register(port)
        return list(self.services)

    def arrived(self, port, since=0.0):
        return sum(event["boot"] / 1e6 >= since for event in self.services[port].requests())

    def wait_served(self, port):
        seen = self.arrived(port)
        wait_until(lambda: self.arrived(port) > seen, "requests")

    def peers(self, port):
        """How many connections the kernel shows on a port."""
        lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(words[1].endswith(f":{port:04X}") and words[3] == "01" for words in lines)


class Alb(DataPlaneTest):
    def begin(self, load=True, **facts):
        self.group = self.aws.target_group("web", delay=300)
        plane = self.group.serve(self.aws.data_plane(**facts))
        ports = self.serve(lambda port: self.group.register(HERE, port), plane)
        for port in ports:
            plane.wait_up(HERE, port)
        if load:
            self.load = Load(self, plane.port, connections=10, rate=200)
            for port in ports:
                self.wait_served(port)
        return ports

    def deregister(self, port):
        self.group.deregister(HERE, port)
        return boot_now()

    def wait_quiet(self, port):
        wait_until(lambda: self.plane.quiet(HERE, port), "the target to be sent nothing")
        return boot_now()

    def test_requests_keep_coming_for_a_while_then_none(self):
        gone, stays = self.begin(still=1.0)
        deregistered = self.deregister(gone)
        self.assertEqual(self.group.state(HERE, gone), "draining")
        quiet = self.wait_quiet(gone)
        self.assert_took(quiet - deregistered, 1.0, 1.1, "the last request")
        self.wait_served(stays)
        self.assertGreater(self.arrived(gone, since=deregistered), 50)
        self.assertEqual(self.arrived(gone, since=quiet + 0.05), 0)
        self.assertEqual(self.load.finish()["failed"], 0)
        self.assertEqual(self.group.state(HERE, gone), "draining")      # for all of its delay, though idle
        self.aws.clock.advance(300)
        self.assertEqual(self.group.state(HERE, gone), "unused")

    def test_a_dropped_pool_is_gone_when_the_last_request_is(self):
        gone, _ = self.begin()
        self.assertGreater(self.peers(gone), 0)
        self.deregister(gone)
        wait_until(lambda: self.peers(gone) == 0, "the pool to be dropped")
        self.assertEqual(self.load.finish()["failed"], 0)

    def test_a_kept_pool_stays_for_the_whole_delay(self):
        gone, stays = self.begin(pool="kept")
        self.deregister(gone)
        self.wait_quiet(gone)
        self.wait_served(stays)
        harness.assert_stays(lambda: self.peers(gone) > 0, "the pool is there", 1.0)
        self.assertEqual(self.load.finish()["failed"], 0)
        self.aws.clock.advance(300)
        wait_until(lambda: self.peers(gone) == 0, "the delay's end")

    def test_what_is_in_flight_is_finished_within_the_delay_and_cut_at_its_end(self):
        ours, _ = self.begin(load=False)
        other = self.begin_other(ours)
        self.group.deregister(HERE, other)
        self.wait_quiet(other)
        patient, late = harness.Client(self.plane.port), harness.Client(self.plane.port)
        patient.send("/delay/500")
        late.send("/delay/20000")
        wait_until(lambda: self.plane.facts(HERE, ours).scur == 2, "both requests")
        self.group.deregister(HERE, ours)
        self.assertEqual(patient.response(), 200)
        self.assertFalse(late.closed())
        self.aws.clock.advance(300)
        self.assertIn(late.response(), (None, 502))

    def begin_other(self, ours):
        [other] = [port for port in self.services if port != ours]
        return other

    def test_registered_again_it_is_sent_requests_again(self):
        again, _ = self.begin(still=0.3)
        self.deregister(again)
        self.wait_quiet(again)
        self.group.register(HERE, again)
        self.wait_served(again)
        self.deregister(again)
        self.group.register(HERE, again)    # before it was told to be still
        self.aws.clock.advance(400)
        self.wait_served(again)
        self.assertEqual(self.group.state(HERE, again), "healthy")
        self.assertEqual(self.load.finish()["failed"], 0)

    def test_health_is_what_the_checks_say(self):
        one, two = self.begin(check=0.1, load=False)
        self.assertEqual(self.group.state(HERE, one), "healthy")
        self.processes[1].kill()
        wait_until(lambda: self.group.state(HERE, one) == "unhealthy", "the check to fail")
        self.assertEqual(self.group.state(HERE, two), "healthy")


class Nlb(DataPlaneTest):
    def test_open_connections_stay_new_ones_go_elsewhere(self):
        group = self.aws.target_group("web", protocol="TCP", delay=120)
        plane = group.serve(self.aws.data_plane(mode="tcp"))
        gone, stays = self.serve(lambda port: group.register(HERE, port), plane)
        clients = [harness.Client(plane.port) for _ in range(4)]
        for client in clients:
            self.assertEqual(client.get("/"), 200)
        held = self.arrived(gone)
        self.assertGreater(held, 0)
        group.deregister(HERE, gone)
        wait_until(lambda: plane.facts(HERE, gone).status.startswith("DRAIN"), "new connections to go elsewhere")
        for client in clients:
            self.assertEqual(client.get("/"), 200)
        self.assertEqual(self.arrived(gone), 2 * held)
        for _ in range(4):
            self.assertEqual(harness.Client(plane.port).get("/"), 200)
        self.assertEqual(self.arrived(gone), 2 * held)
        self.aws.clock.advance(120)     # no connection_termination: they live on
        self.assertEqual([client.get("/") for client in clients], [200] * 4)


class Classic(DataPlaneTest):
    def test_it_says_when_the_last_request_is_done(self):
        balancer = self.aws.load_balancer("old", timeout=300, instance_port=free_port())
        plane = balancer.serve(self.aws.data_plane())
        journal = self.journal()
        self.start("obedient", self.obedient(balancer.instance_port, journal=journal))
        wait_until(lambda: journal.events("listening"), "the service to listen")
        balancer.register(INSTANCE)
        client = harness.Client(plane.port)
        client.send("/delay/700")
        wait_until(lambda: plane.facts(INSTANCE, balancer.instance_port).scur == 1, "the request")
        balancer.deregister(INSTANCE)
        begun = boot_now()
        self.assertEqual(balancer.state(INSTANCE), "draining")
        wait_until(lambda: balancer.state(INSTANCE) == "gone", "its own report")
        self.assertGreater(boot_now() - begun, 0.3)
        self.assertEqual(client.response(), 200)


class LinkLocal(harness.LiveTest):
    """In a process of its own: who has entered another network can't come back."""

    def test_metadata_at_its_true_addresses(self):
        script = """
import json, sys, types, urllib.request
sys.path.insert(0, sys.argv[1])
from aws import network, standin
if not network.own_network():
    sys.exit(77)
aws = standin.Aws(link_local=True)
ask = urllib.request.Request("http://169.254.169.254/latest/api/token", method="PUT",
                             headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
print(len(urllib.request.urlopen(ask).read()))
print(json.load(urllib.request.urlopen("http://169.254.170.2" + aws.containers.relative))["AccessKeyId"])
aws.stop()
"""
        room = pathlib.Path(network.__file__).parent.parent
        process = self.start("network", [sys.executable, "-c", script, room])
        if process.wait() == 77:
            self.skipTest("this machine allows no network of one's own")
        self.assertEqual(process.stderr(), "")
        self.assertRegex(process.stdout(), r"^\d+\nASIA\w+\n$")


if __name__ == "__main__":
    harness.main()
