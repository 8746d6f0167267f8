#pragma once
#include <memory>
#include <string>

#include "supervisor/clock.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// The journal in `directory`/journal.db (SQLite, WAL), written by a thread of its own: a slow disk
/// can't delay a SIGKILL. Makes the directory and the schema, or migrates that. A file that is
/// damaged or no database at all is moved aside (journal.db.corrupt-UTC) with a warning, and a new
/// one begun. Throws std::runtime_error "cannot open the journal '…': …" for a directory that can't
/// be written, a schema newer than ours, or another program's database.
///
/// A `record` that is cancelled is written all the same. The destructor writes what is still
/// waiting; `executor`'s context must outlive the journal.
std::unique_ptr<Journal> sqlite_journal(asio::any_io_executor executor,
                                        const std::string& directory, Log& log);

}  // namespace lastcall
