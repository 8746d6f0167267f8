#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/handover.hpp"
#include "agent/house.hpp"

namespace lastcall {

/// How this image of the agent was executed, so that the next one can be in the same way.
struct Origin {
    std::string binary;  ///< the absolute path, without links; empty where /proc is missing
    std::vector<std::string> arguments;
    std::vector<std::string> environment;  ///< as it was given to us, the handover left out
    /// To be called before anybody can replace the file.
    static Origin of_this_process(char** argv);
};

/// `agentctl upgrade`: this process executes the agent's binary anew. Its children stay its
/// children, its listening sockets and the data directory's lock stay open, and signals that come
/// meanwhile stay pending; all else is the new image's to find in the journal.
///
/// Nothing is torn down before the exec: whatever fails, this image goes on as if nothing had been.
class Upgrade {
 public:
    /// What must be asked, and told, beyond the house.
    struct Surroundings {
        std::function<int()> lock;  ///< the data directory's, a descriptor
        std::function<bool()> shutting_down;
        std::function<void()> about_to;  ///< nothing is in the way any more
        std::function<void()> failed;    ///< after that
    };
    Upgrade(House& house, Origin origin, Handover handover, Surroundings around)
        : house_(house),
          origin_(std::move(origin)),
          handover_(std::move(handover)),
          around_(std::move(around)),
          due_(house.executor()) {}

    /// Tries the binary as a child that only looks, and sees that the journal is written; then
    /// `work` goes on. Throws Conflict with what is in the way, in one line.
    awaitable<void> prepare(std::string binary);
    /// Executes what `prepare` has found good, when its request was answered. For ever.
    awaitable<void> work();

 private:
    awaitable<std::string> version_of(std::string binary);
    awaitable<void> finish_journal();
    awaitable<void> take_leave();
    void execute();
    void refuse_if_ending() const;

    House& house_;
    Origin origin_;
    Handover handover_;
    Surroundings around_;
    Bell due_;
    std::string binary_;  ///< the one that is about to take over; empty: none
};

}  // namespace lastcall
