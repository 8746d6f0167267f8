#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <utility>

#include "agent/log.hpp"

namespace lastcall {
namespace {

using Fields = std::vector<Field>;

/// `Log::say` takes its fields in braces, and these are found one by one: so they are put there by
/// number. What is more than `most` is left out.
template <std::size_t... index>
void say(Log& log, Level level, std::string_view message, const Fields& fields,
         std::index_sequence<index...>) {
    log.say(level, message, {fields[index]...});
}
template <std::size_t most = 24>
void say(Log& log, Level level, std::string_view message, const Fields& fields) {
    if (fields.size() >= most) {
        return say(log, level, message, fields, std::make_index_sequence<most>());
    }
    if constexpr (most > 0) say<most - 1>(log, level, message, fields);
}

std::string milliseconds(Clock::duration duration) {
    return fmt::format("{:.3f}", std::chrono::duration<double, std::milli>(duration).count());
}

std::string text(const Detail::Value& value) {
    if (const auto* const given = std::get_if<bool>(&value)) return *given ? "true" : "false";
    if (const auto* const given = std::get_if<std::int64_t>(&value)) return std::to_string(*given);
    if (const auto* const given = std::get_if<double>(&value)) return fmt::format("{}", *given);
    return std::get<std::string>(value);
}

bool went_wrong(const PhaseRecord& phase) {
    return phase.outcome == Outcome::timed_out || phase.outcome == Outcome::failed;
}

/// A stop with nobody to wait for, as of a plain init, is nothing to talk about unless it goes
/// wrong (DESIGN section 1).
Level level_of(const StopRecord& stop) {
    const auto talks_to_load_balancers = [](const PhaseRecord& each) {
        return each.phase == Phase::deregister || each.phase == Phase::drain;
    };
    const bool any = std::any_of(stop.phases.begin(), stop.phases.end(), talks_to_load_balancers);
    return any ? Level::info : Level::debug;
}

/// The OOM killer's work, or a SIGKILL that wasn't ours: whoever looks for the reason of a 137
/// finds it here.
bool is_notable(const ContainerEnd& end) {
    if (!end.exit) return false;
    const bool by_another = end.killed_by == Killer::somebody_else && end.exit->signal == SIGKILL;
    return by_another || !end.reason.empty();
}

Level level_of_end(const StopRecord& stop) {
    if (stop.outcome == StopOutcome::unkillable) return Level::error;
    if (stop.outcome == StopOutcome::killed) return Level::warn;
    const bool trouble = std::any_of(stop.phases.begin(), stop.phases.end(), went_wrong) ||
                         std::any_of(stop.containers.begin(), stop.containers.end(), is_notable);
    return trouble ? Level::warn : level_of(stop);
}

Fields why(const StopRecord& stop) {
    return {{"task", stop.task},
            {"stopCode", std::string(to_string(stop.stop_code))},
            {"stoppedReason", stop.stopped_reason},
            {"requestedBy", to_string(stop.requested_by)}};
}

/// Tells, then records: a slow disk delays no line.
class Logged : public Journal {
 public:
    Logged(Journal& journal, Log& log) : journal_(journal), log_(log) {}

    awaitable<void> record(const TaskState& task) override {
        tell(task);
        return journal_.record(task);
    }

    void note(const TaskState& task) override {
        tell(task);
        journal_.note(task);
    }

    awaitable<std::vector<Remnant>> remnants(Clock::utc_time since) override {
        return journal_.remnants(since);
    }

    awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) override {
        tell(stop, phase);
        return journal_.record(std::move(stop), phase);
    }

    void note(StopRecord stop, std::optional<std::size_t> phase) override {
        tell(stop, phase);
        journal_.note(std::move(stop), phase);
    }

    awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                             std::size_t limit) override {
        return journal_.stops(std::move(task), limit);
    }

    bool flush(std::chrono::milliseconds at_most) override { return journal_.flush(at_most); }
    bool is_instant() const override { return journal_.is_instant(); }

 private:
    void tell(const TaskState& task) {
        if (!log_.hears(Level::debug)) return;
        log_.say(Level::debug, "Task status",
                 {{"task", task.definition.name},
                  {"knownStatus", std::string(to_string(task.last_status))},
                  {"desiredStatus", std::string(to_string(task.desired_status))}});
    }

    void tell(const StopRecord& stop, std::optional<std::size_t> phase) {
        const auto known = told_.try_emplace(stop.id, false).first;
        // Not at once: the first phase shows whether a load balancer is concerned.
        const bool shows = !stop.phases.empty() || stop.outcome.has_value();
        if (!known->second && shows) {
            known->second = true;
            if (log_.hears(level_of(stop))) say(log_, level_of(stop), "Stopping task", why(stop));
        }
        if (phase && *phase < stop.phases.size() && stop.phases[*phase].outcome) {
            tell_phase(stop, stop.phases[*phase]);
        }
        if (phase || !stop.outcome) return;
        tell_end(stop);
        told_.erase(known);
    }

    void tell_phase(const StopRecord& stop, const PhaseRecord& phase) {
        const bool notable = went_wrong(phase) || phase.phase == Phase::sigkill ||
                             phase.detail.find("unattributed") != nullptr;
        const Level level = notable ? Level::warn : level_of(stop);
        if (!log_.hears(level)) return;
        Fields fields{{"task", stop.task}};
        if (!phase.container.empty()) fields.push_back({"container", phase.container});
        fields.push_back({"phase", std::string(to_string(phase.phase))});
        fields.push_back({"outcome", std::string(to_string(*phase.outcome))});
        fields.push_back({"durationMs", milliseconds(phase.duration)});
        for (const auto& [key, value] : phase.detail.entries())
            fields.push_back({key, text(value)});
        say(log_, level, "Phase ended", fields);
    }

    /// How a main process ended, where that is worth a word.
    static Fields ends(const StopRecord& stop) {
        Fields fields;
        for (const auto& each : stop.containers) {
            if (!is_notable(each)) continue;
            fields.push_back({"container", each.name});
            if (each.exit->signal != 0) {
                fields.push_back({"exitSignal", signal_name(each.exit->signal)});
            } else if (each.exit->is_known()) {
                fields.push_back({"exitCode", std::to_string(each.exit->code)});
            }
            if (each.killed_by)
                fields.push_back({"killedBy", std::string(to_string(*each.killed_by))});
            if (!each.reason.empty()) fields.push_back({"reason", each.reason});
        }
        return fields;
    }

    void tell_end(const StopRecord& stop) {
        if (!log_.hears(level_of_end(stop))) return;
        Fields fields = why(stop);
        fields.push_back({"outcome", std::string(to_string(*stop.outcome))});
        fields.push_back({"durationMs", milliseconds(stop.duration)});
        fields.push_back({"savedMs", milliseconds(stop.saved)});
        if (!stop.survivors.empty()) fields.push_back({"survivors", to_string(stop.survivors)});
        for (auto& field : ends(stop)) fields.push_back(std::move(field));
        const bool gone = stop.outcome != StopOutcome::unkillable;
        say(log_, level_of_end(stop), gone ? "Task stopped" : "Cannot stop task", fields);
    }

    Journal& journal_;
    Log& log_;
    std::map<std::string, bool> told_;  ///< by id of each stop in progress: whether its request was
};

}  // namespace

std::unique_ptr<Journal> logged(Journal& journal, Log& log) {
    return std::make_unique<Logged>(journal, log);
}

}  // namespace lastcall
