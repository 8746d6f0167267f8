#include "agent/definition.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string_view>

#include "agent/api/types.hpp"
#include "agent/config/duration.hpp"
#include "supervisor/supervisor.hpp"

namespace lastcall {
namespace {

/// Reads one setting as `configure` does, but strictly.
Settings strictly(const Role& role, const std::string& flag, const std::string& text) {
    const Configuration read = configure(role, {}, {{flag, text}});
    if (!read.errors.empty()) throw BadRequest(read.errors.front());
    if (!read.warnings.empty()) throw BadRequest(read.warnings.front());
    return read.settings;
}

using Wish = std::optional<std::string> api::RunRequest::*;
using Copy = void (*)(StopSettings& to, const StopSettings& from);
struct Override {
    Wish wish;
    const char* flag;
    Copy copy;
};
constexpr Override overrides[] = {
    {&api::RunRequest::stopTimeout, "stop-timeout",
     [](StopSettings& to, const StopSettings& from) { to.stop_timeout = from.stop_timeout; }},
    {&api::RunRequest::deregistrationDelay, "deregistration-delay",
     [](StopSettings& to, const StopSettings& from) {
         to.deregistration_delay = from.deregistration_delay;
         to.delay_is_chosen = from.delay_is_chosen;
     }},
    {&api::RunRequest::deregisterTimeout, "deregister-timeout",
     [](StopSettings& to, const StopSettings& from) {
         to.deregister_timeout = from.deregister_timeout;
     }},
    {&api::RunRequest::drain, "drain",
     [](StopSettings& to, const StopSettings& from) { to.drain = from.drain; }},
    {&api::RunRequest::drainIdle, "drain-idle",
     [](StopSettings& to, const StopSettings& from) { to.drain_idle = from.drain_idle; }},
    {&api::RunRequest::drainSignal, "drain-signal",
     [](StopSettings& to, const StopSettings& from) { to.drain_signal = from.drain_signal; }},
    {&api::RunRequest::stopSignal, "stop-signal",
     [](StopSettings& to, const StopSettings& from) { to.stop_signal = from.stop_signal; }},
    {&api::RunRequest::signalScope, "signal-scope",
     [](StopSettings& to, const StopSettings& from) { to.signal_scope = from.signal_scope; }},
    {&api::RunRequest::stopDeadline, "stop-deadline",
     [](StopSettings& to, const StopSettings& from) { to.stop_deadline = from.stop_deadline; }},
    {&api::RunRequest::preStop, "pre-stop",
     [](StopSettings& to, const StopSettings& from) { to.pre_stop = from.pre_stop; }},
    {&api::RunRequest::preStopTimeout, "pre-stop-timeout",
     [](StopSettings& to, const StopSettings& from) {
         to.pre_stop_timeout = from.pre_stop_timeout;
     }},
};

bool is_name_of_ours(std::string_view name) {
    if (name.starts_with("AGENT_")) return true;
    if (!name.starts_with("ECS_")) return false;  // quick: this stands before the command's start
    const auto& infos = setting_infos();
    return std::any_of(infos.begin(), infos.end(),
                       [name](const SettingInfo& info) { return info.name == name; });
}

TaskDefinition define(const Settings& settings, const Role& role, const api::RunRequest& request) {
    TaskDefinition definition{
        .name = request.name,
        .load_balancers = request.loadBalancers.value_or(settings.load_balancers),
        .stop = settings.stop};
    for (const auto port : request.ports)
        definition.ports.push_back(static_cast<std::uint16_t>(port));
    if (request.ports.empty()) definition.ports = settings.ports;
    for (const auto& [wish, flag, copy] : overrides) {
        const auto& text = request.*wish;
        if (text) copy(definition.stop, strictly(role, flag, *text).stop);
    }
    ContainerDefinition container{.name = request.name,
                                  .command = request.command,
                                  .environment = task_environment({}),
                                  .working_directory = request.workingDirectory};
    for (const auto& variable : request.environment) set_variable(container.environment, variable);
    if (!settings.data_dir.empty()) {
        container.log_file = fmt::format("{}/logs/{}.log", settings.data_dir, request.name);
    }
    definition.containers.push_back(std::move(container));
    return definition;
}

}  // namespace

void set_variable(std::vector<std::string>& environment, const std::string& variable) {
    const auto name = variable.substr(0, variable.find('=') + 1);
    std::erase_if(environment, [&name](const std::string& each) { return each.starts_with(name); });
    environment.push_back(variable);
}

TaskDefinition wrapped_task(const Settings& settings, ContainerDefinition container) {
    container.name = settings.task;
    TaskDefinition definition{.name = settings.task,
                              .load_balancers = settings.load_balancers,
                              .ports = settings.ports,
                              .stop = settings.stop};
    definition.containers.push_back(std::move(container));
    // A stop that nobody's signal asked for delivers what that signal would have.
    const auto signal = settings.stop.stop_signal.value_or(SIGTERM);
    const auto mapped = settings.signal_map.find(signal);
    if (mapped != settings.signal_map.end() && mapped->second != 0) {
        definition.stop.stop_signal = mapped->second;
    }
    return definition;
}

std::function<TaskDefinition(const api::RunRequest&)> task_definer(Settings settings, Role role) {
    return [settings = std::move(settings), role = std::move(role)](
               const api::RunRequest& request) { return define(settings, role, request); };
}

std::vector<std::string> task_environment(const std::vector<std::string>& keep) {
    std::size_t count = 0;
    while (::environ[count]) ++count;
    std::vector<std::string> environment;
    environment.reserve(count + 1);  // the mark that every task gets follows
    for (char** variable = ::environ; *variable; ++variable) {
        const std::string_view text = *variable;
        if (!text.starts_with('A') && !text.starts_with('E')) {  // most: none of our names
            environment.emplace_back(text);
            continue;
        }
        const auto name = text.substr(0, text.find('='));
        const bool kept = std::find(keep.begin(), keep.end(), name) != keep.end();
        if (kept || !is_name_of_ours(name)) environment.emplace_back(text);
    }
    return environment;
}

std::optional<std::string> tight_deadline(const StopSettings& stop, const Membership& membership) {
    if (!stop.stop_deadline) return std::nullopt;
    const auto budget = std::max<Clock::duration>(*stop.stop_deadline - 1s, 0s);
    const auto left =
        std::max<Clock::duration>(budget - stop.stop_timeout.value_or(budget / 2), 0s);
    if (left > membership.settle) return std::nullopt;
    const std::string why =
        stop.stop_timeout
            ? fmt::format("A stop timeout of {} leaves {} of the stop deadline of {}",
                          format_duration(*stop.stop_timeout), format_duration(left),
                          format_duration(*stop.stop_deadline))
            : fmt::format("The stop deadline of {} leaves {}", format_duration(*stop.stop_deadline),
                          format_duration(left));
    return fmt::format(
        "{} to drain, and a load balancer needs {} to settle: {}lengthen what the "
        "deadline stands for",
        why, format_duration(membership.settle),
        stop.stop_timeout ? "shorten the stop timeout, or " : "");
}

std::optional<std::string> longer_delay(const StopSettings& stop, const Membership& membership) {
    const auto& own = membership.delay;
    if (!stop.delay_is_chosen || !own || stop.deregistration_delay <= *own) return std::nullopt;
    return fmt::format(
        "A deregistration delay of {} is longer than the load balancer's own of {}, which cuts "
        "what "
        "is left by then: shorten the one, or lengthen the other",
        format_duration(stop.deregistration_delay), format_duration(*own));
}

}  // namespace lastcall
