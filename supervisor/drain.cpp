#include "supervisor/drain.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastcall {
namespace {

constexpr Clock::duration ask_again = 250ms;  // a load balancer, after the drain
constexpr Clock::duration breath = 5ms;       // between two questions, however much closes

}  // namespace

Leaving::Leaving(Scene scene, std::vector<Watch> watches)
    : scene_(scene),
      watches_(std::move(watches)),
      news_(scene.executor),
      asking_(scene.executor),
      random_(static_cast<std::minstd_rand::result_type>(
          scene.clock.now().time_since_epoch().count())) {}

awaitable<void> Leaving::drain() {
    co_await until_drained();
    drained_ = true;
}

awaitable<void> Leaving::until_drained() {
    auto& [executor, clock, log, recorder, limits, evidence_, gone, settings] = scene_;
    if (recorder.ended(Phase::drain)) co_return;
    const bool under_way = recorder.under_way(Phase::drain);
    if (!limits.drains && !under_way) {
        recorder.skip(Phase::drain, "", "no drain wanted", limits.undrained_by);
        co_return;
    }
    if (limits.forced_by && !under_way) {
        recorder.skip(Phase::drain, "", "force", limits.forced_by);
        co_return;
    }
    if (gone.is_set() && !under_way) co_return;  // nobody is left who could serve a connection
    if (std::all_of(watches_.begin(), watches_.end(),
                    [](const Watch& watch) { return watch.mode == DrainMode::none; })) {
        recorder.skip(Phase::drain, "", "AGENT_DRAIN=none", {});
        co_return;
    }
    const auto phase = co_await recorder.begin(Phase::drain, "", {});
    limits.leave.shorten(after(recorder.started(phase), limits.deregistration_delay),
                         "deregistration delay");
    draining_ = true;
    auto ended = Ended::by_limit;
    std::string broken;
    // Caught here: a drain that breaks must not bring SIGTERM forward; it waits its time out.
    try {
        look();
        asking_.spawn(ring_after(gone.wait()), {});
        asking_.spawn(ring_after(limits.leave.reached()), {});
        ended = co_await end_of_waiting();
    } catch (...) {
        broken = failure_text();
        recorder.note(phase, "error", broken);
        log.say(Level::error, "Drain can't be watched, so it lasts its whole time",
                {{"task", recorder.record().task}, {"error", broken}});
    }
    if (!broken.empty()) co_await unless(limits.leave.reached(), done(gone.wait()));
    draining_ = false;

    if (ended != Ended::by_all) look();  // else the last look was what ended it
    account(phase);
    Outcome outcome = Outcome::completed;
    if (!broken.empty()) {
        outcome = Outcome::failed;
    } else if (ended == Ended::by_limit) {
        outcome = recorder.note_limit(phase, limits.leave);
        explain(phase);
    } else if (ended == Ended::by_exit) {
        recorder.note(phase, "reason", "the task exited by itself");
    }
    recorder.end(phase, outcome);
    const auto drained = recorder.record().phases[phase].duration;
    recorder.record().saved =
        std::max(limits.deregistration_delay - drained, Clock::duration::zero());
}

/// Everything that may end the drain rings the one bell: the load balancers' reports, the kernel's
/// events, the moments that were planned, the task's end, and the limit. What is heard of closes is
/// confirmed: no event tells of a connection's beginning.
awaitable<Leaving::Ended> Leaving::end_of_waiting() {
    for (;;) {
        const bool all = verdict();
        const auto begun = settling_;
        if (all || !begun.empty()) {
            const bool certain = is_certain();
            if (all && certain) co_return Ended::by_all;
            if (!certain) look();
            const bool still_all = verdict();
            for (auto* watch : begun) {
                if (!watch->zero_since) watch->first_zero.reset();  // it never was zero
            }
            if (still_all) co_return Ended::by_all;
        }
        if (scene_.gone.is_set()) co_return Ended::by_exit;
        if (scene_.limits.leave.passed()) co_return Ended::by_limit;
        co_await before(scene_.clock, next_moment(), done(news_.heard()));
    }
}

awaitable<void> Leaving::ring_after(awaitable<void> event) {
    co_await std::move(event);
    news_.ring();
}

bool Leaving::verdict() {
    unsatisfied_.clear();
    settling_.clear();
    for (auto& watch : watches_) {
        const bool settled_before = watch.zero_since.has_value();
        const bool is =
            satisfied(watch, occupancy_.here(), scene_.clock.now(), scene_.settings.drain_idle);
        if (!is) unsatisfied_.push_back(&watch);
        if (!settled_before && watch.zero_since) settling_.push_back(&watch);
    }
    return unsatisfied_.empty();
}

/// Nobody was here at the last look but who has left, and nobody has come since. Of who is at rest
/// nothing is certain: no event tells of a request.
bool Leaving::is_certain() {
    const auto& here = occupancy_.here();
    return here && here->empty() && !scene_.evidence.may_have_grown();
}

Clock::time_point Leaving::next_moment() const {
    auto moment = never;
    for (const auto* watch : unsatisfied_) {
        moment =
            std::min(moment, lastcall::next_moment(*watch, occupancy_.here(), scene_.clock.now(),
                                                   scene_.settings.drain_idle));
    }
    return moment;
}

// ------------------------------------------------------------------------- what the kernel says

void Leaving::hear_the_kernel() {
    if (heard_) return;
    heard_ = true;
    // Caught here: what isn't heard is looked at, at the moments that other news bring.
    try {
        const bool rest = std::any_of(watches_.begin(), watches_.end(), [](const Watch& watch) {
            return watch.mode == DrainMode::idle;
        });
        scene_.evidence.watch(rest);
        asking_.spawn(hear(), [this](std::exception_ptr error) { deaf(error); });
    } catch (...) {
        deaf(std::current_exception());
    }
}

void Leaving::deaf(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (...) {
        scene_.log.say(Level::warn, "Closing connections can't be heard of",
                       {{"task", scene_.recorder.record().task}, {"error", failure_text()}});
    }
}

awaitable<void> Leaving::hear() {
    for (;;) {
        Evidence::News news = co_await scene_.evidence.news();
        if (!draining_) continue;
        const auto now = scene_.clock.now();
        if (occupancy_.closed(news.closed, now)) saw_somebody_new();
        if (news.looked && occupancy_.look(std::move(news.open), now)) saw_somebody_new();
        if (!news.closed.empty()) {
            for (auto& bell : asked_now_) bell.ring();
        }
        news_.ring();
    }
}

void Leaving::look() {
    if (occupancy_.look(evidence(), scene_.clock.now())) saw_somebody_new();
}

/// A load balancer that was told still sends: zero has to stay zero from here on.
void Leaving::saw_somebody_new() {
    for (auto& watch : watches_) watch.zero_since.reset();
}

std::optional<Connections> Leaving::evidence() {
    std::optional<Connections> seen;
    std::string trouble;
    // Caught here: what can't be known is no evidence, and no evidence isn't zero.
    try {
        seen = scene_.evidence.open();
        trouble = scene_.evidence.trouble();
    } catch (...) {
        trouble = failure_text();
    }
    if (!trouble.empty() && trouble != trouble_said_) {
        scene_.log.say(Level::warn,
                       seen ? "Evidence of the task's connections is odd"
                            : "No evidence of the task's connections",
                       {{"task", scene_.recorder.record().task}, {"error", trouble}});
        trouble_said_ = trouble;
    }
    return seen;
}

// ------------------------------------------------------------------ what the load balancers say

void Leaving::keep_asking() {
    for (auto& watch : watches_) {
        if (!watch.acknowledged) continue;
        asking_.spawn(ask(watch, asked_now_.emplace_back(scene_.executor)), {});
    }
}

awaitable<void> Leaving::ask(Watch& watch, Bell& now) {
    const auto& membership = watch.membership;
    if (watch.taken_over) co_await learn_of_it(watch);
    for (;;) {
        const bool answered = co_await report(watch);
        news_.ring();
        const auto asked = scene_.clock.now();
        auto pause = drained_ ? std::max(membership.poll, ask_again) : membership.poll;
        if (!drained_ && answered) pause = std::min(pause, watch.report->again.value_or(pause));
        // A connection that closes may have been the last that it waits for.
        const auto closed = co_await before(scene_.clock, asked + pause, done(now.heard()));
        if (closed) co_await scene_.clock.sleep_until(asked + std::min(pause, breath));
    }
}

/// Our client has to know that the target was deregistered: it restores that if it is forgotten.
awaitable<void> Leaving::learn_of_it(Watch& watch) {
    const auto again = std::max(watch.membership.poll, ask_again);
    for (;;) {
        const bool learnt =
            co_await attempt(watch, after(scene_.clock.now(), watch.membership.timeout));
        if (learnt || !watch.may_retry) co_return;
        co_await scene_.clock.sleep_until(scene_.clock.now() + again);
    }
}

awaitable<bool> Leaving::report(Watch& watch) {
    const auto& membership = watch.membership;
    std::string trouble;
    // Caught here: one that doesn't report is an outcome, the kernel's evidence stands in.
    try {
        auto asking = membership.load_balancer->state_of(membership.target);
        const auto limit = after(scene_.clock.now(), membership.timeout);
        auto report = co_await before(scene_.clock, limit, std::move(asking));
        if (report) {
            watch.report = report;
        } else {
            trouble = fmt::format("cannot ask {}: no answer in time", membership.url);
        }
    } catch (...) {
        trouble = failure_text();
    }
    co_await leave_if_cancelled();
    if (trouble.empty()) {
        watch.silent_since.reset();
        watch.error.clear();
    } else if (!watch.silent_since) {
        watch.silent_since = scene_.clock.now();
        watch.zero_since.reset();
        watch.first_zero.reset();
        watch.error = trouble;
    }
    co_return trouble.empty();
}

awaitable<void> Leaving::close() {
    scene_.evidence.unwatch();
    asking_.cancel();
    co_await asking_.close();
}

}  // namespace lastcall
