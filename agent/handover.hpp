#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/launch.hpp"

namespace lastcall {

/// What an agent that executes itself anew leaves to the new image beyond what execve(2) keeps by
/// itself (its children, pending signals, the pid): descriptors, and what the tasks must get back.
/// After execve our own signal mask is "everything blocked", which must not become the tasks'.
struct Handover {
    Inheritance inherited;
    int lock = -1;                  ///< the data directory's
    std::vector<int> listeners;     ///< those that listen
    std::int64_t silent_since = 0;  ///< when the control socket was last served: boot time, ns
    /// What we have inherited ourselves, 0 to 2 among it; stays as it is.
    std::vector<int> inherited_descriptors;
    friend bool operator==(const Handover& a, const Handover& b) { return a.text() == b.text(); }

    std::string text() const;  ///< "1 lock=4 listeners=7,9 mask=0000000000000000 …"
    /// The way back; nullopt for anything else.
    static std::optional<Handover> from(std::string_view text);
};

/// Its variable. Its version is a part of what a new binary must know (take_over_check.hpp).
inline constexpr const char* handover_variable = "LASTCALL_HANDOVER";
inline constexpr int handover_version = 1;

/// What the image before has left, if there was one; the variable is removed, so that no task ever
/// sees it. Throws std::runtime_error for one that can't be understood.
std::optional<Handover> take_handover();

/// Executes `binary` in this process. Returns only if that fails, with errno's code; then
/// everything is as it was.
int execute(const std::string& binary, const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment, const Handover& handover);

}  // namespace lastcall
