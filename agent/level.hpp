#pragma once
#include "supervisor/log.hpp"
#include "supervisor/vocabulary.hpp"

namespace lastcall {

/// The ECS agent's spellings (ECS_LOGLEVEL, and `level=` in a log line).
inline constexpr Word<Level> level_words[] = {
    {Level::debug, "debug"}, {Level::info, "info"}, {Level::warn, "warn"},
    {Level::error, "error"}, {Level::crit, "crit"}, {Level::none, "none"},
};

}  // namespace lastcall
