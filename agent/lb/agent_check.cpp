#include "agent/lb/agent_check.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <string_view>

#include "agent/lb/probe_listener.hpp"

namespace lastcall {

awaitable<void> answer_agent_check(std::shared_ptr<ReadinessTargets> targets, std::string target,
                                   asio::ip::tcp::socket& socket) {
    ReadinessTarget& asked = targets->at(target);
    const auto word = asked.ask(ProbeKind::agent_check);
    // HAProxy ignores a line without its end. `up` alone wouldn't take a `drain` back.
    const std::string_view line = word.state == TargetState::healthy ? "ready up\n" : "drain\n";
    const auto bytes = asio::buffer(line);
    boost::system::error_code error;
    co_await asio::async_write(socket, bytes, asio::redirect_error(use_awaitable, error));
    if (error) co_return;
    const bool closed = co_await hang_up(socket);
    if (closed) asked.heard(ProbeKind::agent_check, word);
}

}  // namespace lastcall
