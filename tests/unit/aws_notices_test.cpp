#include "agent/helpers/aws/notices.hpp"

#include "tests/unit/aws_world.hpp"

using namespace lastcall;
using namespace lastcall::aws;

namespace {

struct InstanceWorld : AwsWorld {
    InstanceWorld() {
        variables.erase("AWS_EC2_METADATA_DISABLED");
        at_url("/latest/api/token", ok("tok"));
        at_url("/latest/meta-data/instance-id", ok("i-0123"));
        at_url("spot/instance-action", [this](const HttpRequest&) { return spot; });
        at_url("autoscaling/target-lifecycle-state", [this](const HttpRequest&) { return state; });
        for (const char* action : {"RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"}) {
            on(action, reply(action));
        }
        on("DescribeLifecycleHooks",
           reply("DescribeLifecycleHooks",
                 "<LifecycleHooks><member><LifecycleHookName>my-hook</LifecycleHookName>"
                 "<HeartbeatTimeout>30</HeartbeatTimeout></member></LifecycleHooks>"));
    }
    HttpResponse spot{.status = 404};
    HttpResponse state = ok("InService");
};

const char* const watch_both = R"({"id":1,"do":"watch","spot":true,"hook":"my-group/my-hook"})";

}  // namespace

TEST_CASE_FIXTURE(InstanceWorld, "a watch that sees nothing says so at least once a minute") {
    take(watch_both);
    until(10min);
    CHECK(lines.at(0) ==
          std::pair<Clock::duration, std::string>{0s, R"({"id":1,"state":"watching"})"});
    CHECK(lines.size() >= 11);
    CHECK(lines_with("watching").size() == lines.size());
    Clock::duration last = 0s;
    for (const auto& [at, line] : lines) {
        CHECK(at - last <= 1min);
        last = at;
    }
}

TEST_CASE_FIXTURE(InstanceWorld, "a spot interruption is told once, within 5 s, with its time") {
    take(watch_both);
    until(61s);
    spot = ok(R"({"action":"terminate","time":"2026-09-18T08:22:00Z"})");
    CHECK(
        wait_for("notice") ==
        R"({"id":1,"notice":"SpotInterruption","reason":"spot instance i-0123 will be terminated",)"
        R"("at":"2026-09-18T08:22:00Z"})");
    CHECK(lines.back().first <= 66s + 100ms);
    until(3min);
    CHECK(lines_with("notice").size() == 1);
    CHECK(calls("RecordLifecycleActionHeartbeat").empty());
}

TEST_CASE_FIXTURE(InstanceWorld,
                  "a spot notice that isn't understood is a note, a bad time is left out") {
    take(R"({"id":1,"do":"watch","spot":true})");
    spot = ok("<html>");
    CHECK(contains(wait_for("note"), "spot/instance-action isn't understood: '<html>'"));
    spot = ok(R"({"action":"hibernate","time":"soon"})");
    CHECK(
        wait_for("notice") ==
        R"({"id":1,"notice":"SpotInterruption","reason":"spot instance i-0123 will be hibernated"})");
}

TEST_CASE_FIXTURE(InstanceWorld,
                  "a terminating instance is told, and its hook kept waiting until the end") {
    take(watch_both);
    until(1min);
    CHECK(calls("RecordLifecycleActionHeartbeat").empty());
    state = ok("Terminated");
    CHECK(
        wait_for("notice") ==
        R"({"id":1,"notice":"TerminationNotice","reason":"Auto Scaling group 'my-group' terminates )"
        R"(instance i-0123"})");
    const auto noticed = sim.clock.now();
    until(4min);
    const auto beats = calls("RecordLifecycleActionHeartbeat");
    // At once, then twice in the hook's 30 s.
    CHECK(beats.at(0).at - (noticed - Clock::time_point{}) < 100ms);
    CHECK(beats.at(1).at - beats.at(0).at == 15s);
    CHECK(beats.size() >= 11);
    CHECK(beats.at(0).request.body ==
          "Action=RecordLifecycleActionHeartbeat&Version=2011-01-01&AutoScalingGroupName=my-group"
          "&LifecycleHookName=my-hook&InstanceId=i-0123");
    CHECK(beats.at(0).request.url == "https://autoscaling.eu-west-1.amazonaws.com/");
    CHECK(calls("CompleteLifecycleAction").empty());
    take(R"({"id":2,"do":"complete","result":"CONTINUE"})");
    CHECK(wait_for("completed") == R"({"id":2,"state":"completed"})");
    CHECK(contains(calls("CompleteLifecycleAction").at(0).request.body,
                   "InstanceId=i-0123&LifecycleActionResult=CONTINUE"));
    const auto count = calls("RecordLifecycleActionHeartbeat").size();
    until(10min);
    CHECK(calls("RecordLifecycleActionHeartbeat").size() == count);
    CHECK(lines_with("notice").size() == 1);
}

TEST_CASE_FIXTURE(InstanceWorld,
                  "heartbeats go on every 15 s if the hook can't be asked, and through errors") {
    on("DescribeLifecycleHooks", refusal(403, "AccessDenied"));
    on("RecordLifecycleActionHeartbeat",
       refusal(400, "ValidationError", "No active Lifecycle Action"));
    state = ok("Warmed:Terminated");
    take(watch_both);
    until(61s);
    CHECK(calls("RecordLifecycleActionHeartbeat").size() == 5);
    CHECK(contains(lines_with("isn't known").at(0), "AccessDenied"));
}

TEST_CASE_FIXTURE(InstanceWorld, "completing is asked for with a known result, and tried again") {
    take(watch_both);
    take(R"({"id":2,"do":"complete","result":"MAYBE"})");
    CHECK(contains(wait_for("error"), "result is 'MAYBE', expected CONTINUE or ABANDON"));
    int refused = 2;
    on("CompleteLifecycleAction", [&refused](const HttpRequest&) {
        return refused-- > 0 ? refusal(400, "Throttling") : reply("CompleteLifecycleAction");
    });
    take(R"({"id":3,"do":"complete","result":"ABANDON"})");
    wait_for("completed");
    CHECK(calls("CompleteLifecycleAction").size() == 3);
}

TEST_CASE_FIXTURE(InstanceWorld, "completing what nobody waits for is done") {
    take(R"({"id":1,"do":"watch","spot":true})");
    SUBCASE("no hook") {}
    SUBCASE("not terminating") {
        take(R"({"id":2,"do":"watch","hook":"my-group/my-hook"})");
        on("CompleteLifecycleAction",
           refusal(400, "ValidationError",
                   "No active Lifecycle Action found with instance ID i-0123"));
    }
    take(R"({"id":3,"do":"complete","result":"CONTINUE"})");
    wait_for("\"id\":3,\"state\":\"completed\"");
}

TEST_CASE_FIXTURE(InstanceWorld, "a hook that is none is an error") {
    take(R"({"id":1,"do":"watch","hook":"my-group"})");
    CHECK(wait_for("error") ==
          R"({"id":1,"error":"cannot watch: the lifecycle hook is 'my-group', )"
          R"(expected GROUP/HOOK","retry":false})");
}

TEST_CASE_FIXTURE(InstanceWorld, "metadata that can't be read is noted once, and read later") {
    auto kept = std::exchange(servers, {});
    take(watch_both);
    until(2min);
    const auto notes_said = lines_with("note").size();
    CHECK(notes_said >= 1);
    CHECK(notes_said <= 4);
    servers = kept;
    spot = ok(R"({"action":"stop","time":"2026-09-18T08:22:00Z"})");
    CHECK(contains(wait_for("notice"), "will be stopped"));
}

TEST_CASE("a spot action is read, or refused") {
    CHECK_FALSE(parse_spot_action("none"));
    CHECK_FALSE(parse_spot_action("[]"));
    CHECK_FALSE(parse_spot_action("{\"time\":\"2026-09-18T08:22:00Z\"}"));
    CHECK(parse_spot_action("{\"action\":\"stop\"}")->time.empty());
}
