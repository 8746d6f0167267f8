#pragma once
#include <string>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"

// Stops to be drawn, and what they are drawn on.
namespace lastcall::testing {

using cli::Canvas;

inline constexpr Canvas file = {.width = 0, .colour = false, .utf8 = true};
inline constexpr Canvas ascii = {.width = 0, .colour = false, .utf8 = false};
inline constexpr Canvas narrow = {.width = 72, .colour = false, .utf8 = true};

inline const std::string haproxy = "haproxy:///run/admin.sock?server=web/web1";

inline api::Phase phase(std::string name, std::string started_at, double milliseconds,
                        std::string outcome, api::json::object detail) {
    api::Phase it;
    it.phase = std::move(name);
    it.startedAt = std::move(started_at);
    it.durationMs = milliseconds;
    it.outcome = std::move(outcome);
    it.detail = std::move(detail);
    return it;
}

inline api::ContainerEnd exited(std::string name, std::int64_t code) {
    api::ContainerEnd end;
    end.name = std::move(name);
    end.exitCode = code;
    return end;
}

inline api::ContainerEnd killed(std::string name) {
    api::ContainerEnd end;
    end.name = std::move(name);
    end.signal = end.killedBy = "SIGKILL";
    return end;
}

inline api::Stop drained() {
    api::Stop stop;
    stop.id = "1";
    stop.task = "web1";
    stop.stopCode = "UserInitiated";
    stop.stoppedReason = "Task stopped by user";
    stop.requestedBy = {.uid = 0, .pid = 4711, .via = "api"};
    stop.requestedAt = "2026-01-31T12:00:00.000000Z";
    stop.stoppedAt = "2026-01-31T12:00:02.000000Z";
    stop.durationMs = 2000;
    stop.outcome = "graceful";
    stop.deregistrationDelayMs = 300'000;
    stop.savedMs = 298'400;
    stop.containers = {exited("web1", 0)};
    stop.phases = {phase("DEREGISTER", "2026-01-31T12:00:00.000200Z", 0.8, "completed",
                         {{"loadBalancer", haproxy}, {"attempts", 1}}),
                   phase("DRAIN", "2026-01-31T12:00:00.001000Z", 1600, "completed",
                         {{"connectionsAtStart", 12},
                          {"connectionsPeak", 14},
                          {"connectionsAtEnd", 0},
                          {"arrivedAfterDeregistration", 1},
                          {"inFlightAtLoadBalancer", 0}}),
                   phase("SIGTERM", "2026-01-31T12:00:01.601000Z", 399, "completed",
                         {{"signal", "SIGTERM"}, {"stopTimeoutMs", 30000}, {"exitCode", 0}})};
    stop.phases[2].container = "web1";
    return stop;
}

inline api::Stop draining() {
    api::Stop stop = drained();
    stop.outcome.reset();
    stop.stoppedAt.reset();
    stop.durationMs = 1500;
    stop.phases.pop_back();
    stop.phases[1].outcome.reset();
    stop.phases[1].durationMs = 0;
    stop.phases[1].detail = {{"connectionsAtStart", 12}};
    return stop;
}

inline api::Progress waiting(std::string what) {
    api::Progress progress;
    progress.stop = draining();
    progress.connections = 3;
    progress.waitingFor = std::move(what);
    progress.next = "SIGTERM";
    progress.nextInMs = 298'500;
    return progress;
}

}  // namespace lastcall::testing
