#include "supervisor/proc_net_tcp.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

namespace lastcall {
namespace {

template <class Number>
bool number(std::string_view text, int base, Number& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

/// Takes the next word, of those that spaces part, from the front.
std::string_view word(std::string_view& line) {
    const auto begin = std::min(line.find_first_not_of(' '), line.size());
    const auto end = std::min(line.find(' ', begin), line.size());
    const std::string_view found = line.substr(begin, end - begin);
    line.remove_prefix(end);
    return found;
}

constexpr PeerAddress mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// "0100007F": words of 32 bits, each as this machine reads the network's bytes.
bool address(std::string_view text, bool v6, PeerAddress& value) {
    constexpr std::size_t digits = 8;
    const std::size_t words = v6 ? 4 : 1;
    if (text.size() != words * digits) return false;
    value = mapped;
    unsigned char* const at = v6 ? value.data() : value.data() + 12;
    for (std::size_t i = 0; i < words; ++i) {
        std::uint32_t bits = 0;
        if (!number(text.substr(i * digits, digits), 16, bits)) return false;
        std::memcpy(at + i * sizeof bits, &bits, sizeof bits);
    }
    return true;
}

bool is_loopback(const PeerAddress& address) {
    constexpr PeerAddress v6_loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return address == v6_loopback ||
           (std::memcmp(address.data(), mapped.data(), 12) == 0 && address[12] == 127);
}

/// One step of splitmix64 for each 8 bytes.
std::uint64_t mix(std::uint64_t sum, std::uint64_t bits) {
    sum = (sum ^ bits) + 0x9e3779b97f4a7c15;
    sum = (sum ^ (sum >> 30)) * 0xbf58476d1ce4e5b9;
    sum = (sum ^ (sum >> 27)) * 0x94d049bb133111eb;
    return sum ^ (sum >> 31);
}

std::uint64_t mix(std::uint64_t sum, const PeerAddress& address) {
    std::uint64_t halves[2];
    std::memcpy(halves, address.data(), sizeof halves);
    return mix(mix(sum, halves[0]), halves[1]);
}

/// "ADDRESS:PORT", in hexadecimal.
struct End {
    std::string_view address_text;
    std::uint16_t port = 0;

    bool read(std::string_view text) {
        const auto colon = std::min(text.find(':'), text.size());
        address_text = text.substr(0, colon);
        return colon < text.size() && number(text.substr(colon + 1), 16, port);
    }
};

/// "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  0  0 4242 1 …"
std::optional<TcpSocket> socket_of(std::string_view line, bool v6,
                                   const std::set<std::uint16_t>& ports) {
    const std::string_view place = word(line);
    End ours, theirs;
    if (place.empty() || place.back() != ':' || !ours.read(word(line))) return std::nullopt;
    if (!ports.empty() && ports.count(ours.port) == 0) return std::nullopt;  // most end here

    const std::string_view remote = word(line);
    unsigned state = 0;
    if (!number(word(line), 16, state)) return std::nullopt;
    TcpSocket socket;
    socket.port = ours.port;
    socket.state = static_cast<TcpState>(state);
    if (state == 0 || state > static_cast<unsigned>(TcpState::closing)) return std::nullopt;
    if (socket.state == TcpState::time_wait) return std::nullopt;
    if (ports.empty() && socket.state != TcpState::listen) return std::nullopt;

    const std::string_view queues = word(line);
    const auto colon = std::min(queues.find(':'), queues.size());
    if (colon == queues.size()) return std::nullopt;
    if (!number(queues.substr(0, colon), 16, socket.unsent)) return std::nullopt;
    if (!number(queues.substr(colon + 1), 16, socket.unread)) return std::nullopt;
    for (int skipped = 0; skipped < 4; ++skipped) word(line);  // timers, retries, user, probes
    if (!number(word(line), 10, socket.inode)) return std::nullopt;
    // References, address, retransmission time, ACK time; then quick ACKs left * 2 + interactive.
    for (int skipped = 0; skipped < 4; ++skipped) word(line);
    unsigned mode = 0;
    if (number(word(line), 10, mode)) socket.interactive = (mode & 1) != 0;

    PeerAddress local;
    if (!address(ours.address_text, v6, local) || !theirs.read(remote)) return std::nullopt;
    if (!address(theirs.address_text, v6, socket.peer)) return std::nullopt;
    socket.loopback = is_loopback(local);
    const std::uint64_t ends = static_cast<std::uint64_t>(ours.port) << 16 | theirs.port;
    socket.cookie = mix(mix(mix(0, local), socket.peer), ends);
    if (socket.state == TcpState::listen) socket.cookie = mix(socket.cookie, socket.inode);
    if (socket.cookie == 0) socket.cookie = 1;
    return socket;
}

/// The whole of a file; nullopt, with errno, if any of it can't be had: half a table isn't
/// evidence, nor is one without its head, which somebody has put over the kernel's.
std::optional<std::string> whole(const char* path) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file == -1) return std::nullopt;
    std::string text;
    char block[16 * 1024];  // the kernel gives a page at a time
    ssize_t got = 0;
    while ((got = ::read(file, block, sizeof block)) > 0)
        text.append(block, static_cast<std::size_t>(got));
    const int error = errno;
    ::close(file);
    errno = error;
    if (got == -1) return std::nullopt;
    if (text.find("local_address") == std::string::npos) {
        errno = ENODATA;
        return std::nullopt;
    }
    return text;
}

}  // namespace

void read_proc_net_tcp(std::string_view text, bool v6, const std::set<std::uint16_t>& ports,
                       std::vector<TcpSocket>& found) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto socket = socket_of(text.substr(0, end), v6, ports);
        if (socket) found.push_back(*socket);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

std::optional<std::vector<TcpSocket>> proc_net_tcp(const std::set<std::uint16_t>& ports) {
    const auto four = whole("/proc/net/tcp");
    if (!four) return std::nullopt;
    const auto six = whole("/proc/net/tcp6");
    if (!six && errno != ENOENT) return std::nullopt;
    std::vector<TcpSocket> found;
    read_proc_net_tcp(*four, false, ports, found);
    if (six) read_proc_net_tcp(*six, true, ports, found);
    return found;
}

}  // namespace lastcall
