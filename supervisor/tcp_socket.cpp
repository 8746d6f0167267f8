#include "supervisor/tcp_socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace lastcall {

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
