#include "agent/lb/lost.hpp"

#include <utility>

#include "supervisor/await.hpp"

namespace lastcall {
namespace {

class Lost final : public LoadBalancer {
 public:
    explicit Lost(std::string why) : why_(std::move(why)) {}
    awaitable<void> register_target(const std::string&) override {
        refuse();
        co_return;
    }
    awaitable<void> deregister(const std::string&) override {
        refuse();
        co_return;
    }
    awaitable<TargetReport> state_of(const std::string&) override {
        refuse();
        co_return TargetReport{};
    }

 private:
    void refuse() const {
        throw LoadBalancerError("cannot speak to the load balancer: " + why_, false);
    }
    std::string why_;
};

}  // namespace

std::shared_ptr<LoadBalancer> lost_load_balancer(std::string why) {
    return std::make_shared<Lost>(std::move(why));
}

}  // namespace lastcall
