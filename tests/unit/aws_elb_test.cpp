#include "agent/helpers/aws/elb.hpp"

#include "tests/unit/aws_world.hpp"

using namespace lastcall;
using namespace lastcall::aws;

namespace {

const std::string front = "elb:?name=front&instance-id=";

std::string request(int id, const std::string& verb, const std::string& url) {
    return fmt::format(R"({{"id":{},"do":"{}","url":"{}"}})", id, verb, url);
}

struct ClassicWorld : AwsWorld {
    ClassicWorld() {
        on("DeregisterInstancesFromLoadBalancer", reply("DeregisterInstancesFromLoadBalancer"));
        on("RegisterInstancesWithLoadBalancer", reply("RegisterInstancesWithLoadBalancer"));
        health("InService", "Instance deregistration currently in progress.");
        draining(true, 60);
    }
    void draining(bool enabled, int seconds) {
        on("DescribeLoadBalancerAttributes",
           reply("DescribeLoadBalancerAttributes",
                 fmt::format("<LoadBalancerAttributes><ConnectionDraining><Enabled>{}</Enabled>"
                             "<Timeout>{}</Timeout></ConnectionDraining></LoadBalancerAttributes>",
                             enabled, seconds)));
    }
    /// Of every instance that is asked about.
    void health(const std::string& state, const std::string& description) {
        on("DescribeInstanceHealth", [=](const HttpRequest& request) {
            std::string members;
            for (std::size_t at = 0;
                 (at = request.body.find("InstanceId=", at)) != std::string::npos;) {
                at += 11;
                const std::string id = request.body.substr(at, request.body.find('&', at) - at);
                members += fmt::format(
                    "<member><InstanceId>{}</InstanceId><State>{}</State>"
                    "<Description>{}</Description></member>",
                    id, state, description);
            }
            return reply("DescribeInstanceHealth",
                         "<InstanceStates>" + members + "</InstanceStates>");
        });
    }
};

}  // namespace

TEST_CASE_FIXTURE(ClassicWorld, "a classic load balancer knows, and gives its timeout") {
    take(request(1, "check", front + "i-1"));
    CHECK(wait_for("known") == R"({"id":1,"state":"known","knows":true,"delayMs":60000,)"
                               R"("register":false,"target":"i-1 in load balancer front"})");
    draining(false, 300);
    close();
    take(request(2, "check", front + "i-1"));
    CHECK(contains(wait_for("\"id\":2"), "\"delayMs\":0"));
}

TEST_CASE_FIXTURE(ClassicWorld, "an instance drains until it isn't registered any more") {
    take(request(1, "deregister", front + "i-1"));
    wait_for("draining");
    CHECK(calls("DeregisterInstancesFromLoadBalancer").at(0).request.body ==
          "Action=DeregisterInstancesFromLoadBalancer&Version=2012-06-01&LoadBalancerName=front"
          "&Instances.member.1.InstanceId=i-1");
    until(20s);
    CHECK(lines_with("drained").empty());
    CHECK(calls("DescribeInstanceHealth").size() >= 18);
    SUBCASE("out of service for another reason") {
        health("OutOfService", "Instance has failed at least the UnhealthyThreshold number");
        until(30s);
        CHECK(lines_with("drained").empty());
    }
    SUBCASE("not registered") {
        health("OutOfService", "Instance is not currently registered with the LoadBalancer.");
        wait_for("drained");
        CHECK(lines.back().first < 22s);
    }
    SUBCASE("unknown") {
        on("DescribeInstanceHealth", refusal(400, "InvalidInstance"));
        wait_for("drained");
    }
    SUBCASE("the load balancer is deleted") {
        on("DescribeInstanceHealth", refusal(400, "LoadBalancerNotFound"));
        wait_for("drained");
    }
}

TEST_CASE_FIXTURE(ClassicWorld, "without connection draining the reply is the end") {
    draining(false, 300);
    take(request(1, "deregister", front + "i-1"));
    wait_for("drained");
    CHECK(lines.size() == 2);
    CHECK(calls("DescribeInstanceHealth").empty());
}

TEST_CASE_FIXTURE(ClassicWorld, "whether it drains may stay unknown") {
    on("DescribeLoadBalancerAttributes", refusal(403, "AccessDenied", "not you"));
    take(request(1, "check", front + "i-1"));
    CHECK(contains(wait_for("known"), "connection draining isn't known: "));
    health("OutOfService", "Instance is not currently registered with the LoadBalancer.");
    take(request(2, "deregister", front + "i-1"));
    wait_for("drained");
}

TEST_CASE_FIXTURE(ClassicWorld, "many instances are one call, and one look a second") {
    for (int i = 1; i <= 100; ++i) take(request(i, "deregister", fmt::format("{}i-{}", front, i)));
    until(10s);
    CHECK(calls("DeregisterInstancesFromLoadBalancer").size() == 1);
    CHECK(calls("DescribeLoadBalancerAttributes").size() == 1);
    CHECK(calls("DescribeInstanceHealth").size() <= 11);
    CHECK(lines_with("draining").size() >= 100);
}

TEST_CASE_FIXTURE(ClassicWorld, "one that isn't registered has left, the others drain") {
    const auto unless_gone = [](const std::string& action) {
        return [action](const HttpRequest& request) {
            if (contains(request.body, "i-gone")) return refusal(400, "InvalidInstance");
            return reply(action,
                         "<InstanceStates><member><InstanceId>i-1</InstanceId>"
                         "<State>InService</State></member></InstanceStates>");
        };
    };
    on("DeregisterInstancesFromLoadBalancer", unless_gone("DeregisterInstancesFromLoadBalancer"));
    on("DescribeInstanceHealth", unless_gone("DescribeInstanceHealth"));
    take(request(1, "deregister", front + "i-1"));
    take(request(2, "deregister", front + "i-gone"));
    wait_for("\"id\":2,\"state\":\"drained\"");
    until(5s);
    CHECK(lines_with("drained").size() == 1);
}

TEST_CASE_FIXTURE(ClassicWorld, "the instance is this one, if none is named") {
    variables.erase("AWS_EC2_METADATA_DISABLED");
    at_url("/latest/api/token", ok("tok"));
    at_url("/latest/meta-data/instance-id", ok("i-0123"));
    take(request(1, "register", "elb:?name=front"));
    wait_for("registered");
    CHECK(contains(calls("RegisterInstancesWithLoadBalancer").at(0).request.body,
                   "InstanceId=i-0123"));
    variables["AWS_EC2_METADATA_DISABLED"] = "true";
    close();
    take(request(2, "check", "elb:?name=front"));
    CHECK(contains(wait_for("error"), "give instance-id="));
}
