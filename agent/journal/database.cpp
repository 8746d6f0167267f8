#include "agent/journal/database.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>

namespace lastcall {
namespace {

std::string what_is_wrong(sqlite3* database) {
    const int code = sqlite3_errcode(database);
    if (code == SQLITE_FULL) return "disk is full";
    std::string text = sqlite3_errmsg(database);
    // "disk I/O error" and "unable to open database file" alone help nobody. SQLite 3.40 forgets
    // the system's error of a write, but does nothing after it that would change errno.
    const int kept = sqlite3_system_errno(database);
    const int error = kept != 0 ? kept : errno;
    const bool of_the_system = code == SQLITE_IOERR || code == SQLITE_CANTOPEN;
    if (of_the_system && error != 0) text += std::string(": ") + std::strerror(error);
    return text;
}

/// A database that somebody else is reading or copying (`sqlite3 journal.db`) is free again soon.
constexpr int patience_ms = 5000;

bool is_any(sqlite3* database, std::initializer_list<int> codes) {
    const int code = sqlite3_errcode(database) & 0xff;
    return std::find(codes.begin(), codes.end(), code) != codes.end();
}

/// As a URI: see https://sqlite.org/uri.html.
std::string frozen(const std::string& path) {
    std::string uri = "file:";
    for (const char c : path) {
        if (c == '%' || c == '?' || c == '#') {
            uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
        } else {
            uri += c;
        }
    }
    return uri + "?immutable=1";
}

}  // namespace

DatabaseError::DatabaseError(sqlite3* database)
    : std::runtime_error(what_is_wrong(database)),
      damaged_(is_any(database, {SQLITE_NOTADB, SQLITE_CORRUPT})),
      of_the_record_(
          is_any(database, {SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE})),
      read_only_(is_any(database, {SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM})),
      full_(is_any(database, {SQLITE_FULL})) {}

Database::Database(const std::string& path, Access access) {
    const bool writes = access == Access::write;
    const int flags = SQLITE_OPEN_NOMUTEX | (writes ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                                    : SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
    const std::string name = access == Access::read_frozen ? frozen(path) : path;
    const char* const system = access == Access::read_alone ? "unix-none" : nullptr;
    const int code = sqlite3_open_v2(name.c_str(), &database_, flags, system);
    if (!database_) throw std::bad_alloc();
    if (code != SQLITE_OK) {
        const DatabaseError error(database_);
        sqlite3_close(database_);
        throw error;
    }
    sqlite3_busy_timeout(database_, patience_ms);
    if (access != Access::read_alone) return;
    // Who is alone needs no shared memory.
    sqlite3_exec(database_, "pragma locking_mode = exclusive", nullptr, nullptr, nullptr);
}

Database::~Database() { sqlite3_close(database_); }

void Database::run(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
        throw DatabaseError(database_);
    }
}

std::int64_t Database::number(const char* sql) {
    Statement statement(*this, sql);
    Rows row = statement.query({});
    return row.next() ? row.integer(0) : 0;
}

bool Database::has_its_headers() {
    const auto begins_with = [this](int which, std::string_view first) {
        sqlite3_file* file = nullptr;
        sqlite3_file_control(database_, "main", which, &file);
        if (!file || !file->pMethods) return true;
        char there[16] = {};
        sqlite3_int64 size = 0;
        if (file->pMethods->xFileSize(file, &size) != SQLITE_OK) return true;
        if (size == 0 && which == SQLITE_FCNTL_JOURNAL_POINTER) return true;  // nothing in it yet
        file->pMethods->xRead(file, there, static_cast<int>(first.size()), 0);
        return std::string_view(there, first.size()) == first;
    };
    // sqlite.org/fileformat.html; the last bit of the log's magic number is the byte order's.
    return begins_with(SQLITE_FCNTL_FILE_POINTER, {"SQLite format 3", 16}) &&
           begins_with(SQLITE_FCNTL_JOURNAL_POINTER, {"\x37\x7f\x06", 3});
}

void Database::leave_log_at_the_end() {
    sqlite3_db_config(database_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

Transaction::Transaction(Database& database) : database_(database) {
    database_.run("begin immediate");
}

Transaction::~Transaction() {
    // Some errors (a full disk) have rolled back already.
    const bool open = open_ && sqlite3_get_autocommit(database_.handle()) == 0;
    if (open) sqlite3_exec(database_.handle(), "rollback", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
    database_.run("commit");
    open_ = false;
}

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
    const int code = sqlite3_prepare_v3(database.handle(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
    if (code != SQLITE_OK) throw DatabaseError(database.handle());
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::run(std::initializer_list<Cell> parameters) {
    Rows rows = query(parameters);
    while (rows.next()) {
    }
}

Rows Statement::query(std::initializer_list<Cell> parameters) {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    int index = 0;
    int code = SQLITE_OK;
    for (const Cell& each : parameters) {
        ++index;
        if (const auto* const number = std::get_if<std::int64_t>(&each)) {
            code = sqlite3_bind_int64(statement_, index, *number);
        } else if (const auto* const text = std::get_if<std::string_view>(&each)) {
            // A view of nothing has no address, which SQLite takes for NULL.
            const char* const data = text->empty() ? "" : text->data();
            code = sqlite3_bind_text64(statement_, index, data, text->size(), SQLITE_STATIC,
                                       SQLITE_UTF8);
        }
        if (code != SQLITE_OK) throw DatabaseError(database_.handle());
    }
    return Rows(database_, statement_);
}

Rows::~Rows() { sqlite3_reset(statement_); }

bool Rows::next() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    throw DatabaseError(database_.handle());
}

bool Rows::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t Rows::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Rows::text(int column) const {
    const auto* const data = sqlite3_column_text(statement_, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return data ? std::string(reinterpret_cast<const char*>(data), size) : std::string();
}

std::optional<std::int64_t> Rows::maybe_integer(int column) const {
    if (is_null(column)) return std::nullopt;
    return integer(column);
}

std::optional<std::string> Rows::maybe_text(int column) const {
    if (is_null(column)) return std::nullopt;
    return text(column);
}

}  // namespace lastcall
