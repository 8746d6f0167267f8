#pragma once
#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include <cstdint>

namespace lastcall {

/// A socket's cookie as one number, from a message of sock_diag(7).
inline std::uint64_t cookie_of(const inet_diag_msg& message) {
    return message.id.idiag_cookie[0] | static_cast<std::uint64_t>(message.id.idiag_cookie[1])
                                            << 32;
}

/// Netlink's replies are read in pieces of this size; the kernel fills them (netlink(7)).
inline constexpr std::size_t netlink_buffer = 32 * 1024;

}  // namespace lastcall
