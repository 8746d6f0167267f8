"""Elastic Load Balancing v2 (ALB and NLB): target groups with their true manners."""
import dataclasses
import hashlib
import ipaddress
import re

from .query import Refusal, validation

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
DELAY = "deregistration_delay.timeout_seconds"
INITIAL, HEALTHY, UNHEALTHY, DRAINING, UNUSED = "initial", "healthy", "unhealthy", "draining", "unused"
REASONS = {
    INITIAL: ("Elb.RegistrationInProgress", "Target registration is in progress"),
    UNHEALTHY: ("Target.FailedHealthChecks", "Health checks failed"),
    DRAINING: ("Target.DeregistrationInProgress", "Target deregistration is in progress"),
    UNUSED: ("Target.NotRegistered", "Target is not registered to the target group"),
}


@dataclasses.dataclass
class Target:
    id: str
    port: int
    registered: float           # times of the stand-in's clock
    healthy_at: float
    deregistered: float = None
    unhealthy: bool = False     # set by a test


class TargetGroup:
    """`delay` is its deregistration delay. `initial`: seconds until a target is healthy.

    What a target is in (`state`) is read off the clock whenever somebody asks, so nothing is polled; only
    a data plane (`serve`) acts at its times.
    """

    def __init__(self, aws, name, protocol="HTTP", port=80, target_type="ip", delay=300, initial=0.0):
        self.aws, self.name, self.protocol, self.port, self.target_type = aws, name, protocol, port, target_type
        self.initial = initial
        self.arn = (f"arn:aws:elasticloadbalancing:{aws.region}:{aws.account}:targetgroup/{name}/"
                    + hashlib.sha256(name.encode()).hexdigest()[:16])
        self.refuses_strangers = False  # as some imitations do: InvalidTarget for one that isn't registered
        self.targets, self.plane = {}, None
        self.attributes = {DELAY: str(delay), "stickiness.enabled": "false",
                           "load_balancing.cross_zone.enabled": "use_load_balancer_configuration"}
        if self.network:
            self.attributes |= {"stickiness.type": "source_ip", "proxy_protocol_v2.enabled": "false",
                                "preserve_client_ip.enabled": "false",
                                "deregistration_delay.connection_termination.enabled": "false"}
        else:
            self.attributes |= {"stickiness.type": "lb_cookie", "slow_start.duration_seconds": "0",
                                "stickiness.lb_cookie.duration_seconds": "86400",
                                "load_balancing.algorithm.type": "round_robin"}

    @property
    def network(self):
        """A Network Load Balancer's."""
        return self.protocol in ("TCP", "TLS", "UDP", "TCP_UDP")

    @property
    def delay(self):
        return float(self.attributes[DELAY])

    def url(self, port, target="127.0.0.1", **parameters):
        """For AGENT_LOAD_BALANCERS."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"elbv2:?target-group-arn={self.arn}&target-id={target}&port={port}{more}"

    def serve(self, plane):
        """From now on `plane` sends the traffic: see `data_plane`."""
        self.plane = plane
        return plane

    def state(self, target, port=None):
        with self.aws.clock.lock:
            return self._state((target, port or self.port))

    def register(self, target, port=None):
        """As RegisterTargets does; for a test that begins with registered targets."""
        with self.aws.clock.lock:
            key, now = (target, port or self.port), self.aws.clock.now()
            if self._state(key) in (DRAINING, UNUSED):
                self.targets[key] = Target(*key, now, now + self.initial)
                if self.plane:
                    self.plane.register(*key)

    def deregister(self, target, port=None):
        with self.aws.clock.lock:
            key, now = (target, port or self.port), self.aws.clock.now()
            if self._state(key) in (DRAINING, UNUSED):
                if self.refuses_strangers and self._state(key) == UNUSED:
                    raise Refusal(400, "InvalidTarget", f"The following targets are not registered: {target}")
                return
            self.targets[key].deregistered = now
            if self.plane:
                cuts = self.attributes.get("deregistration_delay.connection_termination.enabled", "true") == "true"
                self.plane.deregister(*key, until=now + self.delay, cuts=cuts)

    def deregistered_at(self, target, port=None):
        """By the stand-in's clock; None if it wasn't."""
        found = self.targets.get((target, port or self.port))
        return found and found.deregistered

    def _state(self, key):
        target, now = self.targets.get(key), self.aws.clock.now()
        if target is None:
            return UNUSED
        if target.deregistered is not None:
            return DRAINING if now < target.deregistered + self.delay else UNUSED
        if now < target.healthy_at:
            return INITIAL
        healthy = not target.unhealthy and (self.plane is None or self.plane.healthy(*key))
        return HEALTHY if healthy else UNHEALTHY

    def key_of(self, member):
        """(id, port) of a `Targets.member`; the port is the group's if it isn't said."""
        name, port = member.get("Id"), member.get("Port", str(self.port))
        if not name:
            raise validation("A target ID must be specified")
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            raise validation(f"'{port}' is not a valid port; it must be between 1 and 65535")
        return name, int(port)

    def check(self, key):
        """Whether a target of that id can be in this group at all."""
        name = key[0]
        if self.target_type == "instance" and not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", name):
            raise validation(f"Instance ID '{name}' is not valid")
        if self.target_type == "ip":
            try:
                ipaddress.ip_address(name)
            except ValueError:
                raise validation(f"The IP address '{name}' is not a valid IPv4 or IPv6 address") from None

    def health_of(self, key):
        state = self._state(key)
        reason, description = REASONS.get(state, (None, None))
        return {"Target": {"Id": key[0], "Port": key[1]}, "HealthCheckPort": str(key[1]),
                "TargetHealth": {"State": state, "Reason": reason, "Description": description}}

    def described(self):
        return {"TargetGroupArn": self.arn, "TargetGroupName": self.name, "Protocol": self.protocol,
                "Port": self.port, "VpcId": "vpc-0a1b2c3d4e5f60718",
                "HealthCheckProtocol": "TCP" if self.network else self.protocol,
                "HealthCheckPort": "traffic-port", "HealthCheckEnabled": True, "HealthCheckIntervalSeconds": 30,
                "HealthCheckTimeoutSeconds": 5, "HealthyThresholdCount": 5, "UnhealthyThresholdCount": 2,
                "HealthCheckPath": None if self.network else "/",
                "Matcher": None if self.network else {"HttpCode": "200"},
                "LoadBalancerArns": [f"arn:aws:elasticloadbalancing:{self.aws.region}:{self.aws.account}:loadbalancer/"
                                     f"{'net' if self.network else 'app'}/{self.name}/50dc6c495c0c9188"],
                "TargetType": self.target_type, "ProtocolVersion": None if self.network else "HTTP1",
                "IpAddressType": "ipv4"}


class Elbv2:
    """The API. `most_targets`: how many one call may name (AWS documents no limit)."""

    service, version, namespace = "elasticloadbalancing", "2015-12-01", NAMESPACE

    def __init__(self, aws):
        self.aws, self.groups, self.most_targets = aws, {}, None
        self.actions = {name: getattr(self, "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()) for name in (
            "RegisterTargets", "DeregisterTargets", "DescribeTargetHealth", "DescribeTargetGroups",
            "DescribeTargetGroupAttributes", "ModifyTargetGroupAttributes", "CreateTargetGroup")}

    def add(self, group):
        self.groups[group.arn] = group
        return group

    def _group(self, arn):
        if not re.fullmatch(r"arn:aws[\w-]*:elasticloadbalancing:[\w-]+:\d{12}:targetgroup/[\w-]+/[0-9a-f]+", arn):
            raise validation(f"'{arn}' is not a valid target group ARN")
        if arn not in self.groups:
            raise Refusal(400, "TargetGroupNotFound", "One or more target groups not found")
        return self.groups[arn]

    def _group_of(self, parameters):
        return self._group(parameters.require("TargetGroupArn", "A target group ARN must be specified"))

    def _targets_of(self, group, parameters):
        members = parameters.members("Targets")
        if not all(isinstance(member, dict) for member in members):
            raise Refusal(400, "MalformedInput", "Targets.member.N has an Id and a Port")
        if self.most_targets and len(members) > self.most_targets:
            raise Refusal(400, "TooManyTargets", f"You can specify at most {self.most_targets} targets in one call")
        return [group.key_of(member) for member in members]

    def _register_targets(self, parameters):
        group = self._group_of(parameters)
        keys = self._targets_of(group, parameters)
        if not keys:
            raise validation("At least one target must be specified")
        for key in keys:
            group.check(key)
        for key in keys:
            group.register(*key)

    def _deregister_targets(self, parameters):
        group = self._group_of(parameters)
        keys = self._targets_of(group, parameters)
        if not keys:
            raise validation("At least one target must be specified")
        for key in keys:
            group.deregister(*key)

    def _describe_target_health(self, parameters):
        """All that are registered or draining; those that were asked for, `unused` if they aren't there."""
        group = self._group_of(parameters)
        keys = self._targets_of(group, parameters)
        if not keys:
            keys = [key for key in group.targets if group.state(*key) != UNUSED]
        return {"TargetHealthDescriptions": [group.health_of(key) for key in keys]}

    def _describe_target_groups(self, parameters):
        arns, names = parameters.members("TargetGroupArns"), parameters.members("Names")
        if arns:
            found = [self._group(arn) for arn in arns]
        else:
            found = [group for group in self.groups.values() if not names or group.name in names]
            if len(found) < len(names):
                raise Refusal(400, "TargetGroupNotFound", "One or more target groups not found")
        return {"TargetGroups": [group.described() for group in found]}

    def _describe_target_group_attributes(self, parameters):
        return _attributes(self._group_of(parameters))

    def _modify_target_group_attributes(self, parameters):
        group = self._group_of(parameters)
        for attribute in parameters.members("Attributes"):
            name, value = attribute.get("Key"), attribute.get("Value", "")
            if name not in group.attributes:
                raise validation(f"Target group attribute key '{name}' is not recognized")
            if name == DELAY and not (value.isdigit() and int(value) <= 3600):
                raise validation(f"'{DELAY}' must be between 0 and 3600")
            group.attributes[name] = value
        return _attributes(group)

    def _create_target_group(self, parameters):
        name = parameters.require("Name")
        if any(group.name == name for group in self.groups.values()):
            raise Refusal(400, "DuplicateTargetGroupName", f"A target group with the same name '{name}' exists, but "
                          "with different settings")
        group = self.add(TargetGroup(self.aws, name, parameters.get("Protocol", "HTTP"),
                                     int(parameters.get("Port", "80")), parameters.get("TargetType", "instance")))
        return {"TargetGroups": [group.described()]}


def _attributes(group):
    return {"Attributes": [{"Key": name, "Value": value} for name, value in group.attributes.items()]}
