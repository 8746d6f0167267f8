#include "supervisor/recorder.hpp"

#include <algorithm>

namespace lastcall {
namespace {

std::string_view load_balancer_of(const Detail& detail) {
    const auto* const url = detail.find("loadBalancer");
    return url ? std::string_view(std::get<std::string>(*url)) : std::string_view();
}

}  // namespace

Recorder::Recorder(Clock& clock, Journal& journal, Log& log, StopRecord record)
    : clock_(clock),
      journal_(journal),
      log_(log),
      record_(std::move(record)),
      inherited_(record_.phases.size()) {}

std::optional<std::size_t> Recorder::earlier(Phase phase, std::string_view container,
                                             std::string_view load_balancer, bool over) const {
    for (std::size_t index = 0; index < inherited_; ++index) {
        const auto& each = record_.phases[index];
        if (each.phase == phase && each.container == container &&
            load_balancer_of(each.detail) == load_balancer && each.outcome.has_value() == over) {
            return index;
        }
    }
    return std::nullopt;
}

bool Recorder::under_way(Phase phase, std::string_view container,
                         std::string_view load_balancer) const {
    return earlier(phase, container, load_balancer, false).has_value();
}

const PhaseRecord* Recorder::ended(Phase phase, std::string_view container,
                                   std::string_view load_balancer) const {
    const auto index = earlier(phase, container, load_balancer, true);
    return index ? &record_.phases[*index] : nullptr;
}

awaitable<std::size_t> Recorder::begin(Phase phase, std::string container, Detail detail) {
    if (const auto open = earlier(phase, container, load_balancer_of(detail), false)) {
        const auto* const before = record_.phases[*open].detail.find("agentRestarts");
        note(*open, "agentRestarts", (before ? std::get<std::int64_t>(*before) : 0) + 1);
        co_await write(open);
        co_return *open;
    }
    const std::size_t index = record_.phases.size();
    record_.phases.push_back({.phase = phase,
                              .container = std::move(container),
                              .started = clock_.now(),
                              .started_at = clock_.utc(),
                              .detail = std::move(detail)});
    co_await write(index);
    co_return index;
}

void Recorder::note(std::size_t index, std::string_view key, Detail::Value value) {
    record_.phases[index].detail.set(key, std::move(value));
}

void Recorder::note_for_good(std::size_t index, std::string_view key, Detail::Value value) {
    note(index, key, std::move(value));
    keep(index);
}

Outcome Recorder::note_limit(std::size_t index, const Limit& limit) {
    note(index, "limit", limit.why());
    if (limit.by()) note(index, "requestedBy", to_string(*limit.by()));
    return limit.by() ? Outcome::interrupted : Outcome::timed_out;
}

void Recorder::end(std::size_t index, Outcome outcome) {
    auto& phase = record_.phases[index];
    phase.duration = clock_.now() - phase.started;
    phase.outcome = outcome;
    keep(index);
}

void Recorder::skip(Phase phase, std::string container, std::string why,
                    std::optional<Requester> by) {
    if (ended(phase, container)) return;
    Detail detail;
    detail.set("reason", std::move(why));
    if (by) detail.set("requestedBy", to_string(*by));
    record_.phases.push_back({.phase = phase,
                              .container = std::move(container),
                              .started = clock_.now(),
                              .started_at = clock_.utc(),
                              .outcome = Outcome::skipped,
                              .detail = std::move(detail)});
    keep(record_.phases.size() - 1);
}

void Recorder::keep(std::optional<std::size_t> phase) {
    // Caught here: the next record says why.
    try {
        journal_.note(record_, phase);
    } catch (...) {
        log_.say(Level::error, "Stop goes on without its journal",
                 {{"task", record_.task}, {"error", failure_text()}});
    }
}

awaitable<void> Recorder::write(std::optional<std::size_t> phase) {
    const auto started = clock_.now();
    std::string trouble;
    // Caught here, because a full disk must not keep a task alive.
    try {
        auto recording = done(journal_.record(record_, phase));
        std::optional<bool> recorded;
        if (journal_.is_instant()) {
            recorded = co_await std::move(recording);
        } else {
            recorded = co_await before(clock_, started + patience_, std::move(recording));
        }
        if (!recorded) trouble = "cannot record a stop in time: the journal is slow";
    } catch (...) {
        trouble = failure_text();
    }
    patience_ = std::max(patience_ - (clock_.now() - started), Clock::duration::zero());
    if (!trouble.empty()) {
        log_.say(Level::error, "Stop goes on without its journal",
                 {{"task", record_.task}, {"error", trouble}});
    }
}

}  // namespace lastcall
