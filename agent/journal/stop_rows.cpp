#include "agent/journal/stop_rows.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <initializer_list>

#include "agent/journal/detail_json.hpp"
#include "agent/journal/plan_json.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

namespace json = boost::json;

// Whose stop it is and when it was requested never change.
constexpr std::string_view put_stop = R"sql(
insert into stops (id, task, task_id, stop_code, stopped_reason, requested_by_uid, requested_by_pid,
    requested_by_via, requested_at, requested_boot_ns, boot_id, stopped_at, duration_ns, outcome,
    survivors, deregistration_delay_ns, saved_ns, containers, plan)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (id) do update set stop_code = excluded.stop_code,
    stopped_reason = excluded.stopped_reason, requested_by_uid = excluded.requested_by_uid,
    requested_by_pid = excluded.requested_by_pid, requested_by_via = excluded.requested_by_via,
    stopped_at = excluded.stopped_at, duration_ns = excluded.duration_ns,
    outcome = excluded.outcome, survivors = excluded.survivors,
    deregistration_delay_ns = excluded.deregistration_delay_ns, saved_ns = excluded.saved_ns,
    containers = excluded.containers, plan = excluded.plan)sql";

constexpr std::string_view put_phase = R"sql(
insert or replace into phases (stop_id, position, phase, container, started_at, started_boot_ns,
    duration_ns, outcome, detail) values (?, ?, ?, ?, ?, ?, ?, ?, ?))sql";

// rowid grows with each stop that is begun; the index on `task` holds it too.
constexpr std::string_view all_stops = R"sql(
select id, task, task_id, stop_code, stopped_reason, requested_by_uid, requested_by_pid,
    requested_by_via, requested_at, requested_boot_ns, stopped_at, duration_ns, outcome, survivors,
    deregistration_delay_ns, saved_ns, containers, plan
from stops order by rowid desc limit ?)sql";
constexpr std::string_view stops_of_task = R"sql(
select id, task, task_id, stop_code, stopped_reason, requested_by_uid, requested_by_pid,
    requested_by_via, requested_at, requested_boot_ns, stopped_at, duration_ns, outcome, survivors,
    deregistration_delay_ns, saved_ns, containers, plan
from stops where task = ?2 order by rowid desc limit ?1)sql";
constexpr std::string_view last_stop = R"sql(
select id, task, task_id, stop_code, stopped_reason, requested_by_uid, requested_by_pid,
    requested_by_via, requested_at, requested_boot_ns, stopped_at, duration_ns, outcome, survivors,
    deregistration_delay_ns, saved_ns, containers, plan
from stops where task_id = ? order by rowid desc limit 1)sql";

constexpr std::string_view phases_of_stop = R"sql(
select phase, container, started_at, started_boot_ns, duration_ns, outcome, detail
from phases where stop_id = ? order by position)sql";

constexpr auto stop_codes = {StopCode::user_initiated,       StopCode::essential_container_exited,
                             StopCode::task_failed_to_start, StopCode::spot_interruption,
                             StopCode::termination_notice,   StopCode::service_scheduler_initiated};
constexpr auto stop_outcomes = {StopOutcome::graceful, StopOutcome::killed, StopOutcome::exited,
                                StopOutcome::unkillable};
constexpr auto phase_kinds = {Phase::deregister, Phase::drain,   Phase::pre_stop,
                              Phase::sigterm,    Phase::sigkill, Phase::cleanup};
constexpr auto phase_outcomes = {Outcome::completed, Outcome::timed_out, Outcome::failed,
                                 Outcome::skipped, Outcome::interrupted};

/// The one of `all` that is spelled so.
template <class Value>
Value spelled(std::string_view text, std::initializer_list<Value> all) {
    for (const Value each : all) {
        if (to_string(each) == text) return each;
    }
    throw std::runtime_error("the journal has '" + std::string(text) + "', which nobody knows");
}
template <class Value>
std::optional<Value> spelled(const std::optional<std::string>& text,
                             std::initializer_list<Value> all) {
    if (!text) return std::nullopt;
    return spelled(std::string_view(*text), all);
}

template <class Value>
Cell cell(const std::optional<Value>& value) {
    if (!value) return nullptr;
    return *value;
}

std::int64_t since_boot(Clock::time_point at) { return at.time_since_epoch().count(); }
Clock::time_point boot_time(std::int64_t count) {
    return Clock::time_point(Clock::duration(count));
}

Clock::utc_time utc(const std::string& text) {
    const auto at = utc_time(text);
    if (!at) throw std::runtime_error("the journal has '" + text + "', which is no time");
    return *at;
}

json::value parsed(const std::string& text) {
    json::parse_options options;
    options.allow_invalid_utf8 = true;  // a process may call itself anything
    return json::parse(text, {}, options);
}

std::string text(const json::object& object, std::string_view key) {
    const auto* const value = object.if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string survivors_json(const std::vector<Survivor>& survivors) {
    json::array all;
    for (const auto& each : survivors) {
        all.push_back({{"pid", each.pid},
                       {"command", each.command},
                       {"state", std::string(1, each.state)},
                       {"waitChannel", each.wait_channel}});
    }
    return json::serialize(all);
}

std::vector<Survivor> survivors_from(const std::string& stored) {
    std::vector<Survivor> survivors;
    const auto all = parsed(stored);
    for (const auto& each : all.as_array()) {
        const auto& object = each.as_object();
        const auto state = text(object, "state");
        survivors.push_back({.pid = object.at("pid").to_number<std::int32_t>(),
                             .command = text(object, "command"),
                             .state = state.empty() ? '?' : state.front(),
                             .wait_channel = text(object, "waitChannel")});
    }
    return survivors;
}

std::string containers_json(const std::vector<ContainerEnd>& containers) {
    json::array all;
    for (const auto& each : containers) {
        json::object object{{"name", each.name}};
        if (each.exit) {
            object["exitCode"] = each.exit->code;
            if (each.exit->signal != 0) object["signal"] = signal_name(each.exit->signal);
            if (each.exit->core_dumped) object["coreDumped"] = true;
            if (!each.exit->is_known()) object["unknown"] = true;
        }
        if (each.killed_by) object["killedBy"] = std::string(to_string(*each.killed_by));
        if (!each.reason.empty()) object["reason"] = each.reason;
        all.push_back(std::move(object));
    }
    return json::serialize(all);
}

std::vector<ContainerEnd> containers_from(const std::string& stored) {
    std::vector<ContainerEnd> containers;
    const auto all = parsed(stored);
    for (const auto& each : all.as_array()) {
        const auto& object = each.as_object();
        ContainerEnd end{.name = text(object, "name"), .exit = {}, .killed_by = {}, .reason = {}};
        if (const auto* const code = object.if_contains("exitCode")) {
            end.exit =
                ExitStatus{.code = code->to_number<int>(),
                           .signal = signal_number(text(object, "signal")).value_or(0),
                           .core_dumped = object.contains("coreDumped"),
                           .known = object.contains("unknown") ? Known::unseen : Known::exactly};
        }
        if (object.contains("killedBy")) {
            end.killed_by = killer(text(object, "killedBy"));
        }
        end.reason = text(object, "reason");
        containers.push_back(std::move(end));
    }
    return containers;
}

/// From a row of `all_stops` or `stops_of_task`; without its phases.
StopRecord stop_from(const Rows& row) {
    StopRecord stop;
    stop.id = row.text(0);
    stop.task = row.text(1);
    stop.task_id = row.text(2);
    stop.stop_code = spelled(std::string_view(row.text(3)), stop_codes);
    stop.stopped_reason = row.text(4);
    if (const auto uid = row.maybe_integer(5))
        stop.requested_by.uid = static_cast<std::uint32_t>(*uid);
    if (const auto pid = row.maybe_integer(6))
        stop.requested_by.pid = static_cast<std::int32_t>(*pid);
    stop.requested_by.via = row.text(7);
    stop.requested_at = utc(row.text(8));
    stop.requested = boot_time(row.integer(9));
    if (const auto at = row.maybe_text(10)) stop.stopped_at = utc(*at);
    stop.duration = Clock::duration(row.integer(11));
    stop.outcome = spelled(row.maybe_text(12), stop_outcomes);
    stop.survivors = survivors_from(row.text(13));
    stop.deregistration_delay = Clock::duration(row.integer(14));
    stop.saved = Clock::duration(row.integer(15));
    stop.containers = containers_from(row.text(16));
    stop.plan = plan_from_json(row.text(17));
    return stop;
}

}  // namespace

StopRows::StopRows(Database& database, std::string boot_id)
    : boot_id_(std::move(boot_id)),
      put_stop_(database, put_stop),
      put_phase_(database, put_phase),
      all_stops_(database, all_stops),
      stops_of_task_(database, stops_of_task),
      last_stop_(database, last_stop),
      phases_(database, phases_of_stop) {}

void StopRows::write(const StopRecord& stop, std::optional<std::size_t> phase) {
    const auto requested_at = utc_text(stop.requested_at);
    std::optional<std::string> stopped_at;
    if (stop.stopped_at) stopped_at = utc_text(*stop.stopped_at);
    const auto survivors = survivors_json(stop.survivors);
    const auto containers = containers_json(stop.containers);
    const auto plan = plan_json(stop.plan);
    const Cell outcome = stop.outcome ? Cell(to_string(*stop.outcome)) : Cell(nullptr);
    put_stop_.run({stop.id, stop.task, stop.task_id, to_string(stop.stop_code), stop.stopped_reason,
                   cell(stop.requested_by.uid), cell(stop.requested_by.pid), stop.requested_by.via,
                   requested_at, since_boot(stop.requested), boot_id_, cell(stopped_at),
                   stop.duration.count(), outcome, survivors, stop.deregistration_delay.count(),
                   stop.saved.count(), containers, plan});
    if (phase && *phase < stop.phases.size()) return write_phase(stop, *phase);
    for (std::size_t each = 0; each < stop.phases.size(); ++each) write_phase(stop, each);
}

void StopRows::write_phase(const StopRecord& stop, std::size_t position) {
    const PhaseRecord& phase = stop.phases[position];
    const auto started_at = utc_text(phase.started_at);
    const auto detail = detail_json(phase.detail);
    const Cell outcome = phase.outcome ? Cell(to_string(*phase.outcome)) : Cell(nullptr);
    put_phase_.run({stop.id, static_cast<std::int64_t>(position), to_string(phase.phase),
                    phase.container, started_at, since_boot(phase.started), phase.duration.count(),
                    outcome, detail});
}

std::vector<StopRecord> StopRows::read(const std::optional<std::string>& task, std::size_t limit) {
    constexpr std::size_t most = std::numeric_limits<std::int64_t>::max();
    const auto rows = static_cast<std::int64_t>(std::min(limit, most));
    std::vector<StopRecord> stops;
    {
        Rows row = task ? stops_of_task_.query({rows, *task}) : all_stops_.query({rows});
        while (row.next()) stops.push_back(stop_from(row));
    }
    for (auto& stop : stops) stop.phases = read_phases(stop.id);
    return stops;
}

std::optional<StopRecord> StopRows::last_of(const std::string& task_id) {
    std::optional<StopRecord> stop;
    {
        Rows row = last_stop_.query({task_id});
        if (!row.next()) return std::nullopt;
        stop = stop_from(row);
    }
    stop->phases = read_phases(stop->id);
    return stop;
}

std::vector<PhaseRecord> StopRows::read_phases(const std::string& stop_id) {
    std::vector<PhaseRecord> phases;
    Rows row = phases_.query({stop_id});
    while (row.next()) {
        phases.push_back({.phase = spelled(std::string_view(row.text(0)), phase_kinds),
                          .container = row.text(1),
                          .started = boot_time(row.integer(3)),
                          .started_at = utc(row.text(2)),
                          .duration = Clock::duration(row.integer(4)),
                          .outcome = spelled(row.maybe_text(5), phase_outcomes),
                          .detail = detail_from_json(row.text(6))});
    }
    return phases;
}

}  // namespace lastcall
