#include "agent/helpers/aws/session.hpp"

#include <algorithm>
#include <set>

#include "tests/unit/aws_world.hpp"

using namespace lastcall;
using namespace lastcall::aws;

namespace {

const std::string arn =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067";
const std::string group = "elbv2:?target-group-arn=" + arn;

std::string request(int id, const std::string& verb, const std::string& url) {
    return fmt::format(R"({{"id":{},"do":"{}","url":"{}"}})", id, verb, url);
}

std::string member(const std::string& id, int port, const std::string& state) {
    return fmt::format(
        "<member><Target><Id>{}</Id><Port>{}</Port></Target><TargetHealth><State>{}"
        "</State></TargetHealth></member>",
        id, port, state);
}

/// One target group, whose health is what `members` says.
struct GroupWorld : AwsWorld {
    GroupWorld() {
        on("DescribeTargetHealth", [this](const HttpRequest&) {
            return reply("DescribeTargetHealth",
                         "<TargetHealthDescriptions>" + members + "</TargetHealthDescriptions>");
        });
        on("DescribeTargetGroupAttributes",
           reply("DescribeTargetGroupAttributes",
                 "<Attributes><member><Key>deregistration_delay.timeout_seconds</Key>"
                 "<Value>120</Value></member></Attributes>"));
        on("DeregisterTargets", reply("DeregisterTargets"));
        on("RegisterTargets", reply("RegisterTargets"));
        facts("HTTP", "ip");
    }
    void facts(const std::string& protocol, const std::string& type) {
        on("DescribeTargetGroups",
           reply("DescribeTargetGroups",
                 fmt::format("<TargetGroups><member><Protocol>{}</Protocol><TargetType>{}"
                             "</TargetType></member></TargetGroups>",
                             protocol, type)));
    }
    std::string members;
};

}  // namespace

TEST_CASE_FIXTURE(AwsWorld, "the helper greets with its abilities") {
    parts().session.greet();
    CHECK(lines.at(0).second ==
          R"({"helper":"agent-lb-aws","version":")" LASTCALL_VERSION
          R"(","protocol":1,"abilities":["register","cancel","batch","watch"]})");
}

TEST_CASE_FIXTURE(GroupWorld, "check says delay, settle, port and name of the target") {
    take(request(1, "check", group + "&target-id=10.0.0.5&port=8080"));
    CHECK(wait_for("known") ==
          R"({"id":1,"state":"known","knows":false,"settleMs":10000,"delayMs":120000,)"
          R"("register":false,"port":8080,"target":"10.0.0.5:8080 in target group web"})");
    CHECK(contains(http.sent.at(0).request.body + http.sent.at(1).request.body,
                   "TargetGroupArns.member.1=arn%3Aaws%3Aelasticloadbalancing"));
}

TEST_CASE_FIXTURE(GroupWorld, "a network load balancer's group settles for two minutes") {
    for (const char* protocol : {"TCP", "TLS", "UDP", "TCP_UDP"}) {
        CAPTURE(protocol);
        close();
        lines.clear();
        facts(protocol, "instance");
        take(request(1, "check", group + "&target-id=i-0a&port=80"));
        const std::string known = wait_for("known");
        CHECK(contains(known, "\"settleMs\":120000"));
        CHECK_FALSE(contains(known, "\"port\""));
    }
}

TEST_CASE_FIXTURE(GroupWorld, "what may not be described is a warning") {
    on("DescribeTargetGroups", refusal(403, "AccessDenied", "not authorized"));
    variables["AWS_REGION"] = "us-east-1";
    take(request(1, "check", group + "&target-id=10.0.0.5&port=8080"));
    const std::string known = wait_for("known");
    CHECK(contains(known,
                   "AWS_REGION is 'us-east-1', but the ARN's region is used: eu-west-1; "
                   "the protocol isn't known: DescribeTargetGroups at"));
    CHECK(contains(known, "\"delayMs\":120000"));
    CHECK_FALSE(contains(known, "settleMs"));
}

TEST_CASE_FIXTURE(GroupWorld, "check refuses what can't work") {
    const auto refused = [&](const std::string& url) {
        close();
        lines.clear();
        take(request(1, "check", url));
        return wait_for("error");
    };
    CHECK(contains(refused(group + "&target-id=i-0a&port=80"),
                   "target-id is 'i-0a', expected an address (the target group's type is ip)"));
    CHECK(contains(refused(group), "ECS_CONTAINER_METADATA_URI_V4 isn't set; give target-id="));
    on("DescribeTargetGroups", refusal(400, "TargetGroupNotFound", "One or more not found"));
    const std::string error = refused(group + "&target-id=10.0.0.5&port=80");
    CHECK(contains(error,
                   "{\"id\":1,\"error\":\"cannot use 10.0.0.5:80 of target group web: "
                   "DescribeTargetGroups at https://elasticloadbalancing.eu-west-1."
                   "amazonaws.com: TargetGroupNotFound: One or more not found\",\"retry\":false}"));
    facts("HTTP", "lambda");
    CHECK(contains(refused(group + "&target-id=x"), "type is 'lambda', expected ip or instance"));
}

TEST_CASE_FIXTURE(GroupWorld,
                  "a check that nobody answers ends within 9 s, and may be tried again") {
    on("DescribeTargetGroups", [](const HttpRequest&) -> HttpResponse {
        throw HttpError("https://x doesn't answer: refused", true);
    });
    take(request(1, "check", group + "&target-id=10.0.0.5&port=80"));
    const std::string error = wait_for("\"error\"");
    CHECK(contains(error, "there is no answer after 9 s: DescribeTargetGroups at"));
    CHECK(contains(error, "\"retry\":true"));
    CHECK(lines.back().first <= 9s);
}

TEST_CASE_FIXTURE(GroupWorld, "credentials that are nowhere refuse a check for good") {
    variables.erase("AWS_ACCESS_KEY_ID");
    variables.erase("AWS_SECRET_ACCESS_KEY");
    variables.erase("AWS_EC2_METADATA_DISABLED");
    take(request(1, "check", group + "&target-id=10.0.0.5&port=80"));
    CHECK(contains(wait_for("\"error\""), "\"retry\":false"));
    take(request(2, "deregister", group + "&target-id=10.0.0.5&port=80"));
    CHECK(contains(wait_for("\"id\":2,\"error\""), "\"retry\":true"));
}

TEST_CASE_FIXTURE(GroupWorld, "a target drains from the acknowledgement until it is gone") {
    members = member("10.0.0.5", 8080, "draining") + member("10.0.0.6", 8080, "healthy");
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=8080"));
    CHECK(wait_for("draining") == R"({"id":1,"state":"draining"})");
    // The window, and one exchange.
    CHECK(lines.back().first == 30ms);
    CHECK(calls("DeregisterTargets").at(0).request.body ==
          "Action=DeregisterTargets&Version=2015-12-01&TargetGroupArn=arn%3Aaws%3A"
          "elasticloadbalancing%3Aeu-west-1%3A123456789012%3Atargetgroup%2Fweb%2F73e2d6bc24d8a067"
          "&Targets.member.1.Id=10.0.0.5&Targets.member.1.Port=8080");
    until(60s);
    CHECK(lines_with("drained").empty());
    const auto looks = calls("DescribeTargetHealth").size();
    CHECK(looks >= 11);
    CHECK(looks <= 13);
    SUBCASE("unused") { members = member("10.0.0.5", 8080, "unused"); }
    SUBCASE("not listed") { members = member("10.0.0.5", 8081, "healthy"); }
    SUBCASE("the group is deleted") {
        on("DescribeTargetHealth", refusal(400, "TargetGroupNotFound"));
    }
    CHECK(wait_for("drained") == R"({"id":1,"state":"drained"})");
    CHECK(lines.back().first < 66s);
    Clock::duration last = 0s;
    for (const auto& [at, line] : lines) {
        CHECK(at - last <= 10s);
        last = at;
    }
}

TEST_CASE_FIXTURE(GroupWorld,
                  "a thousand targets are a handful of calls, and one look an interval") {
    std::string batch;
    for (int i = 1; i <= 1000; ++i) {
        batch += batch.empty() ? "[" : ",";
        batch += request(i, "deregister", fmt::format("{}&target-id=10.0.0.5&port={}", group, i));
        members += member("10.0.0.5", i, "draining");
        if (i % 100 != 0) continue;
        take(batch + "]");
        batch.clear();
    }
    until(1s);
    CHECK(lines_with("draining").size() == 1000);
    CHECK(calls("DeregisterTargets").size() == 5);
    CHECK(calls("DescribeTargetHealth").size() == 1);
    until(21s);
    CHECK(calls("DescribeTargetHealth").size() <= 6);
    members.clear();
    until(30s);
    CHECK(lines_with("drained").size() == 1000);
    const auto looks = calls("DescribeTargetHealth").size();
    until(60s);
    CHECK(calls("DescribeTargetHealth").size() == looks);
}

TEST_CASE_FIXTURE(GroupWorld, "one target that AWS doesn't like is nobody else's trouble") {
    std::set<std::string> accepted;
    on("DeregisterTargets", [&](const HttpRequest& request) {
        if (contains(request.body, "Id=10.0.0.9")) {
            return refusal(400, "InvalidTarget", "The following targets are not registered");
        }
        if (contains(request.body, "Id=bad")) return refusal(400, "ValidationError", "not valid");
        for (std::size_t at = 0; (at = request.body.find("Id=", at)) != std::string::npos; ++at) {
            accepted.insert(request.body.substr(at, request.body.find('&', at) - at));
        }
        return reply("DeregisterTargets");
    });
    for (int i = 1; i <= 8; ++i) {
        take(request(i, "deregister", fmt::format("{}&target-id=10.0.0.{}&port=80", group, i)));
    }
    take(request(9, "deregister", group + "&target-id=10.0.0.9&port=80"));
    until(10s);
    CHECK(lines_with("drained").size() == 9);
    CHECK(accepted.size() == 8);
}

TEST_CASE_FIXTURE(GroupWorld, "without a port, all of an address's are meant") {
    members = member("10.0.0.5", 8080, "healthy") + member("10.0.0.5", 8081, "draining") +
              member("10.0.0.6", 8080, "healthy");
    take(request(1, "deregister", group + "&target-id=10.0.0.5"));
    wait_for("draining");
    const std::string body = calls("DeregisterTargets").at(0).request.body;
    CHECK(contains(body,
                   "Targets.member.1.Port=8080&Targets.member.2.Id=10.0.0.5&"
                   "Targets.member.2.Port=8081"));
    CHECK_FALSE(contains(body, "10.0.0.6"));
}

TEST_CASE_FIXTURE(GroupWorld,
                  "without a port, an instance with several is an error that names them") {
    members = member("i-0a", 8080, "healthy") + member("i-0a", 8081, "healthy");
    take(request(1, "deregister", group + "&target-id=i-0a"));
    CHECK(contains(wait_for("error"),
                   "i-0a is registered with more than one port (8080, 8081), expected port="));
}

TEST_CASE_FIXTURE(GroupWorld, "a target that isn't registered has left") {
    take(request(1, "deregister", group + "&target-id=10.0.0.5"));
    wait_for("drained");
    CHECK(calls("DeregisterTargets").empty());
    REQUIRE(lines.size() == 2);
    CHECK(contains(lines[0].second, "draining"));
}

TEST_CASE_FIXTURE(GroupWorld, "the target's id is the ECS task's address, or the instance's id") {
    SUBCASE("ip") {
        variables["ECS_CONTAINER_METADATA_URI_V4"] = "http://169.254.170.2/v4/x";
        at_url("/v4/x/task", ok("{\"Containers\":[{\"Networks\":[{\"NetworkMode\":\"awsvpc\","
                                "\"IPv4Addresses\":[\"10.0.2.106\"]}]}]}"));
        take(request(1, "register", group + "&port=80"));
        wait_for("registered");
        CHECK(contains(calls("RegisterTargets").at(0).request.body, "Id=10.0.2.106&"));
    }
    SUBCASE("ip, in bridge mode") {
        variables["ECS_CONTAINER_METADATA_URI_V4"] = "http://169.254.170.2/v4/x";
        at_url("/v4/x/task", ok("{\"Containers\":[{\"Networks\":[{\"NetworkMode\":\"bridge\","
                                "\"IPv4Addresses\":[\"172.17.0.2\"]}]}]}"));
        take(request(1, "check", group + "&port=80"));
        CHECK(
            contains(wait_for("error"), "no network interface of its own (network mode 'bridge')"));
    }
    SUBCASE("instance") {
        facts("HTTP", "instance");
        variables.erase("AWS_EC2_METADATA_DISABLED");
        at_url("/latest/api/token", ok("tok"));
        at_url("/latest/meta-data/instance-id", ok("i-0123"));
        take(request(1, "register", group + "&port=80"));
        CHECK(wait_for("registered") == R"({"id":1,"state":"registered"})");
        CHECK(contains(calls("RegisterTargets").at(0).request.body, "Id=i-0123&"));
    }
}

TEST_CASE_FIXTURE(GroupWorld, "looks that fail are notes, and the target goes on draining") {
    on("DescribeTargetHealth", refusal(403, "AccessDenied", "not you"));
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    until(100s);
    CHECK(lines_with("drained").empty());
    CHECK(lines_with("error").empty());
    CHECK(contains(lines_with("note").at(0), "AccessDenied: not you"));
    CHECK(calls("DescribeTargetHealth").size() <= 5);
    Clock::duration last = 0s;
    for (const auto& [at, line] : lines) {
        CHECK(at - last <= 10s);
        last = at;
    }
}

TEST_CASE_FIXTURE(GroupWorld,
                  "a request that hangs is heard of all the same, and can be cancelled") {
    http.latency = 8s;
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    until(7s);
    CHECK(lines.at(0) ==
          std::pair<Clock::duration, std::string>{5s, R"({"id":1,"note":"waiting for AWS"})"});
    take(R"({"id":1,"do":"cancel"})");
    CHECK(wait_for("cancelled") == R"({"id":1,"state":"cancelled"})");
    CHECK(lines.back().first == 7s);
    take(R"({"id":1,"do":"cancel"})");
    until(30s);
    CHECK(lines.size() == 2);
    CHECK(parts().gate.inside() == 0);
}

TEST_CASE_FIXTURE(GroupWorld, "who is cancelled while others wait leaves alone") {
    http.latency = 1s;
    members = member("10.0.0.6", 80, "draining");
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    take(request(2, "deregister", group + "&target-id=10.0.0.6&port=80"));
    until(100ms);
    take(R"({"id":1,"do":"cancel"})");
    CHECK(wait_for("draining") == R"({"id":2,"state":"draining"})");
    take(R"({"id":2,"do":"cancel"})");
    wait_for("\"id\":2,\"state\":\"cancelled\"");
    // Asked for again, as by an agent that has lost the answer.
    members.clear();
    take(request(3, "deregister", group + "&target-id=10.0.0.6&port=80"));
    wait_for("drained");
}

TEST_CASE_FIXTURE(GroupWorld, "one that left during the window doesn't take the next with it") {
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    until(5ms);
    take(R"({"id":1,"do":"cancel"})");
    take(request(2, "deregister", group + "&target-id=10.0.0.5&port=80"));
    wait_for("\"id\":2,\"state\":\"drained\"");
    CHECK(calls("DeregisterTargets").size() == 1);
}

TEST_CASE_FIXTURE(GroupWorld,
                  "lines that are no requests are said, and answered if they have an id") {
    take("");
    take("  ");
    CHECK(said.empty());
    take("hello");
    take(R"({"do":"check"})");
    take(R"({"id":0,"do":"check"})");
    take(R"({"id":"x","do":"check"})");
    CHECK(said.size() == 4);
    CHECK(lines.empty());
    take(R"({"id":4,"do":"dance"})");
    CHECK(contains(lines.at(0).second, R"({"id":4,"error":"cannot understand)"));
    CHECK(contains(lines.at(0).second, "do is 'dance', expected check, register"));
    take(R"([{"id":5,"do":"check"},7])");
    CHECK(contains(lines.at(1).second, "it has no url"));
    take(request(6, "check", "f5:?pool=x"));
    CHECK(contains(wait_for("\"id\":6"), "expected elbv2 or elb"));
}

TEST_CASE_FIXTURE(GroupWorld, "an id under way isn't taken twice") {
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    take(request(1, "deregister", group + "&target-id=10.0.0.6&port=80"));
    wait_for("drained");
    CHECK(said.size() == 1);
    CHECK(calls("DeregisterTargets").size() == 1);
    CHECK_FALSE(contains(calls("DeregisterTargets").at(0).request.body, "10.0.0.6"));
}

TEST_CASE_FIXTURE(GroupWorld,
                  "the end of the requests waits for acknowledgements, not for drains") {
    members = member("10.0.0.5", 80, "draining");
    http.latency = 500ms;
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    sim.run(parts().session.finish());
    CHECK(sim.clock.now() == Clock::time_point(520ms));
    CHECK(lines_with("draining").size() == 1);
}

TEST_CASE_FIXTURE(GroupWorld, "the end of the requests waits for 1.5 s at most") {
    http.latency = 9s;
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    sim.run(parts().session.finish());
    CHECK(sim.clock.now() == Clock::time_point(1500ms));
}

TEST_CASE_FIXTURE(GroupWorld, "text of AWS's never breaks a line") {
    on("DeregisterTargets", refusal(400, "Bad\"Code", "two\nlines \"quoted\" \x7f"));
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    const std::string error = wait_for("error");
    CHECK(contains(error, R"(Bad\"Code: two)"));
    CHECK_FALSE(contains(error, "\n"));
}

TEST_CASE_FIXTURE(GroupWorld, "a reply of somebody else may be right the next time") {
    on("DeregisterTargets", ok("<Portal><Login/></Portal>"));
    take(request(1, "deregister", group + "&target-id=10.0.0.5&port=80"));
    const std::string error = wait_for("error");
    CHECK(contains(error, "the reply is <Portal>, expected <DeregisterTargetsResponse>"));
    CHECK(contains(error, "\"retry\":true"));
}
