#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

// What proc(5) tells of processes. Whatever can't be read is empty: the process is gone, or isn't
// ours to see, or there is no /proc.
namespace lastcall::proc {

/// Whether there is a /proc, and of our own pid namespace: another's numbers mean others.
bool is_there();
/// A whole file, of which the kernel doesn't know the size.
std::string contents(const std::string& path);

/// Of /proc/PID/status. Not of `stat`, nor of `wchan` and `environ`: to read those waits while the
/// process is in the middle of an execve, and a fork bomb always is.
struct Status {
    std::string command;
    char state = '?';  ///< '?': there is no such process
    pid_t parent = 0;
    bool is_alive() const { return state != '?' && state != 'Z' && state != 'X'; }
};
Status status_of(pid_t pid);

/// In ticks since boot; pid and start together are never used again. 0: there is no such process.
std::uint64_t start_of(pid_t pid);

std::vector<pid_t> children_of(pid_t pid);
/// Everybody whom we can see.
std::vector<pid_t> everybody();
/// "NAME=value", each followed by a zero byte. Empty: unreadable, or cleared.
std::string environment_of(pid_t pid);
/// /proc/PID/wchan; empty if there is none.
std::string wait_channel_of(pid_t pid);

}  // namespace lastcall::proc
