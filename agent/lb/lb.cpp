#include "agent/lb/lb.hpp"

#include <boost/asio/local/stream_protocol.hpp>
#include <map>

#include "agent/lb/haproxy.hpp"
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
    membership.url = url.text;
    membership.target = url.target;
    membership.registers = url.registers;
    membership.drain = url.drain;
    membership.port = url.port;
    membership.poll = 50ms;
    return membership;
}

}  // namespace

class LoadBalancers::Impl {
 public:
    Impl(asio::any_io_executor executor, Clock& clock, Log& log)
        : executor_(std::move(executor)), clock_(clock), log_(log) {}

    Membership membership(const std::string& text) {
        const LoadBalancerUrl url = parse_load_balancer_url(text);
        return url.scheme == "haproxy" ? haproxy(url) : readiness(url);
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
        client_->failure(url.target, {url.fail, url.fails});
        Membership membership = common_part(url);
        membership.load_balancer = client_;
        membership.knows = false;
        // Its one long request waits for probes, which come when they come: the limit is that of
        // the whole deregistration.
        membership.timeout = url.timeout.value_or(std::chrono::hours(1));
        membership.settle = url.settle.value_or(10s);
        return membership;
    }

    asio::any_io_executor executor_;
    Clock& clock_;
    Log& log_;
    std::map<std::string, std::weak_ptr<LoadBalancer>> known_;
};

LoadBalancers::LoadBalancers(asio::any_io_executor executor, Clock& clock, Log& log, std::string)
    : impl_(std::make_unique<Impl>(std::move(executor), clock, log)) {}

LoadBalancers::~LoadBalancers() = default;

Membership LoadBalancers::membership(const std::string& url) { return impl_->membership(url); }

std::optional<std::string> load_balancer_url_trouble(const std::string& url, const std::string&) {
    try {
        parse_load_balancer_url(url);
        return std::nullopt;
    } catch (const std::invalid_argument& error) {  // asked as a question, answered as a value
        return error.what();
    }
}

}  // namespace lastcall
