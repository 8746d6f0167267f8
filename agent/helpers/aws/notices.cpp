#include "agent/helpers/aws/notices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <vector>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/reply.hpp"
#include "agent/utc.hpp"

namespace lastcall::aws {
namespace {

namespace json = boost::json;

constexpr auto look_interval = 5s;
constexpr Clock::duration longest_heartbeat = 60s, usual_heartbeat = 15s;

std::string text(const json::object& object, const char* key) {
    const auto* const found = object.if_contains(key);
    const auto* const string = found == nullptr ? nullptr : found->if_string();
    return string == nullptr ? "" : std::string(string->data(), string->size());
}

std::string fate(const std::string& action) {
    if (action == "terminate") return "will be terminated";
    if (action == "stop") return "will be stopped";
    if (action == "hibernate") return "will be hibernated";
    return "will end (" + action + ")";
}

}  // namespace

std::optional<SpotAction> parse_spot_action(std::string_view body) {
    boost::system::error_code error;
    const json::value value = json::parse({body.data(), body.size()}, error);
    const auto* const object = error ? nullptr : value.if_object();
    if (object == nullptr) return std::nullopt;
    SpotAction result{text(*object, "action"), text(*object, "time")};
    if (result.action.empty()) return std::nullopt;
    if (!utc_time(result.time)) result.time.clear();
    return result;
}

Notices::Hook Notices::parse_hook(const std::string& text) {
    const auto slash = text.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) {
        throw Failure(fmt::format("the lifecycle hook is {}, expected GROUP/HOOK", quoted(text)),
                      false);
    }
    return {text.substr(0, slash), text.substr(slash + 1)};
}

awaitable<void> Notices::watch(bool spot, std::string hook, Tell tell, Note note) {
    std::vector<awaitable<void>> watching;
    if (!hook.empty()) hook_ = parse_hook(hook);
    if (!hook.empty()) watching.push_back(watch_hook(tell, note));
    if (spot) watching.push_back(watch_spot(tell, note));
    if (watching.empty()) watching.push_back(clock_.sleep_until(never));
    auto both = all(std::move(watching));
    co_await std::move(both);
}

awaitable<std::optional<std::string>> Notices::look(std::string path, Note note) {
    std::string trouble;
    std::optional<std::string> found;
    try {
        auto getting = instance_.get(std::move(path));
        found = co_await std::move(getting);
    } catch (const Failure& failure) {  // it is looked again
        trouble = failure.what();
    }
    if (trouble != trouble_ && !trouble.empty()) note(trouble);
    trouble_ = trouble;
    co_return found;
}

awaitable<std::string> Notices::name_of_instance() {
    try {
        auto reading = instance_.instance_id();
        co_return co_await std::move(reading);
    } catch (const Failure&) {  // it goes without
    }
    co_return "this";
}

awaitable<void> Notices::watch_spot(Tell tell, Note note) {
    std::string told;
    for (;;) {
        auto looking = look("spot/instance-action", note);
        const auto body = co_await std::move(looking);
        const auto action = body ? parse_spot_action(*body) : std::nullopt;
        if (body && !action) note("spot/instance-action isn't understood: " + quoted(*body));
        if (action && told != *body) {
            auto naming = name_of_instance();
            const std::string name = co_await std::move(naming);
            told = *body;
            tell({"SpotInterruption",
                  fmt::format("spot instance {} {}", name, fate(action->action)), action->time});
        }
        auto resting = clock_.sleep_until(after(clock_.now(), look_interval));
        co_await std::move(resting);
    }
}

awaitable<void> Notices::watch_hook(Tell tell, Note note) {
    for (;;) {
        auto looking = look("autoscaling/target-lifecycle-state", note);
        const auto state = co_await std::move(looking);
        // "Warmed:Terminated" in a warm pool.
        if (state && state->find("Terminated") != state->npos) break;
        auto resting = clock_.sleep_until(after(clock_.now(), look_interval));
        co_await std::move(resting);
    }
    auto naming = name_of_instance();
    const std::string name = co_await std::move(naming);
    tell({"TerminationNotice",
          fmt::format("Auto Scaling group {} terminates instance {}", quoted(hook_->group), name)});
    auto beating = done(heartbeats(note));
    co_await unless(completing_.wait(), std::move(beating));
    auto resting = clock_.sleep_until(never);
    co_await std::move(resting);
}

awaitable<std::string> Notices::call(std::string action, Query query, Note note,
                                     Clock::duration at_most) {
    const auto deadline = after(clock_.now(), at_most);
    auto locating = api_.region();
    std::string region = co_await std::move(locating);
    auto calling = api_.call(auto_scaling_service, std::move(region), std::move(query), deadline,
                             std::move(note));
    const std::string body = co_await std::move(calling);
    read_empty(body, action);
    co_return body;
}

awaitable<Query> Notices::about_instance(std::string action) {
    auto reading = instance_.instance_id();
    const std::string instance = co_await std::move(reading);
    Query query(std::move(action), auto_scaling_version);
    query.add("AutoScalingGroupName", hook_->group)
        .add("LifecycleHookName", hook_->name)
        .add("InstanceId", instance);
    co_return query;
}

awaitable<Clock::duration> Notices::heartbeat_interval(Note note) {
    Query query("DescribeLifecycleHooks", auto_scaling_version);
    query.add("AutoScalingGroupName", hook_->group).add("LifecycleHookNames.member.1", hook_->name);
    std::string trouble;
    try {
        auto calling = call(query.action(), query, note, usual_heartbeat);
        const std::string body = co_await std::move(calling);
        const auto timeout = read_heartbeat_timeout(body, hook_->name);
        if (timeout) {
            const Clock::duration half = std::chrono::milliseconds(500) * *timeout;
            co_return std::clamp<Clock::duration>(half, 500ms, longest_heartbeat);
        }
        trouble = "the hook isn't listed";
    } catch (const Failure& failure) {  // often enough for the shortest that AWS allows
        trouble = failure.what();
    }
    note(fmt::format("the hook's heartbeat timeout isn't known, {} s are kept: {}",
                     std::chrono::seconds(15).count(), trouble));
    co_return usual_heartbeat;
}

awaitable<void> Notices::heartbeats(Note note) {
    std::optional<Clock::duration> interval;
    for (;;) {
        const auto began = clock_.now();
        std::string trouble;
        try {
            auto asking = about_instance("RecordLifecycleActionHeartbeat");
            const Query query = co_await std::move(asking);
            auto calling = call(query.action(), query, note, usual_heartbeat);
            co_await std::move(calling);
        } catch (const Failure& failure) {  // the next one may be heard
            trouble = failure.what();
        }
        if (!trouble.empty()) note(trouble);
        if (!interval) {
            auto asking = heartbeat_interval(note);
            interval = co_await std::move(asking);
        }
        auto resting = clock_.sleep_until(after(began, *interval));
        co_await std::move(resting);
    }
}

awaitable<void> Notices::complete(std::string result, Note note) {
    if (result != "CONTINUE" && result != "ABANDON") {
        throw Failure(fmt::format("result is {}, expected CONTINUE or ABANDON", quoted(result)),
                      false);
    }
    if (!hook_) co_return;
    completing_.set();
    std::string nothing;
    try {
        auto asking = about_instance("CompleteLifecycleAction");
        Query query = co_await std::move(asking);
        query.add("LifecycleActionResult", result);
        auto calling = call(query.action(), query, note, 10min);
        co_await std::move(calling);
    } catch (
        const Failure& failure) {  // it wasn't Auto Scaling that ended it, or it waits no longer
        nothing = failure.what();
        if (failure.code() != "ValidationError" ||
            nothing.find("No active Lifecycle") == nothing.npos)
            throw;
    }
    if (!nothing.empty()) note(nothing);
}

}  // namespace lastcall::aws
