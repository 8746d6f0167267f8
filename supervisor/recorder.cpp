#include "supervisor/recorder.hpp"

#include <algorithm>

namespace lastcall {

Recorder::Recorder(Clock& clock, Journal& journal, Log& log, StopRecord record)
    : clock_(clock), journal_(journal), log_(log), record_(std::move(record)) {}

awaitable<std::size_t> Recorder::begin(Phase phase, std::string container, Detail detail) {
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

Outcome Recorder::note_limit(std::size_t index, const Limit& limit) {
    note(index, "limit", limit.why());
    if (limit.by()) note(index, "requestedBy", to_string(*limit.by()));
    return limit.by() ? Outcome::interrupted : Outcome::timed_out;
}

awaitable<void> Recorder::end(std::size_t index, Outcome outcome) {
    auto& phase = record_.phases[index];
    phase.duration = clock_.now() - phase.started;
    phase.outcome = outcome;
    co_await write(index);
}

awaitable<void> Recorder::skip(Phase phase, std::string container, std::string why,
                               std::optional<Requester> by) {
    Detail detail;
    detail.set("reason", std::move(why));
    if (by) detail.set("requestedBy", to_string(*by));
    record_.phases.push_back({.phase = phase,
                              .container = std::move(container),
                              .started = clock_.now(),
                              .started_at = clock_.utc(),
                              .outcome = Outcome::skipped,
                              .detail = std::move(detail)});
    co_await write(record_.phases.size() - 1);
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
