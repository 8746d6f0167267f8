#include "agent/helpers/aws/metadata.hpp"

#include <fmt/format.h>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

constexpr auto token_life = 6h;

std::string base_of(const Surroundings& around) {
    const bool six = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") == "IPv6";
    std::string base = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT")
                           .value_or(six ? "http://[fd00:ec2::254]" : "http://169.254.169.254");
    while (base.ends_with('/')) base.pop_back();
    return base;
}

bool yes(const std::optional<std::string>& value) {
    return value && (*value == "true" || *value == "True" || *value == "TRUE");
}

/// For a header or a URL: one word of printable characters.
bool word(const std::string& text) {
    return !text.empty() && text.find_first_not_of(
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-_.=+/:~") == std::string::npos;
}

}  // namespace

HttpRequest local_request(std::string url) {
    return {.url = std::move(url), .connect_timeout = 1s, .timeout = 2s, .proxied = false};
}

InstanceMetadata::InstanceMetadata(Http& http, const Clock& clock, const Surroundings& around)
    : http_(http),
      clock_(clock),
      base_(base_of(around)),
      disabled_(yes(around.variable("AWS_EC2_METADATA_DISABLED"))) {}

awaitable<HttpResponse> InstanceMetadata::send(HttpRequest request) {
    std::string cause;
    bool retry = true;
    try {
        auto sending = http_.send(std::move(request));
        co_return co_await std::move(sending);
    } catch (const HttpError& error) {  // here it has a name for people
        cause = error.what();
        retry = error.retry();
    }
    throw Failure("the instance's metadata can't be read: " + cause, retry);
}

awaitable<void> InstanceMetadata::renew_token() {
    HttpRequest request = local_request(base_ + "/latest/api/token");
    request.method = "PUT";
    request.headers = {fmt::format("X-aws-ec2-metadata-token-ttl-seconds: {}",
                                   std::chrono::seconds(token_life).count())};
    const auto asked = clock_.now();
    auto sending = send(std::move(request));
    const HttpResponse response = co_await std::move(sending);
    if (response.status != 200 || !word(response.body)) {
        throw Failure(fmt::format("the instance's metadata at {} gives no token: status {}: {}",
                                  base_, response.status, quoted(response.body)),
                      response.status >= 500 || response.status == 429);
    }
    token_ = response.body;
    token_until_ = after(asked, token_life - 1min);
}

awaitable<std::optional<std::string>> InstanceMetadata::get(std::string path) {
    if (disabled_) {
        throw Failure("the instance's metadata isn't read: AWS_EC2_METADATA_DISABLED is true",
                      false);
    }
    for (bool renewed = false;; renewed = true) {
        if (renewed || token_.empty() || clock_.now() >= token_until_) {
            auto renewing = renew_token();
            co_await std::move(renewing);
        }
        HttpRequest request = local_request(base_ + "/latest/meta-data/" + path);
        request.headers = {"X-aws-ec2-metadata-token: " + token_};
        auto sending = send(std::move(request));
        const HttpResponse response = co_await std::move(sending);
        if (response.status == 200) co_return response.body;
        if (response.status == 404) co_return std::nullopt;
        if (response.status == 401 && !renewed) continue;
        throw Failure(fmt::format("the instance's metadata at {} answers {} to {}", base_,
                                  response.status, path),
                      response.status >= 500 || response.status == 429);
    }
}

awaitable<std::string> InstanceMetadata::instance_id() {
    if (instance_id_.empty()) {
        auto getting = get("instance-id");
        const auto id = co_await std::move(getting);
        if (!id || !word(*id)) {
            throw Failure("the instance's metadata has no instance-id", false);
        }
        instance_id_ = *id;
    }
    co_return instance_id_;
}

awaitable<std::string> InstanceMetadata::instance_id_or(std::string parameter) {
    try {
        auto reading = instance_id();
        co_return co_await std::move(reading);
    } catch (const Failure& failure) {  // here it is said what would help
        throw Failure(
            fmt::format("the instance's id isn't known: {}; give {}=", failure.what(), parameter),
            failure.retry());
    }
}

}  // namespace lastcall::aws
