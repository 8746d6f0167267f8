#include "supervisor/drain.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastcall {
namespace {

constexpr Clock::duration look_again = 20ms;      // at the kernel's evidence, while draining
constexpr Clock::duration ask_again = 250ms;      // a load balancer, after the drain
constexpr Clock::duration grace_after_exit = 2s;  // for DEREGISTER, when the task is gone already
constexpr Clock::duration first_backoff = 100ms;
constexpr Clock::duration longest_backoff = 5s;

double milliseconds(Clock::duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

/// How a limit ended a phase.
Outcome outcome_of(const Limit& limit) {
    return limit.by() ? Outcome::interrupted : Outcome::timed_out;
}

void note_limit(Recorder& recorder, std::size_t phase, const Limit& limit) {
    recorder.note(phase, "limit", limit.why());
    if (limit.by()) recorder.note(phase, "requestedBy", to_string(*limit.by()));
}

}  // namespace

Leaving::Leaving(Scene scene, std::vector<Watch> watches)
    : scene_(scene),
      watches_(std::move(watches)),
      news_(scene.executor),
      asking_(scene.executor),
      random_(static_cast<std::minstd_rand::result_type>(
          scene.clock.now().time_since_epoch().count())) {}

awaitable<void> Leaving::deregister() {
    std::vector<awaitable<void>> works;
    for (auto& watch : watches_) works.push_back(deregister(watch));
    co_await all(std::move(works));
}

awaitable<void> Leaving::deregister(Watch& watch) {
    auto& [executor, clock, log, recorder, limits, evidence_, gone, settings] = scene_;
    Detail detail;
    detail.set("loadBalancer", watch.membership.url);
    const auto phase = co_await recorder.begin(Phase::deregister, "", detail);
    const auto until = after(clock.now(), settings.deregister_timeout);

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
        co_await recorder.end(phase, Outcome::completed);
        co_return;
    }
    if (!failure.empty()) watch.error = failure;
    if (!watch.error.empty()) recorder.note(phase, "error", watch.error);
    watch.open_at_failure.emplace();
    if (const auto seen = evidence()) {
        for (const auto& connection : *seen) watch.open_at_failure->insert(connection.cookie);
    }
    Outcome outcome = Outcome::failed;
    if (limits.leave.passed()) {
        note_limit(recorder, phase, limits.leave);
        outcome = outcome_of(limits.leave);
    } else if (gone.is_set() && told_in_time && !*told_in_time) {
        recorder.note(phase, "reason", "the task is gone");
        outcome = Outcome::interrupted;
    }
    log.say(Level::warn, "Load balancer has not acknowledged the deregistration",
            {{"task", recorder.record().task},
             {"loadBalancer", watch.membership.url},
             {"error", watch.error.empty() ? limits.leave.why() : watch.error}});
    co_await recorder.end(phase, outcome);
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
    const auto& [url, load_balancer, target, knows, registers, drain, port, timeout, settle, poll] =
        watch.membership;
    const auto limit = std::min(until, after(scene_.clock.now(), timeout));
    // Caught here: whatever it throws is its refusal, and the reason goes into the record.
    try {
        auto telling = done(load_balancer->deregister(target));
        const auto acknowledged = co_await before(scene_.clock, limit, std::move(telling));
        if (acknowledged) co_return true;
        watch.error = fmt::format("cannot deregister {} from {}: no answer in time", target, url);
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

void Leaving::keep_asking() {
    for (auto& watch : watches_) {
        if (!watch.acknowledged) continue;
        asking_.spawn(ask(watch), {});
    }
}

awaitable<void> Leaving::ask(Watch& watch) {
    const auto& membership = watch.membership;
    for (;;) {
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
        if (trouble.empty()) {
            watch.silent_since.reset();
            watch.error.clear();
        } else if (!watch.silent_since) {
            watch.silent_since = scene_.clock.now();
            watch.zero_since.reset();
            watch.first_zero.reset();
            watch.error = trouble;
        }
        news_.ring();
        const auto pause = draining_ ? membership.poll : std::max(membership.poll, ask_again);
        co_await scene_.clock.sleep_until(scene_.clock.now() + pause);
    }
}

awaitable<void> Leaving::drain() {
    auto& [executor, clock, log, recorder, limits, evidence_, gone, settings] = scene_;
    if (!limits.drains) {
        co_await recorder.skip(Phase::drain, "", "no drain wanted", limits.undrained_by);
        co_return;
    }
    if (limits.forced_by) {
        co_await recorder.skip(Phase::drain, "", "force", limits.forced_by);
        co_return;
    }
    if (gone.is_set()) co_return;  // nobody is left who could serve a connection
    if (std::all_of(watches_.begin(), watches_.end(),
                    [](const Watch& watch) { return watch.mode == DrainMode::none; })) {
        co_await recorder.skip(Phase::drain, "", "AGENT_DRAIN=none", {});
        co_return;
    }
    const auto phase = co_await recorder.begin(Phase::drain, "", {});
    limits.leave.shorten(after(clock.now(), limits.deregistration_delay), "deregistration delay");
    draining_ = true;
    std::optional<std::optional<bool>> ended;
    std::string broken;
    // Caught here: a drain that breaks must not bring SIGTERM forward; it waits its time out.
    try {
        auto waiting = unless(gone.wait(), all_satisfied(phase));
        ended = co_await unless(limits.leave.reached(), std::move(waiting));
    } catch (...) {
        broken = failure_text();
        recorder.note(phase, "error", broken);
        log.say(Level::error, "Drain can't be watched, so it lasts its whole time",
                {{"task", recorder.record().task}, {"error", broken}});
    }
    if (!broken.empty()) co_await unless(limits.leave.reached(), done(gone.wait()));
    draining_ = false;

    look(phase, evidence());
    Outcome outcome = Outcome::completed;
    if (!broken.empty()) {
        outcome = Outcome::failed;
    } else if (!ended) {
        note_limit(recorder, phase, limits.leave);
        recorder.note(phase, "waitingFor", waiting_for());
        explain_rest(phase);
        outcome = outcome_of(limits.leave);
    } else if (!*ended) {
        recorder.note(phase, "reason", "the task exited by itself");
    }
    co_await recorder.end(phase, outcome);
    const auto drained = recorder.record().phases[phase].duration;
    recorder.record().saved =
        std::max(limits.deregistration_delay - drained, Clock::duration::zero());
}

awaitable<bool> Leaving::all_satisfied(std::size_t phase) {
    for (;;) {
        const auto seen = evidence();
        look(phase, seen);
        unsatisfied_.clear();
        for (auto& watch : watches_) {
            if (!satisfied(watch, seen, scene_.clock.now(), scene_.settings.drain_idle)) {
                unsatisfied_.push_back(&watch);
            }
        }
        if (unsatisfied_.empty()) co_return true;
        left_ = still_waited_for(seen);
        co_await before(scene_.clock, scene_.clock.now() + look_again, done(news_.heard()));
    }
}

std::optional<std::vector<Connection>> Leaving::evidence() {
    std::optional<std::vector<Connection>> seen;
    std::string trouble = "no port of the task is known, or the kernel doesn't tell";
    // Caught here: what can't be known is no evidence, and no evidence isn't zero.
    try {
        seen = scene_.evidence.open();
    } catch (...) {
        trouble = failure_text();
    }
    if (!seen && !blind_said_) {
        blind_said_ = true;
        scene_.log.say(Level::warn, "No evidence of the task's connections",
                       {{"task", scene_.recorder.record().task}, {"error", trouble}});
    }
    return seen;
}

void Leaving::look(std::size_t phase, const std::optional<std::vector<Connection>>& seen) {
    std::int64_t here = 0;
    if (seen) {
        for (const auto& connection : *seen) {
            const bool is_new = known_.insert(connection.cookie).second;
            if (is_new && looked_) ++arrived_;
        }
        here = static_cast<std::int64_t>(seen->size());
    }
    // What a load balancer says is in flight there may not have a connection of its own here.
    std::optional<std::int64_t> reported;
    for (const auto& watch : watches_) {
        if (!watch.membership.knows || !watch.report || !watch.report->connections) continue;
        reported = reported.value_or(0) + *watch.report->connections;
    }
    if (!seen && !reported) return;
    const std::int64_t open = seen ? here : *reported;
    auto& recorder = scene_.recorder;
    peak_ = std::max(peak_, open);
    if (!looked_) recorder.note(phase, "connectionsAtStart", open);
    looked_ = true;
    recorder.note(phase, "connectionsPeak", peak_);
    recorder.note(phase, "connectionsAtEnd", open);
    if (seen) recorder.note(phase, "arrivedAfterDeregistration", arrived_);
    if (reported) recorder.note(phase, "inFlightAtLoadBalancer", *reported);
    if (seen) last_seen_ = seen;
}

/// What the load balancers that aren't satisfied wait for; the same connection may be in the word
/// of two, so the most that one of them says.
std::optional<std::int64_t> Leaving::still_waited_for(
    const std::optional<std::vector<Connection>>& seen) const {
    std::optional<std::int64_t> most;
    for (const auto* watch : unsatisfied_) {
        std::optional<std::int64_t> left;
        if (knows_all(*watch) && watch->report) {
            left = watch->report->connections;
        } else if (seen) {
            left = waited_for(*seen, watch->mode, scene_.settings.drain_idle);
        }
        if (left) most = std::max(most.value_or(0), *left);
    }
    return most;
}

/// A drain that timed out on connections at rest says what `idle` would have saved.
void Leaving::explain_rest(std::size_t phase) {
    if (!last_seen_ || last_seen_->empty()) return;
    auto shortest = Clock::duration::max();
    for (const auto& connection : *last_seen_) {
        if (!connection.at_rest) return;
        shortest = std::min(shortest, *connection.at_rest);
    }
    const auto saved = shortest - scene_.settings.drain_idle;
    scene_.recorder.note(phase, "atRestMs", milliseconds(shortest));
    if (saved > 0ns) scene_.recorder.note(phase, "idleWouldHaveSavedMs", milliseconds(saved));
}

std::string Leaving::waiting_for() const {
    std::string text;
    for (const auto* watch : unsatisfied_) {
        if (!text.empty()) text += ", ";
        const auto& report = watch->report;
        if (knows_all(*watch) && report && report->connections) {
            text += fmt::format("{} in flight at {}", *report->connections, watch->membership.url);
        } else if (last_seen_) {
            const std::size_t open = last_seen_->size();
            text += fmt::format("{} open connection{} behind {}", open, open == 1 ? "" : "s",
                                watch->membership.url);
        } else {
            text += fmt::format("{} (no evidence of connections)", watch->membership.url);
        }
    }
    return text;
}

awaitable<void> Leaving::deregister_late() {
    const auto until = scene_.clock.now() + grace_after_exit;
    for (auto& watch : watches_) {
        if (watch.acknowledged || !watch.may_retry) continue;
        Detail detail;
        detail.set("loadBalancer", watch.membership.url);
        const auto phase = co_await scene_.recorder.begin(Phase::cleanup, "", detail);
        watch.acknowledged = co_await attempt(watch, until);
        if (!watch.acknowledged) scene_.recorder.note(phase, "error", watch.error);
        co_await scene_.recorder.end(phase,
                                     watch.acknowledged ? Outcome::completed : Outcome::failed);
    }
}

awaitable<void> Leaving::close() {
    asking_.cancel();
    co_await asking_.close();
}

}  // namespace lastcall
