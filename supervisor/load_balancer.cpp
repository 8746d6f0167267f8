#include "supervisor/load_balancer.hpp"

#include "supervisor/vocabulary.hpp"

namespace lastcall {

namespace {

constexpr Word<TargetState> states[] = {
    {TargetState::initial, "initial"},     {TargetState::healthy, "healthy"},
    {TargetState::unhealthy, "unhealthy"}, {TargetState::draining, "draining"},
    {TargetState::unused, "unused"},
};

}  // namespace

awaitable<void> LoadBalancer::introduce(Membership&) { co_return; }

std::string_view to_string(TargetState state) { return spelling_of(state, states); }

}  // namespace lastcall
