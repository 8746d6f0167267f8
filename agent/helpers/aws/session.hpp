#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "agent/helpers/aws/balancer.hpp"
#include "agent/helpers/aws/notices.hpp"
#include "agent/helpers/aws/request.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// The helper's side of docs/helper-protocol.md: lines in, lines out.
class Session {
 public:
    /// Gets each line with its newline.
    using Write = std::function<void(std::string line)>;
    /// `complain` hears of what is no request. `gate` must be closed before this is gone.
    Session(Gate& gate, Clock& clock, asio::any_io_executor executor, Balancer& elbv2,
            Balancer& elb, Notices& notices, Write write, Note complain)
        : gate_(gate),
          clock_(clock),
          executor_(executor),
          elbv2_(elbv2),
          elb_(elb),
          notices_(notices),
          write_(std::move(write)),
          complain_(std::move(complain)),
          moved_(executor) {}
    void greet() { write_(greeting()); }
    /// One line of stdin. Returns at once.
    void take(std::string_view line);
    /// Nobody asks any more: waits until AWS has all that was asked for, 1.5 s at most.
    awaitable<void> finish();

 private:
    /// A request under way.
    struct Underway {
        explicit Underway(asio::any_io_executor executor) : cancelled(std::move(executor)) {}
        Event cancelled;
        Clock::time_point said;     ///< something last
        Clock::duration silence{};  ///< at most
        std::string state;          ///< what can be said again
        std::string last_note;
        std::string title;  ///< of the target, for people
    };
    using Place = std::map<std::int64_t, Underway>::iterator;

    static std::string greeting();
    void begin(Request request);
    void say(Place place, std::string line);
    void note(Place place, const std::string& text);
    void state(Place place, const std::string& state);
    awaitable<void> handle(Request request, Place place);
    awaitable<std::string> answer_to(Request request, Place place);
    awaitable<std::string> check(std::int64_t id, TargetUrl url, Place place);
    awaitable<void> until_cancelled(Place place);

    Gate& gate_;
    Clock& clock_;
    asio::any_io_executor executor_;
    Balancer& elbv2_;
    Balancer& elb_;
    Notices& notices_;
    Write write_;
    Note complain_;
    std::map<std::int64_t, Underway> underway_;
    Bell moved_;
};

}  // namespace lastcall::aws
