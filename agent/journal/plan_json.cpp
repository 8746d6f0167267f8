#include "agent/journal/plan_json.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace lastcall {
namespace {

namespace json = boost::json;

json::object object(const Requester& by) {
    json::object object{{"via", by.via}};
    if (by.uid) object["uid"] = *by.uid;
    if (by.pid) object["pid"] = *by.pid;
    return object;
}

void set(json::object& to, std::string_view key, const std::optional<Requester>& by) {
    if (by) to[key] = object(*by);
}

void set(json::object& to, std::string_view key, const std::optional<Clock::duration>& duration) {
    if (duration) to[key] = duration->count();
}

void set(json::object& to, std::string_view key, const PlannedLimit& limit) {
    if (limit.at == never) return;
    json::object object{{"atBootNs", limit.at.time_since_epoch().count()}, {"why", limit.why}};
    set(object, "by", limit.by);
    to[key] = std::move(object);
}

std::optional<Requester> requester(const json::object& from, std::string_view key) {
    const auto* const value = from.if_contains(key);
    if (!value) return std::nullopt;
    const auto& object = value->as_object();
    Requester by{.via = std::string(object.at("via").as_string())};
    if (const auto* const uid = object.if_contains("uid")) by.uid = uid->to_number<std::uint32_t>();
    if (const auto* const pid = object.if_contains("pid")) by.pid = pid->to_number<std::int32_t>();
    return by;
}

std::optional<Clock::duration> duration(const json::object& from, std::string_view key) {
    const auto* const value = from.if_contains(key);
    if (!value) return std::nullopt;
    return Clock::duration(value->to_number<Clock::duration::rep>());
}

PlannedLimit limit(const json::object& from, std::string_view key) {
    const auto* const value = from.if_contains(key);
    if (!value) return {};
    const auto& object = value->as_object();
    return {.at = Clock::time_point(duration(object, "atBootNs").value_or(0ns)),
            .why = std::string(object.at("why").as_string()),
            .by = requester(object, "by")};
}

}  // namespace

std::string plan_json(const StopPlan& plan) {
    json::object object{{"deregistrationDelayNs", plan.deregistration_delay.count()}};
    set(object, "leave", plan.leave);
    set(object, "signal", plan.signal);
    set(object, "kill", plan.kill);
    set(object, "wantedTimeoutNs", plan.wanted_timeout);
    set(object, "shortenedTimeoutNs", plan.shortened_timeout);
    set(object, "undrainedBy", plan.undrained_by);
    set(object, "forcedBy", plan.forced_by);
    if (plan.has_deadline) object["hasDeadline"] = true;
    if (!plan.drains) object["drains"] = false;
    if (plan.stop_signal) object["stopSignal"] = *plan.stop_signal;
    return json::serialize(object);
}

StopPlan plan_from_json(std::string_view stored) {
    if (stored.empty()) return {};
    const auto value = json::parse({stored.data(), stored.size()});
    const auto& object = value.as_object();
    StopPlan plan{.leave = limit(object, "leave"),
                  .signal = limit(object, "signal"),
                  .kill = limit(object, "kill"),
                  .deregistration_delay = *duration(object, "deregistrationDelayNs"),
                  .wanted_timeout = duration(object, "wantedTimeoutNs"),
                  .shortened_timeout = duration(object, "shortenedTimeoutNs"),
                  .has_deadline = object.contains("hasDeadline"),
                  .drains = !object.contains("drains"),
                  .undrained_by = requester(object, "undrainedBy"),
                  .forced_by = requester(object, "forcedBy")};
    if (const auto* const signal = object.if_contains("stopSignal"))
        plan.stop_signal = signal->to_number<int>();
    return plan;
}

}  // namespace lastcall
