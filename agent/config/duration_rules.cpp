#include <fmt/format.h>

#include "agent/config/complaint.hpp"
#include "agent/config/duration.hpp"
#include "agent/config/rules.hpp"

namespace lastcall::rules {
namespace {

constexpr std::string_view expected = "a duration like 1m30s, 500ms or 30 (seconds)";

/// What a duration may be. Zero is "unset" unless `zero_counts`, as in the ECS agent.
struct Bounds {
    Clock::duration fallback;
    Clock::duration minimum = 0s;
    Clock::duration maximum = Clock::duration::max();
    bool zero_counts = false;
    bool too_short_is_unset = false;  ///< the fallback, rather than the minimum
};

bool is_bare_number(std::string_view text) {
    return text != "0" && text.find_first_not_of("+-0123456789.") == std::string_view::npos;
}

/// The duration that is given, put within its bounds; nullopt: the fallback is in force.
std::optional<Clock::duration> within(Reading& reading, const Bounds& bounds,
                                      std::string_view fallback_in_words = {}) {
    if (reading.text.empty()) return std::nullopt;
    const std::string fallback = fallback_in_words.empty() ? format_duration(bounds.fallback)
                                                           : std::string(fallback_in_words);
    const auto given = parse_duration(reading.text);
    if (!given) {
        warn(reading, fmt::format("not {}", expected), fallback);
        return std::nullopt;
    }
    if (is_bare_number(reading.text)) {
        reading.out.notes.push_back(fmt::format("{} is {}, a bare number: read as {}",
                                                reading.origin, quoted(reading.text),
                                                format_duration(*given)));
    }
    if (*given == 0s && !bounds.zero_counts) return std::nullopt;
    if (*given < bounds.minimum) {
        const std::string trouble =
            fmt::format("less than the minimum of {}", format_duration(bounds.minimum));
        warn(reading, trouble,
             bounds.too_short_is_unset ? fallback : format_duration(bounds.minimum));
        if (bounds.too_short_is_unset) return std::nullopt;
        return bounds.minimum;
    }
    if (*given > bounds.maximum) {
        const std::string maximum = format_duration(bounds.maximum);
        warn(reading, fmt::format("more than the maximum of {}", maximum), maximum);
        return bounds.maximum;
    }
    return given;
}

Effective set(Reading& reading, const Bounds& bounds, Clock::duration& setting) {
    const auto given = within(reading, bounds);
    setting = given.value_or(bounds.fallback);
    return {format_duration(setting), given.has_value()};
}

/// Waits shorter than this are typing errors (a bare "0.01" for 10 ms of patience, say).
constexpr Clock::duration shortest_wait = 100ms;

}  // namespace

Effective stop_timeout(Reading& reading) {
    auto& setting = reading.out.settings.stop.stop_timeout;
    setting = within(reading, {.fallback = 30s, .minimum = 1s});
    return {format_duration(setting.value_or(30s)), setting.has_value()};
}

Effective start_timeout(Reading& reading) {
    return set(reading, {.fallback = 3min, .minimum = 45s}, reading.out.settings.start_timeout);
}

Effective cleanup_wait(Reading& reading) {
    return set(reading,
               {.fallback = std::chrono::hours(3), .minimum = 1s, .too_short_is_unset = true},
               reading.out.settings.cleanup_wait);
}

Effective deregistration_delay(Reading& reading) {
    auto& stop = reading.out.settings.stop;
    const auto effective = set(reading, {.fallback = 300s, .maximum = 3600s, .zero_counts = true},
                               stop.deregistration_delay);
    stop.delay_is_chosen = effective.given;
    return effective;
}

Effective deregister_timeout(Reading& reading) {
    return set(reading, {.fallback = 30s, .minimum = shortest_wait},
               reading.out.settings.stop.deregister_timeout);
}

Effective drain_idle(Reading& reading) {
    return set(reading, {.fallback = 5s, .minimum = shortest_wait},
               reading.out.settings.stop.drain_idle);
}

Effective pre_stop_timeout(Reading& reading) {
    return set(reading, {.fallback = 10s, .minimum = shortest_wait},
               reading.out.settings.stop.pre_stop_timeout);
}

/// AGENT_LOAD_BALANCERS has been read before: whether there is one decides what "unset" means.
Effective stop_deadline(Reading& reading) {
    auto& setting = reading.out.settings.stop.stop_deadline;
    if (reading.text == "none") return {"none", true};
    const bool assume = reading.role.pid1 && !reading.out.settings.load_balancers.empty();
    const std::string_view fallback = assume ? "30s" : "none";
    setting = within(reading, {.fallback = 30s, .minimum = 1s}, fallback);
    if (setting) return {format_duration(*setting), true};
    if (!assume) return {"none", false};
    setting = 30s;
    reading.out.notes.push_back(
        "AGENT_STOP_DEADLINE isn't set: 30s is assumed, as of ECS and Kubernetes; 'none' if nobody "
        "kills this container after a time");
    return {"30s", false};
}

}  // namespace lastcall::rules
