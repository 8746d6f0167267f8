#include "agent/helpers/aws/credentials.hpp"

#include <fmt/format.h>

#include "agent/helpers/aws/container.hpp"
#include "agent/helpers/aws/profile.hpp"

namespace lastcall::aws {
namespace {

constexpr auto early = 5min;

/// A source that is there and broken ends the search, as in AWS's SDKs: the next one may be
/// somebody else.
[[noreturn]] void broken(const std::string& cause) {
    throw Failure("the credentials can't be read: " + cause, false, no_credentials);
}

std::optional<Credentials> from_environment(const Surroundings& around) {
    const auto key = around.variable("AWS_ACCESS_KEY_ID");
    const auto secret = around.variable("AWS_SECRET_ACCESS_KEY");
    if (!key && !secret) return std::nullopt;
    if (!key) broken("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID isn't");
    if (!secret) broken("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY isn't");
    return Credentials{*key, *secret, around.variable("AWS_SESSION_TOKEN").value_or("")};
}

std::optional<Credentials> from_profile(const Profile& profile) {
    const auto key = profile.value("aws_access_key_id");
    const auto secret = profile.value("aws_secret_access_key");
    if (!key && !secret) return std::nullopt;
    if (!key || !secret) {
        broken(fmt::format("{} has {} alone", profile.name(),
                           key ? "aws_access_key_id" : "aws_secret_access_key"));
    }
    return Credentials{*key, *secret, profile.value("aws_session_token").value_or("")};
}

std::optional<Credentials> from_files(const Surroundings& around, std::string& looked) {
    std::string cause;
    try {
        const Profile profile(around);
        looked = profile.name() + " has no aws_access_key_id";
        for (const char* other : {"role_arn", "credential_process", "sso_session"}) {
            if (!profile.value(other)) continue;
            looked += fmt::format(" ({} isn't supported)", other);
        }
        return from_profile(profile);
    } catch (const Failure&) {
        throw;
    } catch (const std::runtime_error& error) {
        cause = error.what();
    }
    broken(cause);
}

/// Nobody may get a second header into a request.
bool clean(const std::string& text) {
    for (const char each : text) {
        if (static_cast<unsigned char>(each) <= 0x20 || each == 0x7f) return false;
    }
    return true;
}

void check(const Credentials& credentials, const std::string& from) {
    if (credentials.access_key.empty() || credentials.secret.empty()) {
        broken(from + ": key or secret is empty");
    }
    if (clean(credentials.access_key) && clean(credentials.secret) && clean(credentials.token))
        return;
    broken(from + ": key, secret or token holds white space or control characters");
}

}  // namespace

std::string without_secrets(std::string text, const Credentials& credentials) {
    for (const std::string& secret : {credentials.secret, credentials.token}) {
        if (secret.empty()) continue;
        for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
            text.replace(at, secret.size(), "***");
            at += 3;
        }
    }
    return text;
}

CredentialChain::CredentialChain(Gate& gate, asio::any_io_executor executor, Http& http,
                                 InstanceMetadata& instance, const ServerTime& time,
                                 const Surroundings& around)
    : gate_(gate),
      executor_(std::move(executor)),
      http_(http),
      instance_(instance),
      time_(time),
      around_(around) {}

bool CredentialChain::fresh() const {
    return kept_ && (!kept_->expires || time_.now() < *kept_->expires - early);
}

void CredentialChain::distrust(const Credentials& credentials) {
    if (kept_ == credentials) kept_.reset();
}

awaitable<Credentials> CredentialChain::get(Note note) {
    if (fresh()) co_return *kept_;
    if (!looking_ || !looking_->open()) {
        looking_ = std::make_shared<Flight<Credentials>>(executor_);
        auto work = look();
        gate_.spawn(Flight<Credentials>::fly(looking_, std::move(work)), nullptr);
    }
    const std::shared_ptr<Flight<Credentials>> flight = looking_;
    std::string failed;
    try {
        auto waiting = flight->aboard(note);
        co_return co_await std::move(waiting);
    } catch (const Failure& failure) {  // as long as the old ones are good, that is no failure
        if (!kept_ || time_.now() >= *kept_->expires) throw;
        failed = failure.what();
    }
    note("the credentials can't be renewed yet: " + failed);
    co_return *kept_;
}

awaitable<Credentials> CredentialChain::look() {
    std::string files, from = "the environment";
    bool retry = false;
    std::string instance = "the instance's metadata has none";
    std::optional<Credentials> found = from_environment(around_);
    if (!found) {
        found = from_files(around_, files);
        from = "the profile";
    }
    if (!found) {
        auto asking = from_container();
        found = co_await std::move(asking);
        from = "the container's credentials";
    }
    if (!found) {
        from = "the instance's credentials";
        try {
            auto asking = from_instance();
            found = co_await std::move(asking);
        } catch (const Failure& failure) {  // one more place where there are none
            instance = failure.what();
            retry = failure.retry();
        }
    }
    if (!found) {
        throw Failure(
            fmt::format("there are no credentials: AWS_ACCESS_KEY_ID isn't set; {}; "
                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI aren't set; "
                        "{}",
                        files, instance),
            retry, no_credentials);
    }
    check(*found, from);
    kept_ = *found;
    co_return *found;
}

awaitable<std::optional<Credentials>> CredentialChain::from_container() {
    const auto request = container_credentials(around_);
    if (!request) co_return std::nullopt;
    auto asking = read_container(http_, *request);
    const std::string body = co_await std::move(asking);
    co_return parse_credentials(body, "the container's credentials");
}

awaitable<std::optional<Credentials>> CredentialChain::from_instance() {
    const std::string path = "iam/security-credentials/";
    auto listing = instance_.get(path);
    const auto roles = co_await std::move(listing);
    if (!roles) co_return std::nullopt;
    const std::string role = roles->substr(0, roles->find_first_of("\r\n"));
    if (role.empty() || !clean(role) || role.find_first_of("?#") != role.npos)
        co_return std::nullopt;
    auto getting = instance_.get(path + role);
    const auto body = co_await std::move(getting);
    if (!body) co_return std::nullopt;
    co_return parse_credentials(*body, "the instance's credentials");
}

}  // namespace lastcall::aws
