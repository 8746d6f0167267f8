#pragma once
#include <functional>
#include <memory>
#include <string>

#include "agent/config/settings.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// The agent's own log, in the ECS agent's line format: to a file (O_APPEND) or to stderr. A line
/// that can't be written whole at once is dropped and counted, never waited for: PID 1 must not
/// block on a full terminal.
std::unique_ptr<Log> agent_log(const Settings& settings);

/// A journal that tells the log one line a phase and passes everything on.
std::unique_ptr<Journal> logged(Journal& journal, Log& log);

/// A journal in memory: for `agent run` without a data directory.
std::unique_ptr<Journal> memory_journal();

}  // namespace lastcall
