#include "agent/journal/task_rows.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>

#include "agent/journal/definition_json.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

constexpr std::string_view put_task = R"sql(
insert into tasks (id, name, last_status, desired_status, stop_code, stopped_reason, definition,
    created_at, started_at, stopping_at, stopped_at, boot_id, registered)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (id) do update set name = excluded.name, last_status = excluded.last_status,
    desired_status = excluded.desired_status, stop_code = excluded.stop_code,
    stopped_reason = excluded.stopped_reason, definition = excluded.definition,
    created_at = excluded.created_at, started_at = excluded.started_at,
    stopping_at = excluded.stopping_at, stopped_at = excluded.stopped_at,
    boot_id = excluded.boot_id, registered = excluded.registered)sql";

constexpr std::string_view put_container = R"sql(
insert or replace into containers (task_id, position, name, pid, start_time, cgroup, exit_known,
    exit_code, exit_signal, core_dumped, reason) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))sql";

constexpr std::string_view left_tasks = R"sql(
select id, name, last_status, desired_status, stop_code, stopped_reason, definition, created_at,
    started_at, stopping_at, stopped_at, boot_id, registered
from tasks where last_status <> 'STOPPED' or stopped_at >= ? order by rowid)sql";

constexpr std::string_view containers_of_task = R"sql(
select name, pid, coalesce(start_time, 0), cgroup, exit_known, exit_code, exit_signal, core_dumped,
    reason
from containers where task_id = ? order by position)sql";

constexpr auto statuses = {TaskStatus::pending,        TaskStatus::running,
                           TaskStatus::deactivating,   TaskStatus::stopping,
                           TaskStatus::deprovisioning, TaskStatus::stopped};
constexpr auto stop_codes = {StopCode::user_initiated,       StopCode::essential_container_exited,
                             StopCode::task_failed_to_start, StopCode::spot_interruption,
                             StopCode::termination_notice,   StopCode::service_scheduler_initiated};

template <class Value>
Value spelled(std::string_view text, std::initializer_list<Value> all) {
    for (const Value each : all) {
        if (to_string(each) == text) return each;
    }
    throw std::runtime_error(fmt::format("it has '{}', which nobody knows", text));
}

std::optional<Clock::utc_time> moment(const std::optional<std::string>& text) {
    return text ? utc_time(*text) : std::nullopt;
}

std::string texts_json(const std::vector<std::string>& texts) {
    return boost::json::serialize(boost::json::array(texts.begin(), texts.end()));
}

std::vector<std::string> texts_from(const std::string& stored) {
    std::vector<std::string> texts;
    const auto value = boost::json::parse(stored);
    for (const auto& each : value.as_array()) texts.emplace_back(each.as_string());
    return texts;
}

ContainerState container_from(const Rows& row) {
    ContainerState state{.name = row.text(0),
                         .pid = static_cast<int>(row.integer(1)),
                         .start_time = static_cast<std::uint64_t>(row.integer(2)),
                         .cgroup = row.text(3),
                         .reason = row.text(8)};
    const auto code = row.maybe_integer(5);
    if (!code) return state;
    const bool known = row.maybe_integer(4).value_or(1) != 0;
    state.exit = ExitStatus{.code = static_cast<int>(*code),
                            .signal = static_cast<int>(row.maybe_integer(6).value_or(0)),
                            .core_dumped = row.maybe_integer(7).value_or(0) != 0,
                            .known = known ? Known::exactly : Known::unseen};
    return state;
}

std::optional<std::string> text(const std::optional<Clock::utc_time>& at) {
    if (!at) return std::nullopt;
    return utc_text(*at);
}

Cell cell(const std::optional<std::string>& text) {
    return text ? Cell(std::string_view(*text)) : Cell(nullptr);
}

}  // namespace

TaskRows::TaskRows(Database& database, std::string boot_id)
    : boot_id_(std::move(boot_id)),
      put_task_(database, put_task),
      put_container_(database, put_container),
      left_(database, left_tasks),
      containers_(database, containers_of_task) {}

void TaskRows::write(const TaskState& task) {
    const auto definition = definition_json(task.definition);
    const auto created_at = utc_text(task.created_at);
    const auto started_at = text(task.started_at);
    const auto stopping_at = text(task.stopping_at);
    const auto stopped_at = text(task.stopped_at);
    const auto registered = texts_json(task.registered);
    const Cell stop_code = task.stop_code ? Cell(to_string(*task.stop_code)) : Cell(nullptr);
    put_task_.run({task.id, task.definition.name, to_string(task.last_status),
                   to_string(task.desired_status), stop_code, task.stopped_reason, definition,
                   created_at, cell(started_at), cell(stopping_at), cell(stopped_at), boot_id_,
                   registered});
    std::int64_t position = 0;
    for (const auto& each : task.containers) {
        Cell known = nullptr, code = nullptr, signal = nullptr, core_dumped = nullptr;
        if (each.exit) {
            known = std::int64_t{each.exit->is_known()};
            code = std::int64_t{each.exit->code};
            signal = std::int64_t{each.exit->signal};
            core_dumped = std::int64_t{each.exit->core_dumped};
        }
        put_container_.run({task.id, position++, each.name, std::int64_t{each.pid},
                            static_cast<std::int64_t>(each.start_time), each.cgroup, known, code,
                            signal, core_dumped, each.reason});
    }
}

std::vector<TaskRows::Left> TaskRows::left(Clock::utc_time since,
                                           std::vector<std::string>& troubles) {
    std::vector<Left> all;
    const auto moment_text = utc_text(since);
    Rows row = left_.query({moment_text});
    while (row.next()) {
        // Caught here: one task that nobody understands mustn't hide the others.
        try {
            all.push_back({.task = task_from(row), .same_boot = row.text(11) == boot_id_});
        } catch (const DatabaseError&) {
            throw;
        } catch (const std::exception& error) {
            troubles.push_back(fmt::format("cannot read the task '{}' ({}): {}", row.text(1),
                                           row.text(0), error.what()));
        }
    }
    return all;
}

TaskState TaskRows::task_from(const Rows& row) {
    TaskState task{.id = row.text(0),
                   .definition = definition_from_json(row.text(6)),
                   .last_status = spelled(row.text(2), statuses),
                   .desired_status = spelled(row.text(3), statuses),
                   .stopped_reason = row.text(5),
                   .registered = texts_from(row.text(12)),
                   .created_at = moment(row.maybe_text(7)).value_or(Clock::utc_time{}),
                   .started_at = moment(row.maybe_text(8)),
                   .stopping_at = moment(row.maybe_text(9)),
                   .stopped_at = moment(row.maybe_text(10))};
    if (const auto code = row.maybe_text(4)) task.stop_code = spelled(*code, stop_codes);
    Rows container = containers_.query({task.id});
    while (container.next()) task.containers.push_back(container_from(container));
    if (task.containers.size() != task.definition.containers.size()) {
        throw std::runtime_error(fmt::format("it has {} containers, of which {} are recorded",
                                             task.definition.containers.size(),
                                             task.containers.size()));
    }
    return task;
}

}  // namespace lastcall
