#pragma once
#include "agent/api/types.hpp"
#include "agent/config/settings.hpp"
#include "agent/journal/health.hpp"
#include "supervisor/supervisor.hpp"

// From the supervisor's values to the API's shapes. Pure.
namespace lastcall::api {

/// Milliseconds, to the microsecond.
double milliseconds(Clock::duration duration);

Stop describe(const StopRecord& record);
Progress describe(const StopProgress& progress);
Task describe(const TaskView& view);
Setting describe(const SettingRow& row);
/// `health` may be null: in memory nothing can go wrong.
JournalState describe(const JournalHealth* health);

}  // namespace lastcall::api
