"""Auto Scaling's lifecycle hooks: who may delay an instance's end, how long, and what was said at last."""
import dataclasses
import uuid

from .query import Refusal, validation

NAMESPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


@dataclasses.dataclass
class Action:
    """An instance that waits in Terminating:Wait. Times are the stand-in's clock's."""
    instance: str
    begun: float
    deadline: float
    limit: float
    token: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    heartbeats: list = dataclasses.field(default_factory=list)
    result: str = None          # CONTINUE or ABANDON, as it was said; None while it waits or if nobody said
    completed: float = None


class Hook:
    """A hook on EC2_INSTANCE_TERMINATING. `heartbeat`: seconds until its `default` happens, 30 to 7200."""

    def __init__(self, aws, group, name, heartbeat=300, default="ABANDON"):
        self.aws, self.group, self.name, self.heartbeat, self.default = aws, group, name, heartbeat, default
        self.actions = {}

    @property
    def limit(self):
        """GlobalTimeout: 48 hours or a hundred heartbeats, whichever is less."""
        return min(172800, self.heartbeat * 100)

    def terminate(self, instance):
        """A scale-in chose this instance: its metadata says Terminated from now on, if it is ours."""
        with self.aws.clock.lock:
            now = self.aws.clock.now()
            action = self.actions[instance] = Action(instance, now, now + self.heartbeat, now + self.limit)
            if self.aws.imds.instance_id == instance:
                self.aws.imds.lifecycle_state = "Terminated"
            return action

    def waiting(self, instance=None, token=None):
        """The action that waits still; None if there is none, or its time is over."""
        for action in self.actions.values():
            if token == action.token or (token is None and instance == action.instance):
                over = action.completed is not None or self.aws.clock.now() >= min(action.deadline, action.limit)
                return None if over else action
        return None


class AutoScaling:
    """The API."""

    service, version, namespace = "autoscaling", "2011-01-01", NAMESPACE

    def __init__(self, aws):
        self.aws, self.hooks = aws, {}
        self.actions = {"DescribeLifecycleHooks": self._describe, "RecordLifecycleActionHeartbeat": self._heartbeat,
                        "CompleteLifecycleAction": self._complete}

    def add(self, hook):
        self.hooks[hook.group, hook.name] = hook
        return hook

    def _describe(self, parameters):
        group, names = parameters.require("AutoScalingGroupName"), parameters.members("LifecycleHookNames")
        hooks = [hook for hook in self.hooks.values() if hook.group == group]
        if not hooks:
            raise validation(f"AutoScalingGroup name not found - AutoScalingGroup '{group}' not found")
        return {"LifecycleHooks": [{
            "LifecycleHookName": hook.name, "AutoScalingGroupName": group, "HeartbeatTimeout": hook.heartbeat,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "GlobalTimeout": hook.limit,
            "DefaultResult": hook.default} for hook in hooks if not names or hook.name in names]}

    def _action(self, parameters):
        group, name = parameters.require("AutoScalingGroupName"), parameters.require("LifecycleHookName")
        instance, token = parameters.get("InstanceId"), parameters.get("LifecycleActionToken")
        if not instance and not token:
            raise validation("You must specify either a lifecycle action token or an instance ID")
        hook = self.hooks.get((group, name))
        action = hook and hook.waiting(instance, token)
        if action is None:
            whose = f"token {token}" if token else f"instance ID {instance}"
            raise validation(f"No active Lifecycle Action found with {whose}")
        return hook, action

    def _heartbeat(self, parameters):
        hook, action = self._action(parameters)
        now = self.aws.clock.now()
        action.heartbeats.append(now)
        action.deadline = now + hook.heartbeat

    def _complete(self, parameters):
        result = parameters.require("LifecycleActionResult")
        if result not in ("CONTINUE", "ABANDON"):
            raise Refusal(400, "ValidationError", "Lifecycle Action Result must be either CONTINUE or ABANDON")
        _, action = self._action(parameters)
        action.result, action.completed = result, self.aws.clock.now()
