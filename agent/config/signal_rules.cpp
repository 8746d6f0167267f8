#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "agent/config/complaint.hpp"
#include "agent/config/list.hpp"
#include "agent/config/rules.hpp"

namespace lastcall::rules {
namespace {

void refuse(Reading& reading, std::string_view value, std::string_view expected) {
    reading.out.errors.push_back(
        fmt::format("{} is {}, not {}", reading.origin, quoted(value), expected));
}

/// nullopt for what is no signal; that is an error, since a service that never gets the signal it
/// was written for is worse off than one that doesn't start.
std::optional<int> signal(Reading& reading, std::string_view expected) {
    const auto number = signal_number(reading.text);
    if (!number) refuse(reading, reading.text, expected);
    return number;
}

std::string name_of(int signal) { return signal == 0 ? "0" : signal_name(signal); }

/// "HUP:USR1"; nullopt for what is none, or names a signal that never reaches the agent's loop.
std::optional<SignalMap::value_type> mapping(std::string_view text) {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto from = signal_number(text.substr(0, colon));
    const auto target = text.substr(colon + 1);
    const auto to = target == "0" ? std::optional(0) : signal_number(target);
    if (!from || !to || *from == SIGKILL || *from == SIGSTOP || *from == SIGCHLD) {
        return std::nullopt;
    }
    return SignalMap::value_type(*from, *to);
}

}  // namespace

Effective drain_signal(Reading& reading) {
    if (reading.text.empty()) return {"none", false};
    if (reading.text == "none") return {"none", true};
    auto& setting = reading.out.settings.stop.drain_signal;
    setting = signal(reading, "the name or number of a signal, or none");
    return {setting ? signal_name(*setting) : "none", setting.has_value()};
}

Effective stop_signal(Reading& reading) {
    const bool asked = reading.role.mode == Role::Mode::run;
    if (reading.text.empty()) return {asked ? "the signal that asked" : "SIGTERM", false};
    auto& setting = reading.out.settings.stop.stop_signal;
    setting = signal(reading, "the name or number of a signal, like TERM, SIGQUIT or 15");
    return {setting ? signal_name(*setting) : "none", setting.has_value()};
}

Effective signal_scope(Reading& reading) {
    auto& setting = reading.out.settings.stop.signal_scope;
    const auto scope = lastcall::signal_scope(reading.text);
    if (!scope && !reading.text.empty()) warn(reading, "not main, group or tree", "main");
    setting = scope.value_or(SignalScope::main);
    return {std::string(to_string(setting)), scope.has_value()};
}

Effective signal_map(Reading& reading) {
    auto& map = reading.out.settings.signal_map;
    for (const auto text : split(reading.text)) {
        if (const auto one = mapping(text)) {
            map.insert_or_assign(one->first, one->second);
        } else {
            refuse(reading, text,
                   "FROM:TO, two signals like HUP:USR1, TO 0 to drop FROM (neither KILL, STOP nor "
                   "CHLD)");
        }
    }
    if (map.empty()) return {"none", false};
    std::string shown;
    for (const auto& [from, to] : map) {
        shown += fmt::format("{}{}:{}", shown.empty() ? "" : " ", name_of(from), name_of(to));
    }
    return {shown, true};
}

Effective expect_exit_code(Reading& reading) {
    auto& codes = reading.out.settings.expected_codes;
    std::string shown;
    for (const auto text : split(reading.text)) {
        std::uint8_t code = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
        if (error != std::errc() || end != text.data() + text.size()) {
            refuse(reading, text, "an exit code from 0 to 255");
        } else {
            codes.push_back(code);
            shown += fmt::format("{}{}", shown.empty() ? "" : " ", code);
        }
    }
    if (codes.empty()) return {"none", false};
    return {shown, true};
}

}  // namespace lastcall::rules
