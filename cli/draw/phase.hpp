#pragma once
#include <string>

#include "agent/api/types.hpp"
#include "cli/draw/canvas.hpp"

// The words for a phase, and its one line.
namespace lastcall::cli {

/// When it began, in milliseconds after the request: never before it, even if the wall clock was
/// set back meanwhile.
double offset(const api::Stop& stop, const api::Phase& phase);

/// How long it took, or has taken so far, in milliseconds.
double length(const api::Stop& stop, const api::Phase& phase);

/// "DRAIN", or "SIGTERM db" in a task of several containers.
std::string label(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase);

/// A sign before the label ("✓", "!"), and the ink that goes with it.
std::string sign(const Canvas& canvas, const api::Phase& phase);
Ink ink(const api::Phase& phase);

/// "completed", "timed out", …; "going on" while there is no outcome.
std::string outcome(const Canvas& canvas, const api::Phase& phase);

/// The facts worth telling: "12 → 0 connections, 1 arrived after deregistration". Facts that this
/// program doesn't know are told too, by their keys.
std::string detail(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase);

/// "  ✓ DRAIN        1.8 s  12 → 0 connections": an ended phase, without newline.
std::string phase_line(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase);

/// "exit code 0", "ended by SIGKILL"; of several containers those that have more to tell than
/// exit code 0. Empty if there is nothing to tell.
std::string exits(const Canvas& canvas, const std::vector<api::ContainerEnd>& containers);

}  // namespace lastcall::cli
