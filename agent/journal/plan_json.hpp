#pragma once
#include <string>
#include <string_view>

#include "supervisor/phase.hpp"

namespace lastcall {

/// What another agent needs to go on with a stop, as JSON. Moments are nanoseconds since boot; what
/// isn't set is left out.
std::string plan_json(const StopPlan& plan);

/// The way back; an empty text is an empty plan. Throws std::exception for what `plan_json` doesn't
/// write.
StopPlan plan_from_json(std::string_view stored);

}  // namespace lastcall
