#pragma once
#include <string>
#include <string_view>

#include "supervisor/task.hpp"

namespace lastcall {

/// All it takes to run or stop a task as it was defined, as JSON: names as in ECS where ECS has
/// one, durations in nanoseconds, what isn't set left out. Secrets included: the file is its
/// owner's.
std::string definition_json(const TaskDefinition& definition);

/// The way back. Throws std::exception for what `definition_json` doesn't write.
TaskDefinition definition_from_json(std::string_view stored);

}  // namespace lastcall
