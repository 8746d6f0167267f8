"""Classic Elastic Load Balancing: it does say when a draining instance's requests are done."""
import dataclasses
import re

from .query import Refusal, validation

NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/"
STATES = {
    "registering": ("OutOfService", "ELB", "Instance registration is still in progress."),
    "healthy": ("InService", "N/A", "N/A"),
    "unhealthy": ("OutOfService", "Instance", "Instance has failed at least the UnhealthyThreshold number of health "
                                              "checks consecutively."),
    "draining": ("InService", "N/A", "Instance deregistration currently in progress."),
    "gone": ("OutOfService", "N/A", "Instance is not currently registered with the LoadBalancer."),
}


@dataclasses.dataclass
class Instance:
    id: str
    healthy_at: float               # times of the stand-in's clock
    deregistered: float = None
    gone: bool = False
    unhealthy: bool = False         # set by a test
    in_flight: int = 0              # set by a test, where no data plane counts


class LoadBalancer:
    """`timeout` is ConnectionDraining's; None: it is disabled. `initial`: seconds until in service."""

    def __init__(self, aws, name, timeout=300, instance_port=80, initial=0.0):
        self.aws, self.name, self.timeout, self.instance_port, self.initial = aws, name, timeout, instance_port, initial
        self.instances, self.plane = {}, None

    def url(self, instance, **parameters):
        """For AGENT_LOAD_BALANCERS."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"elb:?name={self.name}&instance-id={instance}{more}"

    def serve(self, plane):
        """From now on `plane` sends the traffic and counts what is in flight: see `data_plane`."""
        self.plane = plane
        return plane

    def register(self, name):
        with self.aws.clock.lock:
            found = self.instances.get(name)
            if found is None or found.gone or found.deregistered is not None:
                self.instances[name] = Instance(name, self.aws.clock.now() + self.initial)
                if self.plane:
                    self.plane.register(name, self.instance_port)

    def deregister(self, name):
        with self.aws.clock.lock:
            found = self.instances.get(name)
            if found and found.deregistered is None and not found.gone:
                found.deregistered = now = self.aws.clock.now()
                if self.plane:
                    self.plane.deregister(name, self.instance_port, until=now + (self.timeout or 0.0), cuts=True)
                found.gone = self.timeout is None

    def state(self, name):
        """A key of STATES."""
        with self.aws.clock.lock:
            found, now = self.instances.get(name), self.aws.clock.now()
            if found is None or found.gone:
                return "gone"
            if found.deregistered is not None:
                found.gone = now >= found.deregistered + self.timeout or self._idle(found)
                return "gone" if found.gone else "draining"
            if now < found.healthy_at:
                return "registering"
            healthy = not found.unhealthy and (self.plane is None or self.plane.healthy(name, self.instance_port))
            return "healthy" if healthy else "unhealthy"

    def _idle(self, instance):
        if self.plane is None:
            return instance.in_flight == 0
        return self.plane.quiet(instance.id, self.instance_port)


class Elb:
    """The API. Instances that are in `missing` don't exist in EC2 at all."""

    service, version, namespace = "elasticloadbalancing", "2012-06-01", NAMESPACE

    def __init__(self, aws):
        self.aws, self.load_balancers, self.missing = aws, {}, set()
        self.actions = {
            "RegisterInstancesWithLoadBalancer": self._register, "DescribeInstanceHealth": self._health,
            "DeregisterInstancesFromLoadBalancer": self._deregister, "DescribeLoadBalancerAttributes": self._attributes,
        }

    def add(self, load_balancer):
        self.load_balancers[load_balancer.name] = load_balancer
        return load_balancer

    def _load_balancer(self, parameters):
        name = parameters.require("LoadBalancerName")
        if name not in self.load_balancers:
            raise Refusal(400, "LoadBalancerNotFound", f"There is no ACTIVE Load Balancer named '{name}'")
        return self.load_balancers[name]

    def _instances(self, parameters, needed=True):
        names = [member.get("InstanceId", "") for member in parameters.members("Instances")]
        if needed and not names:
            raise validation("1 validation error detected: Value null at 'instances' failed to satisfy constraint: "
                             "Member must not be null")
        for name in names:
            if not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", name):
                raise Refusal(400, "InvalidInstance", f"EC2 Instance ID '{name}' is malformed")
            if name in self.missing:
                raise Refusal(400, "InvalidInstance", f"Could not find EC2 instance {name}.")
        return names

    @staticmethod
    def _registered(load_balancer):
        return {"Instances": [{"InstanceId": name} for name in load_balancer.instances
                              if load_balancer.state(name) not in ("gone", "draining")]}

    def _register(self, parameters):
        load_balancer = self._load_balancer(parameters)
        for name in self._instances(parameters):
            load_balancer.register(name)
        return self._registered(load_balancer)

    def _deregister(self, parameters):
        load_balancer = self._load_balancer(parameters)
        for name in self._instances(parameters):
            load_balancer.deregister(name)
        return self._registered(load_balancer)

    def _health(self, parameters):
        load_balancer = self._load_balancer(parameters)
        names = self._instances(parameters, needed=False)
        if not names:
            names = [name for name in load_balancer.instances if load_balancer.state(name) != "gone"]
        states = []
        for name in names:
            state, reason, description = STATES[load_balancer.state(name)]
            states.append({"InstanceId": name, "State": state, "ReasonCode": reason, "Description": description})
        return {"InstanceStates": states}

    def _attributes(self, parameters):
        timeout = self._load_balancer(parameters).timeout
        return {"LoadBalancerAttributes": {
            "CrossZoneLoadBalancing": {"Enabled": True}, "AccessLog": {"Enabled": False},
            "ConnectionDraining": {"Enabled": timeout is not None, "Timeout": 300 if timeout is None else int(timeout)},
            "ConnectionSettings": {"IdleTimeout": 60}, "AdditionalAttributes": None}}
