#include "agent/helpers/aws/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "agent/helpers/aws/answer.hpp"
#include "agent/helpers/aws/excerpt.hpp"

namespace lastcall::aws {
namespace {

// The agent takes who isn't heard of for 10 s for hung; who watches, for a minute and more.
constexpr Clock::duration silence = 5s, watching_silence = 30s, longest_check = 9s;
constexpr auto longest_finish = 1500ms;

/// "cannot deregister 10.0.0.5:8080 of target group web", for people; without the target, if the
/// URL isn't understood.
std::string cannot(Verb verb, const std::string& target) {
    const std::string object = target.empty() ? "" : " " + target;
    switch (verb) {
        case Verb::check:
            return "cannot use" + (target.empty() ? " the load balancer" : object);
        case Verb::register_target:
            return "cannot register" + object;
        case Verb::deregister:
            return "cannot deregister" + object;
        case Verb::watch:
            return "cannot watch";
        default:
            return "cannot complete the lifecycle action";
    }
}

std::string title_of(const TargetUrl& url) {
    std::string target = url.id.empty() ? "this machine" : url.id;
    if (url.port) target += fmt::format(":{}", *url.port);
    return fmt::format("{} of {} {}", target,
                       url.scheme == "elb" ? "load balancer" : "target group", url.name);
}

}  // namespace

std::string Session::greeting() { return greeting_line(); }

void Session::take(std::string_view line) {
    if (line.find_first_not_of(" \t\r") == line.npos) return;
    Heard heard = parse_requests(line);
    for (const auto& each : heard.rest) {
        const std::string why = fmt::format("cannot understand {}: {}", quoted(line), each.why);
        complain_(why);
        if (each.id && !underway_.contains(*each.id)) write_(error_line(*each.id, why, false));
    }
    for (auto& each : heard.requests) begin(std::move(each));
}

void Session::begin(Request request) {
    const auto known = underway_.find(request.id);
    if (request.verb == Verb::cancel) {
        if (known != underway_.end()) known->second.cancelled.set();
        return;
    }
    if (known != underway_.end()) {
        complain_(fmt::format("cannot take request {}: one of that id is under way", request.id));
        return;
    }
    const Place place = underway_.try_emplace(request.id, executor_).first;
    place->second.said = clock_.now();
    place->second.silence = request.verb == Verb::watch ? watching_silence : silence;
    gate_.spawn(handle(std::move(request), place), [this](std::exception_ptr failure) {
        try {
            std::rethrow_exception(failure);
        } catch (...) {  // an error of ours: the agent will ask again
            complain_(failure_text());
        }
    });
}

void Session::say(Place place, std::string line) {
    place->second.said = clock_.now();
    write_(std::move(line));
}

void Session::note(Place place, const std::string& text) {
    place->second.last_note = text;
    say(place, note_line(place->first, text));
}

void Session::state(Place place, const std::string& state) {
    place->second.state = state;
    say(place, state_line(place->first, state));
    moved_.ring();
}

awaitable<void> Session::handle(Request request, Place place) {
    std::string answer;
    try {
        auto working = answer_to(request, place);
        const auto result = co_await unless(until_cancelled(place), std::move(working));
        answer = result ? *result : state_line(request.id, "cancelled");
    } catch (const Failure& failure) {  // what went wrong is the answer
        const bool final = request.verb == Verb::check && failure.code() == no_credentials;
        answer = error_line(
            request.id,
            fmt::format("{}: {}", cannot(request.verb, place->second.title), failure.what()),
            failure.retry() && !final);
    }
    underway_.erase(place);
    write_(std::move(answer));
    moved_.ring();
}

awaitable<void> Session::until_cancelled(Place place) {
    for (;;) {
        auto cancelled = done(place->second.cancelled.wait());
        const auto next = after(place->second.said, place->second.silence);
        const auto asked = co_await before(clock_, next, std::move(cancelled));
        if (asked) co_return;
        if (clock_.now() < after(place->second.said, place->second.silence)) continue;
        if (place->second.state.empty()) {
            say(place, note_line(place->first, "waiting for AWS"));
        } else {
            say(place, state_line(place->first, place->second.state));
        }
    }
}

awaitable<std::string> Session::answer_to(Request request, Place place) {
    const std::int64_t id = request.id;
    const Note note_it = [this, place](const std::string& text) { note(place, text); };
    if (request.verb == Verb::watch) {
        state(place, "watching");
        const auto tell = [this, place](const Notice& notice) {
            say(place, notice_line(place->first, notice));
        };
        auto watching = notices_.watch(request.spot, request.hook, tell, note_it);
        co_await std::move(watching);
    }
    if (request.verb == Verb::complete) {
        auto completing = notices_.complete(request.result, note_it);
        co_await std::move(completing);
        co_return state_line(id, "completed");
    }
    const TargetUrl url = parse_target_url(request.url);
    place->second.title = title_of(url);
    Balancer& balancer = url.scheme == "elb" ? elb_ : elbv2_;
    if (request.verb == Verb::check) {
        auto checking = check(id, url, place);
        co_return co_await std::move(checking);
    }
    if (request.verb == Verb::register_target) {
        auto registering = balancer.register_target(url, note_it);
        co_await std::move(registering);
        co_return state_line(id, "registered");
    }
    auto leaving = balancer.deregister(url, note_it, [this, place] { state(place, "draining"); });
    co_await std::move(leaving);
    co_return state_line(id, "drained");
}

awaitable<std::string> Session::check(std::int64_t id, TargetUrl url, Place place) {
    const Note note_it = [this, place](const std::string& text) { note(place, text); };
    Balancer& balancer = url.scheme == "elb" ? elb_ : elbv2_;
    auto checking = balancer.check(std::move(url), note_it);
    const auto known =
        co_await before(clock_, after(clock_.now(), longest_check), std::move(checking));
    if (known) co_return known_line(id, *known);
    const std::string& last = place->second.last_note;
    throw Failure(
        fmt::format("there is no answer after {} s{}{}",
                    std::chrono::duration_cast<std::chrono::seconds>(longest_check).count(),
                    last.empty() ? "" : ": ", last),
        true);
}

awaitable<void> Session::finish() {
    const auto deadline = after(clock_.now(), longest_finish);
    for (;;) {
        const bool waiting = std::any_of(underway_.begin(), underway_.end(), [](const auto& each) {
            return each.second.state.empty();
        });
        if (!waiting) co_return;
        const auto moved = co_await before(clock_, deadline, done(moved_.heard()));
        if (!moved) co_return;
    }
}

}  // namespace lastcall::aws
