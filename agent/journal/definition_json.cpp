#include "agent/journal/definition_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

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
    return object;
}

json::object object(const StopSettings& stop) {
    json::object object{{"deregistrationDelayNs", stop.deregistration_delay.count()},
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

}  // namespace

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
