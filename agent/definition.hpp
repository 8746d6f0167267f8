#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/config/settings.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

namespace api {
struct RunRequest;
}

/// The task that `agent run` wraps.
TaskDefinition wrapped_task(const Settings& settings, ContainerDefinition container);

/// Makes definitions from requests: the agent's settings, with what the request changes. A value
/// that would only be a warning in the environment is refused here: whoever asks can be told.
std::function<TaskDefinition(const api::RunRequest&)> task_definer(Settings settings, Role role);

/// Sets "NAME=value"; what comes later wins, as `env` does it.
void set_variable(std::vector<std::string>& environment, const std::string& variable);

/// The environment that a task gets: ours without our names, but those in `keep`.
std::vector<std::string> task_environment(const std::vector<std::string>& keep);

/// DESIGN rule 6: a stop timeout that leaves the drain less of the deadline than a load balancer
/// needs to settle. Nothing if all fits.
std::optional<std::string> tight_deadline(const StopSettings& stop, const Membership& membership);

/// A deregistration delay of ours that the load balancer's own makes vain.
std::optional<std::string> longer_delay(const StopSettings& stop, const Membership& membership);

}  // namespace lastcall
