#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "supervisor/clock.hpp"

namespace lastcall {

/// The kernel's word that a TCP socket is gone (sock_diag(7), SKNLGRP_INET_TCP_DESTROY): its
/// process has closed it or died, and TCP has nothing left to do for it. No capability is needed.
///
/// A client's FIN or reset alone is no such word while the service still holds its descriptor, and
/// there is none of a connection's beginning: both take a look at the sockets.
class CloseEvents {
 public:
    struct Socket {
        std::uint16_t port = 0;  ///< ours
        std::uint64_t cookie = 0;
    };
    struct News {
        std::vector<Socket> closed;
        bool lost = false;  ///< there were more than the buffer holds (ENOBUFS): look again
    };

    /// Throws std::system_error where notifications can't be had ("cannot …").
    explicit CloseEvents(asio::any_io_executor executor);
    /// Keeps those of other ports away, in the kernel. Not so many that a filter costs more than
    /// it saves: then all come.
    void only(const std::set<std::uint16_t>& ports);
    /// All that has come since; waits until there is something. Throws std::system_error.
    awaitable<News> next();
    /// Makes `next` throw operation_aborted.
    void stop();

 private:
    News read();

    asio::posix::stream_descriptor netlink_;
};

}  // namespace lastcall
