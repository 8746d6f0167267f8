#include "agent/helpers/aws/signature.hpp"

#include <doctest/doctest.h>

using namespace lastcall;
using namespace lastcall::aws;

namespace {

// AWS's published test suite for Signature Version 4 (aws-sig-v4-test-suite): its one key, date,
// region and service.
const Signer signer{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1",
                    "service"};
const Clock::utc_time date{std::chrono::seconds(1440938160)};  // 2015-08-30T12:36:00Z

std::string authorization(HttpRequest request) {
    request.url = "https://example.amazonaws.com/";
    sign(request, signer, date);
    return request.headers.back();
}

std::string expected(const std::string& headers, const std::string& signature) {
    return "Authorization: AWS4-HMAC-SHA256 "
           "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
           headers + ", Signature=" + signature;
}

}  // namespace

TEST_CASE("signatures are those of AWS's test suite") {
    SUBCASE("get-vanilla") {
        CHECK(authorization({}) ==
              expected("host;x-amz-date",
                       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
    }
    SUBCASE("post-vanilla") {
        CHECK(authorization({.method = "POST"}) ==
              expected("host;x-amz-date",
                       "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
    }
    SUBCASE("post-x-www-form-urlencoded") {
        CHECK(authorization({.method = "POST",
                             .headers = {"Content-Type: application/x-www-form-urlencoded"},
                             .body = "Param1=value1"}) ==
              expected("content-type;host;x-amz-date",
                       "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"));
    }
    SUBCASE("post-x-www-form-urlencoded-parameters") {
        CHECK(authorization(
                  {.method = "POST",
                   .headers = {"Content-Type: application/x-www-form-urlencoded; charset=utf8"},
                   .body = "Param1=value1"}) ==
              expected("content-type;host;x-amz-date",
                       "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"));
    }
    SUBCASE("get-header-value-trim") {
        CHECK(authorization({.headers = {"My-Header1: value1", "My-Header2: \"a   b   c\""}}) ==
              expected("host;my-header1;my-header2;x-amz-date",
                       "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"));
    }
    SUBCASE("post-header-value-case") {
        CHECK(authorization({.method = "POST", .headers = {"My-Header1: VALUE1"}}) ==
              expected("host;my-header1;x-amz-date",
                       "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"));
    }
    SUBCASE("post-sts-header-before: a session's token is signed") {
        CHECK(authorization(
                  {.method = "POST",
                   .headers =
                       {"X-Amz-Security-Token: "
                        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW"
                        "LWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGd"
                        "QrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU"
                        "9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz"
                        "+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="}}) ==
              expected("host;x-amz-date;x-amz-security-token",
                       "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"));
    }
}

TEST_CASE("the host is signed as libcurl sends it: with the URL's port, without its path") {
    HttpRequest request{.method = "POST", .url = "http://127.0.0.1:4566/aws/"};
    sign(request, signer, date);
    CHECK(request.headers[0] == "Host: 127.0.0.1:4566");
    CHECK(request.headers[1] == "X-Amz-Date: 20150830T123600Z");
    CHECK(request.headers.size() == 3);
    HttpRequest other{.method = "POST", .url = "http://127.0.0.1:4566/"};
    sign(other, signer, date);
    CHECK(request.headers.back() != other.headers.back());
}
