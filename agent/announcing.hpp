#pragma once
#include <functional>
#include <memory>

#include "supervisor/journal.hpp"

namespace lastcall {

/// A journal that calls `changed` whenever something is recorded, and passes everything on.
std::unique_ptr<Journal> announcing(std::unique_ptr<Journal> journal,
                                    std::function<void()> changed);

}  // namespace lastcall
