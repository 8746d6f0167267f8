#pragma once
#include <string>

#include "agent/journal/database.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// Tasks and their containers as rows: what a new agent needs to find them again.
class TaskRows {
 public:
    TaskRows(Database& database, std::string boot_id);
    void write(const TaskState& task);

 private:
    std::string boot_id_;
    Statement put_task_, put_container_;
};

}  // namespace lastcall
