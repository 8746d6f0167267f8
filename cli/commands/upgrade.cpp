#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto between_looks = 2ms;
constexpr std::int64_t patience_us = 30'000'000;

/// What became of it, as this program saw it.
struct Upgraded {
    api::Metadata from, to;
    double silent_ms = 0;  ///< as the new image says, else as we saw it
};

/// Waits for an agent that answers as another image. A look that fails is one more.
asio::awaitable<Upgraded> taken_over(std::string socket, api::Metadata from) {
    Upgraded upgraded{.from = from};
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor);
    std::int64_t last_answer = wall_clock();
    const std::int64_t deadline = last_answer + patience_us;
    std::string trouble = "it still runs as before";
    bool any_agent = true;
    while (wall_clock() < deadline) {
        Client client(executor, socket);  // a connection each: an old one is the old image's
        try {
            const json::value answer = co_await client.call("GET", "/v1/metadata");
            upgraded.to = api::from_json<api::Metadata>(answer);
            any_agent = true;
            upgraded.silent_ms = static_cast<double>(wall_clock() - last_answer) / 1000;
            if (upgraded.to.startedAt != from.startedAt) {
                upgraded.silent_ms = upgraded.to.silentMs.value_or(upgraded.silent_ms);
                co_return upgraded;
            }
            last_answer = wall_clock();
            if (upgraded.to.upgradeFailure) throw std::logic_error(*upgraded.to.upgradeFailure);
        } catch (const NoAgent& error) {
            any_agent = false;
            trouble = error.what();
        } catch (const std::runtime_error& error) {  // broken by the upgrade itself
            trouble = error.what();
        }
        timer.expires_after(between_looks);
        co_await timer.async_wait(asio::use_awaitable);
    }
    const std::string text =
        fmt::format("no upgraded agent has answered within 30 s: {}; its log tells more", trouble);
    if (!any_agent) throw NoAgent(text);
    throw std::runtime_error(text);
}

Upgraded wait_for_it(const std::string& socket, const api::Metadata& from) {
    asio::io_context io(1);
    std::exception_ptr failure;
    Upgraded upgraded;
    asio::co_spawn(io, taken_over(socket, from), [&](std::exception_ptr error, Upgraded result) {
        failure = error;
        upgraded = std::move(result);
    });
    io.run_for(std::chrono::microseconds(patience_us) + 5s);
    if (failure) std::rethrow_exception(failure);
    if (upgraded.to.startedAt.empty()) {
        throw std::runtime_error("the upgraded agent has not answered within 30 s");
    }
    return upgraded;
}

std::string text_of(const Upgraded& upgraded) {
    const auto& [from, to, silent_ms] = upgraded;
    const std::string pid =
        from.pid == to.pid
            ? fmt::format("pid {} as before", to.pid)
            : fmt::format("pid {}, {} before: it was started again", to.pid, from.pid);
    return fmt::format("agent {} -> {}, {}; the socket was silent for {}\n", from.Version,
                       to.Version, pid, duration(silent_ms));
}

}  // namespace

int upgrade(Session& session) {
    std::optional<std::string> binary;
    session.arguments.about(
        "makes the agent execute its binary anew: its tasks, their stops and its sockets go on.",
        "  agentctl upgrade                        # after its file was replaced\n"
        "  agentctl upgrade --binary /opt/lastcall/agent\n"
        "The new binary is tried first; one that couldn't take over is refused, and nothing "
        "happens.\n");
    session.arguments.value("--binary", "PATH", binary,
                            "another than the one from which the agent was started");
    session.parse();
    api::UpgradeRequest request{.binary = binary};
    const auto answer = session.call("POST", "/v1/upgrade", api::to_json(request));
    const auto upgraded = wait_for_it(session.socket, api::from_json<api::Metadata>(answer));
    if (session.json) {
        session.print(json::object{{"from", api::to_json(upgraded.from)},
                                   {"to", api::to_json(upgraded.to)},
                                   {"silentMs", upgraded.silent_ms}});
    } else {
        session.terminal.print(text_of(upgraded));
    }
    return done;
}

}  // namespace lastcall::cli
