#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/await.hpp"

namespace lastcall::helper {

/// A helper program that runs. An interface, because tests need helpers that live in virtual time.
/// Destroying it kills whatever is left of it.
class Program {
 public:
    virtual ~Program() = default;
    /// Some of its output; empty: it has closed it.
    virtual awaitable<std::string> read() = 0;
    /// Some of its stderr; empty: it has closed it.
    virtual awaitable<std::string> read_errors() = 0;
    /// Throws boost::system::system_error when it reads no more.
    virtual awaitable<void> write(std::string text) = 0;
    /// Its stdin ends: it shall leave.
    virtual void dismiss() = 0;
    /// To its process group.
    virtual void signal(int number) = 0;
    /// "it exited with code 3", "it was killed by SIGSEGV".
    virtual awaitable<std::string> end() = 0;
};

/// Starts a program with arguments. Throws std::system_error.
using StartProgram = std::function<std::unique_ptr<Program>(const std::vector<std::string>&)>;

}  // namespace lastcall::helper
