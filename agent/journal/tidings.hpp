#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <thread>
#include <utility>

#include "agent/journal/health.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// Brings what the disk's thread has to say to the loop, where the log and the health live; what
/// the loop's own thread says is said at once. Both outlive what the loop still has to do.
class Tidings {
 public:
    /// Made on the loop's thread.
    Tidings(asio::any_io_executor executor, Log& log, JournalHealth& health)
        : executor_(std::move(executor)),
          log_(&log),
          health_(&health),
          loop_(std::this_thread::get_id()) {}

    /// `say` is called with the log and the health.
    template <class Say>
    void tell(Say say) const {
        if (std::this_thread::get_id() == loop_) return say(*log_, *health_);
        asio::post(executor_,
                   [log = log_, health = health_, say = std::move(say)] { say(*log, *health); });
    }

 private:
    asio::any_io_executor executor_;
    Log* log_;
    JournalHealth* health_;
    std::thread::id loop_;
};

}  // namespace lastcall
