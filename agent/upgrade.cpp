#include "agent/upgrade.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>

#include "agent/inherited_listeners.hpp"
#include "agent/take_over_check.hpp"

namespace lastcall {
namespace {

constexpr auto check_time = 5s;  ///< for the new binary's look
/// For the journal's last records: the loop stands still meanwhile, and with it every deadline.
constexpr auto journal_time = 1s;
constexpr const char* unwritten = "the journal's last records can't be written within 1 s";
constexpr auto answer_time = 100ms;  ///< for answers under way

/// What a child writes, in memory.
class Paper {
 public:
    Paper() : descriptor_(::memfd_create("check", MFD_CLOEXEC)) {
        if (descriptor_ != -1) return;
        throw std::system_error(errno, std::generic_category(), "cannot make a file in memory");
    }
    ~Paper() { ::close(descriptor_); }
    Paper(const Paper&) = delete;
    Paper& operator=(const Paper&) = delete;
    int descriptor() const { return descriptor_; }
    std::string text() const {
        std::string text(1024, '\0');
        const auto size = ::pread(descriptor_, text.data(), text.size(), 0);
        text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        return text;
    }

 private:
    int descriptor_;
};

/// A child that is killed, and forgotten by the reaper's book, when nobody waits for it any more.
class Trial {
 public:
    Trial(Reaper& reaper, asio::any_io_executor executor, const LaunchOptions& options)
        : reaper_(reaper), ended_(std::move(executor)), launched_(launch(options)) {
        reaper_.expect(launched_.pid, [this](ExitStatus status) {
            exit_ = status;
            ended_.set();
        });
    }
    ~Trial() {
        if (!exit_) {
            reaper_.forget(launched_.pid);    // the reaper collects it all the same
            ::kill(-launched_.pid, SIGKILL);  // nobody else's: it isn't reaped
        }
        ::close(launched_.pidfd);
    }
    Trial(const Trial&) = delete;
    Trial& operator=(const Trial&) = delete;
    awaitable<ExitStatus> exit() {
        co_await ended_.wait();
        co_return *exit_;
    }

 private:
    Reaper& reaper_;
    Event ended_;
    std::optional<ExitStatus> exit_;
    Launched launched_;
};

std::string how(const ExitStatus& exit) {
    return exit.signal != 0 ? fmt::format("it was ended by {}", signal_name(exit.signal))
                            : fmt::format("it exited with {}", exit.code);
}

/// "agent: cannot open …" without the name in front: it is ours too.
std::string first_line(const std::string& text) {
    const auto line = text.substr(0, text.find('\n'));
    return line.starts_with("agent: ") ? line.substr(7) : line;
}

}  // namespace

Origin Origin::of_this_process(char** argv) {
    Origin origin;
    std::error_code failure;
    origin.binary = std::filesystem::read_symlink("/proc/self/exe", failure).string();
    for (char** each = argv; *each; ++each) origin.arguments.emplace_back(*each);
    for (char** each = ::environ; *each; ++each) origin.environment.emplace_back(*each);
    return origin;
}

awaitable<void> Upgrade::prepare(std::string binary) {
    if (binary.empty()) binary = origin_.binary;
    if (binary.empty()) throw Conflict("cannot upgrade: where our own binary is isn't known");
    if (!binary_.empty()) throw Conflict("cannot upgrade: another upgrade is going on");
    refuse_if_ending();
    binary_ = binary;
    struct Unless {
        std::string& binary;
        bool good = false;
        ~Unless() {
            if (!good) binary.clear();
        }
    } given_up{binary_};
    const std::string version = co_await version_of(binary);
    co_await finish_journal();
    refuse_if_ending();
    given_up.good = true;
    house_.log->say(Level::info, "Upgrading",
                    {{"binary", binary}, {"version", version}, {"fromVersion", LASTCALL_VERSION}});
    due_.ring();
}

void Upgrade::refuse_if_ending() const {
    if (around_.shutting_down()) throw Conflict("cannot upgrade: the agent is shutting down");
}

/// What the binary says when it is asked whether it could take over. Throws Conflict.
awaitable<std::string> Upgrade::version_of(std::string binary) {
    LaunchOptions options{.command = origin_.arguments,
                          .environment = origin_.environment,
                          .own_stdin = false,
                          .keep_descriptors = false,
                          .inherited = handover_.inherited};
    options.command.front() = binary;
    options.command.emplace_back("--check");
    const Paper paper;
    options.output = paper.descriptor();
    std::string trouble;
    try {
        Trial trial(house_.reaper, house_.executor(), options);
        const auto deadline = after(house_.clock->now(), check_time);
        auto ending = trial.exit();
        const auto exit = co_await before(*house_.clock, deadline, std::move(ending));
        const std::string said = paper.text();
        const std::string version = version_in(said);
        const bool good = exit && exit->signal == 0 && exit->code == 0;
        if (good && !version.empty()) co_return version;
        trouble = !exit          ? "it gave no answer within 5 s"
                  : good         ? "it is no agent that could take over"
                  : said.empty() ? how(*exit)
                                 : first_line(said);
    } catch (const std::system_error& error) {
        trouble = error.what();
    }
    trouble = fmt::format("cannot upgrade to '{}': {}", binary, trouble);
    house_.log->say(Level::error, "Upgrade refused", {{"binary", binary}, {"error", trouble}});
    throw Conflict(trouble);
}

/// Everything recorded so far is written: what is asked of the journal comes after it.
awaitable<void> Upgrade::finish_journal() {
    std::string trouble = unwritten;
    try {
        const auto deadline = after(house_.clock->now(), journal_time);
        auto asking = house_.journal().stops(std::nullopt, 1);
        const auto written = co_await before(*house_.clock, deadline, std::move(asking));
        if (written && house_.journal().flush(answer_time)) co_return;
    } catch (const std::exception& error) {  // a journal that can't be read tells nobody anything
        trouble = error.what();
    }
    throw Conflict(fmt::format("cannot upgrade: {}", trouble));
}

awaitable<void> Upgrade::work() {
    for (;;) {
        co_await due_.heard();
        co_await take_leave();
        execute();
        binary_.clear();
        if (auto* server = house_.server()) server->resume();
    }
}

awaitable<void> Upgrade::take_leave() {
    auto* const server = house_.server();
    handover_.silent_since = house_.clock->now().time_since_epoch().count();
    if (!server) co_return;
    auto hushing = server->hush(answer_time);
    co_await std::move(hushing);
}

/// Nothing of the loop runs from here to the new image; a signal stays pending.
void Upgrade::execute() {
    std::string trouble;
    if (around_.shutting_down()) {
        trouble = "the agent is shutting down";
    } else if (!house_.journal().flush(journal_time)) {
        trouble = unwritten;
    } else {
        around_.about_to();
        handover_.lock = around_.lock();
        handover_.listeners = our_listeners(handover_.inherited_descriptors);
        const int error =
            lastcall::execute(binary_, origin_.arguments, origin_.environment, handover_);
        trouble = std::generic_category().message(error);
        around_.failed();
    }
    trouble = fmt::format("cannot upgrade to '{}': {}", binary_, trouble);
    house_.log->say(Level::error, "Upgrade failed, going on as before", {{"error", trouble}});
    house_.upgrade_failed(trouble);
}

}  // namespace lastcall
