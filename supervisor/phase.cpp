#include "supervisor/phase.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "supervisor/vocabulary.hpp"

namespace lastcall {
namespace {

constexpr Word<Phase> phases[] = {
    {Phase::deregister, "DEREGISTER"}, {Phase::drain, "DRAIN"},     {Phase::pre_stop, "PRE_STOP"},
    {Phase::sigterm, "SIGTERM"},       {Phase::sigkill, "SIGKILL"}, {Phase::cleanup, "CLEANUP"},
};
constexpr Word<Outcome> outcomes[] = {
    {Outcome::completed, "completed"},     {Outcome::timed_out, "timed_out"},
    {Outcome::failed, "failed"},           {Outcome::skipped, "skipped"},
    {Outcome::interrupted, "interrupted"},
};
constexpr Word<StopOutcome> stop_outcomes[] = {
    {StopOutcome::graceful, "graceful"},
    {StopOutcome::killed, "killed"},
    {StopOutcome::exited, "exited"},
    {StopOutcome::unkillable, "unkillable"},
};

constexpr Word<Killer> killers[] = {
    {Killer::sigterm, "SIGTERM"},
    {Killer::sigkill, "SIGKILL"},
    {Killer::oom_killer, "OomKiller"},
    {Killer::somebody_else, "SomebodyElse"},
};

}  // namespace

void Detail::set(std::string_view key, Value value) {
    for (auto& [each, known] : entries_) {
        if (each != key) continue;
        known = std::move(value);
        return;
    }
    entries_.emplace_back(key, std::move(value));
}

const Detail::Value* Detail::find(std::string_view key) const {
    const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                    [key](const auto& each) { return each.first == key; });
    return entry == entries_.end() ? nullptr : &entry->second;
}

std::string to_string(const Requester& requester) {
    std::string text;
    const auto add = [&text](const std::string& fact) {
        text += (text.empty() ? "" : ", ") + fact;
    };
    if (requester.uid) add("uid " + std::to_string(*requester.uid));
    if (requester.pid) add("pid " + std::to_string(*requester.pid));
    if (!requester.via.empty()) add("via " + requester.via);
    return text;
}

std::string_view to_string(Phase phase) { return spelling_of(phase, phases); }
std::string_view to_string(Outcome outcome) { return spelling_of(outcome, outcomes); }
std::string_view to_string(StopOutcome outcome) { return spelling_of(outcome, stop_outcomes); }
std::string_view to_string(Killer killer) { return spelling_of(killer, killers); }
std::optional<Killer> killer(std::string_view text) { return value_of(text, killers); }

std::string to_string(const std::vector<Survivor>& survivors) {
    std::string all;
    for (const auto& each : survivors) {
        all += fmt::format("{}{} '{}' {}", all.empty() ? "" : ", ", each.pid, each.command,
                           each.state);
        if (!each.wait_channel.empty()) all += " " + each.wait_channel;
    }
    return all;
}

}  // namespace lastcall
