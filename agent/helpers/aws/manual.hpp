#pragma once

namespace lastcall::aws {

/// What `--help` says.
extern const char* const manual;

}  // namespace lastcall::aws
