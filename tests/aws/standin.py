"""AWS, as far as Lastcall speaks to it, on loopback.

A live test begins with

    aws = Aws(self)
    group = aws.target_group("web", delay=300)
    plane = group.serve(aws.data_plane(still=8, pool="kept"))

and gives an agent `group.url(port)` and `aws.environment()`. Clients go to `plane.port`. Afterwards
`aws.calls`, `aws.count("DeregisterTargets")`, `group.state(…)` say what happened.
"""
import secrets
import ssl
import subprocess
import tempfile

from .api import Api
from .autoscaling import AutoScaling, Hook
from .clock import Clock
from .data_plane import DataPlane
from .elb import Elb, LoadBalancer
from .elbv2 import Elbv2, TargetGroup
from .metadata import Containers, Imds
from .sigv4 import Credentials, Verifier


class Aws:
    """Everything at once, in threads of the test's process; over when the test is, or at `stop`.

    `tls`: the API speaks HTTPS with a certificate that nobody signed (`certificate` is its path).
    `link_local`: instance metadata and container credentials are at their true addresses, port 80; for
    a test that lives in a network of its own (`network.own_network`).
    """

    def __init__(self, test=None, region="eu-central-1", account="123456789012", tls=False, link_local=False):
        self.test, self.region, self.account = test, region, account
        self.clock = Clock()
        self.credentials = Credentials("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        self.keys = {self.credentials.key: self.credentials}
        self.verifier = Verifier(self.keys, region, self.clock.wall)
        self.elbv2, self.elb, self.autoscaling = Elbv2(self), Elb(self), AutoScaling(self)
        self.certificate, context = self._certificate() if tls else (None, None)
        self.api = Api(self, [self.elbv2, self.elb, self.autoscaling], context)
        self.troubles, self.calls = self.api.troubles, self.api.calls
        self.imds = Imds(self, *(("169.254.169.254", 80) if link_local else ()))
        self.containers = Containers(self, *(("169.254.170.2", 80) if link_local else ()))
        if test:
            test.addCleanup(self.stop)

    @property
    def url(self):
        """The endpoint of all three services."""
        return self.api.web.url

    def target_group(self, name, **facts):
        """See `TargetGroup`."""
        return self.elbv2.add(TargetGroup(self, name, **facts))

    def load_balancer(self, name, **facts):
        """A classic one; see `elb.LoadBalancer`."""
        return self.elb.add(LoadBalancer(self, name, **facts))

    def lifecycle_hook(self, group, name, **facts):
        """See `autoscaling.Hook`."""
        return self.autoscaling.add(Hook(self, group, name, **facts))

    def data_plane(self, **facts):
        """An HAProxy of the test's; see `DataPlane`. Given to `serve` of a target group or load balancer."""
        return DataPlane(self, self.test, **facts)

    def count(self, action, **facts):
        """How often it was called; `code="Throttling"` and the like say with what end."""
        return len(self.called(action, **facts))

    def called(self, action, **facts):
        with self.clock.lock:
            return [call for call in self.calls if call.action == action
                    and all(getattr(call, name) == value for name, value in facts.items())]

    def issue(self, lifetime=None):
        """New credentials: temporary ones, with a token, for `lifetime` seconds; None: for ever, without."""
        with self.clock.lock:
            token = None if lifetime is None else secrets.token_urlsafe(120) + "/+="
            made = Credentials(("AKIA" if token is None else "ASIA") + secrets.token_hex(8).upper(),
                               secrets.token_urlsafe(30), token,
                               None if lifetime is None else self.clock.wall() + lifetime)
            self.keys[made.key] = made
            return made

    def secrets(self):
        """All that must be found nowhere: secret keys and session tokens ever given out."""
        with self.clock.lock:
            return [text for made in self.keys.values() for text in (made.secret, made.token) if text]

    def environment(self, credentials=None, **more):
        """For an agent or a helper: endpoints, region, keys. `credentials=False`: no keys, so that they come
        from the instance's metadata."""
        found = {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": self.region,
                 "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.imds.url + "/", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                 "AWS_CONFIG_FILE": "/dev/null"}
        if credentials is not False:
            made = credentials or self.credentials
            found |= {"AWS_ACCESS_KEY_ID": made.key, "AWS_SECRET_ACCESS_KEY": made.secret}
            if made.token:
                found["AWS_SESSION_TOKEN"] = made.token
        return found | more

    def go_away(self):
        """Connections to the API are refused from now on."""
        self.api.web.stop()

    def come_back(self):
        """On the same port."""
        self.api.web.start()

    def stop(self):
        for web in (self.api.web, self.imds.web, self.containers.web):
            web.stop()
        self.clock.close()
        if self.clock.failures:
            raise AssertionError("the stand-in failed:\n" + "\n".join(self.clock.failures))

    def _certificate(self):
        directory = str(self.test.dir) if self.test else tempfile.mkdtemp(prefix="lastcall-aws-")
        certificate, key = directory + "/aws.crt", directory + "/aws.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return certificate, context
