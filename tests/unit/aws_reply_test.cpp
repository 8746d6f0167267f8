#include "agent/helpers/aws/reply.hpp"

#include <doctest/doctest.h>

#include <functional>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"

using namespace lastcall::aws;

namespace {

const std::string health =
    "<?xml version=\"1.0\"?>\n"
    "<DescribeTargetHealthResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/"
    "2015-12-01/\">\n <DescribeTargetHealthResult>\n  <TargetHealthDescriptions>\n"
    "   <member><HealthCheckPort>80</HealthCheckPort><TargetHealth>\n"
    "     <State>draining</State><Reason>Target.DeregistrationInProgress</Reason></TargetHealth>\n"
    "    <Target><Port>8080</Port><Id>10.0.0.5</Id></Target></member>\n"
    "   <member><Target><Id>i-0a</Id></Target><TargetHealth><State> unused </State>\n"
    "     <Reason>Target.NotRegistered</Reason></TargetHealth></member>\n"
    "  </TargetHealthDescriptions>\n </DescribeTargetHealthResult>\n"
    " <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\n"
    "</DescribeTargetHealthResponse>\n";

/// What is thrown: its text, "+" before it if a retry may help, "" if nothing.
std::string error(const std::function<void()>& act) {
    try {
        act();
        return "";
    } catch (const Failure& failure) {
        return (failure.retry() ? "+" : "") + std::string(failure.what());
    }
}

}  // namespace

TEST_CASE("the health of targets is read in whatever order it stands") {
    const auto all = read_target_health(health);
    REQUIRE(all.size() == 2);
    CHECK(all[0].id == "10.0.0.5");
    CHECK(all[0].port == 8080);
    CHECK(all[0].state == "draining");
    CHECK_FALSE(all[0].gone());
    CHECK(all[1].id == "i-0a");
    CHECK_FALSE(all[1].port);
    CHECK(all[1].gone());
}

TEST_CASE("a reply that is cut short anywhere is no reply, and worth a retry") {
    const std::size_t last = health.rfind('<') + 2;
    for (std::size_t length = 0; length < last; ++length) {
        CAPTURE(length);
        CHECK(error([&] { read_target_health(health.substr(0, length)); }).substr(0, 1) == "+");
    }
}

TEST_CASE("a reply of somebody else is refused by the name of its root") {
    CHECK(error([] { read_empty("<html><body>Sign\tin</body></html>", "DeregisterTargets"); }) ==
          "+the reply is <html>, expected <DeregisterTargetsResponse>: "
          "'<html><body>Sign\\x09in</body></html>'");
    CHECK(error([] { read_empty("<DeregisterTargetsResponse/>", "DeregisterTargets"); }) == "");
    CHECK(error([] { read_empty("{\"a\": 1}", "DeregisterTargets"); }).find("no XML") !=
          std::string::npos);
}

TEST_CASE("nobody has left just because a reply lacks the list, or a member its name") {
    const auto of = [](const std::string& result) {
        return "<DescribeTargetHealthResponse>" + result + "</DescribeTargetHealthResponse>";
    };
    CHECK(error([&] {
              read_target_health(of(""));
          }).starts_with("+the reply is without <TargetHealthDescriptions>"));
    CHECK(error([&] { read_target_health(of("<DescribeTargetHealthResult/>")); }) != "");
    CHECK(read_target_health(of("<DescribeTargetHealthResult><TargetHealthDescriptions/>"
                                "</DescribeTargetHealthResult>"))
              .empty());
    CHECK(error([&] {
              read_target_health(
                  of("<DescribeTargetHealthResult><TargetHealthDescriptions><member>"
                     "<Target/></member></TargetHealthDescriptions>"
                     "</DescribeTargetHealthResult>"));
          }) == "+the reply is without <Id> in: '<member>'");
    CHECK(error([&] { read_instance_health("<DescribeInstanceHealthResponse/>"); }) != "");
}

TEST_CASE("entities of a document's own are never expanded, and depth costs nothing") {
    const std::string laughs =
        "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]>"
        "<ErrorResponse><Error><Code>&lol2;</Code><Message>&lt;a&gt;</Message></Error>"
        "</ErrorResponse>";
    const auto reply = error_reply(laughs);
    REQUIRE(reply);
    CHECK(reply->code == "&lol2;");
    CHECK(reply->message == "<a>");
    std::string deep;
    for (int i = 0; i < 1'000'000; ++i) deep += "<a>";
    CHECK(error([&] { read_target_health(deep); }).starts_with("+the reply is no XML"));
    for (int i = 0; i < 1'000'000; ++i) deep += "</a>";
    CHECK(error([&] { read_target_health(deep); }).starts_with("+the reply is <a>"));
}

TEST_CASE("errors are told from other documents") {
    CHECK_FALSE(error_reply("<html/>"));
    CHECK_FALSE(error_reply("<ErrorResponse/>"));
    CHECK_FALSE(error_reply(""));
    const auto reply = error_reply(
        "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code>"
        "<Message>Rate exceeded</Message></Error></ErrorResponse>");
    REQUIRE(reply);
    CHECK(reply->code == "Throttling");
    CHECK(reply->message == "Rate exceeded");
}

TEST_CASE("a group's facts, a classic load balancer's and a hook's are read") {
    const auto group = read_target_group(
        "<DescribeTargetGroupsResponse><DescribeTargetGroupsResult><TargetGroups><member>"
        "<TargetType>ip</TargetType><Protocol>TCP</Protocol></member></TargetGroups>"
        "</DescribeTargetGroupsResult></DescribeTargetGroupsResponse>");
    CHECK(group.protocol == "TCP");
    CHECK(group.target_type == "ip");
    const std::string attributes =
        "<DescribeTargetGroupAttributesResponse><DescribeTargetGroupAttributesResult><Attributes>"
        "<member><Key>stickiness.enabled</Key><Value>false</Value></member>"
        "<member><Value>120</Value><Key>deregistration_delay.timeout_seconds</Key></member>"
        "</Attributes></DescribeTargetGroupAttributesResult>"
        "</DescribeTargetGroupAttributesResponse>";
    CHECK(read_deregistration_delay(attributes) == 120);
    const auto draining = read_draining(
        "<DescribeLoadBalancerAttributesResponse><DescribeLoadBalancerAttributesResult>"
        "<LoadBalancerAttributes><ConnectionDraining><Enabled>true</Enabled><Timeout>60</Timeout>"
        "</ConnectionDraining></LoadBalancerAttributes></DescribeLoadBalancerAttributesResult>"
        "</DescribeLoadBalancerAttributesResponse>");
    CHECK(draining.enabled);
    CHECK(draining.seconds == 60);
    const std::string hooks =
        "<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult><LifecycleHooks>"
        "<member><LifecycleHookName>a</LifecycleHookName><HeartbeatTimeout>30</HeartbeatTimeout>"
        "</member></LifecycleHooks></DescribeLifecycleHooksResult>"
        "</DescribeLifecycleHooksResponse>";
    CHECK(read_heartbeat_timeout(hooks, "a") == 30);
    CHECK_FALSE(read_heartbeat_timeout(hooks, "b"));
    const auto instances = read_instance_health(
        "<DescribeInstanceHealthResponse><DescribeInstanceHealthResult><InstanceStates>"
        "<member><InstanceId>i-1</InstanceId><State>InService</State><Description>Instance "
        "deregistration currently in progress.</Description></member>"
        "<member><InstanceId>i-2</InstanceId><State>OutOfService</State><Description>Instance is "
        "not currently registered with the LoadBalancer.</Description></member>"
        "<member><InstanceId>i-3</InstanceId><State>OutOfService</State><Description>Instance has "
        "failed at least the UnhealthyThreshold number of health checks consecutively."
        "</Description></member></InstanceStates></DescribeInstanceHealthResult>"
        "</DescribeInstanceHealthResponse>");
    REQUIRE(instances.size() == 3);
    CHECK_FALSE(instances[0].gone());
    CHECK(instances[1].gone());
    CHECK_FALSE(instances[2].gone());
}

TEST_CASE("an excerpt is one line of UTF-8, cut where it is told") {
    CHECK(excerpt("a\nb\x1b[0m") == "a\\x0ab\\x1b[0m");
    CHECK(excerpt("gr\xc3\xbc\xc3\x9f", 100) == "gr\xc3\xbc\xc3\x9f");
    CHECK(excerpt("\xc3(\xff\xed\xa0\x80", 100) == "\\xc3(\\xff\\xed\\xa0\\x80");
    CHECK(excerpt("12345", 5) == "12345");
    CHECK(excerpt("123456", 5) == "12345…");
    CHECK(excerpt("1234\xc3\xbc", 5) == "1234…");
    CHECK(quoted("x") == "'x'");
}
