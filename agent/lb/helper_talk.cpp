#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "agent/lb/helper_life.hpp"

// What is said between a helper and us, in one of its lives.
namespace lastcall::helper {
namespace {

constexpr Clock::duration greets_within = 5s;
constexpr Clock::duration speaks_within = 10s;   // while a request is under way …
constexpr Clock::duration watches_within = 90s;  // … or notices are waited for
constexpr Clock::duration last_words = 50ms;     // are read of one that has ended
constexpr int most_lines = 20'000;               // in a second
constexpr int most_error_lines = 100;            // in a second; the others are counted

/// Whether a state is what a request of this kind may be answered with.
bool fits(Verb verb, State state) {
    switch (verb) {
        case Verb::check:
            return state == State::known;
        case Verb::register_target:
            return state == State::registered;
        case Verb::deregister:
            return state == State::draining || state == State::drained;
        case Verb::watch:
            return state == State::watching;
        case Verb::complete:
            return state == State::completed;
        case Verb::cancel:
            break;
    }
    return false;
}

}  // namespace

awaitable<void> Helper::read(Life& life) {
    for (;;) {
        const std::string text = co_await life.program->read();
        if (text.empty()) co_return life.end("");
        life.lines.add(text);
        while (const auto line = life.lines.next()) {
            hear(life, *line);
            if (life.over.is_set()) co_return;
        }
    }
}

awaitable<void> Helper::write(Life& life) {
    for (;;) {
        co_await life.outgoing.heard();
        if (!life.greeting) continue;
        // Whoever else asks in this moment goes along.
        co_await asio::post(parts_.executor, use_awaitable);
        std::string text = requests(life);
        if (!text.empty()) co_await life.program->write(std::move(text));
    }
}

std::string Helper::requests(Life& life) {
    const auto now = parts_.clock.now();
    std::vector<Request> requests;
    for (auto& asked : std::exchange(unsent_, {})) {
        asked->request.id = ++last_id_;
        if (asked->request.verb == Verb::register_target && !life.greeting->registers) {
            refuse(*asked, fmt::format("cannot register with {}: it can't", name_), false);
            continue;
        }
        requests.push_back(asked->request);
        open_[asked->request.id] = {.asked = asked, .heard = now};
    }
    for (const auto& asked : std::exchange(unwanted_, {})) {
        if (open_.contains(asked->request.id)) {
            requests.push_back({.id = asked->request.id, .verb = Verb::cancel});
        }
    }
    life.asked.ring();
    std::string text;
    for (const auto& line : lines(requests, life.greeting->batches)) text += line + "\n";
    return text;
}

/// Its stderr is for people.
awaitable<void> Helper::pass_errors_on(Life& life) {
    std::string rest;
    int dropped = 0;
    for (;;) {
        const std::string text = co_await life.program->read_errors();
        if (text.empty()) break;
        rest += text;
        std::size_t begin = 0;
        for (auto end = rest.find('\n'); end != rest.npos; end = rest.find('\n', begin)) {
            const bool too_many = life.error_rate.count(parts_.clock.now()) > most_error_lines;
            dropped += too_many;
            if (!too_many) say_line(std::string_view(rest).substr(begin, end - begin), dropped);
            begin = end + 1;
        }
        rest.erase(0, begin);
        if (rest.size() > longest_line) rest.resize(longest_line);  // it has no end
    }
    if (!rest.empty() || dropped > 0) say_line(rest, dropped);
}

void Helper::say_line(std::string_view line, int& dropped) const {
    parts_.log.say(Level::info, one_line(line), {{"helper", name_}});
    if (dropped > 0) {
        parts_.log.say(Level::warn, "Lines of a load balancer helper were left out",
                       {{"helper", name_}, {"lines", std::to_string(std::exchange(dropped, 0))}});
    }
}

/// What it has left behind may hold its output open.
awaitable<void> Helper::outlive(Life& life) {
    const std::string how = co_await life.program->end();
    co_await parts_.clock.sleep_until(parts_.clock.now() + last_words);
    life.end(how);
}

/// Ends the life of one that isn't heard of.
awaitable<void> Helper::miss(Life& life) {
    for (;;) {
        auto news = done(life.asked.heard());
        const auto rung = co_await before(parts_.clock, silent_at(life), std::move(news));
        if (rung || parts_.clock.now() < silent_at(life)) continue;
        co_return life.end(life.greeting ? "it is silent: nothing for 10 s of a request under way"
                                         : "it has not greeted within 5 s");
    }
}

Clock::time_point Helper::silent_at(const Life& life) const {
    if (!life.greeting) return life.began + greets_within;
    auto at = never;
    for (const auto& [id, open] : open_) {
        if (!open.wanted) continue;
        const bool watches = open.asked->request.verb == Verb::watch;
        at = std::min(at, open.heard + (watches ? watches_within : speaks_within));
    }
    return at;
}

void Helper::hear(Life& life, const std::string& line) {
    if (life.line_rate.count(parts_.clock.now()) > most_lines) {
        return life.end("it writes more than 20000 lines a second");
    }
    if (!life.greeting) {
        life.incompatible = true;  // unless that was a greeting
        life.greeting = read_greeting(line);
        life.incompatible = false;
        parts_.log.say(Level::info, "Load balancer helper is there",
                       {{"helper", name_}, {"version", life.greeting->version}});
        return life.outgoing.ring();
    }
    for (auto& answer : read_answers(line)) hear(life, std::move(answer));
}

void Helper::hear(Life& life, Answer answer) {
    const auto place = open_.find(answer.id);
    if (place == open_.end()) {
        if (std::exchange(life.strange_id_said, true)) return;
        const auto id = fmt::format("it answers {}, which isn't asked", answer.id);
        return say(Level::warn, "Load balancer helper answers what nobody asks", id);
    }
    auto& open = place->second;
    const auto asked = open.asked;
    const auto verb = asked->request.verb;
    // "cancelled" without having been told to is no acknowledgement.
    if (open.wanted && answer.state && !fits(verb, *answer.state)) {
        throw BadLine(fmt::format("it answered a {} in the wrong way", to_string(verb)));
    }
    const bool wanted = open.wanted, over = ends(answer);
    open.heard = parts_.clock.now();
    if (over) open_.erase(place);
    if (!wanted) return;
    if (!answer.notice.empty() && verb != Verb::watch) {
        throw BadLine(fmt::format("it answered a {} with a notice", to_string(verb)));
    }
    if (!answer.note.empty()) {
        asked->note = answer.note;
        if (std::exchange(life.last_note, answer.note) != answer.note) {
            say(Level::info, "Load balancer helper goes on", answer.note);
        }
        return;
    }
    asked->trouble.clear();
    if (answer.state) asked->state = answer;
    if (!answer.notice.empty()) asked->notices.push_back(answer);
    if (over) asked->end = std::move(answer);
    ++asked->heard;
    asked->news.beat();
}

}  // namespace lastcall::helper
