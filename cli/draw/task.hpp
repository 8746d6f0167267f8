#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"

namespace lastcall::cli {

/// What `ps` prints; `now` in microseconds since 1970.
std::string task_table(const Canvas& canvas, const std::vector<api::Task>& tasks, std::int64_t now);

/// One line if the journal is in trouble, nothing if it is well or nobody knows.
std::string journal_trouble(const Canvas& canvas, const std::optional<api::JournalState>& journal,
                            std::int64_t now);

/// Everything that is known of one task, a fact a line.
std::string task_facts(const Canvas& canvas, const api::Task& task, std::int64_t now);

}  // namespace lastcall::cli
