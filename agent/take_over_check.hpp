#pragma once
#include <string>

#include "agent/options.hpp"

namespace lastcall {

/// `agent serve … --check`: whether this binary could go on where a running agent with the same
/// arguments and environment is: it understands the configuration, the journal and the handover.
/// Locks, writes, binds and adopts nothing. Prints `take_over_answer`, or what is in the way (one
/// line, to stderr); returns the exit code.
int check_take_over(const Options& options);

/// What a binary that can take over prints: an agent, and one that knows our handover.
std::string take_over_answer(const std::string& version);

/// The version in such an answer; empty if `text` is none.
std::string version_in(const std::string& text);

}  // namespace lastcall
