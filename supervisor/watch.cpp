#include "supervisor/watch.hpp"

#include <algorithm>

namespace lastcall {
namespace {

constexpr Clock::duration silence = 1s;  // settle for one that has stopped reporting

}  // namespace

bool knows_all(const Watch& watch) {
    const bool partial = watch.report && watch.report->partial;
    return watch.membership.knows && !watch.silent_since && !partial;
}

std::int64_t waited_for(const std::vector<Connection>& open, DrainMode mode, Clock::duration idle) {
    return std::count_if(open.begin(), open.end(), [mode, idle](const Connection& connection) {
        return mode != DrainMode::idle || connection.at_rest.value_or(-1ns) < idle;
    });
}

bool satisfied(Watch& watch, const std::optional<std::vector<Connection>>& seen,
               Clock::time_point now, Clock::duration idle) {
    const Membership& membership = watch.membership;
    if (watch.mode == DrainMode::none) return true;
    if (watch.open_at_failure) {
        const auto& then = *watch.open_at_failure;
        return seen &&
               std::none_of(seen->begin(), seen->end(), [&then](const Connection& connection) {
                   return then.contains(connection.cookie);
               });
    }
    if (!watch.acknowledged) return false;
    const bool reported = watch.report && watch.report->state == TargetState::unused;
    const bool knows = knows_all(watch);
    if (!membership.knows && reported) return true;  // it has forgotten us: nothing more can come
    bool zero = knows ? reported : seen && waited_for(*seen, watch.mode, idle) == 0;
    const bool reloaded = watch.report && watch.report->partial && !watch.silent_since;
    if (reloaded) zero = zero && reported;  // what the old process has, and what the new one has
    if (watch.mode == DrainMode::strict) zero = zero && seen && seen->empty();
    if (!zero) {
        watch.zero_since.reset();
        return false;
    }
    if (!watch.zero_since) watch.zero_since = now;
    if (!watch.first_zero) watch.first_zero = now;
    const auto settle =
        watch.silent_since ? std::max(membership.settle, silence) : membership.settle;
    return now - *watch.zero_since >= settle || now - *watch.first_zero >= 3 * settle;
}

}  // namespace lastcall
