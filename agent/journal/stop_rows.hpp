#pragma once
#include <optional>
#include <string>
#include <vector>

#include "agent/journal/database.hpp"
#include "supervisor/phase.hpp"

namespace lastcall {

/// Stops and their phases as rows. Everything throws DatabaseError.
class StopRows {
 public:
    /// `boot_id` says which boot the times on the boot clock belong to.
    StopRows(Database& database, std::string boot_id);

    /// Writes the stop and the phase that has changed; without one, all its phases.
    void write(const StopRecord& stop, std::optional<std::size_t> phase);
    /// Newest first.
    std::vector<StopRecord> read(const std::optional<std::string>& task, std::size_t limit);
    /// The latest of one task, by the task's id.
    std::optional<StopRecord> last_of(const std::string& task_id);

 private:
    void write_phase(const StopRecord& stop, std::size_t position);
    std::vector<PhaseRecord> read_phases(const std::string& stop_id);

    std::string boot_id_;
    Statement put_stop_, put_phase_, all_stops_, stops_of_task_, last_stop_, phases_;
};

}  // namespace lastcall
