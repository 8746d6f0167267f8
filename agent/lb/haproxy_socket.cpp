#include "agent/lb/haproxy_socket.hpp"

#include <fcntl.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>

#include "agent/lb/haproxy_reply.hpp"
#include "supervisor/await.hpp"

namespace lastcall {
namespace {

using boost::system::error_code;

/// A cancelled wait stays one; everything else is HAProxy's trouble. All but a forbidden socket
/// may mend itself: HAProxy may be restarting.
void check(const error_code& error, const char* doing) {
    if (!error) return;
    if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
    const bool forbidden = error == boost::system::errc::permission_denied;
    throw HaproxyError(std::string(doing) + ": " + error.message(), !forbidden);
}

}  // namespace

awaitable<std::string> haproxy_command(asio::generic::stream_protocol::endpoint address,
                                       std::string line) {
    constexpr std::size_t longest_reply = 1 << 20;
    const auto executor = co_await asio::this_coro::executor;
    error_code error;
    asio::generic::stream_protocol::socket socket(executor);
    socket.open(address.protocol(), error);
    check(error, "socket");
    ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // no task shall inherit it

    co_await socket.async_connect(address, asio::redirect_error(use_awaitable, error));
    check(error, "connect");
    line += '\n';
    const auto bytes = asio::buffer(line);
    co_await asio::async_write(socket, bytes, asio::redirect_error(use_awaitable, error));
    check(error, "write");

    std::string reply;
    std::array<char, 16384> chunk;
    for (;;) {
        const auto space = asio::buffer(chunk);
        const std::size_t got =
            co_await socket.async_read_some(space, asio::redirect_error(use_awaitable, error));
        reply.append(chunk.data(), got);
        if (error == asio::error::eof) co_return reply;
        check(error, "read");
        if (reply.size() > longest_reply) throw HaproxyError("its answer is over 1 MiB", false);
    }
}

}  // namespace lastcall
