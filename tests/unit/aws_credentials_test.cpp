#include "agent/helpers/aws/credentials.hpp"

#include "agent/helpers/aws/container.hpp"
#include "agent/utc.hpp"
#include "tests/unit/aws_world.hpp"

using namespace lastcall;
using namespace lastcall::aws;

namespace {

std::string document(const std::string& key, Clock::duration expires) {
    return fmt::format(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"a-secret\","
        "\"Token\":\"a-token\",\"Expiration\":\"{}\"}}",
        key,
        utc_seconds_text(
            Clock::utc_time(std::chrono::duration_cast<std::chrono::seconds>(expires))));
}

struct CredentialWorld : AwsWorld {
    CredentialWorld() {
        variables.erase("AWS_ACCESS_KEY_ID");
        variables.erase("AWS_SECRET_ACCESS_KEY");
    }
    Credentials get() {
        return sim.run(
            parts().credentials.get([this](const std::string& text) { notes.push_back(text); }));
    }
    std::string failure() {
        return failure_of([this] { get(); });
    }
    void with_container() {
        variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/1";
        at_url("http://169.254.170.2/v2/credentials/1",
               [this](const HttpRequest&) { return ok(document(container_key, expires)); });
    }
    void with_instance() {
        variables.erase("AWS_EC2_METADATA_DISABLED");
        at_url("/latest/api/token", [](const HttpRequest& request) {
            REQUIRE(request.method == "PUT");
            REQUIRE(request.headers.at(0) == "X-aws-ec2-metadata-token-ttl-seconds: 21600");
            return ok("tok");
        });
        at_url("iam/security-credentials/web", [this](const HttpRequest& request) {
            REQUIRE(request.headers.at(0) == "X-aws-ec2-metadata-token: tok");
            return ok(document("instance", expires));
        });
        at_url("iam/security-credentials/", ok("web\n"));
    }
    void with_files() {
        files["/home/me/.aws/credentials"] =
            "[default]\naws_access_key_id = file\naws_secret_access_key = s\n"
            "[other]\naws_access_key_id=other\naws_secret_access_key=s/+=\naws_session_token=t\n";
    }
    void with_environment() {
        variables["AWS_ACCESS_KEY_ID"] = "environment";
        variables["AWS_SECRET_ACCESS_KEY"] = "s";
    }
    std::string container_key = "container";
    Clock::duration expires = 6h;
};

}  // namespace

TEST_CASE_FIXTURE(CredentialWorld, "credentials are looked for in the order of AWS's SDKs") {
    with_instance();
    SUBCASE("the instance last") { CHECK(get().access_key == "instance"); }
    SUBCASE("the container before the instance") {
        with_container();
        CHECK(get().access_key == "container");
        CHECK_FALSE(http.sent.at(0).request.proxied);
        CHECK(http.sent.at(0).request.connect_timeout == 1s);
    }
    SUBCASE("a profile before the container") {
        with_container();
        with_files();
        CHECK(get().access_key == "file");
        CHECK(http.sent.empty());
    }
    SUBCASE("the environment first") {
        with_files();
        with_environment();
        CHECK(get().access_key == "environment");
    }
}

TEST_CASE_FIXTURE(CredentialWorld,
                  "a profile is taken from both files, the credentials file first") {
    with_files();
    variables["AWS_PROFILE"] = "other";
    SUBCASE("credentials") {
        files["/home/me/.aws/config"] = "[profile other]\naws_access_key_id = no\nregion = x\n";
        CHECK(get() == Credentials{"other", "s/+=", "t"});
    }
    SUBCASE("config alone") {
        variables["AWS_PROFILE"] = "third";
        files["/home/me/.aws/config"] =
            "[profile third]\naws_access_key_id = third\naws_secret_access_key = s\n";
        CHECK(get().access_key == "third");
    }
    SUBCASE("elsewhere") {
        variables["AWS_SHARED_CREDENTIALS_FILE"] = "~/mine";
        files["/home/me/mine"] =
            "\xef\xbb\xbf[ other ]\r\n; a comment\r\naws_access_key_id = mine\r\n"
            "aws_secret_access_key = s\r\n";
        CHECK(get() == Credentials{"mine", "s"});
    }
    SUBCASE("nowhere") {
        variables["AWS_PROFILE"] = "missing";
        CHECK(failure() ==
              "the credentials can't be read: cannot use profile 'missing' in "
              "/home/me/.aws/credentials and /home/me/.aws/config: there is no such "
              "profile");
    }
}

TEST_CASE_FIXTURE(CredentialWorld, "a malformed file is named with its line, never quoted") {
    files["/home/me/.aws/credentials"] = "[default]\naws_secret_access_key hush\n";
    CHECK(failure() ==
          "the credentials can't be read: cannot read /home/me/.aws/credentials: line 2 is "
          "no setting, expected KEY = VALUE");
    files["/home/me/.aws/credentials"] = "aws_secret_access_key=hush\n";
    CHECK(contains(failure(), "line 1 is in no section"));
    files["/home/me/.aws/credentials"] = "[default\n";
    CHECK(contains(failure(), "line 1 is no section"));
    files["/home/me/.aws/credentials"] = "[default]\naws_access_key_id = x\n";
    CHECK(contains(failure(), "has aws_access_key_id alone"));
}

TEST_CASE_FIXTURE(CredentialWorld,
                  "half a pair in the environment is an error, not the next source") {
    with_files();
    variables["AWS_ACCESS_KEY_ID"] = "x";
    CHECK(contains(failure(), "AWS_SECRET_ACCESS_KEY isn't"));
}

TEST_CASE_FIXTURE(CredentialWorld, "a secret can't bring a header of its own") {
    variables["AWS_ACCESS_KEY_ID"] = "x";
    variables["AWS_SECRET_ACCESS_KEY"] = "s";
    variables["AWS_SESSION_TOKEN"] = "t\r\nX-Evil: 1";
    const std::string text = failure();
    CHECK(contains(text, "white space or control characters"));
    CHECK_FALSE(contains(text, "Evil"));
}

TEST_CASE_FIXTURE(CredentialWorld, "nowhere any: all the places are named") {
    const std::string text = failure();
    for (const char* place :
         {"AWS_ACCESS_KEY_ID isn't set", "/home/me/.aws/credentials", "/home/me/.aws/config",
          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_DISABLED is true"}) {
        CHECK(contains(text, place));
    }
    CHECK_FALSE(text.starts_with("+"));
}

TEST_CASE_FIXTURE(CredentialWorld, "an instance that can't be asked now may be asked later") {
    variables.erase("AWS_EC2_METADATA_DISABLED");
    CHECK(failure().starts_with("+there are no credentials"));
}

TEST_CASE_FIXTURE(CredentialWorld, "credentials are renewed five minutes before they expire") {
    with_container();
    expires = 1h;
    get();
    until(54min);
    get();
    CHECK(http.sent.size() == 1);
    until(55min + 1s);
    expires = 2h;
    container_key = "renewed";
    CHECK(get().access_key == "renewed");
    CHECK(http.sent.size() == 2);
}

TEST_CASE_FIXTURE(CredentialWorld, "as long as the old ones are good, failing to renew is a note") {
    with_container();
    expires = 1h;
    get();
    until(56min);
    servers.clear();
    CHECK(get().access_key == "container");
    REQUIRE(notes.size() == 1);
    CHECK(contains(notes[0], "the credentials can't be renewed yet: the container's endpoint"));
    until(61min);
    CHECK(failure().starts_with("+the container's endpoint can't be read"));
}

TEST_CASE_FIXTURE(CredentialWorld, "who asks at the same time causes one question, and may leave") {
    with_container();
    int got = 0;
    const auto ask = [&]() -> awaitable<void> {
        auto asking = parts().credentials.get([](const std::string&) {});
        co_await std::move(asking);
        ++got;
    };
    const auto leave = [&]() -> awaitable<void> {
        auto asking = parts().credentials.get([](const std::string&) {});
        co_await before(sim.clock, sim.clock.now() + 5ms, std::move(asking));
    };
    sim.run(all([&] {
        std::vector<awaitable<void>> asked;
        asked.push_back(leave());
        asked.push_back(ask());
        asked.push_back(ask());
        return asked;
    }()));
    CHECK(got == 2);
    CHECK(http.sent.size() == 1);
}

TEST_CASE_FIXTURE(CredentialWorld, "an expired token is renewed once, then it is an error") {
    with_container();
    SUBCASE("new ones help") {
        on("DeregisterTargets", [this](const HttpRequest& request) {
            const std::string all = request.headers.back();
            if (contains(all, "Credential=renewed/")) return reply("DeregisterTargets");
            container_key = "renewed";
            return refusal(403, "ExpiredToken", "The security token is expired");
        });
        call();
        CHECK(calls("DeregisterTargets").size() == 2);
        CHECK(notes.empty());
    }
    SUBCASE("the same again don't") {
        on("DeregisterTargets", refusal(403, "InvalidClientTokenId", "invalid"));
        const std::string text = failure_of([&] { call(); });
        CHECK(contains(text, "InvalidClientTokenId"));
        CHECK_FALSE(text.starts_with("+"));
        CHECK(calls("DeregisterTargets").size() == 1);
        CHECK(http.sent.size() == 3);
    }
}

TEST_CASE_FIXTURE(CredentialWorld, "an instance's token that has run out is renewed") {
    variables.erase("AWS_EC2_METADATA_DISABLED");
    int tokens = 0;
    at_url("/latest/api/token",
           [&tokens](const HttpRequest&) { return ok(fmt::format("tok{}", ++tokens)); });
    at_url("instance-id", [](const HttpRequest& request) {
        if (request.headers.at(0) == "X-aws-ec2-metadata-token: tok2") return ok("i-0123");
        return HttpResponse{.status = 401};
    });
    CHECK(sim.run(parts().instance.instance_id()) == "i-0123");
    CHECK(tokens == 2);
}

TEST_CASE("credentials travel without TLS to this machine and ECS's addresses alone") {
    std::map<std::string, std::string> variables;
    const Surroundings around{
        [&](const std::string& name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
        },
        [](const std::string& path) -> std::optional<std::string> {
            return path == "/token" ? std::optional<std::string>("from-file\n") : std::nullopt;
        },
        [] { return std::string(); }};
    CHECK_FALSE(container_credentials(around));
    for (const char* good : {"http://127.0.0.1:8080/c", "http://localhost/c", "http://[::1]:80/c",
                             "https://any.example/c", "http://169.254.170.2/c",
                             "http://169.254.170.23/v1/credentials", "http://127.1.2.3/c?role=a"}) {
        INFO(std::string(good));
        variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = good;
        const auto request = container_credentials(around);
        REQUIRE(request);
        CHECK(request->url == good);
    }
    for (const char* bad :
         {"http://10.0.0.1/c", "http://127.0.0.1.evil.example/c", "http://evil.example/",
          "ftp://127.0.0.1/", "http://127.0.0.1@evil.example/", "/relative",
          "http://169.254.169.254/"}) {
        INFO(std::string(bad));
        variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = bad;
        CHECK_THROWS_AS(container_credentials(around), Failure);
    }
    variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1/c";
    variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "plain";
    CHECK(container_credentials(around)->headers.at(0) == "Authorization: plain");
    variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/token";
    CHECK(container_credentials(around)->headers.at(0) == "Authorization: from-file");
    variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/missing";
    CHECK_THROWS_AS(container_credentials(around), Failure);
}

TEST_CASE("credentials that aren't understood are never quoted") {
    for (const char* body :
         {"", "hush", "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":7}",
          "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"hush\",\"Expiration\":\"soon\"}"}) {
        CAPTURE(body);
        try {
            parse_credentials(body, "these");
            FAIL("understood");
        } catch (const Failure& failure) {
            CHECK(failure.retry());
            CHECK_FALSE(contains(failure.what(), "hush"));
        }
    }
    CHECK_FALSE(parse_credentials("{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\","
                                  "\"Expiration\":\"9999-12-31T23:59:59Z\"}",
                                  "these")
                    .expires);
    try {
        parse_credentials("{\"Code\":\"AssumeRoleUnauthorizedAccess\"}", "these");
        FAIL("understood");
    } catch (const Failure& failure) {
        CHECK(contains(failure.what(), "AssumeRoleUnauthorizedAccess"));
    }
}

TEST_CASE("a task's metadata gives the address of its own network interface") {
    const auto task = parse_task_metadata(
        "{\"TaskARN\":\"arn:aws:ecs:eu-west-1:1:task/c/t\",\"Containers\":[{\"Networks\":[]},"
        "{\"Networks\":[{\"NetworkMode\":\"awsvpc\",\"IPv4Addresses\":[\"10.0.2.106\"]}]},"
        "{\"Networks\":[{\"IPv4Addresses\":[\"10.0.2.107\"]}]}]}");
    CHECK(task.address == "10.0.2.106");
    CHECK(task.network_mode == "awsvpc");
    CHECK(task.region == "eu-west-1");
    CHECK(parse_task_metadata("{\"TaskARN\":7}").region.empty());
    CHECK(parse_task_metadata("{\"TaskARN\":\"arn:aws\"}").region.empty());
    CHECK_THROWS_AS(parse_task_metadata("[]"), Failure);
}
