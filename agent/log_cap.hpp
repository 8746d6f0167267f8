#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "agent/disk.hpp"
#include "supervisor/clock.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// Keeps the tasks' logs (NAME.log in one directory) below a number of bytes: what is longer is
/// copied to NAME.log.1, which it replaces, and truncated. The writers have O_APPEND and go on at
/// the new end: nobody's file is renamed, nobody ever waits for us, and our death breaks no pipe.
/// What is written between our last look and the truncation, some microseconds, is lost.
///
/// While nothing is written nothing is done; at most once a second all logs are looked at. Copies
/// are made on the disk's thread, in short steps.
///
struct LogCap {
    std::string directory;
    std::uint64_t size = 0;
    std::function<void()> missing = {};  ///< told when there is no such directory; may be none
};

/// Goes on until it is cancelled. What can't be capped is said once. What it is given by reference
/// outlives it, and what the executor's context still has to do then.
awaitable<void> cap_logs(Clock& clock, Disk& disk, Log& log, LogCap cap);

}  // namespace lastcall
