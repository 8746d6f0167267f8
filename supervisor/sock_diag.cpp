#include "supervisor/sock_diag.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>

namespace lastcall {
namespace {

// include/net/tcp_states.h; the kernel exports no header with them that libc's doesn't clash with.
enum State : std::uint32_t { established = 1, syn_recv = 3, close_wait = 8, listen = 10 };

using Each = std::function<void(const inet_diag_msg&, const tcp_info*)>;

const tcp_info* info_of(const nlmsghdr& header, const inet_diag_msg& message) {
    auto left = static_cast<int>(header.nlmsg_len - NLMSG_LENGTH(sizeof message));
    const auto* attribute = reinterpret_cast<const rtattr*>(&message + 1);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        if (attribute->rta_type != INET_DIAG_INFO) continue;
        // An old kernel's is shorter: what we read of it came with Linux 4.6.
        constexpr auto needed = offsetof(tcp_info, tcpi_notsent_bytes) + sizeof(__u32);
        if (RTA_PAYLOAD(attribute) >= needed)
            return static_cast<const tcp_info*>(RTA_DATA(attribute));
    }
    return nullptr;
}

enum class Reply { more, done, again, failed };

Reply read_replies(const char* buffer, std::size_t size, const Each& each) {
    auto left = static_cast<unsigned>(size);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) return Reply::again;
        if (header->nlmsg_type == NLMSG_DONE) return Reply::done;
        if (header->nlmsg_type == NLMSG_ERROR) return Reply::failed;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return Reply::failed;
        const auto& message = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
        each(message, info_of(*header, message));
    }
    return Reply::more;
}

Reply dump_once(int netlink, int family, std::uint32_t states, std::uint16_t port,
                const Each& each) {
    struct {
        nlmsghdr header;
        inet_diag_req_v2 request;
    } ask{};
    ask.header.nlmsg_len = sizeof ask;
    ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    ask.request.sdiag_family = static_cast<__u8>(family);
    ask.request.sdiag_protocol = IPPROTO_TCP;
    ask.request.idiag_states = states;
    ask.request.idiag_ext = port == 0 ? 0 : 1 << (INET_DIAG_INFO - 1);
    ask.request.id.idiag_sport = htons(port);
    if (::send(netlink, &ask, sizeof ask, 0) == -1) return Reply::failed;
    alignas(nlmsghdr) char buffer[32 * 1024];
    for (;;) {
        const ssize_t got = ::recv(netlink, buffer, sizeof buffer, 0);
        if (got == -1 && errno == EINTR) continue;
        if (got <= 0) return Reply::failed;
        const Reply reply = read_replies(buffer, static_cast<std::size_t>(got), each);
        if (reply != Reply::more) return reply;
    }
}

/// One netlink socket a question: it then belongs to the namespace we are in now.
class Netlink {
 public:
    Netlink() : descriptor_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
        const timeval patience{.tv_sec = 1,
                               .tv_usec = 0};  // a kernel that doesn't answer is no evidence
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~Netlink() {
        if (descriptor_ != -1) ::close(descriptor_);
    }
    Netlink(const Netlink&) = delete;
    Netlink& operator=(const Netlink&) = delete;

    bool dump(std::uint32_t states, std::uint16_t port, const std::function<void()>& restart,
              const Each& each) const {
        if (descriptor_ == -1) return false;
        for (int attempt = 0; attempt < 5; ++attempt) {
            restart();
            Reply reply = dump_once(descriptor_, AF_INET, states, port, each);
            if (reply == Reply::done) reply = dump_once(descriptor_, AF_INET6, states, port, each);
            if (reply == Reply::done) return true;
            if (reply == Reply::failed) return false;
        }
        return false;
    }

 private:
    int descriptor_;
};

std::string address_of(const inet_diag_msg& message) {
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(message.idiag_family, message.id.idiag_dst, text, sizeof text);
    return text;
}

bool is_loopback(const inet_diag_msg& message) {
    if (message.idiag_family == AF_INET) return (ntohl(message.id.idiag_src[0]) >> 24) == 127;
    in6_addr address;
    std::memcpy(&address, message.id.idiag_src, sizeof address);
    return IN6_IS_ADDR_LOOPBACK(&address);
}

/// At rest: nothing unread, nothing unsent or unacknowledged, and the last byte was ours. An answer
/// and the next request in the same tick of the kernel's clock count as a request: never too early.
std::optional<Clock::duration> rest_of(const inet_diag_msg& message, const tcp_info* info) {
    if (!info || message.idiag_rqueue != 0 || message.idiag_wqueue != 0) return std::nullopt;
    if (message.idiag_state != established) return std::nullopt;
    if (info->tcpi_last_data_sent >= info->tcpi_last_data_recv) return std::nullopt;
    return std::chrono::milliseconds(info->tcpi_last_data_sent);
}

}  // namespace

std::optional<std::vector<Listener>> listeners() {
    std::vector<Listener> found;
    const auto each = [&found](const inet_diag_msg& message, const tcp_info*) {
        found.push_back({.port = ntohs(message.id.idiag_sport),
                         .inode = message.idiag_inode,
                         .loopback = is_loopback(message)});
    };
    const bool answered = Netlink().dump(1U << listen, 0, [&found] { found.clear(); }, each);
    if (!answered) return std::nullopt;
    return found;
}

std::optional<std::vector<Connection>> connections_of(const std::set<std::uint16_t>& ports) {
    std::vector<Connection> found;
    const Netlink netlink;
    for (const auto port : ports) {
        const std::size_t before = found.size();
        const auto each = [&found, port](const inet_diag_msg& message, const tcp_info* info) {
            if (ntohs(message.id.idiag_sport) != port) return;
            const std::uint64_t cookie =
                message.id.idiag_cookie[0] | static_cast<std::uint64_t>(message.id.idiag_cookie[1])
                                                 << 32;
            found.push_back({.cookie = cookie,
                             .port = port,
                             .peer = address_of(message),
                             .at_rest = rest_of(message, info)});
        };
        constexpr auto open = 1U << established | 1U << syn_recv | 1U << close_wait;
        const bool answered = netlink.dump(open, port, [&] { found.resize(before); }, each);
        if (!answered) return std::nullopt;
    }
    return found;
}

}  // namespace lastcall
