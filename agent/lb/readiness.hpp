#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// The load balancer that asks us: an HTTP endpoint of our own that its health check probes, and
/// HAProxy's agent-check. A target is a path ("/ready"); several share one listener. Each answers
/// 503 (`drain`) until registered, 200 (`ready up`) from then on, and its failure status (`drain`)
/// after deregistration, until this object is gone.
///
/// Its word is never enough: it knows nothing of connections. `deregister` returns when every kind
/// of probe that came while all was well has heard the failure: as many HTTP probes as `Failure`
/// asks for, and one agent-check; at once if none ever came. Listening begins at the first request
/// that needs it, never before.
class ReadinessLoadBalancer : public LoadBalancer {
 public:
    struct Failure {
        unsigned status = 503;  ///< 404 for HAProxy's `http-check disable-on-404`
        unsigned probes = 3;    ///< how many must have had it
    };
    virtual void failure(const std::string& target, Failure failure) = 0;
    /// Answers agent-checks of this target on one more port, and of no other there.
    virtual void begin_agent_check(const std::string& target, std::uint16_t port) = 0;
    virtual void end_agent_check(std::uint16_t port) = 0;
};

/// `name` is the load balancer's URL for messages; the log outlives the client, the executor's
/// context outlives both.
std::shared_ptr<ReadinessLoadBalancer> readiness_load_balancer(std::string name,
                                                               asio::any_io_executor executor,
                                                               asio::ip::tcp::endpoint address,
                                                               Log& log);

}  // namespace lastcall
