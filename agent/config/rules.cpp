#include "agent/config/rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "agent/config/complaint.hpp"
#include "agent/config/list.hpp"
#include "agent/config/secrets.hpp"
#include "agent/level.hpp"
#include "supervisor/vocabulary.hpp"

namespace lastcall::rules {
namespace {

constexpr Word<LogFormat> formats[] = {{LogFormat::logfmt, "logfmt"}, {LogFormat::json, "json"}};
/// Go's strconv.ParseBool, as the ECS agent uses it.
constexpr Word<bool> booleans[] = {
    {true, "1"},  {true, "t"},  {true, "T"},  {true, "TRUE"},   {true, "true"},   {true, "True"},
    {false, "0"}, {false, "f"}, {false, "F"}, {false, "FALSE"}, {false, "false"}, {false, "False"},
};

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string in_lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return lower;
}

/// 1 to 65535.
std::optional<std::uint16_t> port_number(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && port != 0 ? std::optional(port) : std::nullopt;
}

bool is_ipv4(std::string_view text) {
    const auto parts = split(text, ".");
    const auto is_byte = [](std::string_view part) {
        std::uint8_t byte = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), byte);
        return error == std::errc() && end == part.data() + part.size();
    };
    return parts.size() == 4 && std::count(text.begin(), text.end(), '.') == 3 &&
           std::all_of(parts.begin(), parts.end(), is_byte);
}

/// "[::1]"; whether the address inside is one is seen when it is bound.
bool is_bracketed(std::string_view text) {
    return text.size() > 2 && text.front() == '[' && text.back() == ']' &&
           text.find_first_not_of("0123456789abcdefABCDEF:.", 1) == text.size() - 1;
}

/// A user's directory: `variable`, or `below` of his home; empty if he has neither.
std::string user_directory(const Reading& reading, const std::string& variable,
                           std::string_view below) {
    const auto& environment = reading.environment;
    // The XDG base directory specification: one that isn't absolute is to be ignored.
    const auto named = environment.find(variable);
    if (named != environment.end() && named->second.starts_with('/')) {
        return named->second + "/lastcall";
    }
    const auto home = environment.find("HOME");
    if (below.empty() || home == environment.end() || !home->second.starts_with('/')) return {};
    return fmt::format("{}/{}/lastcall", home->second, below);
}

/// The command's base name, made a valid name of a task.
std::string name_for(std::string_view command) {
    while (command.ends_with('/')) command.remove_suffix(1);
    std::string name(command.substr(command.rfind('/') + 1));
    for (char& c : name) {
        if (name_trouble(std::string("x") + c)) c = '-';
    }
    while (!name.empty() && name_trouble(name.substr(0, 1))) name.erase(0, 1);
    if (name.size() > 255) name.resize(255);
    return name.empty() ? "task" : name;
}

}  // namespace

Effective data_dir(Reading& reading) {
    auto& setting = reading.out.settings.data_dir;
    setting = reading.text;
    if (!setting.empty()) return {setting, true};
    if (reading.role.mode == Role::Mode::run) return {"none", false};
    setting = reading.role.root ? "/var/lib/lastcall"
                                : user_directory(reading, "XDG_STATE_HOME", ".local/state");
    if (setting.empty()) {
        reading.out.errors.push_back(
            "ECS_DATADIR is needed: neither XDG_STATE_HOME nor HOME says where a user's data goes");
    }
    return {setting, false};
}

Effective cluster(Reading& reading) {
    reading.out.settings.cluster = reading.text.empty() ? "default" : reading.text;
    return {reading.out.settings.cluster, !reading.text.empty()};
}

Effective log_level(Reading& reading) {
    auto& setting = reading.out.settings.log_level;
    const auto level = value_of(in_lower_case(reading.text), level_words);
    if (!level && !reading.text.empty()) {
        warn(reading, "not debug, info, warn, error, crit or none", "info");
    }
    setting = level.value_or(Level::info);
    return {std::string(spelling_of(setting, level_words)), level.has_value()};
}

Effective log_file(Reading& reading) {
    reading.out.settings.log_file = reading.text;
    return {reading.text.empty() ? "stderr" : std::string(reading.text), !reading.text.empty()};
}

Effective log_format(Reading& reading) {
    auto& setting = reading.out.settings.log_format;
    const auto format = value_of(reading.text, formats);
    if (!format && !reading.text.empty()) warn(reading, "not logfmt or json", "logfmt");
    setting = format.value_or(LogFormat::logfmt);
    return {std::string(spelling_of(setting, formats)), format.has_value()};
}

Effective spot_draining(Reading& reading) {
    auto& setting = reading.out.settings.spot_draining;
    const auto text = trimmed(reading.text);
    const auto given = value_of(text, booleans);
    if (!given && !text.empty()) warn(reading, "not true or false", "false");
    setting = given.value_or(false);
    return {setting ? "true" : "false", given.has_value()};
}

Effective load_balancers(Reading& reading) {
    std::string shown;
    for (const auto url : split(reading.text)) {
        reading.out.settings.load_balancers.emplace_back(url);
        shown += (shown.empty() ? "" : " ") + without_secrets(url);
    }
    if (shown.empty()) return {"none", false};
    return {shown, true};
}

Effective drain(Reading& reading) {
    auto& setting = reading.out.settings.stop.drain;
    const auto mode = drain_mode(reading.text);
    if (!mode && !reading.text.empty()) warn(reading, "not closed, strict, idle or none", "closed");
    setting = mode.value_or(DrainMode::closed);
    return {std::string(to_string(setting)), mode.has_value()};
}

Effective ports(Reading& reading) {
    auto& settings = reading.out.settings.ports;
    std::string shown;
    for (const auto text : split(reading.text, "," + std::string(blanks))) {
        const auto port = port_number(text);
        if (!port) {
            reading.out.warnings.push_back(fmt::format(
                "{} has {}, not a port from 1 to 65535: left out", reading.origin, quoted(text)));
            continue;
        }
        if (std::find(settings.begin(), settings.end(), *port) != settings.end()) continue;
        settings.push_back(*port);
        shown += fmt::format("{}{}", shown.empty() ? "" : ",", *port);
    }
    if (settings.empty()) return {"found", false};
    return {shown, true};
}

Effective pre_stop(Reading& reading) {
    reading.out.settings.stop.pre_stop = reading.text;
    return {reading.text.empty() ? "none" : std::string(reading.text), !reading.text.empty()};
}

Effective task(Reading& reading) {
    auto& setting = reading.out.settings.task;
    const bool run = reading.role.mode == Role::Mode::run;
    const std::string fallback = run ? name_for(reading.role.command) : "none";
    const auto trouble = name_trouble(reading.text);
    const bool given = !reading.text.empty() && !trouble;
    if (!reading.text.empty() && trouble) {
        warn(reading, "not 1 to 255 letters, digits, '_', '.' or '-', the first a letter or digit",
             fallback);
    }
    if (given) setting = reading.text;
    if (!given && run) setting = fallback;
    return {given ? setting : fallback, given};
}

Effective socket(Reading& reading) {
    auto& setting = reading.out.settings.socket;
    if (reading.text == "none") return {"none", true};
    const bool serve = reading.role.mode == Role::Mode::serve;
    // Inside a task of another agent the variable names that one's socket, for agentctl.
    const bool inherited = !serve && !reading.role.pid1 && !reading.origin.starts_with("--") &&
                           reading.environment.contains("LASTCALL_TASK");
    if (!inherited) setting = reading.text;
    if (!setting.empty()) return {setting, true};
    if (!serve && !reading.role.pid1) return {"none", false};
    const std::string directory =
        reading.role.root ? "/run/lastcall" : user_directory(reading, "XDG_RUNTIME_DIR", "");
    if (!directory.empty()) setting = directory + "/agent.sock";
    if (directory.empty() && serve) {
        reading.out.errors.push_back(
            "AGENT_SOCKET is needed: XDG_RUNTIME_DIR doesn't say where a user's sockets go");
    }
    if (directory.empty() && !serve) {
        reading.out.notes.push_back(
            "AGENT_SOCKET isn't set, nor XDG_RUNTIME_DIR: there is no control socket");
    }
    return {setting.empty() ? "none" : setting, false};
}

Effective introspection_addr(Reading& reading) {
    auto& setting = reading.out.settings.introspection_addr;
    if (reading.text.empty()) return {"none", false};
    const auto colon = std::min(reading.text.rfind(':'), reading.text.size());
    const auto host = reading.text.substr(0, colon);
    const auto port = reading.text.substr(std::min(colon + 1, reading.text.size()));
    if (!port_number(port) || (!is_ipv4(host) && !is_bracketed(host))) {
        warn(reading, "not an address and a port like 127.0.0.1:51678 or [::1]:51678", "none");
        return {"none", false};
    }
    setting = reading.text;
    return {setting, true};
}

Effective helper_path(Reading& reading) {
    reading.out.settings.helper_path = reading.text;
    if (reading.text.empty()) return {"beside the agent, then its libexec folder", false};
    return {std::string(reading.text), true};
}

Effective lifecycle_hook(Reading& reading) {
    const auto slash = reading.text.find('/');
    const bool parted = slash != reading.text.npos && slash > 0 && slash + 1 < reading.text.size();
    if (!parted && !reading.text.empty()) {
        warn(reading, "not GROUP/HOOK, an Auto Scaling group's name and its hook's", "none");
    }
    if (!parted) return {"none", false};
    reading.out.settings.lifecycle_hook = reading.text;
    return {std::string(reading.text), true};
}

Effective lifecycle_on_failure(Reading& reading) {
    auto& setting = reading.out.settings.hook_on_failure;
    const bool given = reading.text == "CONTINUE" || reading.text == "ABANDON";
    if (!given && !reading.text.empty()) warn(reading, "not CONTINUE or ABANDON", "CONTINUE");
    setting = given ? reading.text : "CONTINUE";
    return {setting, given};
}

}  // namespace lastcall::rules
