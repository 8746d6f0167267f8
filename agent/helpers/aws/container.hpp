#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "agent/helpers/aws/credentials.hpp"
#include "agent/helpers/aws/http.hpp"
#include "agent/helpers/aws/surroundings.hpp"

namespace lastcall::aws {

/// What the container and instance endpoints answer. Throws Failure, to be retried, which never
/// quotes what came: it may hold a secret.
Credentials parse_credentials(std::string_view body, const std::string& from);

/// The request for a container's credentials (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI,
/// AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE); nullopt if none are offered. Throws Failure
/// if they can't be asked for: plain HTTP goes nowhere but to this machine, or ECS's and EKS's own
/// addresses.
std::optional<HttpRequest> container_credentials(const Surroundings& around);

/// The body of a 200. Throws Failure for anything else.
awaitable<std::string> read_container(Http& http, HttpRequest request);

/// What ECS says about the task that we are in (its metadata endpoint, version 4).
struct TaskMetadata {
    std::string address;       ///< of the task's own network interface; empty: it has none
    std::string network_mode;  ///< "awsvpc", "bridge", "host", …; empty: not said
    std::string region;        ///< empty: not said
};

/// Throws Failure, to be retried, if that isn't what `body` says.
TaskMetadata parse_task_metadata(std::string_view body);

/// nullopt if we are in no task of ECS (ECS_CONTAINER_METADATA_URI_V4 isn't set).
awaitable<std::optional<TaskMetadata>> task_metadata(Http& http, const Surroundings& around);

}  // namespace lastcall::aws
