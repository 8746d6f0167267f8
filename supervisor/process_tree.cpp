#include "supervisor/process_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace lastcall {
namespace {

/// A whole file under /proc; empty if it can't be read (the process is gone, or isn't ours to see).
std::string contents(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file == -1) return {};
    std::string text;
    char block[4096];
    for (ssize_t got = 0; (got = ::read(file, block, sizeof block)) > 0;)
        text.append(block, static_cast<std::size_t>(got));
    ::close(file);
    return text;
}

/// The fields of /proc/PID/stat behind the command's name, which may hold anything: proc(5).
struct Stat {
    std::string command;
    char state = '?';
    pid_t parent = 0;
};
Stat stat_of(pid_t pid) {
    const std::string text = contents(fmt::format("/proc/{}/stat", pid));
    const auto open = text.find('('), close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 4 > text.size())
        return {};
    return {.command = text.substr(open + 1, close - open - 1),
            .state = text[close + 2],
            .parent = std::atoi(text.c_str() + close + 4)};
}

template <class Each>
void for_each_number_in(const std::string& folder, const Each& each) {
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), ::closedir);
    if (!listing) return;
    while (const dirent* entry = ::readdir(listing.get())) {
        const int number = std::atoi(entry->d_name);
        if (number > 0) each(number);
    }
}

/// Children by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN), each thread's own.
std::vector<pid_t> children_listed(pid_t pid) {
    std::vector<pid_t> children;
    for_each_number_in(fmt::format("/proc/{}/task", pid), [pid, &children](int thread) {
        const std::string text = contents(fmt::format("/proc/{}/task/{}/children", pid, thread));
        const char* at = text.c_str();
        for (char* end = nullptr;; at = end) {
            const long child = std::strtol(at, &end, 10);
            if (end == at) break;
            children.push_back(static_cast<pid_t>(child));
        }
    });
    return children;
}

/// The same by a walk over all processes, for kernels without those lists.
std::vector<pid_t> children_found(pid_t pid) {
    std::vector<pid_t> children;
    for_each_number_in("/proc", [pid, &children](int other) {
        if (stat_of(other).parent == pid) children.push_back(other);
    });
    return children;
}

std::vector<pid_t> children_of(pid_t pid) {
    static const bool listed =
        ::access(fmt::format("/proc/self/task/{}/children", ::getpid()).c_str(), R_OK) == 0;
    return listed ? children_listed(pid) : children_found(pid);
}

/// In the middle of an execve a process has no environment for a moment: look again.
std::string environment_of(pid_t pid) {
    constexpr int looks = 50;
    std::string environment;
    for (int look = 0; look < looks && environment.empty(); ++look) {
        if (look > 0) ::sched_yield();
        environment = contents(fmt::format("/proc/{}/environ", pid));
    }
    return environment;
}

bool is_alive(pid_t pid) {
    const char state = stat_of(pid).state;
    return state != '?' && state != 'Z' && state != 'X';
}

}  // namespace

ProcessTree::ProcessTree(pid_t main, std::string mark, bool sole, const Reaper& reaper)
    : main_(main), mark_(std::move(mark)), sole_(sole), reaper_(reaper) {}

std::vector<pid_t> ProcessTree::members() const {
    std::vector<pid_t> members;
    for (const pid_t child : children_of(::getpid())) {
        const bool main = child == main_ && reaper_.is_ours(child);
        if (main || is_orphan_of_ours(child)) members.push_back(child);
    }
    for (std::size_t next = 0; next < members.size(); ++next) {
        for (const pid_t child : children_of(members[next])) {
            if (std::find(members.begin(), members.end(), child) == members.end()) {
                members.push_back(child);
            }
        }
    }
    std::erase_if(members, [](pid_t pid) { return !is_alive(pid); });
    return members;
}

bool ProcessTree::is_orphan_of_ours(pid_t pid) const {
    if (reaper_.is_ours(pid)) return false;  // another container's main process, or a helper
    if (sole_) return true;
    // Between two variables there is a zero byte, and the first one follows none.
    const std::string environment = '\0' + environment_of(pid) + '\0';
    return environment.find('\0' + ("LASTCALL_TASK=" + mark_) + '\0') != std::string::npos;
}

Survivor ProcessTree::describe(pid_t pid) {
    const Stat stat = stat_of(pid);
    std::string channel = contents(fmt::format("/proc/{}/wchan", pid));
    if (channel == "0") channel.clear();
    return {.pid = pid,
            .command = stat.command,
            .state = stat.state,
            .wait_channel = std::move(channel)};
}

}  // namespace lastcall
