#include "tests/unit/aws_world.hpp"

using namespace lastcall;
using namespace lastcall::aws;

namespace {

const HttpResponse good = reply("DeregisterTargets");

/// Refuses so often, then goes well.
AwsWorld::Act after_refusals(int count, HttpResponse refused) {
    return [count, refused](const HttpRequest&) mutable { return count-- > 0 ? refused : good; };
}

std::string header(const HttpRequest& request, const std::string& name) {
    for (const auto& each : request.headers) {
        if (each.starts_with(name + ": ")) return each.substr(name.size() + 2);
    }
    return "";
}

}  // namespace

TEST_CASE_FIXTURE(AwsWorld, "a call goes to the region's own host, signed, as a form") {
    variables["AWS_SESSION_TOKEN"] = "a-token";
    on("DeregisterTargets", good);
    CHECK(call() == good.body);
    const HttpRequest& request = http.sent.at(0).request;
    CHECK(request.method == "POST");
    CHECK(request.url == "https://elasticloadbalancing.eu-west-1.amazonaws.com/");
    CHECK(request.body == "Action=DeregisterTargets&Version=2015-12-01");
    CHECK(header(request, "X-Amz-Security-Token") == "a-token");
    CHECK(contains(header(request, "Authorization"),
                   "/eu-west-1/elasticloadbalancing/aws4_request, "
                   "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,"));
    CHECK(request.timeout == 10s);
    CHECK(request.connect_timeout == 3s);
    CHECK(notes.empty());
}

TEST_CASE_FIXTURE(AwsWorld, "throttling is waited out, twice as long each time, up to 5 s") {
    http.latency = 0s;
    on("DeregisterTargets", after_refusals(8, refusal(400, "Throttling", "Rate exceeded")));
    call();
    std::vector<Clock::duration> times;
    for (const auto& each : http.sent) times.push_back(each.at);
    // The dice show 0: half of 0.2, 0.4, … 3.2, 5, 5 s.
    CHECK(times == std::vector<Clock::duration>{0s, 100ms, 300ms, 700ms, 1500ms, 3100ms, 5600ms,
                                                8100ms, 10600ms});
    REQUIRE(notes.size() == 8);
    CHECK(notes[1] ==
          "DeregisterTargets at https://elasticloadbalancing.eu-west-1.amazonaws.com: Throttling: "
          "Rate exceeded; again in 0.2 s");
}

TEST_CASE_FIXTURE(AwsWorld, "jitter makes a wait up to twice as long as without") {
    http.latency = 0s;
    dice = 0.999;
    on("DeregisterTargets", after_refusals(1, refusal(503, "ServiceUnavailable")));
    call();
    CHECK(http.sent.at(1).at > 199ms);
    CHECK(http.sent.at(1).at < 200ms);
}

TEST_CASE_FIXTURE(AwsWorld, "a 5xx, a 429 and a lost connection are waited out alike") {
    const HttpResponse responses[] = {{.status = 502, .body = "<html>Bad\nGateway</html>"},
                                      {.status = 429}};
    for (const auto& each : responses) {
        CAPTURE(each.status);
        notes.clear();
        on("DeregisterTargets", after_refusals(1, each));
        CHECK(call() == good.body);
        CHECK(notes.size() == 1);
    }
    on("DeregisterTargets", [count = 1](const HttpRequest&) mutable {
        if (count-- > 0) throw HttpError("https://x doesn't answer: Connection refused", true);
        return good;
    });
    CHECK(call() == good.body);
    CHECK(contains(notes.back(), "Connection refused; again in"));
}

TEST_CASE_FIXTURE(AwsWorld, "what never mends is given up after ten minutes, to be retried") {
    on("DeregisterTargets", refusal(500, "InternalFailure"));
    CHECK(contains(failure_of([&] { call(); }), "+DeregisterTargets at https://"));
    CHECK(sim.clock.now() > Clock::time_point(9min + 50s));
    CHECK(sim.clock.now() <= Clock::time_point(10min));
}

TEST_CASE_FIXTURE(AwsWorld, "a deadline comes before the next attempt") {
    on("DeregisterTargets", refusal(500, "InternalFailure"));
    CHECK(failure_of([&] { call("DeregisterTargets", Clock::time_point(1s)); }).starts_with("+"));
    CHECK(sim.clock.now() <= Clock::time_point(1s));
}

TEST_CASE_FIXTURE(AwsWorld, "a refusal that no retry mends is one call") {
    for (const char* code : {"AccessDenied", "TargetGroupNotFound", "ValidationError"}) {
        CAPTURE(code);
        http.sent.clear();
        on("DeregisterTargets", refusal(400, code, "because"));
        CHECK(
            failure_of([&] { call(); }) ==
            fmt::format("DeregisterTargets at https://elasticloadbalancing.eu-west-1.amazonaws.com:"
                        " {}: because",
                        code));
        CHECK(http.sent.size() == 1);
    }
}

TEST_CASE_FIXTURE(AwsWorld, "a redirect isn't followed, and its host is named") {
    on("DeregisterTargets", HttpResponse{.status = 302, .location = "https://evil.example/login"});
    const std::string text = failure_of([&] { call(); });
    CHECK(
        contains(text, "it redirects to 'https://evil.example/login' (302), which isn't followed"));
    CHECK_FALSE(text.starts_with("+"));
    CHECK(http.sent.size() == 1);
}

TEST_CASE_FIXTURE(AwsWorld, "a certificate that doesn't verify is no matter of patience") {
    on("DeregisterTargets", [](const HttpRequest&) -> HttpResponse {
        throw HttpError("https://x has a certificate that doesn't verify: self-signed", false);
    });
    CHECK_FALSE(failure_of([&] { call(); }).starts_with("+"));
    CHECK(http.sent.size() == 1);
}

TEST_CASE_FIXTURE(AwsWorld, "a wrong clock is put right by the server's date, said once") {
    HttpResponse skewed = refusal(403, "SignatureDoesNotMatch", "Signature expired");
    skewed.date = "Thu, 01 Jan 2026 12:00:00 GMT";
    on("DeregisterTargets", [skewed](const HttpRequest& request) {
        return header(request, "X-Amz-Date").starts_with("20260101T1200") ? good : skewed;
    });
    CHECK(call() == good.body);
    CHECK(http.sent.size() == 2);
    CHECK(call() == good.body);
    CHECK(http.sent.size() == 3);
    REQUIRE(said.size() == 1);
    CHECK(contains(said[0], "behind AWS's: AWS's date is used."));
    CHECK(notes.empty());
}

TEST_CASE_FIXTURE(AwsWorld, "two calls that meet a wrong clock together are both tried again") {
    HttpResponse skewed = refusal(403, "SignatureDoesNotMatch", "Signature expired");
    skewed.date = "Thu, 01 Jan 2026 12:00:00 GMT";
    on("DeregisterTargets", [skewed](const HttpRequest& request) {
        return header(request, "X-Amz-Date").starts_with("20260101T1200") ? good : skewed;
    });
    const auto one = [this]() -> awaitable<void> {
        const Query query("DeregisterTargets", elbv2_version);
        auto calling = parts().api.call(elbv2_service, "eu-west-1", query, never, [](auto&) {});
        const std::string body = co_await std::move(calling);
        CHECK(body == good.body);
    };
    std::vector<awaitable<void>> both;
    for (int i = 0; i < 2; ++i) both.push_back(one());
    sim.run(all(std::move(both)));
}

TEST_CASE_FIXTURE(AwsWorld, "a wrong signature with a right clock is final") {
    HttpResponse wrong = refusal(403, "SignatureDoesNotMatch", "The request signature…");
    for (const char* date :
         {"Thu, 01 Jan 1970 00:00:40 GMT", "", "yesterday", "Fri, 31 Dec 9999 23:59:59 GMT"}) {
        CAPTURE(date);
        http.sent.clear();
        wrong.date = date;
        on("DeregisterTargets", wrong);
        CHECK_FALSE(failure_of([&] { call(); }).starts_with("+"));
        CHECK(http.sent.size() == 1);
    }
    CHECK(said.empty());
}

TEST_CASE_FIXTURE(AwsWorld, "secrets that AWS quotes are not repeated") {
    variables["AWS_SESSION_TOKEN"] = "the-token";
    on("DeregisterTargets", refusal(403, "SignatureDoesNotMatch",
                                    "The token the-token of a-secret, a-secret.\n"
                                    "The Canonical String should have been …"));
    const std::string text = failure_of([&] { call(); });
    CHECK(contains(text, "The token *** of ***, ***."));
    CHECK_FALSE(contains(text, "Canonical"));
}

TEST_CASE_FIXTURE(AwsWorld, "endpoints are those of AWS's own tools") {
    on("DeregisterTargets", good);
    const auto url = [&] {
        call();
        return http.sent.back().request.url;
    };
    files["/home/me/.aws/config"] =
        "[default]\nservices = mine\nendpoint_url = http://all.example\n"
        "[services mine]\nelastic_load_balancing_v2 =\n  endpoint_url = http://profile.example\n";
    CHECK(url() == "http://profile.example/");
    variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:4566";
    CHECK(url() == "http://127.0.0.1:4566/");
    variables["AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"] = "https://own.example/api/";
    CHECK(url() == "https://own.example/api/");
    variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true";
    CHECK(url() == "https://elasticloadbalancing.eu-west-1.amazonaws.com/");
    variables.erase("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    for (const char* wrong : {"ftp://x", "x", "https://", "http://u:p@x/", "http://x/?a"}) {
        CAPTURE(wrong);
        variables["AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"] = wrong;
        CHECK(contains(failure_of([&] { call(); }),
                       "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2 is '"));
    }
}

TEST_CASE("the region's domain is its partition's") {
    const Surroundings around{[](const std::string&) { return std::nullopt; },
                              [](const std::string&) { return std::nullopt; },
                              [] { return std::string(); }};
    const Profile profile(around);
    const auto url = [&](const std::string& region) {
        return endpoint(auto_scaling_service, region, around, profile);
    };
    CHECK(url("us-east-1") == "https://autoscaling.us-east-1.amazonaws.com/");
    CHECK(url("us-gov-west-1") == "https://autoscaling.us-gov-west-1.amazonaws.com/");
    CHECK(url("cn-north-1") == "https://autoscaling.cn-north-1.amazonaws.com.cn/");
    CHECK(url("us-isob-east-1") == "https://autoscaling.us-isob-east-1.sc2s.sgov.gov/");
    CHECK(is_region("eu-central-2"));
    CHECK_FALSE(is_region("eu-west-1.evil.example"));
    CHECK_FALSE(is_region(""));
}

TEST_CASE_FIXTURE(AwsWorld, "the region is found where AWS's tools look, or the places are named") {
    const auto region = [&] { return sim.run(parts().api.region()); };
    SUBCASE("environment") {
        variables["AWS_DEFAULT_REGION"] = "eu-north-1";
        CHECK(region() == "eu-west-1");
    }
    SUBCASE("the other variable") {
        variables.erase("AWS_REGION");
        variables["AWS_DEFAULT_REGION"] = "eu-north-1";
        CHECK(region() == "eu-north-1");
    }
    SUBCASE("profile") {
        variables.erase("AWS_REGION");
        files["/home/me/.aws/config"] = "[default]\nregion = ap-south-1\n";
        CHECK(region() == "ap-south-1");
    }
    SUBCASE("ECS task") {
        variables.erase("AWS_REGION");
        variables["ECS_CONTAINER_METADATA_URI_V4"] = "http://169.254.170.2/v4/x";
        at_url("/v4/x/task", ok("{\"TaskARN\":\"arn:aws:ecs:sa-east-1:1:task/c/t\"}"));
        CHECK(region() == "sa-east-1");
    }
    SUBCASE("instance") {
        variables.erase("AWS_REGION");
        variables.erase("AWS_EC2_METADATA_DISABLED");
        at_url("/latest/api/token", ok("tok"));
        at_url("placement/region", ok("us-west-2"));
        CHECK(region() == "us-west-2");
    }
    SUBCASE("nowhere") {
        variables.erase("AWS_REGION");
        const std::string text = failure_of([&] { region(); });
        for (const char* place : {"AWS_REGION", "AWS_DEFAULT_REGION", "/home/me/.aws/config",
                                  "AWS_EC2_METADATA_DISABLED"}) {
            CHECK(contains(text, place));
        }
    }
    SUBCASE("nonsense") {
        variables["AWS_REGION"] = "Frankfurt!";
        CHECK(failure_of([&] { region(); }) ==
              "the region is 'Frankfurt!', expected one like eu-west-1");
    }
}
