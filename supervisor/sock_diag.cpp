#include "supervisor/sock_diag.hpp"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>

#include "supervisor/inet_diag.hpp"

namespace lastcall {
namespace {

constexpr std::uint32_t bit(TcpState state) { return 1U << static_cast<unsigned>(state); }

constexpr std::uint32_t listening = bit(TcpState::listen);
constexpr std::uint32_t all_but_the_dead = bit(TcpState::established) | bit(TcpState::syn_recv) |
                                           bit(TcpState::fin_wait1) | bit(TcpState::fin_wait2) |
                                           bit(TcpState::close_wait) | bit(TcpState::last_ack) |
                                           bit(TcpState::closing);

// More ports than this are told apart here: the kernel would compare each socket with each.
constexpr std::size_t most_ports_in_the_kernel = 64;
constexpr int most_attempts = 5;  // at a dump that changes kept interrupting

TcpTraffic traffic_of(const tcp_info& info) {
    return {.last_sent = std::chrono::milliseconds(info.tcpi_last_data_sent),
            .last_received = std::chrono::milliseconds(info.tcpi_last_data_recv),
            .last_ack_received = std::chrono::milliseconds(info.tcpi_last_ack_recv),
            .bytes_sent = info.tcpi_bytes_acked,
            .bytes_received = info.tcpi_bytes_received,
            .data_segments_in = info.tcpi_data_segs_in,
            .data_segments_out = info.tcpi_data_segs_out,
            .segments_in = info.tcpi_segs_in,
            .segments_out = info.tcpi_segs_out};
}

bool is_loopback(const inet_diag_msg& message) {
    if (message.idiag_family == AF_INET) return (ntohl(message.id.idiag_src[0]) >> 24) == 127;
    in6_addr address;
    std::memcpy(&address, message.id.idiag_src, sizeof address);
    return IN6_IS_ADDR_LOOPBACK(&address);
}

PeerAddress peer_of(const inet_diag_msg& message) {
    PeerAddress peer{};
    if (message.idiag_family == AF_INET) {
        peer[10] = peer[11] = 0xff;
        std::memcpy(peer.data() + 12, message.id.idiag_dst, 4);
    } else {
        std::memcpy(peer.data(), message.id.idiag_dst, peer.size());
    }
    return peer;
}

TcpSocket socket_of(const nlmsghdr& header) {
    const auto& message = *static_cast<const inet_diag_msg*>(NLMSG_DATA(&header));
    TcpSocket socket{.cookie = cookie_of(message),
                     .port = ntohs(message.id.idiag_sport),
                     .peer = peer_of(message),
                     .state = static_cast<TcpState>(message.idiag_state),
                     .unread = message.idiag_rqueue,
                     .unsent = message.idiag_wqueue,
                     .inode = message.idiag_inode,
                     .loopback = is_loopback(message),
                     .traffic = std::nullopt};
    auto left = static_cast<int>(header.nlmsg_len - NLMSG_LENGTH(sizeof message));
    const auto* attribute = reinterpret_cast<const rtattr*>(&message + 1);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        // An old kernel's tcp_info is shorter: what we read of it came with Linux 4.6.
        constexpr auto needed = offsetof(tcp_info, tcpi_data_segs_out) + sizeof(__u32);
        if (attribute->rta_type == INET_DIAG_INFO && RTA_PAYLOAD(attribute) >= needed) {
            socket.traffic = traffic_of(*static_cast<const tcp_info*>(RTA_DATA(attribute)));
        }
        if (attribute->rta_type == INET_DIAG_CGROUP_ID &&
            RTA_PAYLOAD(attribute) >= sizeof socket.cgroup) {
            std::memcpy(&socket.cgroup, RTA_DATA(attribute), sizeof socket.cgroup);
        }
    }
    return socket;
}

/// The filter that the kernel runs over each socket (INET_DIAG_REQ_BYTECODE): true for the one
/// that jumps exactly to the end. For each port but the last:
///
///   S_GE port ── no ──▶ next port      S_LE port ── no ──▶ next port      JMP ──▶ the end
///
/// and for the last `no` leads 4 bytes past the end, which is false.
std::vector<inet_diag_bc_op> filter(const std::set<std::uint16_t>& ports) {
    constexpr std::size_t size = sizeof(inet_diag_bc_op);
    constexpr std::size_t for_one = 5 * size;  // two comparisons of two each, and the jump
    const std::size_t total = ports.size() * for_one - size;
    std::vector<inet_diag_bc_op> program;
    const auto compare = [&program](std::uint8_t code, std::size_t no, std::uint16_t port) {
        program.push_back({.code = code, .yes = 2 * size, .no = static_cast<std::uint16_t>(no)});
        program.push_back({.code = INET_DIAG_BC_NOP, .yes = 0, .no = port});
    };
    for (const auto port : ports) {
        compare(INET_DIAG_BC_S_GE, for_one, port);
        compare(INET_DIAG_BC_S_LE, for_one - 2 * size, port);
        if (port == *ports.rbegin()) break;
        const auto to_the_end = total - program.size() * size;
        program.push_back(
            {.code = INET_DIAG_BC_JMP, .yes = size, .no = static_cast<std::uint16_t>(to_the_end)});
    }
    return program;
}

enum class Reply { more, done, again, failed };

using Each = std::function<void(const TcpSocket&)>;

Reply read_replies(const char* buffer, std::size_t size, const Each& each) {
    auto left = static_cast<unsigned>(size);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) return Reply::again;
        if (header->nlmsg_type == NLMSG_DONE) return Reply::done;
        if (header->nlmsg_type == NLMSG_ERROR) return Reply::failed;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return Reply::failed;
        each(socket_of(*header));
    }
    return Reply::more;
}

/// One netlink socket a question: it then belongs to the namespace we are in now.
class Netlink {
 public:
    Netlink() : descriptor_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
        const timeval patience{.tv_sec = 1, .tv_usec = 0};  // no answer is no evidence
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~Netlink() {
        if (descriptor_ != -1) ::close(descriptor_);
    }
    Netlink(const Netlink&) = delete;
    Netlink& operator=(const Netlink&) = delete;

    std::optional<std::vector<TcpSocket>> dump(std::uint32_t states,
                                               const std::set<std::uint16_t>& ports) const {
        if (descriptor_ == -1) return std::nullopt;
        const bool by_kernel = !ports.empty() && ports.size() <= most_ports_in_the_kernel;
        const auto program = by_kernel ? filter(ports) : std::vector<inet_diag_bc_op>();
        for (int attempt = 0; attempt < most_attempts; ++attempt) {
            std::vector<TcpSocket> found;
            const auto each = [&found, &ports](const TcpSocket& socket) {
                if (ports.empty() || ports.contains(socket.port)) found.push_back(socket);
            };
            Reply reply = dump_once(AF_INET, states, program, each);
            if (reply == Reply::done) reply = dump_once(AF_INET6, states, program, each);
            if (reply == Reply::done) return found;
            if (reply == Reply::failed) break;
        }
        return std::nullopt;
    }

 private:
    Reply dump_once(int family, std::uint32_t states, const std::vector<inet_diag_bc_op>& program,
                    const Each& each) const {
        struct {
            nlmsghdr header;
            inet_diag_req_v2 request;
        } ask{};
        const auto program_size = static_cast<std::uint32_t>(program.size() * sizeof program[0]);
        rtattr attribute{.rta_len = static_cast<unsigned short>(RTA_LENGTH(program_size)),
                         .rta_type = INET_DIAG_REQ_BYTECODE};
        ask.header.nlmsg_len = sizeof ask;
        if (!program.empty()) ask.header.nlmsg_len += static_cast<__u32>(RTA_LENGTH(program_size));
        ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
        ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        ask.request.sdiag_family = static_cast<__u8>(family);
        ask.request.sdiag_protocol = IPPROTO_TCP;
        ask.request.idiag_states = states;
        ask.request.idiag_ext = states == listening ? 0 : 1 << (INET_DIAG_INFO - 1);
        iovec pieces[] = {
            {&ask, sizeof ask},
            {&attribute, sizeof attribute},
            {const_cast<inet_diag_bc_op*>(program.data()), program_size},  // it is only read
        };
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = program.empty() ? 1 : 3;
        if (::sendmsg(descriptor_, &message, 0) == -1) return Reply::failed;
        alignas(nlmsghdr) char buffer[netlink_buffer];
        for (;;) {
            const ssize_t got = ::recv(descriptor_, buffer, sizeof buffer, 0);
            if (got == -1 && errno == EINTR) continue;
            if (got <= 0) return Reply::failed;
            const Reply reply = read_replies(buffer, static_cast<std::size_t>(got), each);
            if (reply != Reply::more) return reply;
        }
    }

    int descriptor_;
};

}  // namespace

std::optional<std::vector<TcpSocket>> sock_diag_listeners() {
    return Netlink().dump(listening, {});
}

std::optional<std::vector<TcpSocket>> sock_diag_of(const std::set<std::uint16_t>& ports) {
    return Netlink().dump(all_but_the_dead, ports);
}

}  // namespace lastcall
