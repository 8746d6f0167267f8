// A service that closes its connections when it is told to, and notes how long SIGTERM then takes
// to come:
//
//   closer PORT EAR [CONNECTIONS]
//
// listens on 127.0.0.1:PORT, holds one or more connections to itself, sends "listening" to the unix
// datagram socket EAR and waits for a word at the one named EAR.PORT. Then it closes all of them
// (each client closes its end when it reads that), waits for SIGTERM, sends "LAST_CLOSE SIGTERM"
// (nanoseconds of CLOCK_BOOTTIME) and ends.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int for_each_holder = 5000;  // two descriptors a connection; 20,000 is a usual limit
constexpr int most_holders = 20;
constexpr int patience = 60;  // seconds, for everything

/// When each holder closed its last connection; in memory that they share.
using Moments = std::array<std::atomic<std::int64_t>, most_holders>;

int checked(long result, const char* what) {
    if (result != -1) return static_cast<int>(result);
    std::perror(what);
    std::exit(1);
}

std::int64_t nanoseconds() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// ------------------------------------------------------------------------------- connections

sockaddr_in loopback(int host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl((127U << 24) + static_cast<std::uint32_t>(host));
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
}

int listen_on(int port) {
    const int listener = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    constexpr int yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto address = loopback(1, port);
    checked(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    checked(::listen(listener, 64), "listen");
    return listener;
}

/// A client's end. Its close is a reset, so that no TIME_WAIT stays behind.
int connect_to(int port, int source) {
    const int client = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    constexpr int yes = 1;
    ::setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    constexpr linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const auto from = loopback(source, 0), to = loopback(1, port);
    checked(::bind(client, reinterpret_cast<const sockaddr*>(&from), sizeof from), "bind");
    checked(::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
    return client;
}

/// The clients' part: who reads the end closes too.
void close_when_closed(int epoll) {
    std::array<epoll_event, 64> events;
    for (;;) {
        const int count = ::epoll_wait(epoll, events.data(), events.size(), -1);
        for (int each = 0; each < count; ++each)
            ::close(events[static_cast<std::size_t>(each)].data.fd);
    }
}

/// A child full of connections, which closes them when the pipe ends.
[[noreturn]] void hold(int count, int source, int listener, int port, int ready, int go,
                       std::atomic<std::int64_t>& last) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int epoll = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll");
    std::vector<int> ours;
    for (int number = 0; number < count; ++number) {
        epoll_event closes{.events = EPOLLIN | EPOLLRDHUP,
                           .data = {.fd = connect_to(port, source)}};
        checked(::epoll_ctl(epoll, EPOLL_CTL_ADD, closes.data.fd, &closes), "epoll");
        ours.push_back(checked(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept"));
    }
    std::thread clients(close_when_closed, epoll);
    char byte = 0;
    checked(::write(ready, &byte, 1), "write");
    while (::read(go, &byte, 1) > 0) {
    }
    for (const int each : ours) {
        last = nanoseconds();
        ::close(each);
    }
    clients.join();  // never: SIGKILL ends it
    std::abort();
}

/// As many holders as it takes, full one after the other. Returns what ends the wait of all.
int gather(int count, int listener, int port, Moments& moments) {
    int ready[2], go[2];
    checked(::pipe2(ready, O_CLOEXEC), "pipe");
    checked(::pipe2(go, O_CLOEXEC), "pipe");
    for (int holder = 0; count > 0; count -= for_each_holder, ++holder) {
        if (checked(::fork(), "fork") == 0) {
            ::close(go[1]);
            hold(std::min(count, for_each_holder), 1 + holder % 2, listener, port, ready[1], go[0],
                 moments.at(static_cast<std::size_t>(holder)));
        }
        char byte = 0;
        checked(::read(ready[0], &byte, 1), "read");
    }
    return go[1];
}

// ---------------------------------------------------------------------------------- the bench

sockaddr_un at(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

int own_ear(const std::string& path) {
    const int ear = checked(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    const auto address = at(path);
    ::unlink(path.c_str());
    checked(::bind(ear, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    return ear;
}

void tell(int ear, const std::string& path, const std::string& text) {
    const auto address = at(path);
    checked(::sendto(ear, text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                     sizeof address),
            "send");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: closer PORT EAR [CONNECTIONS]\n");
        return 2;
    }
    const int port = std::atoi(argv[1]), count = argc > 3 ? std::atoi(argv[3]) : 1;
    const std::string bench = argv[2];
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &stop, nullptr);
    ::signal(SIGCHLD, SIG_IGN);

    void* const shared =
        ::mmap(nullptr, sizeof(Moments), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto& moments = *new (shared) Moments{};
    const int ear = own_ear(bench + "." + argv[1]);
    const int go = gather(count, listen_on(port), port, moments);
    tell(ear, bench, "listening");
    char byte = 0;
    checked(::recv(ear, &byte, 1, 0), "recv");
    ::close(go);

    constexpr timespec limit{.tv_sec = patience, .tv_nsec = 0};
    const int number = checked(::sigtimedwait(&stop, nullptr, &limit), "sigtimedwait");
    const std::int64_t signalled = nanoseconds();
    std::int64_t closed = 0;
    for (const auto& moment : moments) closed = std::max(closed, moment.load());
    tell(ear, bench, std::to_string(closed) + " " + std::to_string(signalled));
    return number == SIGTERM ? 0 : 1;
}
