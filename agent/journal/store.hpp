#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/journal/database.hpp"
#include "agent/journal/stop_rows.hpp"
#include "agent/journal/task_rows.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// The journal's file, open. Belongs to one thread at a time. Everything throws DatabaseError.
class Store {
 public:
    explicit Store(const std::string& path);

    Database& database() { return database_; }
    TaskRows& tasks() { return tasks_; }
    StopRows& stops() { return stops_; }
    /// What an earlier agent left; `troubles`: as TaskRows::left tells them.
    std::vector<Remnant> remnants(Clock::utc_time since, std::vector<std::string>& troubles);
    /// Forgets what is too old or too much: the newest 10,000 stops and tasks, of the last 90 days,
    /// remain, and every task that isn't STOPPED.
    void prune();
    /// Moves what is in the write-ahead log to its place, durably.
    void checkpoint();

 private:
    Database database_;
    TaskRows tasks_;
    StopRows stops_;
};

/// Opens `directory`/journal.db, makes it if there is none, and begins a new one if it is damaged.
/// Throws std::runtime_error "cannot open the journal '…': …".
std::unique_ptr<Store> open_store(const std::string& directory, Log& log);

}  // namespace lastcall
