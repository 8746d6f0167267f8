#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/signals.hpp"
#include "supervisor/child.hpp"
#include "supervisor/launch.hpp"
#include "supervisor/proc.hpp"

using namespace lastcall;

// Real processes, by the one helper everybody has: a shell. Waits are for the thing itself: an
// exit, or a file that the shell writes last.
namespace {

struct Processes {
    asio::io_context io{1};
    std::unique_ptr<Clock> clock = boot_clock(io.get_executor());
    Reaper reaper{io.get_executor()};
    Inheritance inherited = [] {
        static const Inheritance once =
            take_over_signals();  // a second time it would be our own mask
        return once;
    }();
    Signals signals{io.get_executor()};
    std::filesystem::path folder;

    Processes() {
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        char name[] = "/tmp/lastcall-process-XXXXXX";
        folder = ::mkdtemp(name);
    }
    ~Processes() {
        end_everybody();
        std::filesystem::remove_all(folder);
    }

    /// Whoever a test leaves behind would be an orphan of the next one.
    static void end_everybody() {
        do {
            for (const pid_t child : proc::children_of(::getpid())) ::kill(child, SIGKILL);
        } while (::waitpid(-1, nullptr, 0) != -1);
    }

    std::unique_ptr<Process> shell(const std::string& script, Orphans orphans = Orphans::ours_alone,
                                   std::string mark = "m") {
        LaunchOptions options{.command = {"/bin/sh", "-c", script},
                              .environment = {"PATH=/usr/bin:/bin", "LASTCALL_TASK=" + mark},
                              .working_directory = folder.string(),
                              .own_stdin = false,
                              .inherited = inherited};
        return supervise(io.get_executor(), reaper, launch(options), mark, orphans);
    }

    /// Runs `work` while children are reaped; fails after 10 s.
    template <class T>
    T run(awaitable<T> work) {
        std::optional<std::optional<T>> result;
        Gate background(io.get_executor());
        auto reap = [](Signals& from, Reaper& to) -> awaitable<void> {
            for (;;) {
                const auto signal = co_await from.next();
                if (signal.ssi_signo == SIGCHLD) to.reap();
            }
        };
        background.spawn(reap(signals, reaper), {});
        asio::co_spawn(io, before(*clock, clock->now() + 10s, std::move(work)),
                       [&](std::exception_ptr error, std::optional<T> value) {
                           if (!error) result = std::move(value);
                           background.cancel();
                       });
        io.restart();
        io.run();
        REQUIRE(result);
        REQUIRE_MESSAGE(*result, "not within 10 s");
        return std::move(**result);
    }
    void run(awaitable<void> work) { run(done(std::move(work))); }

    /// Waits until the script has written `name`, and returns what stands in it.
    std::string written(const std::string& name) {
        auto wait = [](Clock& when, std::filesystem::path file) -> awaitable<std::string> {
            for (;;) {
                std::ifstream in(file);
                std::stringstream text;
                text << in.rdbuf();
                if (!text.str().empty() && text.str().back() == '\n') co_return text.str();
                co_await when.sleep_until(when.now() + 2ms);
            }
        };
        return run(wait(*clock, folder / name));
    }
};

std::string pid_of(const std::string& text) { return std::to_string(std::stoi(text)); }
bool exists(const std::string& pid) { return std::filesystem::exists("/proc/" + pid); }

}  // namespace

TEST_CASE_FIXTURE(Processes, "an exit code, a signal, and the same answer every time") {
    const auto code = shell("exit 42");
    CHECK(run(code->exit()) == ExitStatus{.code = 42});
    CHECK(run(code->exit()) == ExitStatus{.code = 42});
    const auto killed = shell("kill -USR1 $$");
    CHECK(run(killed->exit()).signal == SIGUSR1);
    CHECK(killed->survivors().empty());
}

TEST_CASE_FIXTURE(Processes, "a hundred exits at once: SIGCHLD coalesces, nobody is forgotten") {
    std::vector<std::unique_ptr<Process>> all;
    for (int index = 0; index < 100; ++index) all.push_back(shell("exit " + std::to_string(index)));
    for (int index = 0; index < 100; ++index) CHECK(run(all[index]->exit()).code == index);
}

TEST_CASE_FIXTURE(Processes,
                  "what can't be executed says why, with errno's code, and leaves no zombie") {
    const auto why = [this](std::vector<std::string> command) {
        try {
            launch({.command = std::move(command),
                    .environment = {"PATH=/bin"},
                    .inherited = inherited});
        } catch (const std::system_error& error) {
            return error.code().value();
        }
        return 0;
    };
    CHECK(why({"/no/such/command"}) == ENOENT);
    CHECK(why({"no-such-command"}) == ENOENT);
    CHECK(why({"/etc/passwd"}) == EACCES);
    CHECK(why({"/etc"}) == EACCES);
    CHECK(why({""}) == ENOENT);
    CHECK_THROWS_WITH(launch({.command = {"/no/such"}, .inherited = inherited}),
                      "cannot start '/no/such': No such file or directory");
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE_FIXTURE(Processes, "a script without #! goes to the shell, as with execvp") {
    std::ofstream(folder / "script") << "exit $1\n";
    std::filesystem::permissions(folder / "script", std::filesystem::perms::owner_all);
    const auto launched =
        launch({.command = {(folder / "script").string(), "7"}, .inherited = inherited});
    const auto process = supervise(io.get_executor(), reaper, launched, "m", Orphans::ours_alone);
    CHECK(run(process->exit()).code == 7);
}

TEST_CASE_FIXTURE(
    Processes, "the command gets back the signal mask that we inherited, and a group of its own") {
    const auto process = shell(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status >status; "
        "cut -d' ' -f5 /proc/self/stat >group; sync status group; exit 0");
    run(process->exit());
    const std::string status = written("status");
    CHECK(status.find("SigBlk:\t0000000000000000") != std::string::npos);
    CHECK(written("group") == std::to_string(process->id()) + "\n");
}

TEST_CASE_FIXTURE(Processes, "LISTEN_PID is the command's own pid") {
    const auto launched = launch({.command = {"/bin/sh", "-c", "test $LISTEN_PID = $$"},
                                  .environment = {"LISTEN_FDS=1", "LISTEN_PID=1"},
                                  .inherited = inherited});
    const auto process = supervise(io.get_executor(), reaper, launched, "m", Orphans::ours_alone);
    CHECK(run(process->exit()).code == 0);
}

TEST_CASE_FIXTURE(Processes, "a task of a daemon gets its log, no stdin, and no other descriptor") {
    const int ours = ::open("/etc/passwd", O_RDONLY);  // inheritable on purpose
    const auto launcher = child_launcher(io.get_executor(), reaper, inherited, Orphans::marked);
    const auto process =
        launcher->launch({.name = "web",
                          .command = {"/bin/sh", "-c", "ls /proc/self/fd; cat; echo last >&2"},
                          .environment = {"PATH=/usr/bin:/bin"},
                          .log_file = (folder / "log").string()},
                         "id");
    run(process->exit());
    ::close(ours);
    const std::string log = written("log");
    CHECK(log == "0\n1\n2\n3\nlast\n");  // 3 is ls reading the folder
}

TEST_CASE_FIXTURE(Processes, "the tree has the descendants, also after setsid and a double fork") {
    const auto process = shell(
        "setsid sh -c 'sleep 100 & echo $! >deep; wait' & (setsid sleep 100 & echo $! >orphan) ; "
        "wait");
    const auto deep = pid_of(written("deep")), orphan = pid_of(written("orphan"));
    std::vector<std::string> members;
    for (const auto& survivor : process->survivors())
        members.push_back(std::to_string(survivor.pid));
    CHECK(std::count(members.begin(), members.end(), deep) == 1);
    CHECK(std::count(members.begin(), members.end(), orphan) == 1);
    process->signal(SIGKILL, SignalScope::main);
    run(process->empty());
    CHECK_FALSE(exists(deep));
    CHECK_FALSE(exists(orphan));
}

TEST_CASE_FIXTURE(Processes,
                  "empty returns only when the last orphan is gone, not when the main process is") {
    const auto process = shell("setsid sh -c 'echo $$ >child; sleep 100; true' & exit 0");
    const auto child = pid_of(written("child"));
    CHECK(run(process->exit()).code == 0);
    REQUIRE_FALSE(process->survivors().empty());
    CHECK(std::to_string(process->survivors()[0].pid) == child);
    CHECK(process->survivors()[0].command == "sh");
    process->signal(SIGTERM, SignalScope::tree);
    run(process->empty());
    CHECK_FALSE(exists(child));
}

TEST_CASE_FIXTURE(Processes, "two tasks of one daemon don't mix their orphans up") {
    const auto one = shell("setsid sleep 100 & echo $! >one; exit 0", Orphans::marked, "first");
    const auto two = shell("setsid sleep 100 & echo $! >two; exit 0", Orphans::marked, "second");
    const auto first = pid_of(written("one")), second = pid_of(written("two"));
    run(one->exit());
    run(two->exit());
    one->signal(SIGKILL, SignalScope::tree);
    run(one->empty());
    CHECK_FALSE(exists(first));
    CHECK(exists(second));
    two->signal(SIGKILL, SignalScope::tree);
    run(two->empty());
}

TEST_CASE_FIXTURE(Processes,
                  "a task without a cgroup doesn't take the orphan of one that has one") {
    auto cgroup = Cgroup::make(io.get_executor(), "lastcall-test-" + std::to_string(::getpid()));
    if (!cgroup) {
        MESSAGE("no cgroup can be made here: nothing to tell apart");
        return;
    }
    // Older than the orphan, so that it might have made it.
    const auto without = shell("echo up >up; exec sleep 100", Orphans::marked, "second");
    written("up");
    const auto launched =
        launch({.command = {"/bin/sh", "-c", "setsid sleep 100 & echo $! >orphan"},
                .environment = {"PATH=/usr/bin:/bin", "LASTCALL_TASK=first"},
                .working_directory = folder.string(),
                .own_stdin = false,
                .cgroup = cgroup->directory(),
                .inherited = inherited});
    const auto with =
        supervise(io.get_executor(), reaper, launched, "first", Orphans::marked, std::move(cgroup));
    const auto orphan = pid_of(written("orphan"));
    run(with->exit());
    REQUIRE(without->survivors().size() == 1);
    CHECK(without->survivors()[0].pid == without->id());
    without->signal(SIGKILL, SignalScope::tree);
    run(without->empty());
    CHECK(exists(orphan));
    with->signal(SIGKILL, SignalScope::tree);
    run(with->empty());
    CHECK_FALSE(exists(orphan));
}

TEST_CASE_FIXTURE(Processes, "scope: main reaches the main process alone, group its group") {
    const auto process = shell(
        "trap 'echo main >>heard' USR1; sh -c 'trap \"echo child >>heard\" USR1; "
        "echo up >ready; while :; do sleep 0.01; done' & while :; do sleep 0.01; done");
    written("ready");
    process->signal(SIGUSR1, SignalScope::main);
    CHECK(written("heard") == "main\n");
    std::filesystem::remove(folder / "heard");
    process->signal(SIGUSR1, SignalScope::group);
    while (written("heard").size() < std::string("main\nchild\n").size()) continue;
    CHECK(written("heard").find("child") != std::string::npos);
    process->signal(SIGKILL, SignalScope::main);
    run(process->empty());
}

TEST_CASE_FIXTURE(Processes, "zombies that are nobody's are reaped") {
    const auto process =
        shell("for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'exit 0' &) ; done; exit 0");
    run(process->exit());
    run(process->empty());
    reaper.reap();
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
    CHECK(errno == ECHILD);
}

TEST_CASE_FIXTURE(
    Processes,
    "the kernel's clock: sleepers wake in order, and nothing is armed when none sleeps") {
    std::vector<int> order;
    auto nap = [](Clock& when, Clock::time_point until, int number,
                  std::vector<int>& list) -> awaitable<void> {
        co_await when.sleep_until(until);
        list.push_back(number);
    };
    const auto start = clock->now();
    std::vector<awaitable<void>> naps;
    naps.push_back(nap(*clock, start + 30ms, 3, order));
    naps.push_back(nap(*clock, start + 10ms, 1, order));
    naps.push_back(nap(*clock, start + 20ms, 2, order));
    run(all(std::move(naps)));
    CHECK(order == std::vector<int>{1, 2, 3});
    CHECK(clock->now() - start >= 30ms);
    const auto early = run(before(*clock, clock->now() + 5ms, done(clock->sleep_until(never))));
    CHECK_FALSE(early);
}
