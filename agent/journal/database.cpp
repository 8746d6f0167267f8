#include "agent/journal/database.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <new>

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

}  // namespace

DatabaseError::DatabaseError(sqlite3* database)
    : std::runtime_error(what_is_wrong(database)),
      damaged_(sqlite3_errcode(database) == SQLITE_NOTADB ||
               sqlite3_errcode(database) == SQLITE_CORRUPT) {}

Database::Database(const std::string& path, Access access) {
    const int way =
        access == Access::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    const int flags = way | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(path.c_str(), &database_, flags, nullptr);
    if (!database_) throw std::bad_alloc();
    if (code != SQLITE_OK) {
        const DatabaseError error(database_);
        sqlite3_close(database_);
        throw error;
    }
    sqlite3_busy_timeout(database_, patience_ms);
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
