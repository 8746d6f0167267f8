#pragma once
#include <cstdint>
#include <string>

#include "agent/helpers/aws/balancer.hpp"
#include "agent/helpers/aws/notices.hpp"

// The lines of docs/helper-protocol.md that a helper writes, each with its newline.
namespace lastcall::aws {

std::string greeting_line();
std::string state_line(std::int64_t id, const std::string& state);
std::string known_line(std::int64_t id, const Known& known);
std::string notice_line(std::int64_t id, const Notice& notice);
/// Texts are put on one line and cut.
std::string note_line(std::int64_t id, const std::string& note);
std::string error_line(std::int64_t id, const std::string& error, bool retry);

}  // namespace lastcall::aws
