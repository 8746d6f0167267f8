"""What a machine and a container can ask about themselves: IMDSv2, ECS task metadata, container credentials."""
import json
import secrets

from .sigv4 import amz_date
from .troubles import Troubles
from .web import Reply, Web


def iso(epoch):
    date = amz_date(epoch)
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[9:11]}:{date[11:13]}:{date[13:]}"


class Role:
    """Temporary credentials that are renewed in time, as AWS does it; `lifetime` and `ahead` in seconds.

    `issued` has all that were ever given out. `broken` is what is answered instead, if it isn't None.
    """

    def __init__(self, aws, lifetime=6 * 3600, ahead=300):
        self.aws, self.lifetime, self.ahead = aws, lifetime, ahead
        self.issued, self.asked, self.broken = [], 0, None

    def document(self, **more):
        self.asked += 1
        if self.broken is not None:
            return self.broken
        now = self.aws.clock.wall()
        if not self.issued or self.issued[-1].expires - self.ahead <= now:
            self.issued.append(self.aws.issue(self.lifetime))
        last = self.issued[-1]
        return json.dumps({**more, "AccessKeyId": last.key, "SecretAccessKey": last.secret, "Token": last.token,
                           "Expiration": iso(last.expires)})


class Server:
    """A server of plain documents with a trouble queue (the action of a trouble is a path) and a log."""

    def __init__(self, aws, address, port):
        self.aws, self.requests, self.troubles = aws, [], Troubles(aws.clock.lock)
        self.web = Web(self._answer, aws.clock.wall, address, port)

    @property
    def url(self):
        return self.web.url

    def asked(self, path):
        return sum(request.path == path for request in self.requests)

    def _answer(self, request, closed):
        with self.aws.clock.lock:
            self.requests.append(request)
            trouble = self.troubles.next(request.path)
        if trouble and trouble.name == "slow":
            closed.wait(trouble.seconds)
        if trouble and trouble.name == "error":
            return Reply.text(trouble.status, trouble.message)
        with self.aws.clock.lock:
            reply = self.reply(request)
        return trouble.spoil(reply, closed) if trouble else reply

    def reply(self, request):
        raise NotImplementedError


class Imds(Server):
    """Instance metadata, version 2 only unless `v1`. What a test sets, the next question sees.

    `spot` is None (404) or the document of spot/instance-action; `extra` are more paths below
    /latest/meta-data/ and their texts.
    """

    def __init__(self, aws, address="127.0.0.1", port=0):
        self.instance_id, self.role_name, self.role = "i-0123456789abcdef0", "web", Role(aws)
        self.lifecycle_state, self.spot, self.extra, self.v1 = "InService", None, {}, False
        self.tokens = {}
        super().__init__(aws, address, port)

    def interrupt(self, seconds=120, action="terminate"):
        """A spot notice; returns its time as it is written there."""
        time = iso(self.aws.clock.wall() + seconds)
        self.spot = {"action": action, "time": time}
        return time

    def documents(self):
        zone, region = self.aws.region + "a", self.aws.region
        roles = "iam/security-credentials/"
        found = {"instance-id": self.instance_id, "placement/region": region, "placement/availability-zone": zone,
                 "instance-type": "m7g.large", "local-ipv4": "127.0.0.1",
                 "autoscaling/target-lifecycle-state": self.lifecycle_state,
                 "spot/instance-action": self.spot and json.dumps(self.spot)}
        if self.role_name:
            found |= {roles: self.role_name, roles[:-1]: self.role_name}
        return {**found, **self.extra}

    def reply(self, request):
        if request.path == "/latest/api/token":
            return self._token(request)
        token = request.header("x-aws-ec2-metadata-token")
        if not (token is None and self.v1) and self.tokens.get(token, 0) <= self.aws.clock.now():
            return Reply.text(401)
        if request.path == "/latest/dynamic/instance-identity/document":
            return Reply.json(200, {"region": self.aws.region, "instanceId": self.instance_id,
                                    "accountId": self.aws.account, "availabilityZone": self.aws.region + "a"})
        path = request.path.removeprefix("/latest/meta-data/")
        if self.role_name and path == f"iam/security-credentials/{self.role_name}":
            return Reply.text(200, self.role.document(
                Code="Success", Type="AWS-HMAC", LastUpdated=iso(self.aws.clock.wall())))
        text = self.documents().get(path) if path != request.path else None
        return Reply.text(404, "Not Found") if text is None else Reply.text(200, text)

    def _token(self, request):
        ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds") or ""
        if request.method != "PUT":
            return Reply.text(405, Allow="OPTIONS, PUT")
        if request.header("x-forwarded-for"):
            return Reply.text(403)
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return Reply.text(400)
        token = secrets.token_urlsafe(42)
        self.tokens[token] = self.aws.clock.now() + int(ttl)
        return Reply.text(200, token, **{"X-aws-ec2-metadata-token-ttl-seconds": ttl})


class Containers(Server):
    """What ECS's agent answers at 169.254.170.2, and EKS's at its own address: task metadata and credentials.

    The credentials' path is `relative`; `authorization`, if set, must come as the Authorization header.
    `task` is what /task shows, to be changed as a test likes.
    """

    relative = "/v2/credentials/3a1b9c52-6d1f-4f0e-9d2a-1f2e3d4c5b6a"

    def __init__(self, aws, address="127.0.0.1", port=0):
        self.role, self.authorization = Role(aws), None
        container = {"DockerId": "cd189a933e5849daa93386466019ab50-2495160603", "Name": "web", "DockerName": "web",
                     "Type": "NORMAL", "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["127.0.0.1"]}],
                     "KnownStatus": "RUNNING", "DesiredStatus": "RUNNING",
                     "ContainerARN": f"arn:aws:ecs:{aws.region}:{aws.account}:container/05966557-f16c-49cb-9352"}
        self.container = container
        self.task = {"Cluster": "default", "Family": "web", "Revision": "3", "DesiredStatus": "RUNNING",
                     "TaskARN": f"arn:aws:ecs:{aws.region}:{aws.account}:task/default/cd189a933e5849daa93386466019ab50",
                     "KnownStatus": "RUNNING", "AvailabilityZone": aws.region + "a", "LaunchType": "FARGATE",
                     "Containers": [container]}
        super().__init__(aws, address, port)

    @property
    def metadata_uri(self):
        """For ECS_CONTAINER_METADATA_URI_V4."""
        return self.url + "/v4/cd189a933e5849daa93386466019ab50-2495160603"

    @property
    def credentials_uri(self):
        """For AWS_CONTAINER_CREDENTIALS_FULL_URI."""
        return self.url + self.relative

    def reply(self, request):
        base = self.metadata_uri.removeprefix(self.url)
        if request.path == self.relative:
            if self.authorization and request.header("authorization") != self.authorization:
                return Reply.json(401, {"code": "AccessDenied", "message": "invalid authorization token",
                                        "HTTPErrorCode": 401})
            return Reply(200, self.role.document(
                RoleArn=f"arn:aws:iam::{self.aws.account}:role/web").encode(), "application/json")
        if request.path in (base, base + "/task"):
            return Reply.json(200, self.container if request.path == base else self.task)
        return Reply.json(400, {"code": "InvalidIdInRequest", "message": "CredentialsV2Request: Credentials not found",
                                "HTTPErrorCode": 400})
