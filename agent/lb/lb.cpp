#include "agent/lb/lb.hpp"

#include <fmt/format.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <map>
#include <stdexcept>

#include "agent/config/secrets.hpp"
#include "agent/config/typing_error.hpp"
#include "agent/lb/haproxy.hpp"
#include "agent/lb/helper_path.hpp"
#include "agent/lb/helper_target.hpp"
#include "agent/lb/lost.hpp"
#include "agent/lb/readiness.hpp"
#include "agent/lb/url.hpp"

namespace lastcall {
namespace {

asio::generic::stream_protocol::endpoint address_of(const LoadBalancerUrl& url) {
    if (url.socket_path.empty()) return url.endpoint;
    return asio::local::stream_protocol::endpoint(url.socket_path);
}

Membership common_part(const LoadBalancerUrl& url) {
    Membership membership;
    membership.url = url.is_helpers() ? without_secrets(url.text) : url.text;
    membership.target = url.target;
    membership.registers = url.registers.value_or(true);
    membership.drain = url.drain;
    membership.port = url.port;
    membership.poll = 50ms;
    return membership;
}

/// The program for a scheme that isn't built in. Throws std::invalid_argument.
std::string helper_program(const LoadBalancerUrl& url, const std::string& helper_path) {
    const auto directories = helper_directories(helper_path);
    if (auto program = find_helper(url.scheme, directories)) return *program;
    for (const std::string_view known : {"haproxy", "readiness"}) {
        if (typing_errors(known, url.scheme) < 3) {
            throw std::invalid_argument(
                fmt::format("unknown load balancer scheme '{}' in '{}': did you mean '{}'?",
                            url.scheme, without_secrets(url.text), known));
        }
    }
    throw std::invalid_argument(fmt::format(
        "unknown load balancer scheme '{}' in '{}': expected haproxy or readiness, or a program "
        "agent-lb-{} in {} (AGENT_HELPER_PATH)",
        url.scheme, without_secrets(url.text), url.scheme, fmt::join(directories, " or ")));
}

/// A port for HAProxy's agent-check: one target's, as long as a task has it.
struct AgentPort {
    AgentPort(std::shared_ptr<ReadinessLoadBalancer> its_client, std::string its_target,
              std::uint16_t its_port)
        : client(std::move(its_client)), target(std::move(its_target)), port(its_port) {
        client->begin_agent_check(target, port);
    }
    AgentPort(const AgentPort&) = delete;
    AgentPort& operator=(const AgentPort&) = delete;
    ~AgentPort() { client->end_agent_check(port); }

    std::shared_ptr<ReadinessLoadBalancer> client;
    std::string target;
    std::uint16_t port;
};

}  // namespace

class LoadBalancers::Impl {
 public:
    Impl(asio::any_io_executor executor, Clock& clock, Log& log, std::string helper_path,
         helper::StartProgram start)
        : executor_(std::move(executor)),
          clock_(clock),
          log_(log),
          helper_path_(std::move(helper_path)),
          start_(std::move(start)) {}

    Membership membership(const std::string& text) {
        const LoadBalancerUrl url = parse_load_balancer_url(text);
        if (url.is_helpers()) return helped(url);
        return url.scheme == "haproxy" ? haproxy(url) : readiness(url);
    }

    Membership membership_left(const std::string& text) {
        try {
            return membership(text);
        } catch (const std::exception& error) {  // the others are to be told all the same
            log_.say(Level::error, "Load balancer of a task that runs can't be spoken to",
                     {{"error", error.what()}});
            return lost(text, error.what());
        }
    }

    awaitable<void> close() {
        std::vector<awaitable<void>> closing;
        for (const auto& [program, helper] : helpers_) closing.push_back(helper->close());
        co_await all(std::move(closing));
    }

 private:
    /// The client for this load balancer: the one that some task has already, or a new one. It dies
    /// with the last task behind it.
    template <class Client, class Make>
    std::shared_ptr<Client> client(const LoadBalancerUrl& url, Make make) {
        std::weak_ptr<LoadBalancer>& known = known_[url.load_balancer()];
        if (const auto alive = known.lock()) return std::static_pointer_cast<Client>(alive);
        const std::shared_ptr<Client> made = make();
        known = made;
        return made;
    }

    Membership haproxy(const LoadBalancerUrl& url) {
        const auto client_ = client<HaproxyLoadBalancer>(url, [&] {
            return haproxy_load_balancer(url.load_balancer(), address_of(url), clock_, log_);
        });
        // It applies `settle` itself: between the two looks at zero and the maintenance that
        // follows.
        client_->settle(url.target, url.settle.value_or(100ms));
        Membership membership = common_part(url);
        membership.load_balancer = client_;
        membership.knows = true;
        membership.timeout = url.timeout.value_or(5s);
        membership.settle = 0s;
        return membership;
    }

    Membership readiness(const LoadBalancerUrl& url) {
        const auto client_ = client<ReadinessLoadBalancer>(url, [&] {
            return readiness_load_balancer(url.load_balancer(), executor_, url.endpoint, log_);
        });
        Membership membership = common_part(url);
        membership.load_balancer = client_;
        if (url.agent_check) membership.load_balancer = with_agent_check(url, client_);
        client_->failure(url.target, {url.fail, url.fails});
        membership.knows = false;
        // Its one long request waits for probes, which come when they come: the limit is that of
        // the whole deregistration.
        membership.timeout = url.timeout.value_or(std::chrono::hours(1));
        membership.settle = url.settle.value_or(10s);
        membership.poll = std::chrono::hours(1);  // it learns nothing by itself
        return membership;
    }

    /// The client, together with its agent-check port: the one that this task has already (in its
    /// last run, or by the same URL twice), or a new one.
    std::shared_ptr<LoadBalancer> with_agent_check(
        const LoadBalancerUrl& url, const std::shared_ptr<ReadinessLoadBalancer>& client_) {
        const asio::ip::tcp::endpoint address(url.endpoint.address(), *url.agent_check);
        std::weak_ptr<AgentPort>& known = agent_ports_[address];
        auto port = known.lock();
        if (port && (port->client != client_ || port->target != url.target)) {
            throw std::invalid_argument(fmt::format(
                "cannot use load balancer '{}': agent-check is {}, expected a port of its own: "
                "that one answers for '{}'",
                url.text, *url.agent_check, port->target));
        }
        if (!port) port = std::make_shared<AgentPort>(client_, url.target, *url.agent_check);
        known = port;
        return {port, client_.get()};
    }

    /// What its URL says holds all the same, if that is understood.
    Membership lost(const std::string& text, std::string why) {
        Membership membership;
        membership.url = membership.target = without_secrets(text);
        membership.settle = 10s;
        try {
            const LoadBalancerUrl url = parse_load_balancer_url(text);
            membership = common_part(url);
            membership.settle = url.settle.value_or(10s);
        } catch (const std::invalid_argument&) {  // that is the reason
        }
        membership.load_balancer = lost_load_balancer(std::move(why));
        membership.poll = std::chrono::hours(1);
        return membership;
    }

    /// What only the load balancer knows is filled in by its introduction.
    Membership helped(const LoadBalancerUrl& url) {
        const auto program = helper_program(url, helper_path_);
        auto& helper = helpers_[program];
        if (!helper) {
            helper = std::make_shared<helper::Helper>(
                helper::Helper::Parts{executor_, clock_, log_, start_}, std::vector{program});
        }
        Membership membership = common_part(url);
        membership.load_balancer = helper_target(helper, url, clock_, log_);
        membership.registers = url.registers.value_or(false);
        // A helper says by itself when it gets no answer; the limit is the whole deregistration's.
        membership.timeout = url.timeout.value_or(std::chrono::hours(1));
        membership.settle = url.settle.value_or(10s);
        membership.poll = 10ms;  // it is told, and only passes on
        return membership;
    }

    asio::any_io_executor executor_;
    Clock& clock_;
    Log& log_;
    std::string helper_path_;
    helper::StartProgram start_;
    std::map<std::string, std::shared_ptr<helper::Helper>> helpers_;  ///< by program
    std::map<std::string, std::weak_ptr<LoadBalancer>> known_;
    std::map<asio::ip::tcp::endpoint, std::weak_ptr<AgentPort>> agent_ports_;
};

LoadBalancers::LoadBalancers(asio::any_io_executor executor, Clock& clock, Log& log,
                             std::string helper_path, helper::StartProgram start)
    : impl_(std::make_unique<Impl>(std::move(executor), clock, log, std::move(helper_path),
                                   std::move(start))) {}

LoadBalancers::~LoadBalancers() = default;

Membership LoadBalancers::membership(const std::string& url) { return impl_->membership(url); }

Membership LoadBalancers::membership_left(const std::string& url) {
    return impl_->membership_left(url);
}

awaitable<void> LoadBalancers::close() { return impl_->close(); }

std::optional<std::string> load_balancer_url_trouble(const std::string& text,
                                                     const std::string& helper_path) {
    try {
        const auto url = parse_load_balancer_url(text);
        if (url.is_helpers()) helper_program(url, helper_path);
        return std::nullopt;
    } catch (const std::invalid_argument& error) {  // asked as a question, answered as a value
        return error.what();
    }
}

}  // namespace lastcall
