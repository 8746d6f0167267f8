#include "cli/following.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <charconv>
#include <csignal>
#include <exception>

#include "cli/client.hpp"
#include "cli/draw/time.hpp"
#include "cli/stop_story.hpp"

namespace lastcall::cli {
namespace {

using asio::use_awaitable;
using namespace std::chrono_literals;

constexpr auto first_look = 150ms, between_looks = 150ms;
/// Between two looks whether an agent is there again.
constexpr std::chrono::milliseconds first_pause = 10ms, longest_pause = 500ms;

/// For how long there was no agent; a steady clock, which setting the date leaves alone.
using Time = asio::steady_timer::clock_type;

/// Throws Usage.
std::chrono::duration<double> seconds_of(const std::string& text) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && number >= 0 && number <= 86400) return std::chrono::duration<double>(number);
    throw Usage(fmt::format("--patience must be 0 to 86400 seconds, not '{}'", text));
}

std::vector<std::string> all_running(Session& session) {
    const auto list = api::from_json<api::TaskList>(session.call("GET", "/v1/tasks"));
    std::vector<std::string> names;
    for (const api::Task& each : list.tasks) {
        if (each.lastStatus != "STOPPED") names.push_back(each.name);
    }
    return names;
}

/// A connection a task: a thousand tasks are more than the usual soft limit of open files.
void allow_files(std::size_t count) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > count + 20) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// In the background of a script Ctrl-C is for others.
bool ignored(int signal) {
    struct sigaction now = {};
    return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

class Following {
 public:
    Following(Session& session, Verb verb, const StopFlags& flags)
        : session_(session),
          verb_(verb),
          flags_(flags),
          patience_(seconds_of(flags.patience)),
          io_(1),
          look_again_(io_),
          interrupt_(io_) {
        const std::int64_t now = wall_clock();
        std::size_t widest = 0;
        for (const std::string& each : flags.tasks) {
            stories_.emplace_back(each, now);
            widest = std::max(widest, each.size());
        }
        for (StopStory& each : stories_) {
            each.name_width(stories_.size() > 1 ? widest : 0);
        }
    }

    int run() {
        const auto rethrow = [this](std::exception_ptr error) {
            failure_ = failure_ ? failure_ : error;
            if (failure_) io_.stop();
        };
        for (StopStory& each : stories_) asio::co_spawn(io_, end_of(each), rethrow);
        if (!session_.json && !flags_.detach) asio::co_spawn(io_, look(), rethrow);
        if (!ignored(SIGINT)) interrupt_.add(SIGINT);
        interrupt_.async_wait([this](boost::system::error_code error, int) {
            left_ = !error;
            if (left_) io_.stop();
        });
        io_.run();
        if (left_) return leave();
        if (failure_) std::rethrow_exception(failure_);
        return result();
    }

 private:
    /// Sees one task's stop to its end, whatever becomes of the agent. A task's failure is its own:
    /// the others go on, and it is told in its place.
    asio::awaitable<void> end_of(StopStory& story) {
        Client client(io_.get_executor(), session_.socket);
        asio::steady_timer pause(io_);
        auto wait = first_pause;
        std::string lost = co_await try_to_end(story, client, false);
        auto gone_since = Time::now();
        while (!lost.empty()) {
            if (Time::now() - gone_since >= patience_) {
                story.lost(fmt::format(
                    "{}; none has come back within {} s: whether the {} of {} "
                    "goes on isn't known",
                    lost, flags_.patience, verb_ == Verb::stop ? "stop" : "restart", story.task()));
                break;
            }
            story.waits_for_agent(true);
            show("");
            pause.expires_after(wait);
            co_await pause.async_wait(use_awaitable);
            wait = std::min(2 * wait, longest_pause);
            const auto answers = answers_;
            lost = co_await try_to_end(story, client, true);
            if (answers_ == answers) continue;
            gone_since = Time::now();
            wait = first_pause;
        }
        story.waits_for_agent(false);
        over(story);
    }

    /// Goes on from where the agent is now, if it is another try. Returns when the story is over,
    /// or how the agent was lost.
    asio::awaitable<std::string> try_to_end(StopStory& story, Client& client, bool again) {
        try {
            if (again) {
                const bool ended = co_await has_ended(story, client);
                if (ended) co_return "";
            }
            co_await end(story, client);
        } catch (const NoAgent& error) {
            if (!again) throw;  // nobody's own failure
            co_return error.what();
        } catch (const Lost& error) {
            co_return error.what();
        } catch (const Refused& error) {
            story.refused(error);
        } catch (const std::exception& error) {
            story.failed(error.what());
        }
        co_return "";
    }

    /// Asks the agent that came back whether there is nothing left to ask for: the task that we
    /// meant is gone. True if so, and the story tells how.
    asio::awaitable<bool> has_ended(StopStory& story, Client& client) {
        std::optional<api::Task> task;
        json::value shown;
        try {
            shown = co_await client.call("GET", task_path(story.task()));
            task = api::from_json<api::Task>(shown);
        } catch (const Refused& error) {
            if (error.status() != 404) throw;
        }
        ++answers_;
        story.waits_for_agent(false);
        if (task && story.is_of(*task)) co_return false;
        const json::value stops = co_await client.call("GET", task_path(story.task(), "/stops"));
        const auto record = story.record_in(api::from_json<api::StopList>(stops));
        if (task && verb_ == Verb::restart) {
            story.restarted(shown, {record ? std::vector{*record} : std::vector<api::Stop>()});
        } else if (record && verb_ == Verb::stop) {
            story.ended(api::to_json(*record), *record);
        } else {
            story.failed(fmt::format("cannot find '{}' again: the agent was away, and {}",
                                     story.task(),
                                     task ? "a newer task has that name, which is left alone"
                                          : "doesn't know it any more"));
        }
        co_return true;
    }

    /// Asks for the stop and stays until it has ended.
    asio::awaitable<void> end(StopStory& story, Client& client) {
        const std::string verb = verb_ == Verb::stop ? "/stop" : "/restart";
        const std::string path =
            task_path(story.task(), verb + (flags_.detach ? "?wait=false" : ""));
        const json::value answer = co_await client.call("POST", path, api::to_json(flags_.request));
        const bool goes_on = answer.is_object() && answer.get_object().contains("stop");
        if (flags_.detach && goes_on) {  // a Progress, not a record: it wasn't stopped before
            story.asked(answer);
        } else if (verb_ == Verb::stop) {
            story.ended(answer, api::from_json<api::Stop>(answer));
        } else {
            const json::value stops =
                co_await client.call("GET", task_path(story.task(), "/stops?limit=1"));
            story.restarted(answer, api::from_json<api::StopList>(stops));
        }
    }

    void over(StopStory& story) {
        show(session_.json ? "" : story.tell(session_.terminal.canvas()));
        if (!story.trouble().empty()) session_.terminal.complain(story.trouble());
        if (std::ranges::all_of(stories_, &StopStory::over)) io_.stop();
    }

    /// Looks how the stops go until somebody ends us.
    asio::awaitable<void> look() {
        Client client(io_.get_executor(), session_.socket);
        const bool one = stories_.size() == 1;
        const std::string path = one ? task_path(stories_.front().task()) : "/v1/tasks";
        look_again_.expires_after(first_look);
        for (;;) {
            co_await look_again_.async_wait(use_awaitable);
            try {
                const json::value answer = co_await client.call("GET", path);
                seen(one ? api::TaskList{{api::from_json<api::Task>(answer)}}
                         : api::from_json<api::TaskList>(answer));
            } catch (const std::exception&) {  // only a look: the stop's own answer tells the truth
            }
            look_again_.expires_after(between_looks);
        }
    }

    void seen(const api::TaskList& list) {
        std::string lasting;
        const bool grouped = session_.terminal.live() && stories_.size() > 1;
        for (StopStory& story : stories_) {
            const auto task = std::ranges::find(list.tasks, story.task(), &api::Task::name);
            if (story.over() || task == list.tasks.end() || !story.is_of(*task)) continue;
            story.goes_on(task->stopping);
            if (!grouped) lasting += story.tell(session_.terminal.canvas());
        }
        show(lasting);
    }

    void show(const std::string& lasting) {
        if (!session_.terminal.live() || session_.json) {
            if (!lasting.empty()) session_.terminal.print(lasting);
            return;
        }
        std::vector<std::string> lines;
        for (const StopStory& story : stories_) {
            for (std::string& line : story.now(session_.terminal.canvas())) {
                lines.push_back(std::move(line));
            }
        }
        session_.terminal.redraw(lasting, std::move(lines));
    }

    int leave() {
        if (session_.terminal.live() && !session_.json) session_.terminal.redraw("", {});
        std::vector<std::string> names;
        for (const StopStory& each : stories_) {
            if (!each.over()) names.push_back(each.task());
        }
        session_.terminal.complain(fmt::format(
            "left; the {} of {} goes on (agentctl timeline {} shows it)",
            verb_ == Verb::stop ? "stop" : "restart", fmt::join(names, ", "), names.front()));
        return left;
    }

    int result() {
        if (session_.json) {
            json::array answers;
            for (const StopStory& each : stories_) {
                if (!each.answer().is_null()) answers.push_back(each.answer());
            }
            const bool one = flags_.tasks.size() == 1 && !flags_.all;
            if (!one) session_.print(answers);
            if (one && !answers.empty()) session_.print(answers.front());
        }
        int worst = done;
        for (const StopStory& each : stories_) {
            const int exit = flags_.fail_on_kill && each.killed() ? failed : each.exit();
            if (worst == done || exit == failed) worst = exit;
        }
        return worst;
    }

    Session& session_;
    Verb verb_;
    const StopFlags& flags_;
    std::chrono::duration<double> patience_;
    std::size_t answers_ = 0;  ///< of agents that came back
    std::vector<StopStory> stories_;
    std::exception_ptr failure_;
    bool left_ = false;
    asio::io_context io_;
    asio::steady_timer look_again_;
    asio::signal_set interrupt_;
};

}  // namespace

void declare(Arguments& arguments, Verb verb, StopFlags& flags) {
    arguments.words("TASK", flags.tasks, 0);
    arguments.flag("--all", flags.all, "all tasks that are not stopped");
    arguments.flag("--no-drain", flags.no_drain, "leave the load balancers, but don't wait");
    arguments.value("--timeout", "D", flags.request.timeout,
                    "from the stop signal to SIGKILL (or from now, if it was sent)");
    arguments.value("--drain-timeout", "D", flags.request.drainTimeout,
                    "how long the drain may last");
    arguments.flag("--force", flags.request.force, "SIGKILL now");
    arguments.value("--signal", "SIGNAL", flags.request.signal,
                    "instead of the task's stop signal");
    arguments.value("--reason", "TEXT", flags.request.reason, "for the record");
    if (verb == Verb::stop)
        arguments.flag("--detach", flags.detach, "ask for it, and don't wait for the end");
    arguments.value("--patience", "SECONDS", flags.patience,
                    "how long an agent that went away may stay away (default: 30)");
    arguments.flag("--fail-on-kill", flags.fail_on_kill, "exit 1 if SIGKILL was needed");
}

int follow(Session& session, Verb verb, StopFlags flags) {
    if (flags.all && !flags.tasks.empty())
        throw Usage("--all and names of tasks exclude each other");
    if (!flags.all && flags.tasks.empty())
        throw Usage("TASK is missing: name a task, or say --all");
    if (std::ranges::count(flags.tasks, "") > 0) throw Usage("a task's name can't be empty");
    if (flags.all) flags.tasks = all_running(session);
    std::vector<std::string> once;
    for (std::string& each : flags.tasks) {
        if (std::ranges::count(once, each) == 0) once.push_back(std::move(each));
    }
    flags.tasks = std::move(once);
    flags.request.drain = !flags.no_drain;
    if (flags.tasks.empty()) {
        if (session.json) session.print(json::array());
        if (!session.json) session.terminal.print("No task is running\n");
        return done;
    }
    allow_files(flags.tasks.size());
    return Following(session, verb, flags).run();
}

}  // namespace lastcall::cli
