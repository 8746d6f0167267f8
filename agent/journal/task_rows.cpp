#include "agent/journal/task_rows.hpp"

#include "agent/journal/definition_json.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

constexpr std::string_view put_task = R"sql(
insert into tasks (id, name, last_status, desired_status, stop_code, stopped_reason, definition,
    created_at, started_at, stopping_at, stopped_at, boot_id)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (id) do update set name = excluded.name, last_status = excluded.last_status,
    desired_status = excluded.desired_status, stop_code = excluded.stop_code,
    stopped_reason = excluded.stopped_reason, definition = excluded.definition,
    created_at = excluded.created_at, started_at = excluded.started_at,
    stopping_at = excluded.stopping_at, stopped_at = excluded.stopped_at,
    boot_id = excluded.boot_id)sql";

// The start time is kept: who fills it in knows a process that a later record only names.
constexpr std::string_view put_container = R"sql(
insert into containers (task_id, position, name, pid, exit_code, exit_signal, core_dumped, reason)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (task_id, position) do update set name = excluded.name, pid = excluded.pid,
    start_time = case when pid = excluded.pid then start_time end,
    exit_code = excluded.exit_code, exit_signal = excluded.exit_signal,
    core_dumped = excluded.core_dumped, reason = excluded.reason)sql";

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
      put_container_(database, put_container) {}

void TaskRows::write(const TaskState& task) {
    const auto definition = definition_json(task.definition);
    const auto created_at = utc_text(task.created_at);
    const auto started_at = text(task.started_at);
    const auto stopping_at = text(task.stopping_at);
    const auto stopped_at = text(task.stopped_at);
    const Cell stop_code = task.stop_code ? Cell(to_string(*task.stop_code)) : Cell(nullptr);
    put_task_.run({task.id, task.definition.name, to_string(task.last_status),
                   to_string(task.desired_status), stop_code, task.stopped_reason, definition,
                   created_at, cell(started_at), cell(stopping_at), cell(stopped_at), boot_id_});
    std::int64_t position = 0;
    for (const auto& each : task.containers) {
        Cell code = nullptr, signal = nullptr, core_dumped = nullptr;
        if (each.exit) {
            code = std::int64_t{each.exit->code};
            signal = std::int64_t{each.exit->signal};
            core_dumped = std::int64_t{each.exit->core_dumped};
        }
        put_container_.run({task.id, position++, each.name, std::int64_t{each.pid}, code, signal,
                            core_dumped, each.reason});
    }
}

}  // namespace lastcall
