#pragma once
#include <memory>
#include <string>

#include "supervisor/clock.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// The journal in `directory`/journal.db (SQLite, WAL), written by a thread of its own: a slow disk
/// can't delay a SIGKILL. Creates or migrates the schema; throws std::runtime_error "cannot open the
/// journal '…': …" for a directory that can't be written, a file that is no database, or a schema
/// newer than ours.
std::unique_ptr<Journal> sqlite_journal(asio::any_io_executor executor, const std::string& directory,
                                        Log& log);

}  // namespace lastcall
