#pragma once
#include <functional>
#include <memory>
#include <string>

#include "agent/disk.hpp"
#include "agent/journal/health.hpp"
#include "supervisor/clock.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// What the journal on disk works with. All of it outlives the journal; the log and the health
/// also what the executor's context still has to do then.
struct JournalParts {
    asio::any_io_executor executor;
    Clock& clock;
    Disk& disk;
    Log& log;
    JournalHealth& health;
    /// Called on the disk's thread before a directory is used that was made anew; throws if it is
    /// another agent's now. May be none.
    std::function<void()> reclaim = {};
};

/// The journal in `directory`/journal.db (SQLite, WAL), written by the disk's thread: a slow disk
/// can't delay a SIGKILL. Makes the directory and the schema, or migrates that.
///
/// What can't be written (a full or read-only disk, a newer agent's schema, another program's
/// database) is kept in memory, and written when the disk is well again; until then the file is
/// read, if it can be. A damaged file is moved aside (journal.db.corrupt-UTC), a new one begun with
/// all that can be read of it; one that was removed is made again. All that is said in the log and
/// in the health, and no `record` fails for it: only for a record that SQLite itself refuses.
///
/// A `record` that is cancelled is written all the same. The destructor writes what is still
/// waiting, within two seconds: what isn't written then is said.
std::unique_ptr<Journal> sqlite_journal(JournalParts parts, std::string directory);

}  // namespace lastcall
