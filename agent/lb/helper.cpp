#include "agent/lb/helper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <system_error>

#include "agent/lb/helper_life.hpp"

namespace lastcall::helper {
namespace {

constexpr Clock::duration first_backoff = 100ms;
constexpr Clock::duration longest_backoff = 5s;
constexpr Clock::duration long_life = 60s;  // whoever lived so long may start again at once

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

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
            life_ = nullptr;
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
