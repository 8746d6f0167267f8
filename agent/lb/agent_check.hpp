#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "agent/lb/readiness_target.hpp"

namespace lastcall {

/// Answers one connection of HAProxy's agent-check (its configuration manual, section 5.2) with one
/// line: `ready up` while the target is registered, else `drain`. What it sends (`agent-send`) is
/// not waited for, and means nothing here. Never a percentage: HAProxy keeps a weight that it was
/// once told.
///
/// A `drain` has been heard when HAProxy, which acts on a line before it closes, has closed. The
/// socket outlives it.
awaitable<void> answer_agent_check(std::shared_ptr<ReadinessTargets> targets, std::string target,
                                   asio::ip::tcp::socket& socket);

}  // namespace lastcall
