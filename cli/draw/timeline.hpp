#pragma once
#include <string>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"

namespace lastcall::cli {

/// A stop as bars: a header (task, outcome, reason, who asked), one bar a phase on one scale with
/// its offset from the request, duration and outcome, the facts under it, and what was saved. On a
/// canvas without width it is 100 columns wide.
std::string timeline(const Canvas& canvas, const api::Stop& stop);

}  // namespace lastcall::cli
