#pragma once
#include <string>

#include "agent/api/types.hpp"
#include "agent/config/settings.hpp"
#include "supervisor/supervisor.hpp"

// From the supervisor's values to the API's shapes. Pure.
namespace lastcall::api {

/// "2026-01-31T12:00:00.000000Z"
std::string utc_text(Clock::utc_time at);
/// Milliseconds, to the microsecond.
double milliseconds(Clock::duration duration);

Stop describe(const StopRecord& record);
Progress describe(const StopProgress& progress);
Task describe(const TaskView& view);
Setting describe(const SettingRow& row);

}  // namespace lastcall::api
