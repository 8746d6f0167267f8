#include "supervisor/close_events.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <system_error>

#include "supervisor/inet_diag.hpp"

namespace lastcall {
namespace {

constexpr int buffer_size = 4 << 20;  // an event takes about 1.3 kB of it; the default holds 166
constexpr std::size_t most_filtered = 200;  // a jump of the filter reaches 255 instructions

/// Throws with errno as it is.
[[noreturn]] void refuse(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

int open_netlink() {
    const int descriptor =
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (descriptor == -1) refuse("cannot open a netlink socket");
    return descriptor;
}

}  // namespace

CloseEvents::CloseEvents(asio::any_io_executor executor)
    : netlink_(std::move(executor), open_netlink()) {
    const int descriptor = netlink_.native_handle();
    // More than rmem_max takes CAP_NET_ADMIN; else as much as there may be.
    if (::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size, sizeof buffer_size) != 0)
        ::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size);
    // Nothing comes to a socket that isn't bound before it joins.
    sockaddr_nl own{};
    own.nl_family = AF_NETLINK;
    if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
        refuse("cannot bind a netlink socket");
    for (const int group : {SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY}) {
        if (::setsockopt(descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) !=
            0)
            refuse("cannot join the kernel's TCP destroy notifications");
    }
}

void CloseEvents::only(const std::set<std::uint16_t>& ports) {
    const int descriptor = netlink_.native_handle();
    if (ports.size() > most_filtered) {
        constexpr int none = 0;
        ::setsockopt(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
        return;
    }
    // cBPF loads are big-endian, as the port in the message is: id.idiag_sport, behind the header.
    constexpr std::uint32_t port_at = NLMSG_HDRLEN + offsetof(inet_diag_msg, id.idiag_sport);
    std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, port_at)};
    auto left = static_cast<std::uint8_t>(ports.size());
    for (const auto port : ports) {
        program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, left, 0));
        --left;
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, 0xffffffff));
    const sock_fprog filter{.len = static_cast<unsigned short>(program.size()),
                            .filter = program.data()};
    // Unfiltered they only wake us for nothing.
    ::setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

awaitable<CloseEvents::News> CloseEvents::next() {
    for (;;) {
        News news = read();
        if (news.lost || !news.closed.empty()) co_return news;
        co_await netlink_.async_wait(asio::posix::stream_descriptor::wait_read,
                                     asio::use_awaitable);
    }
}

void CloseEvents::stop() {
    boost::system::error_code ignored;
    netlink_.close(ignored);
}

CloseEvents::News CloseEvents::read() {
    News news;
    alignas(nlmsghdr) char buffer[netlink_buffer];
    for (;;) {
        const ssize_t got = ::recv(netlink_.native_handle(), buffer, sizeof buffer, 0);
        if (got == -1 && errno == EINTR) continue;
        if (got == -1 && errno == ENOBUFS) {
            news.lost = true;
            continue;
        }
        if (got == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) return news;
        if (got == -1) refuse("cannot read the kernel's TCP destroy notifications");
        auto left = static_cast<unsigned>(got);
        for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(header, left);
             header = NLMSG_NEXT(header, left)) {
            if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
            if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) continue;
            const auto& message = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
            news.closed.push_back({ntohs(message.id.idiag_sport), cookie_of(message)});
        }
    }
}

}  // namespace lastcall
