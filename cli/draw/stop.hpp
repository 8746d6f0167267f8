#pragma once
#include <string>
#include <vector>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"

// The words for a stop: while it goes on, and at its end.
namespace lastcall::cli {

/// One line for each phase that goes on; the last tells what it waits for, how many connections
/// are left and when the next step comes at the latest. Each fits the canvas' width.
std::vector<std::string> waiting_lines(const Canvas& canvas, const api::Progress& progress);

/// The same of one task among several, in one line; the name takes `name_width` columns.
std::string waiting_line(const Canvas& canvas, const api::Progress& progress,
                         std::size_t name_width);

/// "web stopped in 1.8 s, gracefully, exit code 0", without newline.
std::string summary(const Canvas& canvas, const api::Stop& stop);

/// Who outlived SIGKILL, a line each; mostly nothing.
std::string survivors(const Canvas& canvas, const api::Stop& stop);

/// The summary, what was saved, and who survived, if anybody did: lines.
std::string ending(const Canvas& canvas, const api::Stop& stop);

/// "uid 0, pid 4711, via api"
std::string requester(const Canvas& canvas, const api::Requester& by);

/// Records as a table, in their order.
std::string history(const Canvas& canvas, const std::vector<api::Stop>& stops);

}  // namespace lastcall::cli
