#include "agent/log.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <utility>

#include "temporary_directory.hpp"

namespace lastcall {
namespace {

/// What stands in for stderr while it lives. A log that blocks ends the test after ten seconds.
class Stderr {
 public:
    explicit Stderr(int descriptor) : saved_(::dup(STDERR_FILENO)) {
        ::dup2(descriptor, STDERR_FILENO);
        ::alarm(10);
    }
    ~Stderr() {
        ::alarm(0);
        ::dup2(saved_, STDERR_FILENO);
        ::close(saved_);
    }

 private:
    int saved_;
};

struct Pair {
    int reader = -1, writer = -1;
    ~Pair() {
        ::close(reader);
        ::close(writer);
    }
    /// All that is there now.
    std::string read() const {
        std::string all;
        char some[4096];
        ::fcntl(reader, F_SETFL, O_NONBLOCK);
        for (ssize_t size; (size = ::read(reader, some, sizeof some)) > 0;) all.append(some, size);
        return all;
    }
};

void open_pipe(Pair& pair) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pair.reader = ends[0];
    pair.writer = ends[1];
}

std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

/// Far more than any pipe, socket or terminal takes.
constexpr int many = 5000;
void say_many(Log& log) {
    for (int i = 0; i < many; ++i) log.say(Level::info, std::string(100, 'x'));
}

/// Full at first: whole lines, then the number of those that are missing, then lines again.
void check_full_then_read(const Pair& pair) {
    const auto log = agent_log({});
    say_many(*log);
    const std::string before = pair.read();
    const auto written = count(before, "\n");
    CHECK(written > 10);
    CHECK(written < many);
    log->say(Level::info, "there again");
    const std::string after = pair.read();
    const auto taken = count(before, "msg=\"xxx");
    CHECK(after.find("msg=\"Log lines dropped: nobody took them in time\" lines=") !=
          std::string::npos);
    CHECK(after.find(" lines=" + std::to_string(many - taken)) != std::string::npos);
    CHECK(after.ends_with("msg=\"there again\"\n"));
}

}  // namespace

TEST_CASE("what is less urgent than the level isn't told") {
    const TemporaryDirectory directory;
    Settings settings;
    settings.log_file = directory / "log";
    settings.log_level = Level::warn;
    {
        const auto log = agent_log(settings);
        log->say(Level::debug, "no");
        log->say(Level::info, "no");
        log->say(Level::warn, "yes");
        log->say(Level::crit, "yes", {{"task", "web"}});
        log->say(Level::none, "no");
    }
    const auto text = content(settings.log_file);
    CHECK(count(text, "msg=\"yes\"") == 2);
    CHECK(count(text, "\n") == 2);
    CHECK(text.find("level=crit time=2") != std::string::npos);

    settings.log_level = Level::none;
    agent_log(settings)->say(Level::crit, "no");
    CHECK(content(settings.log_file) == text);
}

TEST_CASE("a log file is appended to") {
    const TemporaryDirectory directory;
    Settings settings;
    settings.log_file = directory / "log";
    settings.log_format = LogFormat::json;
    std::ofstream(settings.log_file) << "older\n";
    agent_log(settings)->say(Level::info, "newer");
    const auto text = content(settings.log_file);
    CHECK(text.starts_with("older\n{\"level\":\"info\""));
    CHECK(text.ends_with("\"msg\":\"newer\"}\n"));
}

TEST_CASE("a log file that can't be opened is said on stderr, which is then the log") {
    Pair pipe;
    open_pipe(pipe);
    const Stderr stands_in(pipe.writer);
    Settings settings;
    settings.log_file = "/proc/no/such/place";
    agent_log(settings)->say(Level::info, "hello");
    const auto text = pipe.read();
    CHECK(text.find("level=warn") != std::string::npos);
    CHECK(text.find("msg=\"Cannot open the log, using stderr\" file=\"/proc/no/such/place\" "
                    "error=\"No such file or directory\"\n") != std::string::npos);
    CHECK(text.ends_with("msg=\"hello\"\n"));
}

TEST_CASE("a full pipe drops lines, which are counted, and blocks nobody") {
    Pair pipe;
    open_pipe(pipe);
    const Stderr stands_in(pipe.writer);
    check_full_then_read(pipe);
    // The description is the task's too.
    CHECK((::fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("the same where the pipe can't be opened again") {
    Pair pipe;
    open_pipe(pipe);
    const Stderr stands_in(pipe.writer);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit no_more{0, limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &no_more);
    check_full_then_read(pipe);
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_CASE("a full socket drops lines, which are counted, and blocks nobody") {
    Pair pair;
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    pair.reader = ends[0];
    pair.writer = ends[1];
    const Stderr stands_in(pair.writer);
    check_full_then_read(pair);
    CHECK((::fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("a terminal that nobody reads blocks nobody") {
    Pair terminal;
    terminal.reader = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal.reader >= 0);
    REQUIRE(::grantpt(terminal.reader) == 0);
    REQUIRE(::unlockpt(terminal.reader) == 0);
    terminal.writer = ::open(::ptsname(terminal.reader), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal.writer >= 0);
    const Stderr stands_in(terminal.writer);
    const auto log = agent_log({});
    say_many(*log);
    const auto before = terminal.read();
    CHECK(count(before, "msg=\"xxx") > 10);
    log->say(Level::info, "there again");
    const auto after = terminal.read();
    CHECK(after.find("lines=") != std::string::npos);
    CHECK(after.ends_with("msg=\"there again\"\r\n"));
    // A line of which half was taken doesn't run into the next.
    CHECK((before + after).find("xlevel=") == std::string::npos);
}

TEST_CASE("a reader that has gone away costs the line and nothing else") {
    Pair pipe;
    open_pipe(pipe);
    const Stderr stands_in(pipe.writer);
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    ::close(std::exchange(pipe.reader, -1));
    agent_log({})->say(Level::info, "to nobody");
    std::signal(SIGPIPE, before);
}

TEST_CASE("a file that is stderr is written where the task's own output ends") {
    const TemporaryDirectory directory;
    const auto path = directory / "out";
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    {
        const Stderr stands_in(file);
        const auto log = agent_log({});
        REQUIRE(::write(STDERR_FILENO, "task 1\n", 7) == 7);
        log->say(Level::info, "agent");
        REQUIRE(::write(STDERR_FILENO, "task 2\n", 7) == 7);
    }
    ::close(file);
    const auto text = content(path);
    CHECK(text.starts_with("task 1\nlevel=info"));
    CHECK(text.ends_with("msg=\"agent\"\ntask 2\n"));
}

}  // namespace lastcall
