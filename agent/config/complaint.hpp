#pragma once
#include <string>
#include <string_view>

#include "agent/config/rules.hpp"

namespace lastcall {

/// In single quotes, and cut if it is long: a value is for recognising, not for reading.
std::string quoted(std::string_view text);

/// "AGENT_DRAIN is 'maybe', not closed, strict, idle or none: using closed"
void warn(Reading& reading, std::string_view trouble, std::string_view used);

}  // namespace lastcall
