#include "agent/journal/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "agent/journal/schema.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

// Ten thousand stops are about 10 MB, which every disk has; and a quarter of a year holds the busy
// days from which `agentctl advise` reckons.
constexpr const char* prune_sql = R"sql(
delete from stops where rowid <= (select max(rowid) from stops) - 10000
    or requested_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-90 days');
delete from tasks where last_status = 'STOPPED'
    and (rowid <= (select max(rowid) from tasks) - 10000
         or coalesce(stopped_at, created_at) < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-90 days'));
)sql";

/// WAL with synchronous=NORMAL: what is committed survives the agent's death at once, a power cut
/// after the next checkpoint; and no record waits for the disk. Checkpoints are made when it is
/// quiet; 64 MB of log without a quiet second force one.
constexpr const char* set_up_sql =
    "pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on;"
    "pragma wal_autocheckpoint = 16000; pragma journal_size_limit = 4194304";

/// Says which boot CLOCK_BOOTTIME counts from; empty where /proc is missing.
std::string boot_id() {
    const int file = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0) return {};
    char id[36];
    const ssize_t size = ::read(file, id, sizeof id);
    ::close(file);
    return size == sizeof id ? std::string(id, sizeof id) : std::string();
}

/// Before anything is written: the file may be another program's, or a newer agent's. Nor at the
/// end, by SQLite tidying up: the log is as good as the file, and nobody's end waits for the disk.
Database& checked(Database& database) {
    database.leave_log_at_the_end();
    check_schema(database);
    return database;
}

/// With the schema that the statements are prepared for.
Database& prepared(Database& database, Access access) {
    if (access != Access::write) return database;
    checked(database).run(set_up_sql);
    migrate(database);
    return database;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> identity_of(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return std::pair<std::uint64_t, std::uint64_t>(status.st_dev, status.st_ino);
}

}  // namespace

Store::Store(const std::string& path, Access access)
    : path_(path),
      database_(path, access),
      tasks_(prepared(database_, access), boot_id()),
      stops_(database_, boot_id()),
      identity_(identity_of(path)) {}

std::vector<Remnant> Store::remnants(Clock::utc_time since, std::vector<std::string>& troubles) {
    std::vector<Remnant> remnants;
    for (auto& [task, same_boot] : tasks_.left(since, troubles)) {
        auto stop = stops_.last_of(task.id);
        remnants.push_back(
            {.task = std::move(task), .stop = std::move(stop), .same_boot = same_boot});
    }
    return remnants;
}

void Store::prune() {
    Transaction transaction(database_);
    database_.run(prune_sql);
    transaction.commit();
}

void Store::checkpoint() { database_.run("pragma wal_checkpoint(passive)"); }

bool Store::in_place() const { return identity_ && identity_of(path_) == identity_; }

bool Store::is_sound() {
    Statement check(database_, "pragma quick_check(1)");
    Rows row = check.query({});
    return row.next() && row.text(0) == "ok";
}

/// Task definitions may hold secrets: the file is made for its owner alone, and SQLite gives its
/// companions (-wal, -shm) the same mode.
void make_journal_file(const std::string& directory, const std::string& path) {
    std::error_code error;
    const bool is_new = std::filesystem::create_directories(directory, error);
    if (error) throw std::system_error(error);
    if (is_new) ::chmod(directory.c_str(), 0700);
    const int file =
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (file < 0) throw std::system_error(errno, std::generic_category());
    struct stat status = {};
    const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    ::close(file);
    if (!regular) throw std::runtime_error("it is no regular file");
}

std::unique_ptr<Store> read_only_store(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
    for (const auto access : {Access::read, Access::read_alone, Access::read_frozen}) {
        // Caught here: the next way needs less.
        try {
            auto store = std::make_unique<Store>(path, access);
            store->stops().read(std::nullopt, 1);
            return store;
        } catch (const DatabaseError&) {
        }
    }
    return nullptr;
}

/// Its write-ahead log goes with it: SQLite would play it into the new file.
std::string move_aside(const std::string& path) {
    std::string stamp = utc_seconds_text(std::chrono::system_clock::now());
    std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
    std::string aside = path + ".corrupt-" + stamp;
    for (int number = 2; identity_of(aside); ++number) {
        aside = fmt::format("{}.corrupt-{}.{}", path, stamp, number);
    }
    for (const auto* const companion : {"", "-wal", "-shm"}) {
        if (std::rename((path + companion).c_str(), (aside + companion).c_str()) == 0) continue;
        if (errno != ENOENT) throw std::system_error(errno, std::generic_category());
    }
    return aside;
}

}  // namespace lastcall
