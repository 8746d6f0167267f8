#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <random>
#include <string>
#include <string_view>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/elb.hpp"
#include "agent/helpers/aws/elbv2.hpp"
#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/lines.hpp"
#include "agent/helpers/aws/manual.hpp"
#include "agent/helpers/aws/session.hpp"

namespace {

using namespace lastcall;
using namespace lastcall::aws;

void complain(const std::string& text) { fmt::print(stderr, "{}\n", excerpt(text, 2000)); }

/// One number a call, in [0, 1).
std::function<double()> dice() {
    return [generator = std::minstd_rand(std::random_device()())]() mutable {
        return std::uniform_real_distribution<double>(0, 1)(generator);
    };
}

/// Everything that serves requests, wired together.
struct Helper {
    explicit Helper(asio::any_io_executor executor)
        : clock(boot_clock(executor)),
          gate(executor),
          http(curl_http(executor, around.variable("AWS_CA_BUNDLE").value_or(""))),
          time(*clock, complain),
          instance(*http, *clock, around),
          credentials(gate, executor, *http, instance, time, around),
          api(*http, *clock, time, credentials, instance, around, dice()),
          groups(elbv2(gate, *clock, executor, api, *http, instance, around)),
          classic(elb(gate, *clock, executor, api, instance)),
          notices(*clock, executor, api, instance),
          out(executor, STDOUT_FILENO),
          in(executor, STDIN_FILENO, longest_line, complain),
          session(
              gate, *clock, executor, *groups, *classic, notices,
              [this](std::string line) { out.write(std::move(line)); }, complain) {}

    awaitable<void> serve() {
        session.greet();
        for (;;) {
            auto reading = in.next();
            const auto line = co_await std::move(reading);
            if (!line) break;
            session.take(*line);
        }
        auto finishing = session.finish();
        co_await std::move(finishing);
        auto flushing = done(out.flushed());
        co_await before(*clock, after(clock->now(), 300ms), std::move(flushing));
    }

    /// Ends when there are no more requests, or nobody reads the answers.
    awaitable<void> run() {
        auto serving = done(serve());
        co_await unless(out.run(), std::move(serving));
        gate.cancel();
        auto closing = gate.close();
        co_await std::move(closing);
    }

    Surroundings around = surroundings();
    std::unique_ptr<Clock> clock;
    Gate gate;
    std::unique_ptr<Http> http;
    ServerTime time;
    InstanceMetadata instance;
    CredentialChain credentials;
    Api api;
    std::unique_ptr<Balancer> groups, classic;
    Notices notices;
    LineWriter out;
    LineReader in;
    Session session;
};

void serve() {
    std::signal(SIGPIPE, SIG_IGN);
    asio::io_context io(1);
    Helper helper(io.get_executor());
    std::exception_ptr failure;
    asio::co_spawn(io, helper.run(), [&failure, &io](std::exception_ptr error) {
        failure = error;
        io.stop();
    });
    io.run();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main(int count, char** words) try {
    const std::string_view word = count > 1 ? words[1] : "";
    if (count > 2 ||
        (!word.empty() && word != "watch" && word != "--help" && word != "--version")) {
        fmt::print(stderr,
                   "agent-lb-aws: unknown argument {}, expected watch, --help or --version\n",
                   quoted(words[count > 2 ? 2 : 1]));
        return 2;
    }
    if (word == "--help") {
        fmt::print("{}", manual);
    } else if (word == "--version") {
        fmt::print("agent-lb-aws {}\n", LASTCALL_VERSION);
    } else {
        serve();
    }
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "agent-lb-aws: {}\n", error.what());
    return 1;
}
