#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/journal/database.hpp"
#include "agent/journal/stop_rows.hpp"
#include "agent/journal/task_rows.hpp"
#include "supervisor/journal.hpp"

namespace lastcall {

/// The journal's file, open. Belongs to one thread at a time. Everything throws DatabaseError; the
/// constructor ForeignSchema too.
class Store {
 public:
    /// Makes the schema, or migrates it; with any other access it is read as it is.
    explicit Store(const std::string& path, Access access = Access::write);

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
    /// Whether the path still leads to this file.
    bool in_place() const;
    /// Looks at every page.
    bool is_sound();

 private:
    std::string path_;
    Database database_;
    TaskRows tasks_;
    StopRows stops_;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> identity_;  ///< device and inode
};

/// Makes the directory and an empty file, unless they are there: for their owner alone. Throws
/// std::system_error, or std::runtime_error for what is no regular file.
void make_journal_file(const std::string& directory, const std::string& path);

/// What can be read of a file that can't be written; null if nothing can.
std::unique_ptr<Store> read_only_store(const std::string& path);

/// Gives the file another name, and returns that. Throws std::system_error.
std::string move_aside(const std::string& path);

}  // namespace lastcall
