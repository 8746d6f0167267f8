#include "agent/lb/haproxy.hpp"

#include <fmt/format.h>

#include <map>
#include <vector>

#include "agent/lb/haproxy_reply.hpp"
#include "agent/lb/haproxy_socket.hpp"
#include "supervisor/await.hpp"

// How a server leaves HAProxy: `drain` (nothing new but cookie traffic), wait until nothing is in
// flight, `maint` (cookie traffic ends, the idle pool is closed), look once more. Never `maint`
// before zero: with `on-marked-down shutdown-sessions` it would cut the requests in flight. How far
// a server is stands in HAProxy itself (srv_admin_state), so that a step that was cancelled, or
// that a reload undid, is simply taken again. The status text (UP, DOWN, DRAIN) decides nothing: a
// drained server whose health check fails shows DOWN.
namespace lastcall {
namespace {

constexpr unsigned out = forced_maint | forced_drain;
constexpr std::int64_t unknown = -1;  // a process's id

/// What is known of one target beyond what HAProxy keeps.
struct Place {
    Clock::duration settle = 100ms;
    bool deregistered = false;
    std::int64_t pid = 0;  ///< of the process that acknowledged the deregistration
    std::optional<Clock::time_point> zero_since;
    int purges = 0;
    bool reloaded = false;
    bool forgot = false;

    void forget() {
        const auto configured = settle;
        *this = Place();
        settle = configured;
    }
};

/// HAProxy's own numbers for a backend and a server of it; they begin at 1.
struct Numbers {
    std::int64_t backend = 0;
    std::int64_t server = 0;
    bool known() const { return backend > 0; }
    friend bool operator==(const Numbers&, const Numbers&) = default;
};

/// One look at a server.
struct Look {
    ProcessInfo process;
    ServerState server;
    ServerLoad load;
    bool busy() const { return load.sessions + load.queued > 0; }
};

TargetState before_deregistration(const ServerState& server) {
    constexpr unsigned maint = 0x63, drain = 0x18;  // forced, inherited, or by a resolver
    if (server.admin & maint) return TargetState::unused;
    if (server.admin & drain) return TargetState::draining;
    if (server.operation == 0) return TargetState::unhealthy;
    return server.operation == 3 ? TargetState::draining : TargetState::healthy;
}

class Haproxy final : public HaproxyLoadBalancer {
 public:
    Haproxy(std::string name, asio::generic::stream_protocol::endpoint address, Clock& clock,
            Log& log)
        : name_(std::move(name)), address_(std::move(address)), clock_(clock), log_(log) {}

    void settle(const std::string& target, Clock::duration settle) override {
        places_[target].settle = settle;
    }

    awaitable<void> register_target(const std::string& target) override {
        Place& place = places_[target];
        place.forget();
        co_await set(target, "register", {"ready"}, 0);
    }

    awaitable<void> deregister(const std::string& target) override {
        // Looked at first: a server in maintenance is out already, `drain` would let cookie traffic
        // in again.
        Look look = co_await look_at(target);
        const bool already = (look.server.admin & out) != 0;
        if (!already) look = co_await set(target, "deregister", {"drain"}, forced_drain);
        Place& place = places_[target];
        if (place.deregistered) co_return;
        place.forget();
        place.deregistered = true;
        place.pid = look.process.pid;
    }

    void take_over(const std::string& target, TargetState as) override {
        Place& place = places_[target];
        place.forget();
        place.deregistered = as == TargetState::draining;
        place.pid = unknown;
    }

    awaitable<TargetReport> state_of(const std::string& target) override {
        Look look = co_await look_at(target);
        Place& place = places_[target];
        if (!place.deregistered) {
            const auto state = before_deregistration(look.server);
            co_return report(place, look, state);
        }
        notice_reload(target, place, look);
        if (!(look.server.admin & out)) {
            place.zero_since.reset();
            place.purges = 0;
            co_await set(target, "deregister", {"drain"}, forced_drain);
            co_return report(place, look, TargetState::draining);
        }
        const bool quiet = settled(place, look);
        if (!quiet) {
            TargetReport waiting = report(place, look, TargetState::draining);
            if (place.zero_since) waiting.again = *place.zero_since + place.settle - clock_.now();
            co_return waiting;
        }
        if (!(look.server.admin & forced_maint)) {
            co_await set(target, "set to maintenance", {"maint"}, forced_maint);
            look = co_await look_at(target);
            if (look.busy()) place.zero_since.reset();
            if (look.busy() || look.load.idle > 0 || !(look.server.admin & forced_maint)) {
                co_return report(place, look, TargetState::draining);
            }
        }
        // What was in flight when maintenance began goes back to the pool, and stays. Going through
        // drain and back purges it again; a pool that still won't empty holds no request.
        constexpr int enough = 2;
        if (look.load.idle > 0 && place.purges < enough) {
            ++place.purges;
            co_await set(target, "set to maintenance", {"drain", "maint"}, forced_maint);
            co_return report(place, look, TargetState::draining);
        }
        co_return report(place, look, TargetState::unused);
    }

 private:
    /// Zero was seen twice, at least `settle` apart, and nothing else between.
    bool settled(Place& place, const Look& look) const {
        if (look.busy()) {
            place.zero_since.reset();
            return false;
        }
        const auto now = clock_.now();
        if (!place.zero_since) place.zero_since = now;
        return now - *place.zero_since >= place.settle;
    }

    /// After a reload the old process finishes its requests, and nobody can ask it.
    void notice_reload(const std::string& target, Place& place, const Look& look) {
        const bool forgot = !(look.server.admin & out);
        if (place.pid == unknown && !forgot) place.pid = look.process.pid;
        if ((look.process.pid != place.pid || forgot) && !place.reloaded) {
            place.reloaded = true;
            log_.say(Level::warn,
                     "HAProxy was reloaded or restarted: what an old process has in flight can't "
                     "be seen",
                     {{"loadBalancer", name_}, {"target", target}});
        }
        if (forgot && !place.forgot) {
            place.forgot = true;
            log_.say(Level::warn, "HAProxy forgot a deregistration, it is said again",
                     {{"loadBalancer", name_}, {"target", target}});
        }
    }

    static TargetReport report(const Place& place, const Look& look, TargetState state) {
        TargetReport result;
        result.state = state;
        result.port = look.server.port;
        result.partial = place.reloaded;
        if (!place.reloaded) result.connections = look.load.sessions + look.load.queued;
        return result;
    }

    /// Sets the server to each of `states` in turn, and reads back that `wanted` is what came of
    /// it. The reading decides, the answer only explains.
    awaitable<Look> set(std::string target, std::string_view doing,
                        std::vector<std::string_view> states, unsigned wanted) {
        std::string line;
        for (const auto state : states)
            line += fmt::format("set server {} state {}; ", target, state);
        line += fmt::format("show info; show servers state {}", backend_of(target));
        const auto read = [&](const std::string& reply) {
            const auto answers = split_replies(reply, states.size() + 2);
            Look look;
            look.process = process_info(answers[states.size()]);
            look.server = server_state(answers.back(), backend_of(target), server_of(target));
            const unsigned now = look.server.admin & out;
            if (wanted == 0 ? now == 0 : (now & wanted) != 0) return look;
            for (std::size_t i = 0; i < states.size(); ++i) expect_success(answers[i]);
            throw HaproxyError(fmt::format("srv_admin_state is {}", look.server.admin), true);
        };
        std::string failed = fmt::format("cannot {} {} at {}", doing, target, name_);
        co_return co_await ask(std::move(failed), std::move(line), read);
    }

    /// One look, all of it from one process: the numbers that `show stat` is asked by are those of
    /// the last look, and it is asked again if they were wrong (at first, and after a reload).
    awaitable<Look> look_at(std::string target) {
        std::string failed = fmt::format("cannot ask {} about {}", name_, target);
        for (int tries = 0; tries < 3; ++tries) {
            const Numbers numbers = numbers_[target];
            std::string line = fmt::format("show info; show servers state {}", backend_of(target));
            if (numbers.known()) {
                line += fmt::format("; show stat {} 4 {}", numbers.backend, numbers.server);
            }
            const auto read = [&](const std::string& reply) {
                const auto answers = split_replies(reply, numbers.known() ? 3 : 2);
                Look look;
                look.process = process_info(answers[0]);
                look.server = server_state(answers[1], backend_of(target), server_of(target));
                const Numbers now{look.server.backend_id, look.server.server_id};
                numbers_[target] = now;
                if (numbers == now) {
                    look.load = server_load(answers[2], backend_of(target), server_of(target));
                }
                return look;
            };
            const Look look = co_await ask(failed, std::move(line), read);
            if (numbers_[target] == numbers) co_return look;
        }
        throw LoadBalancerError(failed + ": its servers are renumbered all the time", true);
    }

    /// One line, its answer read by `read`; HAProxy's troubles become a load balancer's.
    template <class Read>
    awaitable<Look> ask(std::string failed, std::string line, Read read) {
        try {
            const std::string reply = co_await haproxy_command(address_, std::move(line));
            const Look look = read(reply);
            if (look.process.stopping) throw HaproxyError("it is being replaced", true);
            co_return look;
        } catch (const HaproxyError& error) {
            throw LoadBalancerError(fmt::format("{}: {}", failed, error.what()), error.retry());
        }
    }

    static std::string_view backend_of(std::string_view target) {
        return target.substr(0, target.find('/'));
    }
    static std::string_view server_of(std::string_view target) {
        return target.substr(target.find('/') + 1);
    }

    std::string name_;
    asio::generic::stream_protocol::endpoint address_;
    Clock& clock_;
    Log& log_;
    std::map<std::string, Place> places_;
    std::map<std::string, Numbers> numbers_;
};

}  // namespace

std::shared_ptr<HaproxyLoadBalancer> haproxy_load_balancer(
    std::string name, asio::generic::stream_protocol::endpoint address, Clock& clock, Log& log) {
    return std::make_shared<Haproxy>(std::move(name), std::move(address), clock, log);
}

}  // namespace lastcall
