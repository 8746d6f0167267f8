#include "supervisor/registration.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "supervisor/introduction.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration first_look = 5ms;  // for the ports of a task that has just started
constexpr Clock::duration longest_look = 250ms;
constexpr Clock::duration long_silence = 30s;  // until a task that listens on nothing is told of
constexpr Clock::duration register_again = 1s;

using Step = awaitable<void> (*)(Registration to, Watch& watch);

awaitable<void> listened_on(Registration to) {
    const auto started = to.clock.now();
    bool said = false;
    for (auto pause = first_look;; pause = std::min(pause * 2, longest_look)) {
        const auto listening = to.evidence.listening();
        if (!listening) {
            to.log.say(Level::warn, "Can't tell whether the task listens: registered at once",
                       {{"task", to.task}});
        }
        if (listening.value_or(true)) co_return;
        if (!said && to.clock.now() - started > long_silence) {
            said = true;
            to.log.say(Level::warn, "Task listens on none of its ports yet: it gets no traffic",
                       {{"task", to.task}});
        }
        co_await to.clock.sleep_until(to.clock.now() + pause);
    }
}

/// Whether the load balancer knows the task at all, and by which port.
awaitable<void> learn(Registration to, Watch& watch) {
    co_await introduce(watch);
    auto& membership = watch.membership;
    watch.registered = !membership.registers || to.registered_before;
    const TargetReport report = co_await membership.load_balancer->state_of(membership.target);
    if (report.port && !membership.port) to.evidence.named(*report.port);
}

awaitable<void> register_target(Registration to, Watch& watch) {
    auto& membership = watch.membership;
    co_await membership.load_balancer->register_target(membership.target);
    watch.registered = true;
    to.log.say(Level::debug, "Task registered",
               {{"task", to.task}, {"loadBalancer", membership.url}});
}

/// One request to a load balancer, within its time. False: it failed, which is said once.
awaitable<bool> attempt(Registration to, Watch& watch, Step step) {
    std::string trouble = fmt::format("cannot reach {}: no answer in time", watch.membership.url);
    // Caught here: a task runs without its load balancer, and the log says so.
    try {
        const auto limit = after(to.clock.now(), watch.membership.timeout);
        const auto in_time = co_await before(to.clock, limit, done(step(to, watch)));
        if (in_time) co_return true;
    } catch (const LoadBalancerError& error) {
        trouble = error.what();
        watch.may_retry = error.retry();
    } catch (...) {
        trouble = failure_text();
    }
    co_await leave_if_cancelled();
    if (trouble != watch.error) {
        to.log.say(Level::warn, "Task could not be registered",
                   {{"task", to.task}, {"loadBalancer", watch.membership.url}, {"error", trouble}});
        watch.error = trouble;
    }
    co_return false;
}

}  // namespace

awaitable<void> register_when_listening(Registration to, Watch& watch) {
    for (;;) {
        const bool known = co_await attempt(to, watch, learn);
        if (known && watch.registered) co_return;
        if (known) {
            co_await listened_on(to);
            const bool registered = co_await attempt(to, watch, register_target);
            if (registered) co_return;
        }
        if (!watch.may_retry) co_return;
        co_await to.clock.sleep_until(to.clock.now() + register_again);
    }
}

}  // namespace lastcall
