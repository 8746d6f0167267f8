#include "agent/announcing.hpp"

#include <utility>

namespace lastcall {
namespace {

class Announcing : public Journal {
 public:
    Announcing(std::unique_ptr<Journal> journal, std::function<void()> changed)
        : journal_(std::move(journal)), changed_(std::move(changed)) {}

    awaitable<void> record(const TaskState& task) override {
        changed_();
        return journal_->record(task);
    }
    awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) override {
        changed_();
        return journal_->record(std::move(stop), phase);
    }
    void note(StopRecord stop, std::optional<std::size_t> phase) override {
        changed_();
        journal_->note(std::move(stop), phase);
    }
    void note(const TaskState& task) override {
        changed_();
        journal_->note(task);
    }
    awaitable<std::vector<Remnant>> remnants(Clock::utc_time since) override {
        return journal_->remnants(since);
    }
    awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                             std::size_t limit) override {
        return journal_->stops(std::move(task), limit);
    }
    bool flush(std::chrono::milliseconds at_most) override { return journal_->flush(at_most); }
    bool is_instant() const override { return journal_->is_instant(); }

 private:
    std::unique_ptr<Journal> journal_;
    std::function<void()> changed_;
};

}  // namespace

std::unique_ptr<Journal> announcing(std::unique_ptr<Journal> journal,
                                    std::function<void()> changed) {
    return std::make_unique<Announcing>(std::move(journal), std::move(changed));
}

}  // namespace lastcall
