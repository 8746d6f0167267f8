#include "agent/lb/readiness_target.hpp"

namespace lastcall {

void ReadinessTarget::become_healthy() {
    if (state_ == TargetState::healthy) return;
    if (known_) known_->set();  // a deregistration that is taken back waits for nothing
    known_ = std::make_shared<Event>(executor_);
    ears_ = {};
    ++round_;
    state_ = TargetState::healthy;
}

awaitable<void> ReadinessTarget::known() {
    const auto known = known_;
    if (!enough()) co_await known->wait();
}

/// HAProxy acts on the first word of an agent; who probes by HTTP counts to a threshold.
bool ReadinessTarget::enough() const {
    const Ears& http = ears_[static_cast<std::size_t>(ProbeKind::http)];
    const Ears& agent = ears_[static_cast<std::size_t>(ProbeKind::agent_check)];
    return (!http.healthy || http.failures >= failure.probes) &&
           (!agent.healthy || agent.failures > 0);
}

ReadinessTarget::Word ReadinessTarget::ask(ProbeKind kind) {
    if (state_ == TargetState::healthy) ears_[static_cast<std::size_t>(kind)].healthy = true;
    return {state_, round_};
}

void ReadinessTarget::heard(ProbeKind kind, Word word) {
    if (word.state != TargetState::draining || word.round != round_) return;
    ++ears_[static_cast<std::size_t>(kind)].failures;
    if (known_ && enough()) known_->set();
}

}  // namespace lastcall
