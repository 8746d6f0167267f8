#include "agent/lb/helper_target.hpp"

#include <fmt/format.h>

namespace lastcall {
namespace {

using helper::Asked;
using helper::State;
using helper::Verb;

constexpr Clock::duration ask_again = 1s;  // after an error that a retry may mend

class HelperTarget final : public LoadBalancer {
 public:
    HelperTarget(std::shared_ptr<helper::Helper> helper, LoadBalancerUrl url, Clock& clock,
                 Log& log)
        : helper_(std::move(helper)), url_(std::move(url)), clock_(clock), log_(log) {}
    ~HelperTarget() override { stop_watching(); }
    HelperTarget(const HelperTarget&) = delete;
    HelperTarget& operator=(const HelperTarget&) = delete;

    awaitable<void> introduce(Membership& membership) override {
        const auto answer = co_await end_of(Verb::check);
        const auto& manners = answer.manners;
        port_ = manners.port;
        membership.knows = manners.knows;
        membership.delay = manners.delay;
        membership.registers = url_.registers.value_or(manners.registers.value_or(true));
        if (!membership.port) membership.port = manners.port;
        if (!url_.settle) membership.settle = manners.settle.value_or(manners.knows ? 0s : 10s);
        if (!manners.warning.empty()) {
            log_.say(Level::warn, manners.warning, {{"loadBalancer", membership.url}});
        }
    }

    awaitable<void> register_target(const std::string&) override {
        stop_watching();
        co_await end_of(Verb::register_target);
    }

    awaitable<void> deregister(const std::string&) override {
        if (!leaving_ || leaving_->end) ask_to_leave();
        const auto asked = leaving_;  // another task's register may replace it meanwhile
        while (!asked->is_acknowledged() && !asked->end) co_await asked->news.next();
        if (asked->end && !asked->end->error.empty()) throw refusal(*asked);
    }

    void take_over(const std::string&, TargetState as) override {
        if (as == TargetState::draining && !leaving_) ask_to_leave();
    }

    awaitable<TargetReport> state_of(const std::string&) override {
        if (!leaving_) co_return TargetReport{.state = TargetState::initial, .port = port_};
        if (may_be_asked_again() && heard_ == leaving_->heard) {
            co_await clock_.sleep_until(asked_at_ + ask_again);
            ask_to_leave();
        }
        const auto asked = leaving_;
        while (heard_ == asked->heard) co_await asked->news.next();
        heard_ = asked->heard;
        if (asked->end && !asked->end->error.empty()) throw refusal(*asked);
        if (!asked->trouble.empty()) throw LoadBalancerError(asked->trouble, true);
        if (!asked->state) co_return TargetReport{.state = TargetState::draining};
        const bool drained = asked->state->state == State::drained;
        co_return TargetReport{.state = drained ? TargetState::unused : TargetState::draining,
                               .connections = asked->state->connections};
    }

    std::string last_word(const std::string&) const override {
        return leaving_ ? leaving_->note : std::string();
    }

 private:
    /// One that isn't acknowledged goes on: the target is to be gone even if nobody waits for it.
    void stop_watching() {
        if (leaving_ && leaving_->is_acknowledged()) helper_->cancel(leaving_);
        leaving_.reset();
    }
    bool may_be_asked_again() const {
        return leaving_->end && !leaving_->end->error.empty() && leaving_->end->retry;
    }
    void ask_to_leave() {
        leaving_ = helper_->ask({.verb = Verb::deregister, .url = url_.target});
        asked_at_ = clock_.now();
        heard_ = 0;
    }

    awaitable<helper::Answer> end_of(Verb verb) {
        const auto asked = helper_->ask({.verb = verb, .url = url_.target});
        while (!asked->end) co_await asked->news.next();
        if (!asked->end->error.empty()) throw refusal(*asked);
        co_return *asked->end;
    }

    static LoadBalancerError refusal(const Asked& asked) {
        return {asked.end->error, asked.end->retry};
    }

    std::shared_ptr<helper::Helper> helper_;
    LoadBalancerUrl url_;
    Clock& clock_;
    Log& log_;
    std::shared_ptr<Asked> leaving_;  ///< the deregistration, once it was asked for
    Clock::time_point asked_at_{};
    int heard_ = 0;  ///< how much of that was told
    std::optional<std::uint16_t> port_;
};

}  // namespace

std::shared_ptr<LoadBalancer> helper_target(std::shared_ptr<helper::Helper> helper,
                                            LoadBalancerUrl url, Clock& clock, Log& log) {
    return std::make_shared<HelperTarget>(std::move(helper), std::move(url), clock, log);
}

}  // namespace lastcall
