#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/journal/entry.hpp"
#include "agent/journal/store.hpp"
#include "agent/journal/tidings.hpp"
#include "supervisor/clock.hpp"

namespace lastcall {

/// Keeps records in the file, whatever happens to that: what can't be written stays in memory, its
/// last version, and is written when the disk is well again. A damaged file is moved aside, one
/// that was removed or replaced is made again. All trouble is told, once a cause.
///
/// Belongs to the disk's thread from `open` on; that is called before there is one.
class Keeper {
 public:
    /// `reclaim` is called before a directory is used that isn't the one that was locked at the
    /// start; it throws if that is another agent's now.
    Keeper(Clock& clock, std::string directory, Tidings tidings, std::function<void()> reclaim);

    void open();
    /// Writes them together; what it can't write is kept in memory. The text is a record's own
    /// trouble, on a disk that is well: such a record is lost.
    using Failures = std::vector<std::string>;  ///< one an entry; empty: it is kept
    Failures write(std::vector<Entry> entries);
    /// Newest first. Throws std::runtime_error.
    std::vector<StopRecord> stops(const std::optional<std::string>& task, std::size_t limit);
    /// As Store::remnants.
    std::vector<Remnant> remnants(Clock::utc_time since, std::vector<std::string>& troubles);
    /// What has time: to be called when nothing was written for as long as `rest` says.
    void tidy();
    std::optional<std::chrono::milliseconds> rest() const;
    /// Writes what is still in memory, if that can be done now.
    void finish();
    std::size_t unwritten() const { return memory_.size() + memory_.lost(); }

 private:
    /// Reads, once more if the file was damaged and another has taken its place.
    void read(const std::function<void(Store&)>& question);
    bool is_writable() const { return store_ && writable_; }
    void open_or_read();
    void open_file();
    void begin_anew_instead_of(const std::string& error);
    /// The writable file is still what it was; or a new one has taken its place, and is ready.
    bool still_in_place();
    bool replace_damaged(const std::string& error);
    void check();
    /// Returns false, and has told why, if the disk won't have them.
    bool try_together(const std::vector<Entry>& entries, Failures& failures);
    bool mend(const DatabaseError& error);
    void try_again();
    bool catch_up();
    std::size_t write_memory();
    void tell_memory() const;
    void fall_ill(const std::string& error, std::string_view remedy);

    Clock& clock_;  ///< to be read, which any thread may
    const std::string directory_, path_;
    Tidings tidings_;
    std::function<void()> reclaim_;
    std::unique_ptr<Store> store_;
    bool writable_ = false;

    Unwritten memory_;
    std::size_t caught_up_ = 0;  ///< records written since the trouble began

    std::string trouble_;  ///< empty: well
    std::chrono::milliseconds retry_;
    Clock::time_point tried_{};
    bool checked_ = false;     ///< every page of the file was looked at
    std::size_t written_ = 0;  ///< since the last checkpoint
    std::size_t unpruned_;     ///< written since the last pruning
};

}  // namespace lastcall
