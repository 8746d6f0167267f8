#include "agent/helpers/aws/container.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/web_url.hpp"
#include "agent/utc.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

namespace json = boost::json;

json::value parsed(std::string_view body) {
    boost::system::error_code error;
    auto value = json::parse({body.data(), body.size()}, error);
    return error ? json::value() : value;
}

/// The text under a key of an object; empty if there is none.
std::string text(const json::value& value, const char* key) {
    const auto* const object = value.if_object();
    const auto* const found = object == nullptr ? nullptr : object->if_contains(key);
    const auto* const string = found == nullptr ? nullptr : found->if_string();
    return string == nullptr ? "" : std::string(string->data(), string->size());
}

/// The elements of an array under a key of an object.
json::array elements(const json::value& value, const char* key) {
    const auto* const object = value.if_object();
    const auto* const found = object == nullptr ? nullptr : object->if_contains(key);
    const auto* const array = found == nullptr ? nullptr : found->if_array();
    return array == nullptr ? json::array() : *array;
}

/// Whether a time lies where no clock of ours reaches: "9999-12-31T23:59:59Z" means never.
bool far_away(const std::string& time) {
    const auto digits = time.find_first_not_of("0123456789");
    return digits == 4 && time.substr(0, 4) >= "2200";
}

/// Where credentials may be fetched from without TLS.
bool trusted(const std::string& host) {
    constexpr std::array known = {"localhost", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]",
                                  "[::1]"};
    for (const char* each : known) {
        if (host == each) return true;
    }
    boost::system::error_code error;
    const auto address = asio::ip::make_address_v4(host, error);
    return !error && address.is_loopback();
}

std::string trusted_url(const std::string& text) {
    const auto url = parse_web_url(text);
    if (url && (url->scheme == "https" || trusted(url->host))) return text;
    throw Failure(
        fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI is {}, expected https://… or http to "
                    "a loopback address, 169.254.170.2 or 169.254.170.23",
                    quoted(text)),
        false, no_credentials);
}

std::optional<std::string> authorization(const Surroundings& around) {
    const auto path = around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    auto token = path ? around.file(*path) : around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (path && !token) {
        throw Failure(fmt::format("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is {}, which isn't there",
                                  quoted(*path)),
                      false, no_credentials);
    }
    if (path) {
        while (!token->empty() && (token->back() == '\n' || token->back() == '\r'))
            token->pop_back();
    }
    if (token && token->find_first_of("\r\n") != token->npos) {
        throw Failure("the container's authorization token has more than one line", false,
                      no_credentials);
    }
    return token;
}

}  // namespace

Credentials parse_credentials(std::string_view body, const std::string& from) {
    const json::value value = parsed(body);
    Credentials result{text(value, "AccessKeyId"), text(value, "SecretAccessKey"),
                       text(value, "Token")};
    if (result.access_key.empty() || result.secret.empty()) {
        const std::string code =
            text(value, "Code").empty() ? text(value, "code") : text(value, "Code");
        throw Failure(fmt::format("{} have no AccessKeyId and SecretAccessKey{}", from,
                                  code.empty() ? "" : ": " + excerpt(code)),
                      true);
    }
    const std::string expires = text(value, "Expiration");
    if (!expires.empty() && !far_away(expires)) {
        result.expires = utc_time(expires);
        if (!result.expires) {
            throw Failure(fmt::format("{} expire at {}, expected a time like 2026-01-31T12:00:00Z",
                                      from, quoted(expires)),
                          true);
        }
    }
    return result;
}

std::optional<HttpRequest> container_credentials(const Surroundings& around) {
    const auto relative = around.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const auto full = around.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full) return std::nullopt;
    if (relative && !relative->starts_with('/')) {
        throw Failure(fmt::format("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is {}, expected /…",
                                  quoted(*relative)),
                      false, no_credentials);
    }
    HttpRequest request =
        local_request(relative ? "http://169.254.170.2" + *relative : trusted_url(*full));
    const auto token = authorization(around);
    if (token) request.headers = {"Authorization: " + *token};
    return request;
}

awaitable<std::string> read_container(Http& http, HttpRequest request) {
    const std::string url = request.url;
    std::string cause;
    bool retry = true;
    try {
        auto sending = http.send(std::move(request));
        HttpResponse response = co_await std::move(sending);
        if (response.status == 200) co_return std::move(response.body);
        retry = response.status >= 500 || response.status == 429;
        cause = fmt::format("{} answers {}", excerpt(url), response.status);
    } catch (const HttpError& error) {  // here it has a name for people
        cause = error.what();
        retry = error.retry();
    }
    throw Failure("the container's endpoint can't be read: " + cause, retry);
}

TaskMetadata parse_task_metadata(std::string_view body) {
    const json::value value = parsed(body);
    if (!value.is_object()) throw Failure("the task's metadata is no JSON object", true);
    TaskMetadata result;
    // arn:aws:ecs:REGION:ACCOUNT:task/…
    std::string_view arn;
    const std::string whole = text(value, "TaskARN");
    arn = whole;
    for (int part = 0; part < 3 && !arn.empty(); ++part) {
        const auto colon = arn.find(':');
        arn = colon == arn.npos ? "" : arn.substr(colon + 1);
    }
    result.region = std::string(arn.substr(0, arn.find(':')));
    for (const auto& container : elements(value, "Containers")) {
        for (const auto& network : elements(container, "Networks")) {
            if (result.network_mode.empty()) result.network_mode = text(network, "NetworkMode");
            for (const char* family : {"IPv4Addresses", "IPv6Addresses"}) {
                for (const auto& address : elements(network, family)) {
                    const auto* const found = address.if_string();
                    if (!result.address.empty() || found == nullptr) continue;
                    result.address = std::string(found->data(), found->size());
                }
            }
        }
    }
    return result;
}

awaitable<std::optional<TaskMetadata>> task_metadata(Http& http, const Surroundings& around) {
    const auto base = around.variable("ECS_CONTAINER_METADATA_URI_V4");
    if (!base) co_return std::nullopt;
    auto reading = read_container(http, local_request(*base + "/task"));
    const std::string body = co_await std::move(reading);
    co_return parse_task_metadata(body);
}

}  // namespace lastcall::aws
