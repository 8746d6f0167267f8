#pragma once
#include <memory>
#include <string>
#include <vector>

#include "agent/lb/program.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// What is wrong with a load balancer URL, in one line with the URL and what was expected; nothing
/// if it is well formed, its scheme known, and its helper program (if it needs one) present. Pure
/// but for that look; quick enough for the start path.
std::optional<std::string> load_balancer_url_trouble(const std::string& url,
                                                     const std::string& helper_path);

/// Every load balancer client there is: one for each distinct load balancer, shared by all tasks.
class LoadBalancers {
 public:
    /// `start`: starts helper programs, which lie in `helper_path` (AGENT_HELPER_PATH).
    LoadBalancers(asio::any_io_executor executor, Clock& clock, Log& log, std::string helper_path,
                  helper::StartProgram start);
    ~LoadBalancers();
    /// Throws std::invalid_argument with `load_balancer_url_trouble`'s text.
    Membership membership(const std::string& url);
    /// The same for a task that an earlier agent has left. Never throws: one that isn't understood
    /// any more says nothing but why.
    Membership membership_left(const std::string& url);
    /// Helper programs leave. What they were asked for is finished, within 3 s.
    awaitable<void> close();

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace lastcall
