#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall::aws {

enum class Verb { check, register_target, deregister, cancel, watch, complete };

/// One request of docs/helper-protocol.md.
struct Request {
    std::int64_t id = 0;
    Verb verb = Verb::check;
    std::string url;     ///< check, register, deregister
    bool spot = false;   ///< watch
    std::string hook;    ///< watch: "GROUP/HOOK"; empty: none
    std::string result;  ///< complete: CONTINUE, ABANDON
};

/// Something in a line that is no request.
struct Misheard {
    std::optional<std::int64_t> id;  ///< if there is one to answer to
    std::string why;
};

/// One line, which may be a batch.
struct Heard {
    std::vector<Request> requests;
    std::vector<Misheard> rest;
};

/// The longest line, with its newline (docs/helper-protocol.md).
inline constexpr std::size_t longest_line = 65536;

Heard parse_requests(std::string_view line);

}  // namespace lastcall::aws
