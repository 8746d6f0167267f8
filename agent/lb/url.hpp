#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "supervisor/clock.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// One URL of AGENT_LOAD_BALANCERS, understood (DESIGN section 6; the grammar is RFC 3986's).
struct LoadBalancerUrl {
    std::string text;                  ///< as configured
    std::string scheme;                ///< "haproxy", "readiness", or a helper program's
    std::string socket_path;           ///< haproxy over a unix socket; empty: over TCP
    asio::ip::tcp::endpoint endpoint;  ///< numeric: PID 1 resolves no names
    /// "web/web1"; readiness's path "/ready"; for a helper the URL without what is ours.
    std::string target;

    std::optional<bool> registers;             ///< `register=`
    std::optional<DrainMode> drain;            ///< `drain=`
    std::optional<std::uint16_t> port;         ///< `port=`
    std::optional<Clock::duration> timeout;    ///< `timeout=`
    std::optional<Clock::duration> settle;     ///< `settle=`
    unsigned fail = 503;                       ///< readiness: the status after deregistration
    unsigned fails = 3;                        ///< readiness: probes that must have had it
    std::optional<std::uint16_t> agent_check;  ///< readiness: HAProxy's agent-check, on this port

    bool is_helpers() const { return scheme != "haproxy" && scheme != "readiness"; }
    /// What makes two URLs name the same load balancer: scheme and address.
    std::string load_balancer() const;
};

/// Throws std::invalid_argument with one line that names the URL, the value, and what was expected.
LoadBalancerUrl parse_load_balancer_url(const std::string& text);

}  // namespace lastcall
