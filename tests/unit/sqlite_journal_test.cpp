#include "agent/journal/sqlite_journal.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include "agent/journal/database.hpp"
#include "agent/journal/definition_json.hpp"
#include "agent/journal/detail_json.hpp"
#include "heard_log.hpp"
#include "supervisor/await.hpp"
#include "temporary_directory.hpp"

namespace lastcall {
namespace {

using Stops = std::vector<StopRecord>;

/// A journal in a directory of its own, which can be closed and opened again.
struct Keeping {
    TemporaryDirectory directory;
    HeardLog log;
    asio::io_context io{1};
    std::unique_ptr<Clock> clock = boot_clock(io.get_executor());
    JournalHealth health{*clock};
    Disk disk;
    std::function<void()> reclaim;
    std::unique_ptr<Journal> journal = opened();

    std::unique_ptr<Journal> opened(const std::string& place = "") {
        return sqlite_journal({.executor = io.get_executor(),
                               .clock = *clock,
                               .disk = disk,
                               .log = log,
                               .health = health,
                               .reclaim =
                                   [this] {
                                       if (reclaim) reclaim();
                                   }},
                              place.empty() ? directory.path() : place);
    }
    /// Until what the disk's thread has posted makes it true.
    template <class Condition>
    void wait_until(Condition condition) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition()) {
            REQUIRE(std::chrono::steady_clock::now() < end);
            io.restart();
            io.run_for(std::chrono::milliseconds(5));
        }
    }
    bool heard(const std::string& part) const {
        return std::any_of(log.lines.begin(), log.lines.end(), [&part](const auto& line) {
            return line.find(part) != std::string::npos;
        });
    }
    /// What is in the write-ahead log goes to its place: from there nothing could be mended.
    void close_for_good() {
        journal.reset();
        Database(path()).run("pragma wal_checkpoint(truncate)");
    }
    void reopen() {
        journal.reset();
        journal = opened();
    }
    template <class T>
    T run(awaitable<T> work) {
        auto result = asio::co_spawn(io, std::move(work), asio::use_future);
        io.restart();
        io.run_for(std::chrono::seconds(20));
        REQUIRE(result.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
        return result.get();
    }
    void record(const StopRecord& stop, std::optional<std::size_t> phase = {}) {
        run(journal->record(stop, phase));
    }
    Stops stops(std::optional<std::string> task = {}, std::size_t limit = 100) {
        return run(journal->stops(std::move(task), limit));
    }
    std::string path() { return directory / "journal.db"; }
    /// What `sqlite3 journal.db 'SQL'` prints of the first column, a row a line.
    std::string asked(const char* sql) {
        Database database(path());
        Statement statement(database, sql);
        Rows row = statement.query({});
        std::string all;
        while (row.next()) all += row.text(0) + "\n";
        return all;
    }
};

/// While it lives no file can grow.
class NoRoom {
 public:
    NoRoom() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &limit_);
        const rlimit none{1, limit_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &none);
    }
    ~NoRoom() {
        ::setrlimit(RLIMIT_FSIZE, &limit_);
        std::signal(SIGXFSZ, handler_);
    }
    NoRoom(const NoRoom&) = delete;
    NoRoom& operator=(const NoRoom&) = delete;

 private:
    void (*handler_)(int);
    rlimit limit_{};
};

StopRecord small_stop(const std::string& id, const std::string& task) {
    StopRecord stop;
    stop.id = id;
    stop.task = task;
    stop.requested_at =
        std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
    return stop;
}

/// Something in every field.
StopRecord full_stop() {
    const Clock::utc_time at = std::chrono::sys_days(std::chrono::days(20'000)) + 123'456us;
    const std::string odd("quo\"te \\ \n caf\xc3\xa9 \xff\0 nul", 21);
    StopRecord stop = small_stop("0123456789abcdef0123456789abcdef", "web1");
    stop.task_id = "task-id";
    stop.stop_code = StopCode::spot_interruption;
    stop.stopped_reason = odd;
    stop.requested_by = {4'294'967'295u, 4711, "api"};
    stop.requested = Clock::time_point(987'654'321'987ns);
    stop.requested_at = at + 9'000 * 24h;
    stop.stopped_at = at + 9'000 * 24h + 2s;
    stop.duration = 1'834'200'001ns;
    stop.outcome = StopOutcome::unkillable;
    stop.survivors = {{7, odd, 'D', "rpc_wait"}, {8, "", '\xff', ""}};
    stop.deregistration_delay = 300s;
    stop.saved = 298'170'100'003ns;
    stop.containers = {{"a", ExitStatus{.code = 3}, Killer::sigterm, odd},
                       {"b", ExitStatus{.signal = 9, .core_dumped = true}, Killer::sigkill, ""},
                       {"c", ExitStatus{.code = 0, .signal = 32}, {}, ""},
                       {"d", {}, {}, "CannotStartContainerError: no"}};
    PhaseRecord drain{.phase = Phase::drain,
                      .container = "",
                      .started = Clock::time_point(987'654'321'999ns),
                      .started_at = at,
                      .duration = 1'830'400'009ns,
                      .outcome = Outcome::timed_out,
                      .detail = {}};
    drain.detail.set("connectionsAtStart", std::numeric_limits<std::int64_t>::max());
    drain.detail.set("zero", std::int64_t{0});
    drain.detail.set("third", 1.0 / 3.0);
    drain.detail.set("whole", 3.0);
    drain.detail.set("tiny", std::numeric_limits<double>::denorm_min());
    drain.detail.set("huge", -std::numeric_limits<double>::max());
    drain.detail.set("sum", 0.1 + 0.2);
    drain.detail.set("yes", true);
    drain.detail.set("loadBalancer", odd);
    drain.detail.set("a", std::string());
    PhaseRecord kill = drain;
    kill.phase = Phase::sigkill;
    kill.container = "b";
    kill.outcome.reset();
    kill.detail = {};
    stop.phases = {drain, kill};
    return stop;
}

bool same(const PhaseRecord& one, const PhaseRecord& other) {
    return one.phase == other.phase && one.container == other.container &&
           one.started == other.started && one.started_at == other.started_at &&
           one.duration == other.duration && one.outcome == other.outcome &&
           one.detail == other.detail;
}
bool same(const ContainerEnd& one, const ContainerEnd& other) {
    return one.name == other.name && one.exit == other.exit && one.killed_by == other.killed_by &&
           one.reason == other.reason;
}
template <class Value>
bool same(const std::vector<Value>& one, const std::vector<Value>& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const Value& a, const Value& b) { return same(a, b); });
}
bool same(const StopRecord& one, const StopRecord& other) {
    return one.id == other.id && one.task == other.task && one.task_id == other.task_id &&
           one.stop_code == other.stop_code && one.stopped_reason == other.stopped_reason &&
           one.requested_by == other.requested_by && one.requested == other.requested &&
           one.requested_at == other.requested_at && one.stopped_at == other.stopped_at &&
           one.duration == other.duration && one.outcome == other.outcome &&
           one.survivors == other.survivors &&
           one.deregistration_delay == other.deregistration_delay && one.saved == other.saved &&
           same(one.containers, other.containers) && same(one.phases, other.phases);
}

std::size_t files_like(const std::string& directory, const std::string& part) {
    std::size_t found = 0;
    for (const auto& each : std::filesystem::directory_iterator(directory)) {
        const auto name = each.path().string();
        if (name.ends_with("-wal") || name.ends_with("-shm")) continue;
        if (each.path().filename().string().find(part) != std::string::npos) ++found;
    }
    return found;
}

}  // namespace

TEST_CASE_FIXTURE(Keeping, "a stop comes back exactly as it was recorded, by a later agent too") {
    const auto stop = full_stop();
    record(stop);
    REQUIRE(stops().size() == 1);
    CHECK(same(stops()[0], stop));
    reopen();
    REQUIRE(stops().size() == 1);
    CHECK(same(stops()[0], stop));
    CHECK(log.lines.empty());
}

TEST_CASE_FIXTURE(Keeping,
                  "a stop is recorded step by step, the last word being the one that counts") {
    auto stop = small_stop("1", "web");
    record(stop);
    stop.phases.push_back({});
    record(stop, 0);
    CHECK_FALSE(stops().at(0).phases.at(0).outcome);
    stop.phases[0].outcome = Outcome::interrupted;
    stop.phases[0].detail.set("connectionsAtEnd", std::int64_t{3});
    record(stop, 0);
    stop.phases.push_back({});
    stop.phases[1].phase = Phase::sigterm;
    record(stop, 1);
    stop.outcome = StopOutcome::graceful;
    stop.stopped_at = stop.requested_at + 1s;
    record(stop);
    REQUIRE(stops().size() == 1);
    CHECK(same(stops()[0], stop));
}

TEST_CASE_FIXTURE(Keeping, "stops are given newest first, of one task or of all") {
    for (int i = 0; i < 20; ++i) record(small_stop(std::to_string(i), i % 2 ? "odd" : "even"));
    record(small_stop("3", "odd"));
    CHECK(stops().size() == 20);
    CHECK(stops({}, 2).at(0).id == "19");
    CHECK(stops({}, 2).at(1).id == "18");
    CHECK(stops({}, 2).size() == 2);
    CHECK(stops("even").size() == 10);
    CHECK(stops("even", 1).at(0).id == "18");
    CHECK(stops("none").empty());
    CHECK(stops({}, 0).empty());
    CHECK(stops({}, std::numeric_limits<std::size_t>::max()).size() == 20);
}

TEST_CASE_FIXTURE(Keeping, "a person can ask the file with sqlite3") {
    auto stop = full_stop();
    stop.stopped_reason = "Task stopped by user";
    record(stop);
    CHECK(asked("select task || '|' || outcome || '|' || duration_ms from stops") ==
          "web1|unkillable|1834.200001\n");
    CHECK(asked("select phase || ' ' || duration_ms from phases order by position") ==
          "DRAIN 1830.400009\nSIGKILL 1830.400009\n");
    CHECK(asked("select json_extract(detail, '$.zero') from phases where phase = 'DRAIN'") ==
          "0\n");
    CHECK(asked("select json_extract(containers, '$[1].signal') from stops") == "SIGKILL\n");
    CHECK(asked("select requested_at from stops").ends_with("T00:00:00.123456Z\n"));
    CHECK(asked("select length(boot_id) from stops") == "36\n");
    CHECK(asked("pragma user_version") == "2\n");
    CHECK(asked("pragma journal_mode") == "wal\n");
}

TEST_CASE_FIXTURE(Keeping, "a task is kept with all that it takes to find and to run it again") {
    TaskState task;
    task.id = "id";
    task.definition.name = "web";
    task.definition.containers = {{.name = "web",
                                   .command = {"nginx", "-g", "daemon off;"},
                                   .environment = {"A=b"},
                                   .working_directory = "/srv",
                                   .log_file = "/log",
                                   .essential = true,
                                   .depends_on = {},
                                   .stop_timeout = 7s}};
    task.definition.load_balancers = {"readiness://0.0.0.0:8081/ready"};
    task.definition.ports = {8081, 65535};
    task.definition.stop.stop_signal = SIGQUIT;
    task.containers = {{.name = "web", .pid = 4711, .start_time = 99, .cgroup = "/cg"}};
    task.last_status = TaskStatus::running;
    task.started_at = task.created_at + 1s;
    run(journal->record(task));
    CHECK(asked("select name || last_status || desired_status from tasks") ==
          "webRUNNINGRUNNING\n");
    CHECK(
        asked(
            "select pid || ' ' || start_time || cgroup from containers where exit_code is null") ==
        "4711 99/cg\n");
    const auto json = boost::json::parse(asked("select definition from tasks"));
    CHECK(json.at("containers").at(0).at("command").at(2) == "daemon off;");
    CHECK(json.at("containers").at(0).at("stopTimeoutNs") == 7'000'000'000);
    CHECK(json.at("ports").at(1) == 65535);
    CHECK(json.at("stop").at("stopSignal") == "SIGQUIT");
    CHECK(json.at("stop").at("deregistrationDelayNs") == 300'000'000'000);

    task.last_status = TaskStatus::stopped;
    task.stop_code = StopCode::essential_container_exited;
    task.containers[0].exit = ExitStatus{.code = 0, .signal = 15};
    run(journal->record(task));
    CHECK(asked("select last_status || stop_code from tasks") ==
          "STOPPEDEssentialContainerExited\n");
    CHECK(asked("select exit_code || ' ' || exit_signal || ' ' || start_time from containers") ==
          "0 15 99\n");
}

TEST_CASE_FIXTURE(Keeping, "a new agent finds the tasks of the one before, with their stops") {
    TaskState task;
    task.id = "id";
    task.definition.name = "web";
    task.definition.containers = {{.name = "web",
                                   .command = {"nginx", "-g", "daemon off;"},
                                   .environment = {"A=b", "BYTES=\xff\xfe"},
                                   .working_directory = "/srv",
                                   .log_file = "/log",
                                   .essential = false,
                                   .depends_on = {"db"},
                                   .stop_timeout = 7s,
                                   .identity = Identity{.uid = 3, .gid = 4, .groups = {5, 6}}},
                                  {.name = "db", .command = {"db"}}};
    task.definition.load_balancers = {"readiness://0.0.0.0:8081/ready"};
    task.definition.ports = {8081, 65535};
    task.definition.stop = {.deregistration_delay = 1s,
                            .deregister_timeout = 2s,
                            .drain = DrainMode::idle,
                            .drain_idle = 3s,
                            .drain_signal = SIGUSR1,
                            .stop_timeout = 4s,
                            .stop_signal = SIGQUIT,
                            .signal_scope = SignalScope::group,
                            .stop_deadline = 5s,
                            .pre_stop = "sync",
                            .pre_stop_timeout = 6s};
    task.containers = {
        {.name = "web", .pid = 4711, .start_time = 99, .cgroup = "/cg", .exit = {}},
        {.name = "db", .pid = 4712, .exit = ExitStatus{.signal = 9, .core_dumped = true}}};
    task.last_status = TaskStatus::running;
    task.registered = {"readiness://0.0.0.0:8081/ready"};
    task.created_at = Clock::utc_time(std::chrono::sys_days(std::chrono::year(2026) / 1 / 31));
    task.started_at = task.created_at + 1s;
    run(journal->record(task));

    auto stop = full_stop();
    stop.task_id = "id";
    const Requester by{.uid = 1, .pid = 2, .via = "api"};
    stop.plan = {.leave = {.at = Clock::time_point(11s), .why = "no drain wanted", .by = by},
                 .kill = {.at = Clock::time_point(12s), .why = "stop deadline"},
                 .deregistration_delay = 13s,
                 .wanted_timeout = 14s,
                 .shortened_timeout = 15s,
                 .has_deadline = true,
                 .drains = false,
                 .undrained_by = by,
                 .forced_by = Requester{.via = "signal"},
                 .stop_signal = SIGUSR2};
    record(stop);

    const auto left = run(journal->remnants(Clock::utc_time::max()));
    REQUIRE(left.size() == 1);
    const auto& found = left[0].task;
    CHECK(left[0].same_boot);
    CHECK(definition_json(found.definition) == definition_json(task.definition));
    CHECK(found.definition.containers[0].identity->groups == std::vector<gid_t>{5, 6});
    CHECK(found.definition.containers[0].environment[1] == "BYTES=\xff\xfe");
    CHECK(found.definition.stop.stop_deadline == 5s);
    CHECK(found.definition.ports == task.definition.ports);
    CHECK(found.last_status == TaskStatus::running);
    CHECK(found.registered == task.registered);
    CHECK(found.started_at == task.started_at);
    CHECK_FALSE(found.stopped_at);
    REQUIRE(found.containers.size() == 2);
    CHECK(found.containers[0].pid == 4711);
    CHECK(found.containers[0].start_time == 99);
    CHECK(found.containers[0].cgroup == "/cg");
    CHECK_FALSE(found.containers[0].exit);
    CHECK(found.containers[1].exit == ExitStatus{.signal = 9, .core_dumped = true});
    REQUIRE(left[0].stop);
    CHECK(left[0].stop->plan == stop.plan);
    CHECK(left[0].stop->phases.size() == stop.phases.size());

    SUBCASE("of another boot it says so") {
        Database(path()).run("update tasks set boot_id = 'another'");
        CHECK_FALSE(run(journal->remnants(Clock::utc_time::max()))[0].same_boot);
    }
    SUBCASE("one that is STOPPED is found if it is young") {
        task.last_status = TaskStatus::stopped;
        task.stopped_at = task.created_at + 1h;
        run(journal->record(task));
        CHECK(run(journal->remnants(task.created_at + 59min)).size() == 1);
        CHECK(run(journal->remnants(task.created_at + 61min)).empty());
    }
    SUBCASE("one that nobody understands hides no other") {
        Database(path()).run("update tasks set last_status = 'DANCING'");
        task.id = "id2";
        run(journal->record(task));
        CHECK(run(journal->remnants(Clock::utc_time::max())).size() == 1);
        REQUIRE_FALSE(log.lines.empty());
        CHECK(log.lines.back().starts_with("error: Task of the journal is not supervised"));
        CHECK(log.lines.back().find("DANCING") != std::string::npos);
    }
}

TEST_CASE_FIXTURE(Keeping, "many coroutines record side by side") {
    std::vector<awaitable<void>> works;
    for (int i = 0; i < 200; ++i)
        works.push_back(journal->record(small_stop(std::to_string(i), "web"), {}));
    run(done(all(std::move(works))));
    CHECK(stops({}, 1000).size() == 200);
}

TEST_CASE_FIXTURE(Keeping, "what is handed over is written, though nobody waits any more") {
    const auto past = [](asio::any_io_executor executor) -> awaitable<void> {
        asio::steady_timer now(executor, asio::steady_timer::time_point::min());
        co_await now.async_wait(use_awaitable);
    };
    {
        // The writer can't go on while somebody else holds the file.
        Database other(path());
        const Transaction holding(other);
        const auto written =
            run(unless(past(io.get_executor()), done(journal->record(small_stop("1", "web"), {}))));
        CHECK_FALSE(written);
    }
    reopen();
    CHECK(stops().size() == 1);
}

TEST_CASE_FIXTURE(Keeping, "the end of the journal writes what is still waiting") {
    {
        Database other(path());
        auto holding = std::make_unique<Transaction>(other);
        std::vector<std::future<void>> waiting;
        for (int i = 0; i < 50; ++i) {
            auto work = journal->record(small_stop(std::to_string(i), "web"), {});
            waiting.push_back(asio::co_spawn(io, std::move(work), asio::use_future));
        }
        io.restart();
        io.poll();
        holding.reset();
        journal.reset();
        for (auto& each : waiting) {
            CHECK(each.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
        }
        io.restart();
        io.run_for(std::chrono::seconds(10));
        for (auto& each : waiting) CHECK_NOTHROW(each.get());
    }
    journal = opened();
    CHECK(stops().size() == 50);
}

TEST_CASE_FIXTURE(Keeping, "what can't be written is kept in memory, and written when it can be") {
    record(small_stop("1", "web"));
    {
        const NoRoom no_room;
        record(small_stop("2", "web"));
        auto third = small_stop("3", "web");
        record(third);
        third.outcome = StopOutcome::graceful;
        record(third);
        const auto kept = stops();
        REQUIRE(kept.size() == 3);
        CHECK(kept[0].id == "3");
        CHECK(kept[0].outcome == StopOutcome::graceful);
        CHECK(kept[2].id == "1");
        wait_until([this] { return health.report().waiting == 2; });
        CHECK(health.report().trouble == "disk I/O error: File too large");
        CHECK(log.lines.size() == 1);
        CHECK(
            log.lines[0].starts_with("error: Journal can't be written, records are kept in "
                                     "memory journal=" +
                                     path() + " error=disk I/O error: File too large lost="));
    }
    wait_until([this] { return health.report().trouble.empty(); });
    CHECK(log.lines.back() == "info: Journal is well again recordsCaughtUp=2 recordsLost=0");
    CHECK(log.lines.size() == 2);
    CHECK(health.report().waiting == 0);
    journal.reset();
    CHECK(asked("select id || coalesce(outcome, '') from stops order by id") ==
          "1\n2\n3graceful\n");
}

TEST_CASE_FIXTURE(Keeping, "what is noted is kept in its turn, before what is recorded later") {
    auto stop = small_stop("1", "web");
    for (int note = 0; note < 50; ++note) {
        stop.stopped_reason = std::to_string(note);
        journal->note(stop, {});
    }
    stop.stopped_reason = "recorded";
    record(stop);
    CHECK(stops().at(0).stopped_reason == "recorded");
    stop.stopped_reason = "noted";
    journal->note(stop, {});
    CHECK(stops().at(0).stopped_reason == "noted");
}

TEST_CASE_FIXTURE(Keeping, "a record that is refused by itself fails alone") {
    Database(path()).run(
        "create trigger no before insert on stops when new.id = '2' begin "
        "select raise(abort, 'not that one'); end");
    journal->note(small_stop("1", "web"), {});
    journal->note(small_stop("2", "web"), {});
    CHECK_THROWS_WITH(record(small_stop("3", "web")),
                      "cannot record the stop of 'web': not that one");
    CHECK(stops().size() == 2);
    CHECK(log.lines.empty());
    record(small_stop("4", "web"));
}

TEST_CASE_FIXTURE(Keeping, "the end of a journal in trouble says what is lost") {
    {
        const NoRoom no_room;
        record(small_stop("1", "web"));
        journal.reset();
    }
    CHECK(log.lines.back() ==
          "error: Journal ends without its last records error=disk I/O error: "
          "File too large recordsLost=1");
    journal = opened();
    CHECK(stops().empty());
}

TEST_CASE_FIXTURE(Keeping, "a disk that hangs holds up the end for two seconds, which is said") {
    record(small_stop("1", "web"));
    Database other(path());
    auto holding = std::make_unique<Transaction>(other);
    journal->note(small_stop("2", "web"), {});
    const auto begin = clock->now();
    journal.reset();
    CHECK(clock->now() - begin >= 2s);
    CHECK(clock->now() - begin < 3s);
    CHECK(
        heard("error: Journal ends without its last records error=the disk takes longer than 2s "
              "recordsLost=1"));
    holding.reset();
    CHECK(disk.finish(std::chrono::seconds(10)));
}

TEST_CASE_FIXTURE(Keeping, "a full disk is called that, and there is room again when there is") {
    const auto place = directory / "disk";
    std::filesystem::create_directory(place);
    if (::mount("tmpfs", place.c_str(), "tmpfs", 0, "size=1m") != 0) {
        MESSAGE("not run: only root can mount a small disk");
        return;
    }
    journal = opened(place);
    record(small_stop("1", "web"));
    {
        std::ofstream filler(place + "/filler", std::ios::binary);
        const std::string block(64 * 1024, 'x');
        while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
        }
    }
    auto large = small_stop("2", "web");
    large.stopped_reason = std::string(200'000, 'x');
    record(large);
    wait_until([this] { return health.report().trouble == "disk is full"; });
    journal.reset();  // nothing is in the file but the first
    CHECK(heard("error: Journal ends without its last records error=disk is full recordsLost=1"));
    journal = opened(place);
    CHECK(stops().size() == 1);
    record(large);
    CHECK(stops().size() == 2);
    const auto beside = opened(place + "/new");
    CHECK(heard("journal=" + place + "/new/journal.db error="));
    std::filesystem::remove(place + "/filler");
    wait_until([this] { return heard("Journal is well again recordsCaughtUp=1"); });
    record(small_stop("3", "web"));
    CHECK(stops().size() == 3);
    journal.reset();
    CHECK(::umount2(place.c_str(), MNT_DETACH) == 0);
}

TEST_CASE_FIXTURE(Keeping, "what can't be a journal's place is said with its name and the cause") {
    const auto trouble = [this](const std::string& place) {
        log.lines.clear();
        journal = opened(place);
        record(small_stop("1", "web"));
        CHECK(stops().size() == 1);
        REQUIRE(!log.lines.empty());
        const auto& line = log.lines[0];
        CHECK(line.find(" journal=" + place + "/journal.db error=") != std::string::npos);
        const auto error = line.find(" error=") + 7;
        return line.substr(error, line.find(" lost=") - error);
    };
    std::ofstream(directory / "file") << "x";
    CHECK(trouble(directory / "file") == "Not a directory");
    CHECK(trouble(directory / "file/below") == "Not a directory");
    CHECK(trouble("/proc/lastcall") == "No such file or directory");
    std::filesystem::create_directories(directory / "d/journal.db");
    CHECK(trouble(directory / "d") == "Is a directory");
    std::filesystem::create_directory(directory / "e");
    std::filesystem::create_symlink("/dev/full", directory / "e/journal.db");
    CHECK(trouble(directory / "e") == "it is no regular file");
}

TEST_CASE_FIXTURE(Keeping, "what holds secrets is its owner's alone") {
    const auto place = directory / "a/b";
    const auto deep = opened(place);
    struct stat status = {};
    for (const auto& name : {"", "/journal.db", "/journal.db-wal", "/journal.db-shm"}) {
        REQUIRE(::stat((place + name).c_str(), &status) == 0);
        CHECK((status.st_mode & 0077) == 0);
    }
}

TEST_CASE_FIXTURE(Keeping, "a file that is no database is moved aside, and a new one begun") {
    close_for_good();
    std::ofstream(path(), std::ios::trunc) << std::string(5000, 'x');
    journal = opened();
    CHECK(files_like(directory.path(), "journal.db.corrupt-2") == 1);
    REQUIRE(log.lines.size() == 1);
    CHECK(log.lines[0].starts_with(
        "error: Journal is damaged, beginning a new one journal=" + path() +
        " error=file is not a database movedTo=" + path() + ".corrupt-2"));
    record(small_stop("1", "web"));
    CHECK(stops().size() == 1);
}

TEST_CASE_FIXTURE(Keeping, "a database whose inside is destroyed is moved aside too") {
    for (int i = 0; i < 100; ++i) record(small_stop(std::to_string(i), "web"));
    close_for_good();
    {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(100);
        file << std::string(4096, '\xff');
    }
    journal = opened();
    CHECK(files_like(directory.path(), "journal.db.corrupt-2") == 1);
    CHECK(stops().empty());
}

TEST_CASE_FIXTURE(Keeping, "an empty file is a journal without records") {
    journal.reset();
    std::ofstream(path(), std::ios::trunc).close();
    journal = opened();
    CHECK(stops().empty());
    CHECK(log.lines.empty());
}

TEST_CASE_FIXTURE(Keeping, "what can still be read of a damaged file is carried over") {
    for (int i = 0; i < 300; ++i) {
        auto stop = small_stop(fmt::format("{:03}", i), "web");
        stop.phases.resize(2);
        record(stop);
    }
    TaskState task;
    task.id = "runs";
    task.definition.name = "web";
    task.containers = {{.name = "web", .pid = 4711, .exit = {}, .reason = ""}};
    task.last_status = TaskStatus::running;
    run(journal->record(task));
    journal.reset();
    const auto page =
        std::stoul(asked("select pageno from (select name, pageno from dbstat where "
                         "name = 'stops' and pagetype = 'leaf') limit 1 offset 3"));
    {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>((page - 1) * 4096));
        file << std::string(4096, '\xff');
    }
    journal = opened();
    const auto kept = stops({}, 1000);
    CHECK(kept.size() > 250);
    CHECK(kept.size() < 300);
    CHECK(kept.front().id == "299");
    CHECK(kept.back().id == "000");
    CHECK(kept.front().phases.size() == 2);
    CHECK(files_like(directory.path(), "journal.db.corrupt-2") == 1);
    wait_until([this] { return !log.lines.empty(); });
    CHECK(heard("tasksCarriedOver=1 stopsCarriedOver=" + std::to_string(kept.size())));
    record(small_stop("new", "web"));
    CHECK(stops({}, 1000).front().id == "new");
    journal.reset();
    CHECK(asked("select pid from containers") == "4711\n");
    CHECK(asked("pragma foreign_key_check").empty());
}

TEST_CASE_FIXTURE(Keeping,
                  "a file that is damaged while it is open is replaced, what goes on too") {
    record(small_stop("1", "web"));
    int restated = 0;
    health.restate = [&restated] { ++restated; };
    for (const auto* const name : {"journal.db", "journal.db-wal"}) {
        std::fstream file(directory / name, std::ios::in | std::ios::out | std::ios::binary);
        file << std::string(200'000, '\xff');
    }
    record(small_stop("2", "web"));
    CHECK(stops().front().id == "2");
    wait_until([&restated] { return restated > 0; });
    CHECK(heard("error: Journal is damaged, beginning a new one"));
    CHECK(restated == 1);
    CHECK(files_like(directory.path(), "journal.db.corrupt-2") == 1);
    journal.reset();
    CHECK(asked("select id from stops where id = '2'") == "2\n");
}

TEST_CASE_FIXTURE(Keeping,
                  "a file or directory that was removed is made again at the next record") {
    record(small_stop("1", "web"));
    int restated = 0, reclaimed = 0;
    health.restate = [&restated] { ++restated; };
    reclaim = [&reclaimed] { ++reclaimed; };
    std::filesystem::remove_all(directory.path());
    record(small_stop("2", "web"));
    wait_until([&restated] { return restated > 0; });
    CHECK(heard("error: Journal was removed or replaced, beginning a new one journal=" + path()));
    CHECK(asked("select id from stops") == "2\n");
    CHECK(restated == 1);
    CHECK(reclaimed == 1);
    std::filesystem::rename(path(), directory / "elsewhere");
    record(small_stop("3", "web"));
    wait_until([&restated] { return restated > 1; });
    CHECK(log.lines.size() == 2);
}

TEST_CASE_FIXTURE(Keeping, "a directory that is another agent's now isn't written to") {
    record(small_stop("1", "web"));
    reclaim = [] { throw std::runtime_error("another agent has it"); };
    std::filesystem::remove(path());
    record(small_stop("2", "web"));
    CHECK_FALSE(std::filesystem::exists(path()));
    CHECK(stops().size() == 1);
    wait_until([this] { return health.report().trouble == "another agent has it"; });
}

TEST_CASE_FIXTURE(Keeping, "a newer agent's journal is read and left as it is") {
    record(small_stop("1", "web"));
    journal.reset();
    Database(path()).run(
        "pragma user_version = 99; alter table stops add column weather text;"
        "alter table tasks add column mood text");
    const auto written = std::filesystem::last_write_time(path());
    journal = opened();
    REQUIRE(log.lines.size() == 1);
    CHECK(log.lines[0].find("error=its schema is version 99, this agent knows 2: a newer agent "
                            "wrote it") != std::string::npos);
    CHECK(health.report().trouble.starts_with("its schema is version 99"));
    record(small_stop("2", "web"));
    CHECK(stops().size() == 2);
    CHECK(stops().back().id == "1");
    journal.reset();
    CHECK(heard("recordsLost=1"));
    CHECK(asked("select count(*) from stops") == "1\n");
    CHECK(std::filesystem::last_write_time(path()) == written);
    CHECK(files_like(directory.path(), "corrupt") == 0);
}

TEST_CASE_FIXTURE(Keeping, "another program's database is left as it is") {
    journal.reset();
    for (const auto* const name : {"journal.db", "journal.db-wal", "journal.db-shm"}) {
        std::filesystem::remove(directory / name);
    }
    Database(path()).run("create table bookmarks (url)");
    journal = opened();
    CHECK(heard("error=it is another program's database"));
    record(small_stop("1", "web"));
    CHECK(stops().size() == 1);
    journal.reset();
    CHECK(asked("select count(*) from bookmarks") == "0\n");
    CHECK(asked("select count(*) from sqlite_schema") == "1\n");
    CHECK(asked("pragma journal_mode") == "delete\n");
}

TEST_CASE_FIXTURE(Keeping, "a read-only disk's journal is read, however it was left") {
    const auto place = directory / "disk";
    std::filesystem::create_directory(place);
    const auto mounted = [&place](unsigned long flags) {
        return ::mount("tmpfs", place.c_str(), "tmpfs", flags, "size=1m") == 0;
    };
    if (!mounted(0)) {
        MESSAGE("not run: only root can mount a small disk");
        return;
    }
    journal = opened(place);
    record(small_stop("1", "web"));
    // As a dead agent leaves it.
    for (const auto* const part : {"", "-wal", "-shm"}) {
        std::filesystem::copy_file(place + "/journal.db" + part, place + "/left" + part);
    }
    journal.reset();
    for (const auto* const left : {"-wal -shm", "-wal", ""}) {
        CAPTURE(left);
        for (const auto* const part : {"", "-wal", "-shm"}) {
            std::filesystem::remove(place + "/journal.db" + part);
            if (std::string(left).find(part) == std::string::npos) continue;
            std::filesystem::copy_file(place + "/left" + part, place + "/journal.db" + part);
        }
        if (!*left) {
            journal = opened(place);  // moves what is in the log to its place
            journal.reset();
        }
        REQUIRE(::mount("tmpfs", place.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0);
        log.lines.clear();
        journal = opened(place);
        CHECK(heard("error=Read-only file system"));
        CHECK(stops().size() == (*left ? 1 : 0));
        record(small_stop("2", "web"));
        CHECK(stops().front().id == "2");
        REQUIRE(::mount("tmpfs", place.c_str(), "tmpfs", MS_REMOUNT, nullptr) == 0);
        wait_until([this] { return heard("Journal is well again recordsCaughtUp=1"); });
        journal.reset();
    }
    CHECK(::umount2(place.c_str(), MNT_DETACH) == 0);
}

TEST_CASE_FIXTURE(Keeping, "the newest ten thousand stops of the last ninety days remain") {
    journal.reset();
    Database(path()).run(R"sql(
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 10500)
        insert into stops (id, task, task_id, stop_code, stopped_reason, requested_by_via, requested_at,
            requested_boot_ns, boot_id, duration_ns, survivors, deregistration_delay_ns, saved_ns, containers)
        select 's' || i, 'web', '', 'UserInitiated', '', '',
            strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', case when i > 10490 then '-91 days' else '-89 days' end),
            0, '', 0, '[]', 0, 0, '[]' from n;
        insert into phases select id, 0, 'DRAIN', '', requested_at, 0, 0, null, '{}' from stops;
        insert into tasks select 't' || rowid, 'web', case when rowid = 1 then 'RUNNING' else 'STOPPED' end,
            'RUNNING', null, '', '{}', requested_at, null, null, null, '', '[]' from stops order by rowid;
        insert into containers (task_id, position, name, pid, reason) select id, 0, 'web', 1, '' from tasks;
    )sql");
    journal = opened();
    const auto until =
        std::chrono::steady_clock::now() + 20s;  // the writer tidies up when it rests
    const auto has_tidied = [this] { return asked("select count(*) from stops") == "9990\n"; };
    while (!has_tidied() && std::chrono::steady_clock::now() < until) {
    }
    CHECK(stops({}, 1).at(0).id == "s10490");
    CHECK(asked("select count(*) || ' ' || min(rowid) from stops") == "9990 501\n");
    CHECK(asked("select count(*) from phases") == "9990\n");
    CHECK(asked("select count(*) || ' ' || min(rowid) from tasks") == "9991 1\n");
    CHECK(asked("select count(*) from containers") == "9991\n");
}

TEST_CASE("a detail is a flat JSON object that keeps each number's kind") {
    Detail detail;
    CHECK(detail_json(detail) == "{}");
    detail.set("a", std::int64_t{3});
    detail.set("b", 3.0);
    detail.set("c", 1830.4);
    detail.set("d", std::string("x\"y"));
    detail.set("e", false);
    CHECK(detail_json(detail) == "{\"a\":3,\"b\":3.0,\"c\":1830.4,\"d\":\"x\\\"y\",\"e\":false}");
    CHECK(detail_from_json(detail_json(detail)) == detail);
    for (const auto* const wrong :
         {"", "{", "[]", "{\"a\"}", "{\"a\":}", "{\"a\":x}", "{\"a\":\"", "{\"a", "{\"a\":1",
          "{\"a\":1 }", "{\"a\":99999999999999999999}", "{\"\\"}) {
        CHECK_THROWS_AS_MESSAGE(detail_from_json(wrong), std::runtime_error, wrong);
    }
}

TEST_CASE_FIXTURE(Keeping, "what was handed over is written when the journal is flushed") {
    for (int i = 0; i < 50; ++i) journal->note(small_stop(std::to_string(i), "web"), {});
    REQUIRE(journal->flush(10s));
    CHECK(asked("select count(*) from stops") == "50\n");
}

TEST_CASE_FIXTURE(Keeping, "a flush that takes too long is given up, and nothing is lost by that") {
    std::optional<Database> other(std::in_place, path());
    other->run("begin immediate");
    journal->note(small_stop("1", "web"), {});
    CHECK_FALSE(journal->flush(50ms));
    other.reset();
    REQUIRE(journal->flush(10s));
    CHECK(asked("select count(*) from stops") == "1\n");
}

TEST_CASE_FIXTURE(Keeping, "a flush tells that the last of it could not be written") {
    {
        const NoRoom no_room;
        journal->note(small_stop("1", "web"), {});
        CHECK_FALSE(journal->flush(10s));
    }
    const auto written = [this] {
        journal->note(small_stop("2", "web"), {});  // with it goes what had to wait
        return journal->flush(10s);
    };
    bool is_well = written();
    const auto until = std::chrono::steady_clock::now() + 20s;  // it tries again after a second
    while (!is_well && std::chrono::steady_clock::now() < until) is_well = written();
    CHECK(is_well);
}

}  // namespace lastcall
