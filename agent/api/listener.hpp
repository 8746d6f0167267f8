#pragma once
#include <boost/asio/local/stream_protocol.hpp>
#include <string>

#include "supervisor/clock.hpp"

namespace lastcall::api {

/// A listening unix socket of mode 0600 from its first moment, and its name in the file system.
class Listener {
 public:
    /// Makes the directory if it is missing and replaces a socket that nobody listens on; one that
    /// we have inherited is used as it is. Throws std::runtime_error: "cannot listen on '…':
    /// another agent (pid 7) is".
    Listener(asio::any_io_executor executor, std::string path);
    ~Listener();  ///< unlinks the path, if what is there is still ours
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    asio::local::stream_protocol::acceptor& acceptor() { return acceptor_; }
    const std::string& path() const { return path_; }

 private:
    std::string path_;
    asio::local::stream_protocol::acceptor acceptor_;
    unsigned long device_ = 0, inode_ = 0;
};

}  // namespace lastcall::api
