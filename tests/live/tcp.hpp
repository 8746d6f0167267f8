#pragma once
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

// Sockets of this process, as a service and its clients have them.
namespace lastcall {

/// Closed at the end of its scope.
class Socket {
 public:
    explicit Socket(int descriptor) : descriptor_(descriptor) { REQUIRE(descriptor != -1); }
    Socket(Socket&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
    ~Socket() { close(); }
    Socket& operator=(Socket&&) = delete;
    int get() const { return descriptor_; }
    void close() {
        if (descriptor_ != -1) ::close(descriptor_);
        descriptor_ = -1;
    }
    /// Closes it by a reset: nobody waits for anybody's FIN.
    void reset() {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close();
    }
    void send(const char* text) const { REQUIRE(::send(descriptor_, text, 3, MSG_NOSIGNAL) == 3); }
    void receive() const {
        char buffer[3];
        REQUIRE(::recv(descriptor_, buffer, sizeof buffer, MSG_WAITALL) == 3);
    }

 private:
    int descriptor_;
};

inline sockaddr_in6 loopback(bool v6, std::uint16_t port) {
    sockaddr_in6 to{};
    if (v6) {
        to.sin6_family = AF_INET6;
        to.sin6_addr = in6addr_loopback;
        to.sin6_port = htons(port);
    } else {
        auto& four = reinterpret_cast<sockaddr_in&>(to);
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        four.sin_port = htons(port);
    }
    return to;
}

/// A dual-stack listener on a port of its own.
struct Listening {
    Socket socket{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::uint16_t port = 0;
    explicit Listening(const in6_addr& at = in6addr_any) {
        sockaddr_in6 to{};
        to.sin6_family = AF_INET6;
        to.sin6_addr = at;
        REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
        REQUIRE(::listen(socket.get(), 64) == 0);
        socklen_t size = sizeof to;
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&to), &size);
        port = ntohs(to.sin6_port);
    }
    Socket connect(bool v6 = true) const {
        Socket client(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto to = loopback(v6, port);
        REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to),
                          v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in)) == 0);
        return client;
    }
    Socket accept() const {
        return Socket(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
};

}  // namespace lastcall
