#include "agent/journal/schema.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

namespace lastcall {
namespace {

/// "Last": marks a file as a journal (pragma application_id).
constexpr std::int64_t application_id = 0x4c617374;

/// Step n leads from version n to version n + 1 (pragma user_version). What has been released is
/// never changed: a new version is a new step.
///
/// Times are UTC for people and nanoseconds since boot (…_boot_ns, meaning something only together
/// with boot_id) for deadlines; durations are nanoseconds, and milliseconds for people.
constexpr const char* steps[] = {
    R"sql(
create table tasks (
    id text not null unique,
    name text not null,
    last_status text not null,
    desired_status text not null,
    stop_code text,
    stopped_reason text not null,
    definition text not null,            -- JSON: all it takes to run it again
    created_at text not null,
    started_at text,
    stopping_at text,
    stopped_at text,
    boot_id text not null
) strict;

create table containers (
    task_id text not null references tasks (id) on delete cascade,
    position integer not null,
    name text not null,
    pid integer not null,
    start_time integer,                  -- field 22 of /proc/PID/stat: tells a reused pid apart
    exit_code integer,
    exit_signal integer,
    core_dumped integer,
    reason text not null,
    primary key (task_id, position)
) strict, without rowid;

create table stops (
    id text not null unique,
    task text not null,
    task_id text not null,
    stop_code text not null,
    stopped_reason text not null,
    requested_by_uid integer,
    requested_by_pid integer,
    requested_by_via text not null,
    requested_at text not null,
    requested_boot_ns integer not null,
    boot_id text not null,
    stopped_at text,
    duration_ns integer not null,
    outcome text,                        -- null while it goes on
    survivors text not null,             -- JSON array
    deregistration_delay_ns integer not null,
    saved_ns integer not null,
    containers text not null,            -- JSON array: how each ended
    duration_ms real generated always as (duration_ns / 1e6) virtual,
    saved_ms real generated always as (saved_ns / 1e6) virtual
) strict;
create index stops_by_task on stops (task);
create index stops_by_time on stops (requested_at);

create table phases (
    stop_id text not null references stops (id) on delete cascade,
    position integer not null,
    phase text not null,
    container text not null,             -- empty: the whole task
    started_at text not null,
    started_boot_ns integer not null,
    duration_ns integer not null,
    outcome text,                        -- null while it goes on
    detail text not null,                -- JSON object
    duration_ms real generated always as (duration_ns / 1e6) virtual,
    primary key (stop_id, position)
) strict, without rowid;
)sql",
    // What a new agent needs to go on with a task, or with its stop.
    R"sql(
alter table tasks add column registered text not null default '[]';  -- JSON: load balancers' URLs
alter table containers add column cgroup text not null default '';   -- its path
alter table containers add column exit_known integer;    -- 0: it has ended, nobody could tell how
alter table stops add column plan text not null default '';          -- JSON: limits and wishes
create index stops_by_task_id on stops (task_id);
)sql",
};
constexpr auto newest = static_cast<std::int64_t>(std::size(steps));

}  // namespace

void check_schema(Database& database) {
    const bool empty = database.number("select count(*) from sqlite_schema") == 0;
    if (!empty && database.number("pragma application_id") != application_id) {
        throw ForeignSchema("it is another program's database", false);
    }
    const auto version = database.number("pragma user_version");
    if (version <= newest) return;
    throw ForeignSchema(
        fmt::format("its schema is version {}, this agent knows {}: a newer agent wrote it",
                    version, newest),
        true);
}

void check_schema(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return;
    Database database(path, Access::read);
    check_schema(database);
}

void migrate(Database& database) {
    Transaction transaction(database);
    check_schema(database);
    const auto version = database.number("pragma user_version");
    if (version == newest) return;
    for (auto step = version; step < newest; ++step) database.run(steps[step]);
    database.run(
        fmt::format("pragma application_id = {}; pragma user_version = {}", application_id, newest)
            .c_str());
    transaction.commit();
}

}  // namespace lastcall
