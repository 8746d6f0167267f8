#include <doctest/doctest.h>

#include "supervisor/proc_net_tcp.hpp"

using namespace lastcall;

namespace {

// As a Linux 6.1 on x86-64 shows them; the listener on 8080 has two who wait to be accepted.
constexpr std::string_view four =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode                                                     \n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 "
    "41277 1 0000000000000000 100 0 0 10 0                     \n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "18211 1 0000000000000000 100 0 0 10 0                     \n"
    "   2: 0A00000A:1F90 0700000A:D2F0 01 00000021:0000000B 01:00000014 00000000  1000        0 "
    "4294967299 2 0000000000000000 20 4 30 10 -1               \n"
    "   3: 0A00000A:1F90 0700000A:D2F2 06 00000000:00000000 03:00001540 00000000     0        0 "
    "0 3 0000000000000000                                      \n"
    "   4: 0A00000A:1F90 0700000A:D2F4 03 00000000:00000000 01:00000061 00000000     0        0 "
    "0 0 0000000000000000                                      \n"
    "   5: 0A00000A:D2F6 0700000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 "
    "41280 1 0000000000000000 20 4 30 10 -1                    \n";

constexpr std::string_view six =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A "
    "00000000:00000001 00:00000000 00000000     0        0 52001 1 0000000000000000 100 0 0 10 0\n"
    "   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 52002 1 0000000000000000 100 0 0 10 0\n"
    "   2: B80D0120000000000000000001000000:1F90 B80D0120000000000000000007000000:A1B2 08 "
    "00000000:00000001 00:00000000 00000000     0        0 52003 1 0000000000000000 20 4 30 10 -1\n"
    "   3: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:A1B4 01 "
    "00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1\n";

std::vector<TcpSocket> read(std::string_view text, bool v6, const std::set<std::uint16_t>& ports) {
    std::vector<TcpSocket> found;
    read_proc_net_tcp(text, v6, ports, found);
    return found;
}

constexpr PeerAddress ten_dot_seven = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7};

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    const auto at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("/proc/net/tcp: a port's sockets, but for those in TIME_WAIT") {
    const auto found = read(four, false, {8080});
    REQUIRE(found.size() == 3);
    CHECK(found[0].state == TcpState::listen);
    CHECK(found[0].unread == 2);  // the accept queue
    CHECK(found[0].inode == 41277);
    CHECK(found[0].loopback);
    CHECK(found[1].state == TcpState::established);
    CHECK(found[1].port == 8080);
    CHECK(found[1].peer == ten_dot_seven);
    CHECK(found[1].unsent == 0x21);
    CHECK(found[1].unread == 0x0b);
    CHECK(found[1].inode == 4294967299);
    CHECK(found[1].interactive == false);
    CHECK_FALSE(found[1].loopback);
    CHECK_FALSE(found[1].traffic);
    CHECK(found[1].cgroup == 0);
    CHECK(found[2].state == TcpState::syn_recv);
    CHECK(found[2].inode == 0);
    CHECK(read(four, false, {22, 8080}).size() == 4);
    CHECK(read(four, false, {9999}).empty());
}

TEST_CASE("/proc/net/tcp: without ports, whatever is listened on") {
    const auto found = read(four, false, {});
    REQUIRE(found.size() == 2);
    CHECK(found[0].port == 8080);
    CHECK(found[1].port == 22);
    CHECK_FALSE(found[1].loopback);
}

TEST_CASE("/proc/net/tcp6: addresses of IPv6, and IPv4's in them") {
    const auto found = read(six, true, {8080});
    REQUIRE(found.size() == 3);
    CHECK(found[0].unread == 1);
    CHECK_FALSE(found[0].loopback);
    CHECK(found[1].state == TcpState::close_wait);
    CHECK(found[1].peer == PeerAddress{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7});
    CHECK_FALSE(found[1].loopback);
    CHECK(found[2].peer == PeerAddress{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1});
    CHECK(found[2].loopback);
    const auto on_loopback = read(six, true, {8081});
    REQUIRE(on_loopback.size() == 1);
    CHECK(on_loopback[0].loopback);
}

TEST_CASE("/proc/net/tcp: a cookie is the connection's, not its inode's, and no two share one") {
    std::set<std::uint64_t> cookies;
    for (const auto& each : read(four, false, {8080})) cookies.insert(each.cookie);
    for (const auto& each : read(six, true, {8080})) cookies.insert(each.cookie);
    CHECK(cookies.size() == 6);
    CHECK(cookies.count(0) == 0);

    const std::string accepted = replaced(std::string(six), " 0 1 0000", " 52009 1 0000");
    CHECK(read(accepted, true, {8080})[2].inode == 52009);
    CHECK(read(accepted, true, {8080})[2].cookie == read(six, true, {8080})[2].cookie);
    const std::string other_client = replaced(std::string(four), ":D2F0", ":D2F1");
    CHECK(read(other_client, false, {8080})[1].cookie != read(four, false, {8080})[1].cookie);
    // SO_REUSEPORT: all that two listeners of one address differ in.
    const std::string beside = replaced(std::string(four), "41277", "41278");
    CHECK(read(beside, false, {8080})[0].cookie != read(four, false, {8080})[0].cookie);
}

TEST_CASE("/proc/net/tcp: what is no line of it is passed over, and the rest is read") {
    const std::string line =
        "   7: 0A00000A:1F90 0700000A:D2F0 01 00000000:00000000 00:00000000 00000000     0        "
        "0 41279 1 0000000000000000\n";
    REQUIRE(read(line, false, {8080}).size() == 1);
    for (const auto& [what, with] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"7: ", "7 "},
             {"0A00000A:", "0A00000A"},
             {"0A00000A:", ":"},
             {"0A00000A", "0A00000G"},
             {"0A00000A", "0A00000A0"},
             {"1F90", "11F90"},
             {"0700000A:D2F0", "0700000A:"},
             {"0700000A", "07"},
             {" 01 ", " 0C "},
             {" 01 ", " 00 "},
             {" 01 ", " 1FF "},
             {" 01 ", " -1 "},
             {"00000000:00000000 00:", "0000000000000000 00:"},
             {"00000000:00000000 00:", "100000000:00000000 00:"},
             {" 41279 1 0000000000000000", ""},
             {"41279", "99999999999999999999999"},
             {"41279", "x"}}) {
        CAPTURE(what);
        CAPTURE(with);
        CHECK(read(replaced(line, what, with) + line, false, {8080}).size() == 1);
    }
    for (std::size_t length = 0; length < line.find("41279"); ++length)
        CHECK(read(line.substr(0, length), false, {8080}).empty());
    CHECK(read(std::string(100000, ' '), false, {8080}).empty());
    CHECK(read(std::string("\n\n\0:\n", 5) + line, false, {8080}).size() == 1);
    CHECK(read(line, true, {8080}).empty());
    CHECK(read(six, false, {8080}).empty());
}

TEST_CASE("/proc/net/tcp: a socket whose ACKs wait for data shows that") {
    const auto text = replaced(std::string(four), " 20 4 30 10 -1", " 20 4 31 10 -1");
    CHECK(read(text, false, {8080})[1].interactive == true);
    const auto cut = replaced(std::string(four), " 20 4 30 10 -1", "");
    CHECK(read(cut, false, {8080})[1].interactive == std::nullopt);
}
