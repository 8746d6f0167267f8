#pragma once
#include <string>
#include <vector>

#include "agent/journal/database.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// Tasks and their containers as rows: what a new agent needs to find them again.
class TaskRows {
 public:
    TaskRows(Database& database, std::string boot_id);
    void write(const TaskState& task);
    /// Those that aren't STOPPED, or have become it since then; the earliest first. What can't be
    /// read of it is left out, and told in `troubles`.
    struct Left {
        TaskState task;
        bool same_boot = false;
    };
    std::vector<Left> left(Clock::utc_time since, std::vector<std::string>& troubles);

 private:
    TaskState task_from(const Rows& row);

    std::string boot_id_;
    Statement put_task_, put_container_, left_, containers_;
};

}  // namespace lastcall
