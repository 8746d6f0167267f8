#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// What HAProxy's runtime API answers (its management guide, section 9.3), as values. Pure: bytes
// in, values out; every parser throws HaproxyError for what it doesn't understand.
namespace lastcall {

/// HAProxy refused, can't be reached, or what came isn't its answer. The text is its own where it
/// has one.
class HaproxyError : public std::runtime_error {
 public:
    HaproxyError(const std::string& what, bool retry) : std::runtime_error(what), retry_(retry) {}
    bool retry() const { return retry_; }

 private:
    bool retry_;
};

/// One row of `show servers state`.
struct ServerState {
    unsigned operation = 0;  ///< srv_op_state: 0 stopped, 1 starting, 2 running, 3 stopping
    unsigned admin = 0;      ///< srv_admin_state: the bits below
    std::optional<std::uint16_t> port;
    /// What `show stat` must be asked by: by name it takes a frontend for the backend of that name.
    std::int64_t backend_id = 0;
    std::int64_t server_id = 0;
};

/// Bits of srv_admin_state (enum srv_admin in HAProxy's server-t.h) that a command set, and nobody
/// but another command, or a reload, takes away.
inline constexpr unsigned forced_maint = 0x01;
inline constexpr unsigned forced_drain = 0x08;

/// The row of `show stat` of one server.
struct ServerLoad {
    std::int64_t sessions = 0;  ///< scur: requests in flight, TCP tunnels
    std::int64_t queued = 0;    ///< qcur
    std::int64_t idle = 0;      ///< idle connections in the pool; 0 where it isn't said
};

/// Which process answered (`show info`).
struct ProcessInfo {
    std::int64_t pid = 0;
    bool stopping = false;  ///< it has been replaced, and only finishes what it has
};

/// The answers to `count` commands of one line, each ended by an empty line; the views point into
/// `reply`.
std::vector<std::string_view> split_replies(std::string_view reply, std::size_t count);

/// An answer to `set server`: success is an empty line, anything else is HAProxy's objection.
void expect_success(std::string_view answer);
ServerState server_state(std::string_view answer, std::string_view backend,
                         std::string_view server);
ServerLoad server_load(std::string_view answer, std::string_view backend, std::string_view server);
ProcessInfo process_info(std::string_view answer);

}  // namespace lastcall
