#pragma once
#include <optional>
#include <string>

#include "agent/helpers/aws/http.hpp"
#include "agent/helpers/aws/surroundings.hpp"

namespace lastcall::aws {

/// An EC2 instance's metadata, version 2 (docs.aws.amazon.com, "Use IMDSv2"). Where: at
/// AWS_EC2_METADATA_SERVICE_ENDPOINT; AWS_EC2_METADATA_DISABLED=true: nowhere.
class InstanceMetadata {
 public:
    InstanceMetadata(Http& http, const Clock& clock, const Surroundings& around);
    bool disabled() const { return disabled_; }
    /// What stands under `/latest/meta-data/` + path; nullopt if nothing does. Throws Failure; to
    /// be retried if the metadata can't be reached.
    awaitable<std::optional<std::string>> get(std::string path);
    /// "i-…", asked for once. Throws Failure.
    awaitable<std::string> instance_id();
    /// The same, for a load balancer's URL: a Failure says which `parameter` of it would help.
    awaitable<std::string> instance_id_or(std::string parameter);

 private:
    awaitable<HttpResponse> send(HttpRequest request);
    awaitable<void> renew_token();

    Http& http_;
    const Clock& clock_;
    std::string base_;
    bool disabled_;
    std::string token_;
    Clock::time_point token_until_;
    std::string instance_id_;
};

/// A request to what is on this very machine: no proxy, and it is there at once or not at all.
HttpRequest local_request(std::string url);

}  // namespace lastcall::aws
