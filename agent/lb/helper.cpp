#include "agent/lb/helper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <system_error>

namespace lastcall::helper {
namespace {

constexpr Clock::duration greets_within = 5s;
constexpr Clock::duration speaks_within = 10s;   // while a request is under way …
constexpr Clock::duration watches_within = 90s;  // … or notices are waited for
constexpr Clock::duration last_words = 50ms;     // are read of one that has ended
constexpr Clock::duration first_backoff = 100ms;
constexpr Clock::duration longest_backoff = 5s;
constexpr Clock::duration long_life = 60s;  // whoever lived so long may start again at once
constexpr int most_lines = 20'000;          // in a second
constexpr int most_error_lines = 100;       // in a second; the others are counted

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// Counts what comes within a second.
class Rate {
 public:
    int count(Clock::time_point now) {
        if (now - since_ >= 1s) {
            since_ = now;
            count_ = 0;
        }
        return ++count_;
    }

 private:
    Clock::time_point since_{};
    int count_ = 0;
};

/// Whether a state is what a request of this kind may be answered with.
bool fits(Verb verb, State state) {
    if (state == State::cancelled) return true;
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

/// From the start of the program to its end.
struct Helper::Life {
    Life(asio::any_io_executor executor, Clock::time_point now)
        : began(now), over(executor), outgoing(executor), asked(executor) {}

    void end(std::string reason) {
        if (over.is_set()) return;
        why = std::move(reason);
        over.set();
    }

    std::unique_ptr<Program> program;
    Clock::time_point began;
    std::optional<Greeting> greeting;
    bool incompatible = false;  ///< no other life would be better
    Lines lines;
    Rate line_rate, error_rate;
    std::string last_note;
    bool strange_id_said = false;
    std::string why;
    Event over;
    Bell outgoing, asked;
};

Helper::Helper(Parts parts, std::vector<std::string> command)
    : parts_(std::move(parts)),
      command_(std::move(command)),
      name_(base_name(command_.front())),
      gate_(parts_.executor),
      wanted_(parts_.executor) {}

Helper::~Helper() = default;

// --------------------------------------------------------------------------------- who asks it

std::shared_ptr<Asked> Helper::ask(Request request) {
    auto asked = std::make_shared<Asked>(parts_.executor, std::move(request));
    if (closing_) {
        asked->end = Answer{.error = fmt::format("cannot ask {}: the agent ends", name_)};
        return asked;
    }
    unsent_.push_back(asked);
    if (!std::exchange(working_, true)) {
        gate_.spawn(work(), [this](std::exception_ptr error) {
            working_ = false;
            try {
                std::rethrow_exception(error);
            } catch (...) {
                say(Level::error, "Load balancer helper can't be spoken to", failure_text());
            }
        });
    }
    wanted_.ring();
    if (life_) life_->outgoing.ring();
    return asked;
}

void Helper::cancel(const std::shared_ptr<Asked>& asked) {
    if (asked->end) return;
    if (std::erase(unsent_, asked) > 0) return;
    const auto open = open_.find(asked->request.id);
    if (open == open_.end() || open->second.asked != asked || !life_) return;
    open->second.wanted = false;
    if (!life_->greeting || !life_->greeting->cancels) return;
    unwanted_.push_back(asked);
    life_->outgoing.ring();
}

awaitable<void> Helper::close() {
    closing_ = true;
    if (life_) {
        const bool busy = std::any_of(open_.begin(), open_.end(), [](const auto& each) {
            return each.second.wanted && !each.second.asked->is_acknowledged();
        });
        const bool well = life_->greeting.has_value();
        life_->program->dismiss();
        auto leaving = done(gate_.close());
        const auto patience = well && busy ? Clock::duration(2s) : Clock::duration(200ms);
        const auto left =
            co_await before(parts_.clock, parts_.clock.now() + patience, std::move(leaving));
        if (!left && life_) {
            life_->program->signal(SIGTERM);
            auto ending = done(gate_.close());
            co_await before(parts_.clock, parts_.clock.now() + 1s, std::move(ending));
        }
    }
    gate_.cancel();
    co_await gate_.close();
}

// ---------------------------------------------------------------------------------- its lives

awaitable<void> Helper::work() {
    while (!closing_) {
        co_await wanted_.heard();
        while (!unsent_.empty() && !closing_) co_await live();
    }
}

awaitable<void> Helper::live() {
    Clock& clock = parts_.clock;
    co_await clock.sleep_until(next_start_);
    Life life(parts_.executor, clock.now());
    // Caught here: a program that can't be started is what its requests are told.
    try {
        life.program = parts_.start(command_);
    } catch (const std::system_error& error) {
        life.why = error.what();
        life.incompatible = error.code() == std::errc::no_such_file_or_directory ||
                            error.code() == std::errc::permission_denied;
    }
    if (life.program) {
        life_ = &life;
        life.why = co_await converse(life);
        life_ = nullptr;
    }
    const auto now = clock.now();
    if (now - life.began >= long_life) backoff_ = {};
    next_start_ = now + backoff_;
    backoff_ =
        std::clamp(backoff_ * 2, Clock::duration(first_backoff), Clock::duration(longest_backoff));
    ended(life);
}

/// Returns why it is over.
awaitable<std::string> Helper::converse(Life& life) {
    const auto part = [](Life& mine, awaitable<void> work) -> awaitable<void> {
        // Caught here: whatever breaks one of its streams ends this life, and is the reason.
        try {
            co_await std::move(work);
        } catch (const boost::system::system_error&) {
            mine.end("");  // a pipe that it has closed
        } catch (...) {
            mine.end(failure_text());
        }
    };
    std::vector<awaitable<void>> parts;
    parts.push_back(part(life, read(life)));
    parts.push_back(part(life, write(life)));
    parts.push_back(part(life, pass_errors_on(life)));
    parts.push_back(part(life, miss(life)));
    parts.push_back(part(life, outlive(life)));
    auto all_of_it = done(all(std::move(parts)));
    co_await unless(life.over.wait(), std::move(all_of_it));
    if (!life.why.empty()) co_return life.why;
    auto ending = life.program->end();
    auto end = co_await before(parts_.clock, parts_.clock.now() + 1s, std::move(ending));
    co_return end.value_or("it has closed its output");
}

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
    if (answer.state && !fits(verb, *answer.state)) {
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

void Helper::ended(const Life& life) {
    const bool greeted = life.greeting.has_value();
    if (!closing_) {
        say(greeted ? Level::warn : Level::error, "Load balancer helper has ended", life.why);
    }
    std::vector<std::shared_ptr<Asked>> left;
    for (const auto& [id, open] : std::exchange(open_, {})) {
        if (open.wanted) left.push_back(open.asked);
    }
    unwanted_.clear();
    auto fresh = std::exchange(unsent_, {});
    if (greeted) {
        unsent_ = std::move(fresh);  // they came too late for this one
    } else {
        left.insert(left.end(), fresh.begin(), fresh.end());
    }
    for (const auto& asked : left) {
        if (asked->is_acknowledged() && !closing_) {
            asked->trouble = fmt::format("cannot hear {}: {}", name_, life.why);
            ++asked->heard;
            asked->news.beat();
            unsent_.push_back(asked);
            continue;
        }
        const bool checks = asked->request.verb == Verb::check;
        const bool retry = !life.incompatible && (greeted || !checks);
        refuse(*asked, fmt::format("cannot ask {}: {}", name_, life.why), retry);
    }
}

void Helper::refuse(Asked& asked, std::string why, bool retry) {
    asked.end = Answer{.error = std::move(why), .retry = retry};
    ++asked.heard;
    asked.news.beat();
}

void Helper::say(Level level, std::string_view what, const std::string& why) const {
    parts_.log.say(level, what,
                   {{"helper", name_}, {level == Level::info ? "note" : "error", why}});
}

}  // namespace lastcall::helper
