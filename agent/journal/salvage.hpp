#pragma once
#include <cstddef>
#include <string>

#include "agent/journal/store.hpp"

namespace lastcall {

/// How much of a damaged file could be carried over.
struct Salvaged {
    std::size_t tasks = 0, stops = 0;
};

/// Copies what can still be read of the damaged file at `from` into `to`: the tasks that aren't
/// STOPPED, and every stop. Never throws for what is wrong with `from`; DatabaseError for `to`.
Salvaged salvage(const std::string& from, Store& to);

}  // namespace lastcall
