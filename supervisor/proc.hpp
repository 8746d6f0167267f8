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
    int threads = 0;
    bool has_memory = false;  ///< neither a zombie nor a thread of the kernel
    /// Its first thread is a zombie while others go on.
    bool is_headless() const { return state == 'Z' && threads > 1; }
    bool is_alive() const {
        return (state != '?' && state != 'Z' && state != 'X') || is_headless();
    }
};
Status status_of(pid_t pid);

/// In ticks since boot. 0: there is no such process.
std::uint64_t start_of(pid_t pid);
/// What no other process will have that gets the same pid, and quickly told: the number that the
/// kernel gives it (pidfs, Linux 6.9), else its start.
std::uint64_t identity_of(pid_t pid);

/// `threads`: how many it has, if that is known: of one it takes half the time.
std::vector<pid_t> children_of(pid_t pid, int threads = 0);
/// Everybody whom we can see.
std::vector<pid_t> everybody();
/// "NAME=value", each followed by a zero byte. Empty: unreadable, or cleared.
std::string environment_of(pid_t pid);
/// Its cgroup v2, as /proc/PID/cgroup has it: "/path". Empty: it has none.
std::string cgroup_of(pid_t pid);
/// /proc/PID/wchan; empty if there is none.
std::string wait_channel_of(pid_t pid);

}  // namespace lastcall::proc
