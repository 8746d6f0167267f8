#include "supervisor/proc.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace lastcall::proc {
namespace {

template <class Each>
void for_each_number_in(const std::string& folder, const Each& each) {
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), ::closedir);
    if (!listing) return;
    while (const dirent* entry = ::readdir(listing.get())) {
        const int number = std::atoi(entry->d_name);
        if (number > 0) each(number);
    }
}

/// The beginning of a file, as one read brings it.
template <std::size_t size>
std::string_view record(const std::string& path, char (&buffer)[size]) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file == -1) return {};
    const ssize_t got = ::read(file, buffer, size);
    ::close(file);
    return {buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

/// Children by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN), each thread's own.
std::vector<pid_t> children_listed(pid_t pid, int threads) {
    std::vector<pid_t> children;
    const auto add = [pid, &children](int thread) {
        const std::string text = contents(fmt::format("/proc/{}/task/{}/children", pid, thread));
        const char* at = text.c_str();
        for (char* end = nullptr;; at = end) {
            const long child = std::strtol(at, &end, 10);
            if (end == at) break;
            children.push_back(static_cast<pid_t>(child));
        }
    };
    if (threads == 1) {
        add(pid);
    } else {
        for_each_number_in(fmt::format("/proc/{}/task", pid), add);
    }
    return children;
}

/// The same by a walk over all processes, for kernels without those lists.
std::vector<pid_t> children_found(pid_t pid) {
    std::vector<pid_t> children;
    for (const pid_t other : everybody()) {
        if (status_of(other).parent == pid) children.push_back(other);
    }
    return children;
}

}  // namespace

bool is_there() {
    char name[16] = "";
    const ssize_t size = ::readlink("/proc/self", name, sizeof name - 1);
    return size > 0 && std::atoi(name) == ::getpid();
}

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

Status status_of(pid_t pid) {
    // One record, which one read brings.
    char text_of_it[4096];
    const std::string_view text = record(fmt::format("/proc/{}/status", pid), text_of_it);
    const auto after = [&text](std::string_view name) {
        const auto at = text.find(name);
        if (at == std::string::npos) return std::string();
        const auto begin = at + name.size();
        return std::string(text.substr(begin, text.find('\n', begin) - begin));
    };
    const std::string state = after("\nState:\t");
    return {.command = after("Name:\t"),
            .state = state.empty() ? '?' : state.front(),
            .parent = std::atoi(after("\nPPid:\t").c_str()),
            .threads = std::atoi(after("\nThreads:\t").c_str()),
            .has_memory = text.find("\nVmSize:") != std::string_view::npos};
}

std::uint64_t start_of(pid_t pid) {
    const std::string text = contents(fmt::format("/proc/{}/stat", pid));
    // The command's name, the second field, stands in parentheses and may hold any.
    auto at = text.rfind(')');
    constexpr int name_field = 2, start_field = 22;
    for (int field = name_field; field < start_field && at != std::string::npos; ++field) {
        at = text.find(' ', at + 1);
    }
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at, nullptr, 10);
}

std::uint64_t identity_of(pid_t pid) {
    constexpr auto pidfs = 0x50494446;  // linux/magic.h, since 6.9
    const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (pidfd == -1) return start_of(pid);
    struct statfs kind = {};
    struct stat self = {};
    const bool unique =
        ::fstatfs(pidfd, &kind) == 0 && kind.f_type == pidfs && ::fstat(pidfd, &self) == 0;
    ::close(pidfd);
    return unique ? self.st_ino : start_of(pid);
}

std::vector<pid_t> children_of(pid_t pid, int threads) {
    static const bool listed =
        ::access(fmt::format("/proc/self/task/{}/children", ::getpid()).c_str(), R_OK) == 0;
    return listed ? children_listed(pid, threads) : children_found(pid);
}

std::vector<pid_t> everybody() {
    std::vector<pid_t> everybody;
    for_each_number_in("/proc", [&everybody](int pid) { everybody.push_back(pid); });
    return everybody;
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

std::string cgroup_of(pid_t pid) {
    const std::string text = "\n" + contents(fmt::format("/proc/{}/cgroup", pid));
    constexpr std::string_view version_2 = "\n0::";
    const auto at = text.find(version_2);
    if (at == std::string::npos) return {};
    const auto begin = at + version_2.size();
    return text.substr(begin, text.find('\n', begin) - begin);
}

std::string wait_channel_of(pid_t pid) {
    std::string channel = contents(fmt::format("/proc/{}/wchan", pid));
    if (channel == "0") channel.clear();
    return channel;
}

}  // namespace lastcall::proc
