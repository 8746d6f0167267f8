#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/log.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// Which program is configured: defaults differ (DESIGN section 5).
struct Role {
    enum class Mode { run, serve } mode = Mode::run;
    bool pid1 = false;
    bool root = true;
    std::string command;  ///< run: the command's first word, where AGENT_TASK's default comes from
};

enum class LogFormat { logfmt, json };

/// `--signal-map`: what is delivered instead of a signal; 0 drops it.
using SignalMap = std::map<int, int>;

/// Every effective value, typed. Nothing else in the product reads the environment.
struct Settings {
    std::string task;     ///< AGENT_TASK
    std::string cluster;  ///< ECS_CLUSTER
    StopSettings stop;  ///< ECS_CONTAINER_STOP_TIMEOUT, AGENT_DEREGISTRATION_DELAY, AGENT_DRAIN, …
    SignalMap signal_map;                      ///< run: AGENT_SIGNAL_MAP
    std::vector<std::uint8_t> expected_codes;  ///< run: AGENT_EXPECT_EXIT_CODE; they become 0
    Clock::duration start_timeout = 3min;
    Clock::duration cleanup_wait = std::chrono::hours(3);
    std::string data_dir;                   ///< empty: none
    std::uint64_t log_max_size = 10 << 20;  ///< bytes of a task's log; 0: no cap
    std::vector<std::string> load_balancers;
    std::vector<std::uint16_t> ports;
    std::string socket;              ///< empty: none
    std::string introspection_addr;  ///< empty: none
    std::string helper_path;
    bool spot_draining = false;   ///< serve: ECS_ENABLE_SPOT_INSTANCE_DRAINING
    std::string lifecycle_hook;   ///< serve: AGENT_LIFECYCLE_HOOK, "GROUP/HOOK"; empty: none
    std::string hook_on_failure;  ///< "CONTINUE", "ABANDON"
    Level log_level = Level::info;
    std::string log_file;  ///< empty: stderr
    LogFormat log_format = LogFormat::logfmt;
};

/// One effective value as people read it, and where it came from.
struct SettingRow {
    std::string_view name;    ///< "ECS_CONTAINER_STOP_TIMEOUT"; this and all but the value lives on
    std::string_view flag;    ///< "--stop-timeout"
    std::string value;        ///< "30s"; empty for none
    std::string_view source;  ///< "default", "environment", "flag"
};

struct Configuration {
    Settings settings;
    std::vector<SettingRow> rows;    ///< in the order of the documentation
    std::vector<std::string> notes;  ///< for the log at debug: a bare number was read as seconds
    std::vector<std::string>
        warnings;  ///< one line each: the value, what was expected, what is used
    std::vector<std::string>
        errors;  ///< what must not start at all (AGENT_STOP_SIGNAL=FOO): exit 125
};

/// Pure: from variables and flags (by flag name without dashes, "stop-timeout") to everything. A
/// flag wins over its variable; an empty variable is unset.
Configuration configure(const Role& role, const std::map<std::string, std::string>& environment,
                        const std::map<std::string, std::string>& flags);

/// Every setting there is, for `--help`, for the parser of flags, and for docs/environment.md.
struct SettingInfo {
    std::string name, flag, fallback, help;
    bool repeatable = false;  ///< a list: a flag given several times is joined with spaces
};
const std::vector<SettingInfo>& setting_infos();
/// Whether a setting has this name ("AGENT_DRAIN").
bool is_setting(std::string_view name);

}  // namespace lastcall
