#pragma once
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/clock.hpp"

// The helper protocol's lines, and nothing of how they travel: docs/helper-protocol.md.
namespace lastcall::helper {

constexpr int protocol = 1;
constexpr std::size_t longest_line = 65536;  ///< bytes, with its newline

/// A line that isn't one of the protocol; the text says what came and what was expected.
class BadLine : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// What a helper says first.
struct Greeting {
    std::string name, version;
    std::int64_t protocol = 0;
    bool registers = false, cancels = false, batches = false, watches = false;
};

enum class Verb { check, register_target, deregister, cancel, watch, complete };

struct Request {
    std::uint64_t id = 0;
    Verb verb = Verb::check;
    std::string url;     ///< check, register, deregister
    bool spot = false;   ///< watch
    std::string hook;    ///< watch: "GROUP/HOOK", or empty
    std::string result;  ///< complete: "CONTINUE", "ABANDON"
};

enum class State { known, registered, draining, drained, cancelled, watching, completed };

/// What comes with `known`: what only the load balancer knows.
struct Manners {
    bool knows = false;
    std::optional<Clock::duration> settle, delay;
    std::optional<bool> registers;
    std::optional<std::uint16_t> port;
    std::string target, warning;
};

/// One line about one request. Exactly one of state, note, error and notice is there.
struct Answer {
    std::uint64_t id = 0;
    std::optional<State> state;
    std::optional<std::int64_t> connections;  ///< draining
    Manners manners;                          ///< known
    std::string note, error, notice;
    bool retry = false;                 ///< error
    std::string reason;                 ///< notice
    std::optional<Clock::utc_time> at;  ///< notice
};

/// Throws BadLine.
Greeting read_greeting(std::string_view line);
/// One, or those of an array. Throws BadLine.
std::vector<Answer> read_answers(std::string_view line);

/// Each without its newline; several go into one line only if `batches`, as many as it takes.
std::vector<std::string> lines(const std::vector<Request>& requests, bool batches);

/// Whether that ends a request of this kind.
bool ends(const Answer& answer);

/// Takes a stream apart.
class Lines {
 public:
    void add(std::string_view text) { text_ += text; }
    /// The next whole line, without its newline. Throws BadLine for one that is too long.
    std::optional<std::string> next();

 private:
    std::string text_;
    std::size_t begin_ = 0, searched_ = 0;
};

/// Text of a helper as one line that can be logged and recorded: no control characters, no more
/// than 500 bytes.
std::string one_line(std::string_view text);

std::string_view to_string(Verb verb);

}  // namespace lastcall::helper
