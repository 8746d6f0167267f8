#pragma once
#include <cstdint>
#include <optional>

namespace lastcall {

/// How many connections have ever been taken in this network namespace, on whatever port, accepted
/// or not yet (RFC 4022, tcpPassiveOpens; /proc/net/snmp, proc(5)). If it hasn't changed, nobody
/// has come: that is told in 20 µs, however many sockets there are. nullopt if it can't be read.
std::optional<std::uint64_t> passive_opens();

}  // namespace lastcall
