#pragma once
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/journal/store.hpp"
#include "supervisor/phase.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// A record on its way to the file.
struct Entry {
    struct OfStop {
        StopRecord stop;
        std::optional<std::size_t> phase;  ///< the one that has changed; none: all
    };
    std::variant<TaskState, OfStop> what;

    const std::string& id() const;
    std::string purpose() const;  ///< "record the stop of 'web'"
    bool is_over() const;         ///< a STOPPED task's, or a stop's that has its outcome
    void write(Store& store) const;
};

/// Records that aren't in the file, their last versions, in the order of their first. Of those that
/// are over the oldest are lost when there are too many; of what goes on none.
class Unwritten {
 public:
    void keep(Entry entry);
    /// Takes out all, for them to be written; what can't be is kept again.
    std::vector<Entry> take();
    void lose() { ++lost_; }
    /// All is written.
    void clear();

    std::size_t size() const { return entries_.size(); }
    std::size_t lost() const { return lost_; }
    /// Puts its stops in place of their rows and before all others, for they are newer.
    void put_into(std::vector<StopRecord>& stops, const std::optional<std::string>& task) const;

 private:
    void forget_oldest();

    std::vector<Entry> entries_;
    std::map<std::string, std::size_t> place_;  ///< in `entries_`, by id
    std::size_t lost_ = 0;
};

}  // namespace lastcall
