#include "agent/journal/definition_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>

namespace lastcall {
namespace {

namespace json = boost::json;

json::array array(const std::vector<std::string>& texts) {
    return json::array(texts.begin(), texts.end());
}

json::object object(const ContainerDefinition& container) {
    json::object object{{"name", container.name},
                        {"command", array(container.command)},
                        {"environment", array(container.environment)},
                        {"workingDirectory", container.working_directory},
                        {"logFile", container.log_file},
                        {"essential", container.essential},
                        {"dependsOn", array(container.depends_on)}};
    if (container.stop_timeout) object["stopTimeoutNs"] = container.stop_timeout->count();
    if (container.identity) {
        const auto& [uid, gid, groups] = *container.identity;
        object["identity"] = {
            {"uid", uid}, {"gid", gid}, {"groups", json::array(groups.begin(), groups.end())}};
    }
    return object;
}

json::object object(const StopSettings& stop) {
    json::object object{{"deregistrationDelayNs", stop.deregistration_delay.count()},
                        {"deregistrationDelayIsChosen", stop.delay_is_chosen},
                        {"deregisterTimeoutNs", stop.deregister_timeout.count()},
                        {"drain", std::string(to_string(stop.drain))},
                        {"drainIdleNs", stop.drain_idle.count()},
                        {"signalScope", std::string(to_string(stop.signal_scope))},
                        {"preStop", stop.pre_stop},
                        {"preStopTimeoutNs", stop.pre_stop_timeout.count()}};
    if (stop.drain_signal) object["drainSignal"] = signal_name(*stop.drain_signal);
    if (stop.stop_timeout) object["stopTimeoutNs"] = stop.stop_timeout->count();
    if (stop.stop_signal) object["stopSignal"] = signal_name(*stop.stop_signal);
    if (stop.stop_deadline) object["stopDeadlineNs"] = stop.stop_deadline->count();
    return object;
}

// The way back. What isn't there keeps its default, so that an older agent's task can be read.

std::string text(const json::object& object, std::string_view key) {
    const auto* const value = object.if_contains(key);
    return value ? std::string(value->as_string()) : std::string();
}

std::vector<std::string> texts(const json::object& object, std::string_view key) {
    std::vector<std::string> all;
    const auto* const value = object.if_contains(key);
    if (!value) return all;
    for (const auto& each : value->as_array()) all.emplace_back(each.as_string());
    return all;
}

template <class Number>
std::vector<Number> numbers(const json::object& object, std::string_view key) {
    std::vector<Number> all;
    const auto* const value = object.if_contains(key);
    if (!value) return all;
    for (const auto& each : value->as_array()) all.push_back(each.to_number<Number>());
    return all;
}

std::optional<Clock::duration> duration(const json::object& object, std::string_view key) {
    const auto* const value = object.if_contains(key);
    if (!value) return std::nullopt;
    return Clock::duration(value->to_number<Clock::duration::rep>());
}

std::optional<int> signal(const json::object& object, std::string_view key) {
    return object.contains(key) ? signal_number(text(object, key)) : std::nullopt;
}

template <class Value>
Value or_throw(std::optional<Value> value, std::string_view text) {
    if (value) return *value;
    throw std::runtime_error("a task's definition has '" + std::string(text) +
                             "', which nobody knows");
}

ContainerDefinition container_from(const json::object& object) {
    ContainerDefinition container{.name = text(object, "name"),
                                  .command = texts(object, "command"),
                                  .environment = texts(object, "environment"),
                                  .working_directory = text(object, "workingDirectory"),
                                  .log_file = text(object, "logFile"),
                                  .depends_on = texts(object, "dependsOn"),
                                  .stop_timeout = duration(object, "stopTimeoutNs")};
    if (const auto* const essential = object.if_contains("essential"))
        container.essential = essential->as_bool();
    if (const auto* const identity = object.if_contains("identity")) {
        const auto& who = identity->as_object();
        container.identity = Identity{.uid = who.at("uid").to_number<uid_t>(),
                                      .gid = who.at("gid").to_number<gid_t>(),
                                      .groups = numbers<gid_t>(who, "groups")};
    }
    return container;
}

StopSettings settings_from(const json::object& object) {
    StopSettings stop;
    const auto set = [&object](Clock::duration& to, std::string_view key) {
        to = duration(object, key).value_or(to);
    };
    set(stop.deregistration_delay, "deregistrationDelayNs");
    const auto* const chosen = object.if_contains("deregistrationDelayIsChosen");
    stop.delay_is_chosen = !chosen || chosen->as_bool();
    set(stop.deregister_timeout, "deregisterTimeoutNs");
    set(stop.drain_idle, "drainIdleNs");
    set(stop.pre_stop_timeout, "preStopTimeoutNs");
    const auto mode = text(object, "drain"), scope = text(object, "signalScope");
    stop.drain = or_throw(drain_mode(mode), mode);
    stop.signal_scope = or_throw(signal_scope(scope), scope);
    stop.drain_signal = signal(object, "drainSignal");
    stop.stop_timeout = duration(object, "stopTimeoutNs");
    stop.stop_signal = signal(object, "stopSignal");
    stop.stop_deadline = duration(object, "stopDeadlineNs");
    stop.pre_stop = text(object, "preStop");
    return stop;
}

}  // namespace

TaskDefinition definition_from_json(std::string_view stored) {
    json::parse_options options;
    options.allow_invalid_utf8 = true;  // a variable may hold anything
    const auto value = json::parse({stored.data(), stored.size()}, {}, options);
    const auto& object = value.as_object();
    TaskDefinition definition{.name = text(object, "name"),
                              .load_balancers = texts(object, "loadBalancers"),
                              .ports = numbers<std::uint16_t>(object, "ports"),
                              .stop = settings_from(object.at("stop").as_object())};
    for (const auto& each : object.at("containers").as_array())
        definition.containers.push_back(container_from(each.as_object()));
    return definition;
}

std::string definition_json(const TaskDefinition& definition) {
    json::array containers;
    for (const auto& container : definition.containers) containers.push_back(object(container));
    return json::serialize(
        json::object{{"name", definition.name},
                     {"containers", std::move(containers)},
                     {"loadBalancers", array(definition.load_balancers)},
                     {"ports", json::array(definition.ports.begin(), definition.ports.end())},
                     {"stop", object(definition.stop)}});
}

}  // namespace lastcall
