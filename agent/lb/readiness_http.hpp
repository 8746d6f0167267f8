#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "agent/lb/readiness_target.hpp"

namespace lastcall {

/// Reads one HTTP request for a target's path and answers it: 503 until the target is registered,
/// 200 from then on, its failure status after deregistration. What is no request gets no answer.
/// The socket outlives it.
awaitable<void> answer_http_probe(std::shared_ptr<ReadinessTargets> targets,
                                  asio::ip::tcp::socket& socket);

}  // namespace lastcall
