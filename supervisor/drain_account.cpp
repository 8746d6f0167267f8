#include <fmt/format.h>

#include <algorithm>

#include "supervisor/drain.hpp"

// What a drain tells, while it goes on and in the record.
namespace lastcall {
namespace {

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
