#pragma once
#include <boost/json/value.hpp>
#include <string>

namespace lastcall::cli {

/// JSON for people and for jq alike: two spaces a level, keys in the agent's order, numbers in
/// plain decimals, a newline at the end.
std::string pretty(const boost::json::value& value);

}  // namespace lastcall::cli
