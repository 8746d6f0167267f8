#pragma once
#include <functional>
#include <stdexcept>
#include <string>

namespace lastcall::aws {

/// Tells people something about a request that is under way: one line.
using Note = std::function<void(const std::string&)>;

/// Something that AWS, or the way to it, refused. The text is the cause alone; who asked puts
/// "cannot …: " before it.
class Failure : public std::runtime_error {
 public:
    Failure(const std::string& cause, bool retry, std::string code = {})
        : std::runtime_error(cause), retry_(retry), code_(std::move(code)) {}
    /// The same request may succeed later.
    bool retry() const { return retry_; }
    /// AWS's error code, or one of ours below; empty if there is none.
    const std::string& code() const { return code_; }

 private:
    bool retry_;
    std::string code_;
};

/// The code of what is thrown when nowhere are credentials.
inline constexpr const char* no_credentials = "NoCredentials";

}  // namespace lastcall::aws
