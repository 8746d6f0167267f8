#include "supervisor/introduction.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration patience = 5s;

}  // namespace

awaitable<void> introduce(Watch& watch) {
    if (watch.introduced) co_return;
    co_await watch.membership.load_balancer->introduce(watch.membership);
    watch.introduced = true;
}

awaitable<bool> introduce_in_time(Clock& clock, Log& log, std::string task, Watch& watch) {
    std::string trouble = "no answer in time";
    // Caught here: what may be mended is no reason to have no task at all.
    try {
        const auto limit = clock.now() + patience;
        const auto in_time = co_await before(clock, limit, done(introduce(watch)));
        if (in_time) co_return true;
    } catch (const LoadBalancerError& error) {
        if (!error.retry()) throw;
        trouble = error.what();
    }
    log.say(
        Level::warn, "Load balancer can't be asked about a task",
        {{"task", std::move(task)}, {"loadBalancer", watch.membership.url}, {"error", trouble}});
    co_return false;
}

}  // namespace lastcall
