#pragma once
#include <boost/asio/generic/stream_protocol.hpp>
#include <memory>
#include <string>

#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// HAProxy by its runtime API (2.2 and newer). A target is "BACKEND/SERVER". Its word is enough:
/// `unused` means that no request of ours was in flight for `settle`, that the server is in
/// maintenance (which ends cookie traffic too), and that HAProxy keeps no idle connection to it.
class HaproxyLoadBalancer : public LoadBalancer {
 public:
    /// How long zero must stay zero before a target is set to maintenance; 100 ms if never said.
    virtual void settle(const std::string& target, Clock::duration settle) = 0;
};

/// `name` is the load balancer's URL for messages; clock and log outlive the client.
std::shared_ptr<HaproxyLoadBalancer> haproxy_load_balancer(
    std::string name, asio::generic::stream_protocol::endpoint address, Clock& clock, Log& log);

}  // namespace lastcall
