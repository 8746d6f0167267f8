#include "supervisor/connections.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string_view>

#include "supervisor/process.hpp"
#include "supervisor/sock_diag.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration look_for_ports_again = 1s;

/// The inodes of a process's sockets, by /proc/PID/fd: unreadable without CAP_SYS_PTRACE if the
/// process is another user's.
std::set<std::uint64_t> sockets_of(const std::string& process) {
    std::set<std::uint64_t> inodes;
    const std::string folder = fmt::format("/proc/{}/fd", process);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), ::closedir);
    if (!listing) return inodes;
    while (const dirent* entry = ::readdir(listing.get())) {
        char target[64];
        const auto length =
            ::readlinkat(::dirfd(listing.get()), entry->d_name, target, sizeof target - 1);
        if (length <= 0) continue;
        target[length] = '\0';
        constexpr std::string_view prefix = "socket:[";
        if (std::string_view(target).starts_with(prefix)) {
            inodes.insert(std::strtoull(target + prefix.size(), nullptr, 10));
        }
    }
    return inodes;
}

class TaskConnections final : public Evidence {
 public:
    TaskConnections(Clock& clock, std::vector<std::uint16_t> configured,
                    std::vector<Process*> processes, bool whole_namespace)
        : clock_(clock),
          ports_(configured.begin(), configured.end()),
          configured_(!configured.empty()),
          processes_(std::move(processes)),
          whole_namespace_(whole_namespace) {}

    std::optional<std::vector<Connection>> open() override {
        find_ports();
        if (ports_.empty()) return std::nullopt;
        return connections_of(ports_);
    }

    std::optional<bool> listening() override {
        next_look_ = {};
        find_ports();
        const auto all = listeners();
        if (!all) return std::nullopt;
        const auto is_listened_on = [&all](std::uint16_t port) {
            return std::any_of(all->begin(), all->end(),
                               [port](const Listener& listener) { return listener.port == port; });
        };
        return !ports_.empty() && std::all_of(ports_.begin(), ports_.end(), is_listened_on);
    }

    void named(std::uint16_t port) override {
        if (configured_) return;
        if (!named_) ports_.clear();  // what was found counts only where nobody names a port
        named_ = true;
        ports_.insert(port);
    }

 private:
    /// Remembered for the task's life, even if a listener closes: its connections live on.
    void find_ports() {
        if (configured_ || named_ || clock_.now() < next_look_) return;
        next_look_ = clock_.now() + look_for_ports_again;
        const auto all = listeners();
        if (!all) return;
        const auto sockets = whole_namespace_ ? sockets_of("self") : sockets_of_the_tree();
        for (const Listener& listener : *all) {
            const bool among = sockets.contains(listener.inode);
            const bool ours = whole_namespace_ ? !among && !listener.loopback : among;
            if (ours) ports_.insert(listener.port);
        }
    }

    std::set<std::uint64_t> sockets_of_the_tree() {
        std::set<std::uint64_t> sockets;
        for (auto* process : processes_) {
            for (const Survivor& member : process->survivors()) {
                sockets.merge(sockets_of(std::to_string(member.pid)));
            }
        }
        return sockets;
    }

    Clock& clock_;
    std::set<std::uint16_t> ports_;
    bool configured_, named_ = false;
    std::vector<Process*> processes_;
    bool whole_namespace_;
    Clock::time_point next_look_{};
};

}  // namespace

std::unique_ptr<Evidence> task_connections(Clock& clock, std::vector<std::uint16_t> configured,
                                           std::vector<Process*> processes, bool whole_namespace) {
    return std::make_unique<TaskConnections>(clock, std::move(configured), std::move(processes),
                                             whole_namespace);
}

}  // namespace lastcall
