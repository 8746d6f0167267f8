#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace lastcall {

/// The thread that waits for the disk, so that the loop never does: the journal's records and the
/// copies of tasks' logs. The product's only other thread, started by the first work that it gets.
///
/// What is urgent is done in order and goes first; what has time is cut in short steps. Work must
/// not throw. The functions are for the loop's thread.
class Disk {
 public:
    using Duration = std::chrono::milliseconds;
    /// Says in how long it wants to be done again, though nobody has asked for it.
    using Work = std::function<std::optional<Duration>()>;
    using Step = std::function<bool()>;

    Disk();
    /// Finishes what is urgent, in two seconds at most: a disk that is dead holds up nobody. The
    /// thread then stays behind, with all that its work holds.
    ~Disk();
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    /// `owner` tells whose it is: what it wants again replaces what it wanted before.
    void urgent(const void* owner, Work work);
    /// Calls `step` again and again, between what is urgent, until it returns false.
    void spare(Step step);
    /// Waits until all that is urgent is done; false if that takes longer than `limit`.
    bool finish(Duration limit);

 private:
    class Thread;
    std::shared_ptr<Thread> thread_;  ///< the second owner is the thread itself, if it stays behind
};

}  // namespace lastcall
