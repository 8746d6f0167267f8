#include "supervisor/ports.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string_view>

namespace lastcall {
namespace {

constexpr Clock::duration look_again = 1s;
constexpr Clock::duration shared =
    100ms;  // one look for all tasks that look at about the same time

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

}  // namespace

Ports::Ports(Clock& clock, Sockets& sockets, std::vector<std::uint16_t> configured,
             std::vector<Process*> processes, bool whole_namespace)
    : clock_(clock),
      sockets_(sockets),
      ports_(configured.begin(), configured.end()),
      configured_(!configured.empty()),
      processes_(std::move(processes)),
      whole_namespace_(whole_namespace),
      own_cgroups_(own_cgroups()) {}

void Ports::name(std::uint16_t port) {
    if (configured_) return;
    if (!named_) ports_.clear();  // what was found counts only where nobody names a port
    named_ = true;
    ports_.insert(port);
}

bool Ports::find(bool now) {
    if (!now && clock_.now() < next_look_) return false;
    next_look_ = clock_.now() + look_again;
    const auto* all = sockets_.listeners(now ? 0s : shared);
    sees_ = all != nullptr;
    // Who holds a listening socket is only asked when there is another one: that takes a walk
    // through the whole tree's descriptors.
    if (!all || (!now && all->version == version_)) return false;
    version_ = all->version;
    listeners_ = all->sockets;
    const std::size_t before = ports_.size();
    if (!configured_ && !named_) {
        const auto trees = sockets_of_the_tree();
        // The agent may still hold a descriptor that it was started with and passed on.
        const auto agents = whole_namespace_ ? sockets_of("self") : std::set<std::uint64_t>();
        for (const TcpSocket& listener : *listeners_) {
            const bool not_the_agents =
                whole_namespace_ && !listener.loopback && !agents.contains(listener.inode);
            if (trees.contains(listener.inode) || not_the_agents) ports_.insert(listener.port);
        }
    }
    for (const TcpSocket& listener : *listeners_) {
        if (ports_.contains(listener.port)) listened_.insert(listener.port);
    }
    return ports_.size() != before;
}

std::optional<bool> Ports::listening() {
    find(true);
    if (!sees_) return std::nullopt;
    const auto is_listened_on = [this](std::uint16_t port) {
        return std::any_of(listeners_->begin(), listeners_->end(),
                           [port](const TcpSocket& listener) { return listener.port == port; });
    };
    return !ports_.empty() && std::all_of(ports_.begin(), ports_.end(), is_listened_on);
}

std::vector<std::uint16_t> Ports::never_listened() const {
    std::vector<std::uint16_t> unheard;
    std::set_difference(ports_.begin(), ports_.end(), listened_.begin(), listened_.end(),
                        std::back_inserter(unheard));
    return unheard;
}

bool Ports::is_another_tasks(const TcpSocket& socket) const {
    if (own_cgroups_.empty() || socket.cgroup == 0 || !listeners_) return false;
    if (own_cgroups_.contains(socket.cgroup)) return false;
    bool ours = false, theirs = false;
    for (const TcpSocket& listener : *listeners_) {
        if (listener.port != socket.port) continue;
        ours = ours || own_cgroups_.contains(listener.cgroup);
        theirs = theirs || listener.cgroup == socket.cgroup;
    }
    return ours && theirs;
}

std::set<std::uint64_t> Ports::sockets_of_the_tree() {
    std::set<std::uint64_t> sockets;
    for (auto* process : processes_) {
        for (const Survivor& member : process->survivors()) {
            sockets.merge(sockets_of(std::to_string(member.pid)));
        }
    }
    return sockets;
}

/// A cgroup's id is its directory's inode.
std::set<std::uint64_t> Ports::own_cgroups() const {
    std::set<std::uint64_t> ids;
    for (const auto* process : processes_) {
        struct stat status = {};
        const std::string folder = process->cgroup();
        if (!folder.empty() && ::stat(folder.c_str(), &status) == 0) ids.insert(status.st_ino);
    }
    return ids;
}

}  // namespace lastcall
