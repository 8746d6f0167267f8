#include "supervisor/tcp_socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace lastcall {

bool is_open(const TcpSocket& socket) {
    switch (socket.state) {
        case TcpState::established:
        case TcpState::syn_recv:
        case TcpState::close_wait:
            return true;
        case TcpState::fin_wait1:
        case TcpState::closing:
        case TcpState::last_ack:
            return socket.unsent > 1;
        default:
            return false;
    }
}

std::string to_string(const PeerAddress& peer) {
    in6_addr address;
    std::memcpy(&address, peer.data(), sizeof address);
    char text[INET6_ADDRSTRLEN] = "";
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        ::inet_ntop(AF_INET, peer.data() + 12, text, sizeof text);
    } else {
        ::inet_ntop(AF_INET6, peer.data(), text, sizeof text);
    }
    return text;
}

}  // namespace lastcall
