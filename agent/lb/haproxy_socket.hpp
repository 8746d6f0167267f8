#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <string>

namespace lastcall {

/// Sends one line (`a; b; c`, no newline) to HAProxy's runtime API and returns all that it answers:
/// one connection a line, written, then read to its end. Throws HaproxyError if it can't be
/// reached, breaks off, or answers more than 1 MiB. Waits as long as HAProxy takes: cancel it.
boost::asio::awaitable<std::string> haproxy_command(
    boost::asio::generic::stream_protocol::endpoint address, std::string line);

}  // namespace lastcall
