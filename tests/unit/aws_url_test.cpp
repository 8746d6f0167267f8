#include "agent/helpers/aws/target_url.hpp"

#include <doctest/doctest.h>

#include "agent/helpers/aws/failure.hpp"

using namespace lastcall::aws;

namespace {

const std::string arn =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067";

std::string error(const std::string& text) {
    try {
        parse_target_url(text);
        return "";
    } catch (const Failure& failure) {
        CHECK_FALSE(failure.retry());
        return failure.what();
    }
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a target group's URL names group, region, target and port") {
    const auto url =
        parse_target_url("elbv2:?target-group-arn=" + arn + "&target-id=10.0.0.5&port=8080");
    CHECK(url.scheme == "elbv2");
    CHECK(url.arn == arn);
    CHECK(url.region == "eu-west-1");
    CHECK(url.name == "web");
    CHECK(url.id == "10.0.0.5");
    CHECK(url.port == 8080);
    const auto short_one = parse_target_url("ELBv2:?target-group-arn=" + arn);
    CHECK(short_one.id.empty());
    CHECK_FALSE(short_one.port);
    // Percent-encoded, as a careful person writes it; and AWS's other partitions.
    CHECK(
        parse_target_url("elbv2:?target-group-arn=arn%3Aaws-cn%3Aelasticloadbalancing%3Acn-north-1"
                         "%3A1%3Atargetgroup%2Fw%2F1")
            .region == "cn-north-1");
}

TEST_CASE("a classic load balancer's URL names it and the instance") {
    const auto url = parse_target_url("elb:?name=front&instance-id=i-0123");
    CHECK(url.scheme == "elb");
    CHECK(url.name == "front");
    CHECK(url.id == "i-0123");
    CHECK(parse_target_url("elb:?name=front").id.empty());
}

TEST_CASE("what isn't understood is refused by name") {
    CHECK(error("no-url") ==
          "'no-url' isn't understood: it is no URL, expected elbv2:?… or elb:?…");
    CHECK(has(error("elb:?name=a b"), "neither white space nor anything beyond ASCII"));
    CHECK(has(error("elb:\xba"), "'elb:\\xba' isn't understood"));
    CHECK(has(error("f5:?pool=a"), "the scheme is 'f5', expected elbv2 or elb"));
    CHECK(has(error("elbv2:?target_group_arn=" + arn), "did you mean 'target-group-arn'?"));
    CHECK(has(error("elbv2:?name=web"),
              "unknown parameter 'name': expected one of "
              "target-group-arn, target-id, port"));
    CHECK(has(error("elbv2:?port=1&port=2"), "parameter 'port' is there twice"));
    CHECK(has(error("elbv2://host/?target-group-arn=" + arn), "nothing before the question mark"));
    CHECK(has(error("elbv2:?target-id=i-1"), "it has no target group"));
    CHECK(has(error("elb:?instance-id=i-1"), "it has no load balancer, expected name=NAME"));
    for (const char* port : {"0", "65536", "-1", "http", "80x", ""}) {
        CAPTURE(port);
        CHECK(has(error("elbv2:?target-group-arn=" + arn + "&port=" + port),
                  "expected a port, 1 to 65535"));
    }
}

TEST_CASE("an ARN that is none, or of something else, is refused") {
    for (const char* wrong :
         {"web", "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/web/1",
          "arn:aws:ecs:eu-west-1:1:targetgroup/web/1",
          "arn:aws:elasticloadbalancing::1:targetgroup/w/1",
          "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web",
          "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup//1",
          "arn:aws:elasticloadbalancing:eu-west-1.evil.example/:1:targetgroup/w/1",
          "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/w/1%20x"}) {
        CAPTURE(wrong);
        CHECK(has(error("elbv2:?target-group-arn=" + std::string(wrong)),
                  "expected arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/NUMBER"));
    }
}
