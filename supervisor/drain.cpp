#include "supervisor/drain.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastcall {
namespace {

constexpr Clock::duration ask_again = 250ms;  // a load balancer, after the drain
constexpr Clock::duration breath = 5ms;       // between two questions, however much closes

double milliseconds(Clock::duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

/// "2 open connections (3 at rest)", "3 connections at rest", "no connection".
std::string connections_in_words(std::int64_t left, std::int64_t open) {
    const auto count = [](std::int64_t number, std::string_view kind, std::string_view ending) {
        return fmt::format("{} {}connection{}{}", number, kind, number == 1 ? "" : "s", ending);
    };
    if (open == 0) return "no connection";
    if (left == 0) return count(open, "", " at rest");
    if (left == open) return count(left, "open ", "");
    return count(left, "open ", fmt::format(" ({} at rest)", open - left));
}

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
    if (!limits.drains) {
        recorder.skip(Phase::drain, "", "no drain wanted", limits.undrained_by);
        co_return;
    }
    if (limits.forced_by) {
        recorder.skip(Phase::drain, "", "force", limits.forced_by);
        co_return;
    }
    if (gone.is_set()) co_return;  // nobody is left who could serve a connection
    if (std::all_of(watches_.begin(), watches_.end(),
                    [](const Watch& watch) { return watch.mode == DrainMode::none; })) {
        recorder.skip(Phase::drain, "", "AGENT_DRAIN=none", {});
        co_return;
    }
    const auto phase = co_await recorder.begin(Phase::drain, "", {});
    limits.leave.shorten(after(clock.now(), limits.deregistration_delay), "deregistration delay");
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
        asking_.spawn(hear(), {});
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

// ----------------------------------------------------------------------------- what is written

/// What the load balancers that aren't satisfied wait for; the same connection may be in the word
/// of two, so the most that one of them says.
std::optional<std::int64_t> Leaving::connections() const {
    std::optional<std::int64_t> most;
    for (const auto* watch : unsatisfied_) {
        std::optional<std::int64_t> left;
        if (knows_all(*watch) && watch->report) {
            left = watch->report->connections;
        } else if (const auto& here = occupancy_.here()) {
            left = waited_for(*here, watch->mode, scene_.clock.now(), scene_.settings.drain_idle);
        }
        if (left) most = std::max(most.value_or(0), *left);
    }
    return most;
}

std::optional<std::int64_t> Leaving::open() const {
    const auto& here = occupancy_.here();
    return here ? std::optional(static_cast<std::int64_t>(here->size())) : std::nullopt;
}

std::string Leaving::waiting_for() const {
    std::string text;
    for (const auto* watch : unsatisfied_) {
        if (!text.empty()) text += ", ";
        const auto& report = watch->report;
        if (knows_all(*watch) && report && report->connections) {
            text += fmt::format("{} in flight at {}", *report->connections, watch->membership.url);
        } else if (const auto& here = occupancy_.here()) {
            const auto open = static_cast<std::int64_t>(here->size());
            const auto left =
                waited_for(*here, watch->mode, scene_.clock.now(), scene_.settings.drain_idle);
            text += connections_in_words(left, open);
            text += " behind " + watch->membership.url;
        } else {
            text += fmt::format("{} (no evidence of connections)", watch->membership.url);
        }
    }
    return text;
}

void Leaving::account(std::size_t phase) {
    auto& recorder = scene_.recorder;
    // What a load balancer says is in flight there may not have a connection of its own here.
    std::optional<std::int64_t> reported;
    for (const auto& watch : watches_) {
        if (!watch.membership.knows || !watch.report || !watch.report->connections) continue;
        reported = reported.value_or(0) + *watch.report->connections;
    }
    if (occupancy_.ever_looked()) {
        recorder.note(phase, "connectionsAtStart", occupancy_.at_start());
        recorder.note(phase, "connectionsPeak", occupancy_.peak());
        if (const auto& here = occupancy_.here())
            recorder.note(phase, "connectionsAtEnd", static_cast<std::int64_t>(here->size()));
        recorder.note(phase, "arrivedAfterDeregistration", occupancy_.arrived());
        const bool rest_counts =
            std::any_of(watches_.begin(), watches_.end(),
                        [](const Watch& watch) { return watch.mode != DrainMode::idle; });
        if (const auto longest = occupancy_.longest(rest_counts, scene_.clock.now())) {
            recorder.note(phase, "longestMs", milliseconds(longest->lasted));
            recorder.note(phase, "longestPeer", to_string(longest->peer));
        }
    } else if (reported) {
        recorder.note(phase, "connectionsAtEnd", *reported);
    }
    if (reported) recorder.note(phase, "inFlightAtLoadBalancer", *reported);
}

/// Who was still inside when the time was over, and, if all of them were at rest, what `idle` would
/// have saved.
void Leaving::explain(std::size_t phase) {
    auto& recorder = scene_.recorder;
    recorder.note(phase, "waitingFor", waiting_for());
    if (const auto peers = occupancy_.peers(); !peers.empty()) recorder.note(phase, "peers", peers);
    const auto resting = occupancy_.all_rest_since();
    if (!resting) return;
    const auto now = scene_.clock.now();
    recorder.note(phase, "atRestMs", milliseconds(now - *resting));
    Clock::duration settle{};
    for (const auto* watch : unsatisfied_) settle = std::max(settle, watch->membership.settle);
    const auto began = recorder.record().phases[phase].started;
    const auto quiet = std::max(*resting + scene_.settings.drain_idle, began);
    const auto saved = now - (quiet + settle);
    if (saved > 0ns) recorder.note(phase, "idleWouldHaveSavedMs", milliseconds(saved));
}

}  // namespace lastcall
