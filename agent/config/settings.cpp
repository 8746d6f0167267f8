#include "agent/config/settings.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "agent/config/duration.hpp"
#include "agent/config/rules.hpp"
#include "agent/config/typing_error.hpp"

namespace lastcall {
namespace {

struct Entry {
    std::string_view name;
    std::string_view flag;      ///< with its dashes
    std::string_view fallback;  ///< in words
    std::string_view help;
    Rule rule;
    bool repeatable = false;
    std::string_view flag_name() const { return flag.substr(2); }
};

/// Every setting there is. `--help`, `--print-config`, `agentctl config` and docs/environment.md
/// show them in this order, and the rules run in it: AGENT_STOP_DEADLINE looks at the load
/// balancers.
constexpr Entry entries[] = {
    {"ECS_CONTAINER_STOP_TIMEOUT", "--stop-timeout", "30s, or what the stop deadline leaves",
     "from the stop signal to SIGKILL", rules::stop_timeout},
    {"ECS_CONTAINER_START_TIMEOUT", "--start-timeout", "3m", "how long a start may take",
     rules::start_timeout},
    {"ECS_DATADIR", "--data-dir",
     "serve: /var/lib/lastcall, or $XDG_STATE_HOME/lastcall for a user; run: none",
     "where the journal and the tasks' logs are kept", rules::data_dir},
    {"ECS_CLUSTER", "--cluster", "default", "the cluster's name, shown in the metadata",
     rules::cluster},
    {"ECS_LOGLEVEL", "--log-level", "info",
     "what the agent's own log tells: the least urgent level", rules::log_level},
    {"ECS_LOGFILE", "--log-file", "stderr", "the file that the agent's own log is appended to",
     rules::log_file},
    {"ECS_LOG_OUTPUT_FORMAT", "--log-format", "logfmt", "the form of a log line",
     rules::log_format},
    {"ECS_ENABLE_SPOT_INSTANCE_DRAINING", "--spot-draining", "false",
     "stop all tasks on a spot notice", rules::spot_draining},
    {"ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "--cleanup-wait", "3h",
     "how long a STOPPED task stays in `ps`", rules::cleanup_wait},
    {"AGENT_LOAD_BALANCERS", "--load-balancer", "none", "the load balancers' URLs",
     rules::load_balancers, true},
    {"AGENT_DEREGISTRATION_DELAY", "--deregistration-delay", "5m", "how long DRAIN may last",
     rules::deregistration_delay},
    {"AGENT_DEREGISTER_TIMEOUT", "--deregister-timeout", "30s",
     "how long deregistration may be retried", rules::deregister_timeout},
    {"AGENT_DRAIN", "--drain", "closed", "what ends DRAIN", rules::drain},
    {"AGENT_DRAIN_IDLE", "--drain-idle", "5s", "how long a connection is quiet until it is at rest",
     rules::drain_idle},
    {"AGENT_DRAIN_SIGNAL", "--drain-signal", "none", "sent to the main process before DRAIN",
     rules::drain_signal},
    {"AGENT_PORTS", "--port", "found", "the ports whose connections count", rules::ports, true},
    {"AGENT_STOP_SIGNAL", "--stop-signal", "the signal that asked, else SIGTERM",
     "the signal that asks the main process to exit", rules::stop_signal},
    {"AGENT_SIGNAL_SCOPE", "--signal-scope", "main", "who gets the stop signal and forwarded ones",
     rules::signal_scope},
    {"AGENT_SIGNAL_MAP", "--signal-map", "none", "what `agent run` delivers instead of a signal",
     rules::signal_map, true},
    {"AGENT_EXPECT_EXIT_CODE", "--expect-exit-code", "none",
     "exit codes of the command that `agent run` makes 0", rules::expect_exit_code, true},
    {"AGENT_STOP_DEADLINE", "--stop-deadline", "none; 30s as PID 1 with a load balancer",
     "the time until somebody else kills the agent", rules::stop_deadline},
    {"AGENT_PRE_STOP", "--pre-stop", "none", "a shell command that runs before the stop signal",
     rules::pre_stop},
    {"AGENT_PRE_STOP_TIMEOUT", "--pre-stop-timeout", "10s", "how long that command may take",
     rules::pre_stop_timeout},
    {"AGENT_TASK", "--task", "the command's name", "the task's name in `agent run`", rules::task},
    {"AGENT_SOCKET", "--socket",
     "/run/lastcall/agent.sock, or $XDG_RUNTIME_DIR/lastcall/agent.sock for a user; "
     "run that isn't PID 1: none",
     "the control socket", rules::socket},
    {"AGENT_INTROSPECTION_ADDR", "--introspection-addr", "none",
     "address and port of the read-only HTTP server", rules::introspection_addr},
    {"AGENT_LOG_MAX_SIZE", "--log-max-size", "10M", "how long a task's log may become",
     rules::log_max_size},
    {"AGENT_HELPER_PATH", "--helper-path", "beside the agent, then its libexec folder",
     "where the programs `agent-lb-SCHEME` are looked for", rules::helper_path},
    {"AGENT_LIFECYCLE_HOOK", "--lifecycle-hook", "none",
     "the Auto Scaling lifecycle hook that waits for the tasks' end", rules::lifecycle_hook},
    {"AGENT_LIFECYCLE_ON_FAILURE", "--lifecycle-on-failure", "CONTINUE",
     "what that hook is told when a task could not be stopped", rules::lifecycle_on_failure},
};

using Texts = std::map<std::string, std::string>;
using Variables = std::vector<Texts::const_pointer>;

/// The variables that may be settings, by the beginnings of all our names: few of the many.
Variables ours_of(const Texts& environment) {
    Variables ours;
    for (const char* const prefix : {"AGENT_", "ECS_"}) {
        for (auto each = environment.lower_bound(prefix);
             each != environment.end() && each->first.starts_with(prefix); ++each) {
            ours.push_back(&*each);
        }
    }
    return ours;
}

/// There are few, and a lookup by key would make a string of the name each time: this stands before
/// the command's start.
const std::string* text_of(std::string_view name, const Variables& texts) {
    for (const auto* const each : texts) {
        if (each->first == name) return &each->second;
    }
    return nullptr;
}

SettingRow read(const Entry& entry, const Role& role, const Texts& environment,
                const Variables& variables, const Variables& flags, Configuration& out) {
    const std::string* const flag = text_of(entry.flag_name(), flags);
    const std::string* const variable = text_of(entry.name, variables);
    const std::string* const given = flag ? flag : variable;
    Reading reading{flag ? entry.flag : entry.name, given ? *given : std::string_view(), role,
                    environment, out};
    auto [value, in_force] = entry.rule(reading);
    const char* const source = !in_force ? "default" : flag ? "flag" : "environment";
    return {entry.name, entry.flag, std::move(value), source};
}

/// With a deadline and no stop timeout of its own the signalled task has all that is left of the
/// deadline, at least half (DESIGN section 1, rule 6).
std::string stop_timeout_from(Clock::duration deadline) {
    const auto at_least = std::max<Clock::duration>((deadline - 1s) / 2, 0s);
    return fmt::format("at least {}", format_duration(at_least));
}

/// The setting that somebody meant who typed `name`; nullopt if it is nothing like ours. A short
/// name may be wrong in one place, a longer one in two.
std::optional<std::string_view> meant_by(std::string_view name) {
    constexpr std::string_view prefix = "AGENT_";
    std::optional<std::string_view> nearest;
    std::size_t fewest = 3;
    for (const Entry& entry : entries) {
        const std::string_view ours = entry.name;
        if (!ours.starts_with(prefix)) continue;
        const std::size_t errors = typing_errors(ours, name);
        const bool is_short = ours.size() - prefix.size() < 8;
        if (errors >= fewest || (is_short && errors > 1)) continue;
        fewest = errors;
        nearest = ours;
    }
    return nearest;
}

}  // namespace

bool is_setting(std::string_view name) {
    return std::any_of(std::begin(entries), std::end(entries),
                       [name](const Entry& entry) { return entry.name == name; });
}

Configuration configure(const Role& role, const std::map<std::string, std::string>& environment,
                        const std::map<std::string, std::string>& flags) {
    Configuration out;
    out.rows.reserve(std::size(entries));
    const Variables variables = ours_of(environment);
    Variables given;
    for (const auto& flag : flags) given.push_back(&flag);
    for (const Entry& entry : entries) {
        out.rows.push_back(read(entry, role, environment, variables, given, out));
    }
    const auto& stop = out.settings.stop;
    if (!stop.stop_timeout && stop.stop_deadline) {
        out.rows.front().value = stop_timeout_from(*stop.stop_deadline);
    }
    for (const auto* const variable : variables) {
        const auto& name = variable->first;
        if (!name.starts_with("AGENT_") || is_setting(name)) continue;
        if (const auto meant = meant_by(name)) {
            out.warnings.push_back(
                fmt::format("{} is no setting of the agent: did you mean {}?", name, *meant));
        }
    }
    return out;
}

const std::vector<SettingInfo>& setting_infos() {
    static const auto infos = [] {
        std::vector<SettingInfo> all;
        for (const Entry& each : entries) {
            all.push_back({std::string(each.name), std::string(each.flag_name()),
                           std::string(each.fallback), std::string(each.help), each.repeatable});
        }
        return all;
    }();
    return infos;
}

}  // namespace lastcall
