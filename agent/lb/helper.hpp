#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/lb/helper_lines.hpp"
#include "agent/lb/program.hpp"
#include "supervisor/await.hpp"
#include "supervisor/log.hpp"

namespace lastcall::helper {

/// One request, and what the helper said to it so far. It outlives a helper that dies: what was
/// acknowledged is asked of the next one again.
struct Asked {
    Asked(asio::any_io_executor executor, Request what)
        : request(std::move(what)), news(std::move(executor)) {}

    Request request;
    std::optional<Answer> state;  ///< the last one with a state
    std::vector<Answer> notices;  ///< those that weren't taken yet
    std::optional<Answer> end;    ///< that which ended it
    std::string note;             ///< what it said last
    std::string trouble;          ///< why nothing is heard of it now; empty: it is
    int heard = 0;                ///< how often it changed
    Pulse news;                   ///< whenever it does

    bool is_acknowledged() const { return state.has_value(); }
};

/// One helper program, through all its lives: started when the first request is there, greeted,
/// listened to, started again when it dies, hangs or talks nonsense (docs/helper-protocol.md).
class Helper {
 public:
    struct Parts {
        asio::any_io_executor executor;
        Clock& clock;
        Log& log;
        StartProgram start;
    };
    /// `command`: its path and arguments.
    Helper(Parts parts, std::vector<std::string> command);
    ~Helper();

    /// Sends it as soon as the helper is there. Never waits.
    std::shared_ptr<Asked> ask(Request request);
    /// Nobody waits for it any more.
    void cancel(const std::shared_ptr<Asked>& asked);
    /// It may go; comes back when it has gone, after 3 s at the most.
    awaitable<void> close();

    const std::string& name() const { return name_; }

 private:
    struct Life;
    struct Open {
        std::shared_ptr<Asked> asked;
        Clock::time_point heard;
        bool wanted = true;
    };

    awaitable<void> work();
    awaitable<void> live();
    awaitable<std::string> converse(Life& life);
    awaitable<void> read(Life& life);
    awaitable<void> write(Life& life);
    awaitable<void> pass_errors_on(Life& life);
    awaitable<void> miss(Life& life);
    awaitable<void> outlive(Life& life);
    void hear(Life& life, const std::string& line);
    void hear(Life& life, Answer answer);
    std::string requests(Life& life);
    void ended(const Life& life);
    static void refuse(Asked& asked, std::string why, bool retry);
    void say_line(std::string_view line, int& dropped) const;
    Clock::time_point silent_at(const Life& life) const;
    void say(Level level, std::string_view what, const std::string& why) const;

    Parts parts_;
    std::vector<std::string> command_;
    std::string name_;
    Gate gate_;
    Bell wanted_;
    std::map<std::uint64_t, Open> open_;  ///< by id, with the present helper
    std::vector<std::shared_ptr<Asked>> unsent_;
    std::vector<std::shared_ptr<Asked>> unwanted_;  ///< to be cancelled
    Life* life_ = nullptr;                          ///< the present one
    std::uint64_t last_id_ = 0;
    Clock::time_point next_start_{};
    Clock::duration backoff_{};
    bool working_ = false, closing_ = false;
};

}  // namespace lastcall::helper
