#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/process.hpp"
#include "supervisor/sockets.hpp"

namespace lastcall {

/// Whose connections are a task's: its ports (DESIGN section 1). Configured ones win; else those
/// that its load balancers name; else those found: as PID 1 (`whole_namespace`) every non-loopback
/// TCP listener that isn't the agent's own, otherwise what the processes of its tree listen on,
/// inherited sockets and descendants' too. Found ones are remembered for the task's life, even if
/// a listener closes: its connections live on.
class Ports {
 public:
    Ports(Clock& clock, Sockets& sockets, std::vector<std::uint16_t> configured,
          std::vector<Process*> processes, bool whole_namespace);

    const std::set<std::uint16_t>& known() const { return ports_; }
    /// A load balancer named one; no effect where the configuration names them.
    void name(std::uint16_t port);
    /// Looks who listens; no more than once a second unless `now`. True if a port is new.
    bool find(bool now = false);
    /// Whether each of them is listened on; nullopt when that can't be known.
    std::optional<bool> listening();
    /// Ports that nobody was ever seen listening on: a mistake in their number, most likely.
    std::vector<std::uint16_t> never_listened() const;
    /// Whether a socket is another task's, which shares the port (SO_REUSEPORT): of its cgroup,
    /// while both cgroups listen.
    bool is_another_tasks(const TcpSocket& socket) const;

 private:
    std::set<std::uint64_t> sockets_of_the_tree();
    std::set<std::uint64_t> own_cgroups() const;

    Clock& clock_;
    Sockets& sockets_;
    std::set<std::uint16_t> ports_, listened_;
    bool configured_, named_ = false;
    std::vector<Process*> processes_;
    bool whole_namespace_;
    std::shared_ptr<const std::vector<TcpSocket>> listeners_;  ///< on any port, at the last look
    std::uint64_t version_ = 0;                                ///< of those
    bool sees_ = false;                                        ///< the last look succeeded
    std::set<std::uint64_t> own_cgroups_;                      ///< by inode
    Clock::time_point next_look_{};
};

}  // namespace lastcall
