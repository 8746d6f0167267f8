#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "supervisor/await.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// A TCP listener that load balancers probe: one question a connection, at most 64 of them at once,
/// and 5 s for each. Its coroutines own it too, so that it can be given up before the last of them
/// has noticed.
class ProbeListener : public std::enable_shared_from_this<ProbeListener> {
 public:
    /// Answers one connection, which is closed when it returns. Cancelled when its time is over.
    /// The socket outlives it.
    using Answer = std::function<awaitable<void>(asio::ip::tcp::socket& socket)>;

    /// `name` is for messages; the log outlives the listener's `close`.
    ProbeListener(std::string name, asio::any_io_executor executor, asio::ip::tcp::endpoint address,
                  Log& log, Answer answer);
    ~ProbeListener();
    ProbeListener(const ProbeListener&) = delete;
    ProbeListener& operator=(const ProbeListener&) = delete;
    /// No effect if it does already. Throws LoadBalancerError.
    void listen();
    /// For good, and at once: whoever is inside is cut off.
    void close();

 private:
    awaitable<void> accept();
    awaitable<void> attend(asio::ip::tcp::socket socket);
    void failed(std::exception_ptr failure);

    std::string name_;
    asio::any_io_executor executor_;
    asio::ip::tcp::endpoint address_;
    Log* log_;  ///< null when it is closed
    Answer answer_;
    asio::ip::tcp::acceptor acceptor_;
    std::set<asio::ip::tcp::socket*> open_;  ///< of those inside
    Gate gate_;
    int inherited_;  ///< it has listened since before we executed ourselves anew; until `listen`
};

/// Ends our half of a connection and reads, and forgets, until the other side has ended its own:
/// closed with something unread, it would be reset, and the answer lost with it. Returns false if
/// it was cancelled, or the socket closed, before.
awaitable<bool> hang_up(asio::ip::tcp::socket& socket);

}  // namespace lastcall
