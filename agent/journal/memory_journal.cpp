#include <algorithm>
#include <deque>

#include "agent/log.hpp"

namespace lastcall {
namespace {

/// A task in `agent run` is stopped once, or restarted now and then for months.
constexpr std::size_t most_stops = 100;

class MemoryJournal : public Journal {
 public:
    /// Nobody asks a journal for tasks while the agent that has them lives.
    awaitable<void> record(const TaskState&) override { co_return; }
    void note(const TaskState&) override {}
    awaitable<std::vector<Remnant>> remnants(Clock::utc_time) override {
        co_return std::vector<Remnant>();
    }

    awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) override {
        note(std::move(stop), phase);
        co_return;
    }

    void note(StopRecord stop, std::optional<std::size_t>) override {
        const auto known = std::find_if(stops_.begin(), stops_.end(),
                                        [&stop](const auto& each) { return each.id == stop.id; });
        if (known != stops_.end()) {
            *known = std::move(stop);
            return;
        }
        stops_.push_front(std::move(stop));
        if (stops_.size() > most_stops) stops_.pop_back();
    }

    awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                             std::size_t limit) override {
        std::vector<StopRecord> found;
        for (const auto& stop : stops_) {
            if (found.size() == limit) break;
            if (!task || stop.task == *task) found.push_back(stop);
        }
        co_return found;
    }

    bool is_instant() const override { return true; }

 private:
    std::deque<StopRecord> stops_;  // newest first
};

}  // namespace

std::unique_ptr<Journal> memory_journal() { return std::make_unique<MemoryJournal>(); }

}  // namespace lastcall
