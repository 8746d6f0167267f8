"""Behind AWS's load balancers: what a scale-in of a thousand tasks asks of the API, and what a stop waits."""
import pathlib
import signal
import sys
import time

from table import Table
from world import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from aws.standin import Aws  # noqa: E402  (found by the line above)

MANY = 1000


def scale_in(world, options):
    aws = Aws(world)
    rows = []
    bare = one_by_one(aws)
    for number, (what, stop) in enumerate({
            "`agentctl stop --all`": lambda agent: agent.ctl("stop", "--all", "--detach"),
            "SIGTERM to the agent": lambda agent: agent.process.signal(signal.SIGTERM)}.items()):
        rows += many(world, aws, f"web{number}", what, stop, bare)
    return Table(
        "A thousand tasks of one target group",
        f"{MANY:,} services behind one ALB target group (`elbv2:`), stopped at once, against a stand-in for AWS that is written in "
        "Python and shares both CPUs: what it took includes it. Beside it: as many DeregisterTargets calls, one a task, one after the "
        "other over one connection, as a hook of each container would make them.",
        ("", "agent", "one call a task", "ratio"), rows)


def many(world, aws, name, what, stop, bare):
    """Rows of one way to stop them."""
    group = aws.target_group(name, delay=300)
    ports = [harness.free_port() for _ in range(MANY)]
    for port in ports:
        group.register("10.0.0.1", port)
    agent = harness.Agent(world, ECS_LOGLEVEL="error", **aws.environment(),
                          **{"ECS_DATADIR": world.dir / name, "AGENT_SOCKET": world.dir / f"{name}.sock"})
    first = len(aws.calls)
    begin = time.monotonic()
    for port in ports:
        status, answer = agent.request("POST", "/v1/tasks", {
            "name": f"task{port}", "command": world.obedient(port),
            "loadBalancers": [group.url(port, target="10.0.0.1", settle="0s")]})
        assert status == 201, answer
    started = (time.monotonic() - begin) / MANY
    harness.wait_until(lambda: listening() >= set(ports), "all to listen", 60)
    checks = len(aws.calls) - first
    begin, before = time.time(), aws.count("DeregisterTargets")
    stop(agent)
    harness.wait_until(lambda: all(group.deregistered_at("10.0.0.1", port) for port in ports), "all to be deregistered", 60)
    last = max(group.deregistered_at("10.0.0.1", port) for port in ports) - begin
    calls = aws.count("DeregisterTargets") - before
    harness.wait_until(lambda: not listening() & set(ports), "all to be gone", 120)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait(60)
    return [(f"{what}: DeregisterTargets calls", str(calls), str(MANY), f"{calls / MANY:.4f}"),
            (f"{what}: the last is deregistered after", f"{last * 1000:,.0f} ms", f"{bare * 1000:,.0f} ms", f"{last / bare:.2f}"),
            ("calls while they were started, in all", str(checks), "", ""),
            ("a start, with the check", f"{started * 1000:.2f} ms", "", "")]


def listening():
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {int(line.split()[1].split(":")[1], 16) for line in lines if line.split()[3] == "0A"}


def one_by_one(aws):
    """Seconds for all of them; botocore, as the `aws` command has it, without the second that each start of that takes."""
    import boto3
    environment, group = aws.environment(), aws.target_group("bare", delay=300)
    for port in range(1, MANY + 1):
        group.register("10.0.0.2", port)
    client = boto3.client("elbv2", endpoint_url=aws.url, region_name=aws.region, aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                          aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"])
    begin = time.monotonic()
    for port in range(1, MANY + 1):
        client.deregister_targets(TargetGroupArn=group.arn, Targets=[{"Id": "10.0.0.2", "Port": port}])
    return time.monotonic() - begin


def alb_stop(world, options):
    rows = []
    for what, pool, drain in (("pool dropped, `closed`", "dropped", "closed"), ("pool kept, `idle`", "kept", "idle")):
        for still in (0, 8):
            rows.append(one_stop(world, what, pool, drain, still))
    return Table(
        "A stop behind an ALB, under load",
        "200 requests a second over 20 connections to two tasks of a target group with the usual deregistration delay of 300 s; one is "
        "stopped. The ALB goes on sending to it for so long after the deregistration, then drops its pooled connections, or keeps them. "
        "`settle` is 10 s, AGENT_DRAIN_IDLE 5 s. The ratio: of DRAIN to the delay, which is what waiting for AWS's own report takes.",
        ("", "ALB goes on for", "DRAIN", "after the last request", "failed requests", "saved", "ratio"), rows)


def one_stop(world, what, pool, drain, still):
    aws = Aws(world)
    name = f"{drain}{still}"
    group = aws.target_group("web", delay=300)
    plane = group.serve(aws.data_plane(pool=pool, still=float(still)))
    agent = harness.Agent(world, ECS_LOGLEVEL="error", **aws.environment(),
                          **{"ECS_DATADIR": world.dir / name, "AGENT_SOCKET": world.dir / f"{name}.sock"})
    journals = {}
    for task in ("web1", "web2"):
        port = harness.free_port()
        journals[task] = world.journal(f"{name}-{task}")
        agent.run(task, *world.obedient(port, journal=journals[task]), load_balancers=[group.url(port, register=1, drain=drain)])
        harness.wait_until(lambda: group.state("127.0.0.1", port) == "healthy", "the registration")
        plane.wait_up("127.0.0.1", port)
    load = harness.Load(world, plane.port)
    harness.wait_until(lambda: all(len(journal.requests()) > 100 for journal in journals.values()), "requests")
    agent.ctl("stop", "web1", timeout=400)
    record = agent.stops("web1")[0]
    failed = load.finish()["failed"]
    journal = journals["web1"]
    rest = journal.signalled() - max(event["boot"] / 1e6 for event in journal.requests())
    agent.process.signal(9)
    aws.stop()
    seconds = harness.phase_of(record, "DRAIN")["durationMs"] / 1000
    return (what, f"{still} s", f"{seconds:.1f} s", f"{rest:.1f} s", str(failed), f"{record['savedMs'] / 1000:.1f} s", f"{seconds / 300:.3f}")
