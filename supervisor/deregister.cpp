#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "supervisor/drain.hpp"
#include "supervisor/introduction.hpp"

// DEREGISTER: the first half of leaving.
namespace lastcall {
namespace {

constexpr Clock::duration grace_after_exit = 2s;  // for DEREGISTER, when the task is gone already
constexpr Clock::duration first_backoff = 100ms;
constexpr Clock::duration longest_backoff = 5s;

}  // namespace

awaitable<void> Leaving::deregister() {
    if (scene_.limits.drains && !scene_.gone.is_set()) hear_the_kernel();
    std::vector<awaitable<void>> works;
    for (auto& watch : watches_) works.push_back(deregister(watch));
    co_await all(std::move(works));
}

awaitable<void> Leaving::deregister(Watch& watch) {
    auto& [executor, clock, log, recorder, limits, evidence_, gone, settings] = scene_;
    const auto& url = watch.membership.url;
    if (const auto* const ended = recorder.ended(Phase::deregister, "", url)) {
        watch.acknowledged = ended->outcome == Outcome::completed;
        if (watch.acknowledged) take_over(watch);
        if (!watch.acknowledged) note_who_is_open(watch);
        co_return;
    }
    const bool goes_on = recorder.under_way(Phase::deregister, "", url);
    Detail detail;
    detail.set("loadBalancer", url);
    const auto phase = co_await recorder.begin(Phase::deregister, "", detail);
    const auto until = after(recorder.started(phase), settings.deregister_timeout);
    if (goes_on) take_over(watch);
    if (!watch.introduced) asking_.spawn(get_to_know(watch), {});

    std::optional<std::optional<bool>> told_in_time;
    std::string failure;
    // Caught here, as everything a load balancer does: it can't hold a task hostage.
    try {
        auto telling = unless(task_gone_for(grace_after_exit), told(watch, until));
        told_in_time = co_await unless(limits.leave.reached(), std::move(telling));
    } catch (...) {
        failure = failure_text();
    }
    recorder.note(phase, "attempts", std::int64_t{watch.attempts});
    watch.acknowledged = told_in_time && *told_in_time && **told_in_time;
    if (watch.acknowledged) {
        watch.error.clear();
        recorder.end(phase, Outcome::completed);
        co_return;
    }
    if (!failure.empty()) watch.error = failure;
    if (!watch.error.empty()) recorder.note(phase, "error", watch.error);
    note_who_is_open(watch);
    Outcome outcome = Outcome::failed;
    if (limits.leave.passed()) {
        outcome = recorder.note_limit(phase, limits.leave);
    } else if (gone.is_set() && told_in_time && !*told_in_time) {
        recorder.note(phase, "reason", "the task is gone");
        outcome = Outcome::interrupted;
    }
    log.say(Level::warn, "Load balancer has not acknowledged the deregistration",
            {{"task", recorder.record().task},
             {"loadBalancer", watch.membership.url},
             {"error", watch.error.empty() ? limits.leave.why() : watch.error}});
    recorder.end(phase, outcome);
}

/// New ones won't stop coming to one that hasn't acknowledged: these are waited for.
void Leaving::note_who_is_open(Watch& watch) {
    watch.open_at_failure.emplace();
    if (const auto seen = evidence()) {
        for (const auto& [cookie, connection] : *seen) watch.open_at_failure->insert(cookie);
    }
}

/// The agent before us was telling it, or had told it.
void Leaving::take_over(Watch& watch) {
    const auto& membership = watch.membership;
    // Caught here: who is asked next meets the same trouble.
    try {
        membership.load_balancer->take_over(membership.target, TargetState::draining);
    } catch (...) {
        scene_.log.say(Level::warn, "Load balancer can't be taken over",
                       {{"task", scene_.recorder.record().task},
                        {"loadBalancer", membership.url},
                        {"error", failure_text()}});
    }
}

/// The stop came before it was introduced.
awaitable<void> Leaving::get_to_know(Watch& watch) {
    const auto limit = after(scene_.clock.now(), watch.membership.timeout);
    // Caught here: then what the URL says is all that is known.
    try {
        co_await before(scene_.clock, limit, done(introduce(watch)));
    } catch (...) {
    }
    co_await leave_if_cancelled();
    news_.ring();
}

/// True when it has acknowledged, false when it never will.
awaitable<bool> Leaving::told(Watch& watch, Clock::time_point until) {
    for (;;) {
        const bool acknowledged = co_await attempt(watch, until);
        if (acknowledged) co_return true;
        const auto next = scene_.clock.now() + backoff(watch.attempts);
        if (!watch.may_retry || scene_.gone.is_set() || next >= until) co_return false;
        co_await scene_.clock.sleep_until(next);
    }
}

awaitable<bool> Leaving::attempt(Watch& watch, Clock::time_point until) {
    ++watch.attempts;
    const auto& membership = watch.membership;
    const auto& [target, load_balancer] = std::tie(membership.target, membership.load_balancer);
    const auto limit = std::min(until, after(scene_.clock.now(), membership.timeout));
    // Caught here: whatever it throws is its refusal, and the reason goes into the record.
    try {
        auto telling = done(load_balancer->deregister(target));
        const auto acknowledged = co_await before(scene_.clock, limit, std::move(telling));
        if (acknowledged) co_return true;
        const auto word = load_balancer->last_word(target);
        watch.error = fmt::format("cannot deregister {} from {}: no answer in time{}", target,
                                  membership.url, word.empty() ? "" : fmt::format(" ({})", word));
    } catch (const LoadBalancerError& error) {
        watch.error = error.what();
        watch.may_retry = error.retry();
    } catch (...) {
        watch.error = failure_text();
    }
    co_await leave_if_cancelled();
    co_return false;
}

/// Full jitter over the upper half: many tasks that lost the same load balancer don't come
/// together.
Clock::duration Leaving::backoff(int attempt) {
    const auto doubled = first_backoff * (1 << std::min(attempt - 1, 10));
    const auto longest = std::min<Clock::duration>(doubled, longest_backoff);
    std::uniform_int_distribution<Clock::duration::rep> spread(longest.count() / 2,
                                                               longest.count());
    return Clock::duration(spread(random_));
}

awaitable<void> Leaving::task_gone_for(Clock::duration grace) {
    co_await scene_.gone.wait();
    co_await scene_.clock.sleep_until(scene_.clock.now() + grace);
}

awaitable<void> Leaving::deregister_late() {
    const auto until = scene_.clock.now() + grace_after_exit;
    for (auto& watch : watches_) {
        if (watch.acknowledged || !watch.may_retry) continue;
        if (scene_.recorder.ended(Phase::cleanup, "", watch.membership.url)) continue;
        Detail detail;
        detail.set("loadBalancer", watch.membership.url);
        const auto phase = co_await scene_.recorder.begin(Phase::cleanup, "", detail);
        watch.acknowledged = co_await attempt(watch, until);
        if (!watch.acknowledged) scene_.recorder.note(phase, "error", watch.error);
        scene_.recorder.end(phase, watch.acknowledged ? Outcome::completed : Outcome::failed);
    }
}

}  // namespace lastcall
