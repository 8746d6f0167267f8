"""The endpoint of all three services: which one is meant, whose call it is, and what becomes of it."""
import random
import time
import uuid

from .query import Call, Parameters, Refusal, Xml
from .troubles import Troubles
from .web import Reply, Web


class Api:
    """One port for ELBv2, classic ELB and Auto Scaling, which are told apart by their Version."""

    def __init__(self, aws, services, tls=None):
        self.aws, self.services = aws, {service.version: service for service in services}
        self.calls, self.troubles = [], Troubles(aws.clock.lock)
        self.xml = Xml(random.Random(1))
        self.web = Web(self._answer, aws.clock.wall, tls=tls)

    def _answer(self, request, closed):
        parameters = Parameters.of(request.query, request.body if request.method == "POST" else b"")
        action = parameters.get("Action", "")
        service = self.services.get(parameters.get("Version"))
        begun = time.clock_gettime(time.CLOCK_BOOTTIME)
        call = Call(begun, service.version if service else "", action, parameters,
                    headers={name.lower(): value for name, value in request.headers})
        with self.aws.clock.lock:
            self.calls.append(call)
        reply = self._reply(request, service, call, closed)
        call.seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - begun
        return reply

    def _reply(self, request, service, call, closed):
        namespace, number = service.namespace if service else "http://webservices.amazon.com/", str(uuid.uuid4())
        trouble = None
        try:
            if service is None or call.action not in service.actions:
                raise Refusal(400, "InvalidAction", f"Could not find operation {call.action} for version "
                              f"{call.parameters.get('Version')}")
            call.key = self.aws.verifier.verify(request, service.service).key
            trouble = self.troubles.next(call.action)
            if trouble:
                call.trouble = trouble.name
                self._before(trouble, service, call, closed)
            value = None
            if not (trouble and trouble.prevents):
                with self.aws.clock.lock:
                    value = service.actions[call.action](call.parameters)
            status, body = 200, self.xml.result(namespace, call.action, value, number)
        except Refusal as refusal:
            call.code, status = refusal.code, refusal.status
            body = self.xml.error(namespace, refusal, number)
        reply = Reply(status, body, headers={"x-amzn-RequestId": number})
        if trouble:
            reply = trouble.spoil(reply, closed)
        call.status = reply.status if isinstance(reply, Reply) else 0
        return reply

    def _before(self, trouble, service, call, closed):
        if trouble.name == "slow":
            closed.wait(trouble.seconds)
        elif trouble.name == "error":
            raise Refusal(trouble.status, trouble.code, trouble.message)
        elif trouble.name == "deny":
            what = call.parameters.get("TargetGroupArn") or call.parameters.get("LoadBalancerName") or "*"
            raise Refusal(403, "AccessDenied", f"User: arn:aws:sts::{self.aws.account}:assumed-role/web/i-0a1b2c3d4e5f6 "
                          f"is not authorized to perform: {service.service}:{call.action} on resource: {what} because "
                          f"no identity-based policy allows the {service.service}:{call.action} action")
