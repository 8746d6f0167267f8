#include "supervisor/watch.hpp"

#include <algorithm>

namespace lastcall {
namespace {

constexpr Clock::duration silence = 1s;  // settle for one that has stopped reporting

bool is_waited_for(const Connection& connection, DrainMode mode, Clock::time_point now,
                   Clock::duration idle) {
    const auto& since = connection.rests_since;
    return mode != DrainMode::idle || !since || now - *since < idle;
}

/// Zero has then stayed zero for its settle time; or, however often it didn't, three of those are
/// over.
Clock::time_point settled_at(const Watch& watch) {
    const auto own = watch.membership.settle;
    const auto settle = watch.silent_since ? std::max(own, silence) : own;
    return std::min(*watch.zero_since + settle, *watch.first_zero + 3 * settle);
}

}  // namespace

bool knows_all(const Watch& watch) {
    const bool partial = watch.report && watch.report->partial;
    return watch.membership.knows && !watch.silent_since && !partial;
}

std::int64_t waited_for(const Connections& open, DrainMode mode, Clock::time_point now,
                        Clock::duration idle) {
    return std::count_if(open.begin(), open.end(), [=](const auto& each) {
        return is_waited_for(each.second, mode, now, idle);
    });
}

bool satisfied(Watch& watch, const std::optional<Connections>& seen, Clock::time_point now,
               Clock::duration idle) {
    const Membership& membership = watch.membership;
    if (watch.mode == DrainMode::none) return true;
    // It was never told of the task, since nobody listened: nobody was sent.
    if (!membership.knows && !watch.registered && !seen) return true;
    if (watch.open_at_failure) {
        const auto& then = *watch.open_at_failure;
        return seen && std::none_of(then.begin(), then.end(), [&](std::uint64_t cookie) {
                   const auto place = seen->find(cookie);
                   return place != seen->end() &&
                          is_waited_for(place->second, watch.mode, now, idle);
               });
    }
    if (!watch.acknowledged) return false;
    const bool reported = watch.report && watch.report->state == TargetState::unused;
    const bool knows = knows_all(watch);
    if (!membership.knows && reported) return true;  // it has forgotten us: nothing more can come
    bool zero = knows ? reported : seen && waited_for(*seen, watch.mode, now, idle) == 0;
    const bool reloaded = watch.report && watch.report->partial && !watch.silent_since;
    if (reloaded) zero = zero && reported;  // what the old process has, and what the new one has
    if (watch.mode == DrainMode::strict) zero = zero && seen && seen->empty();
    if (!zero) {
        watch.zero_since.reset();
        return false;
    }
    if (!watch.zero_since) watch.zero_since = now;
    if (!watch.first_zero) watch.first_zero = now;
    return now >= settled_at(watch);
}

Clock::time_point next_moment(const Watch& watch, const std::optional<Connections>& seen,
                              Clock::time_point now, Clock::duration idle) {
    auto at = watch.zero_since ? settled_at(watch) : never;
    if (at <= now) at = never;
    if (watch.mode != DrainMode::idle || !seen || seen->empty()) return at;
    Clock::time_point last{};
    for (const auto& [cookie, connection] : *seen) {
        if (!connection.rests_since) return at;
        last = std::max(last, *connection.rests_since);
    }
    return last + idle > now ? std::min(at, last + idle) : at;
}

}  // namespace lastcall
