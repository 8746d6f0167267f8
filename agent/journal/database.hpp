#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>

struct sqlite3;
struct sqlite3_stmt;

namespace lastcall {

/// What SQLite says is wrong, in words; "disk is full" among them.
class DatabaseError : public std::runtime_error {
 public:
    explicit DatabaseError(sqlite3* database);
    /// The file is no database, or one that is damaged.
    bool damaged() const { return damaged_; }
    /// It is the record itself that can't be written, on a disk that is well.
    bool of_the_record() const { return of_the_record_; }
    /// Nothing may be written here.
    bool read_only() const { return read_only_; }
    bool full() const { return full_; }

 private:
    bool damaged_, of_the_record_, read_only_, full_;
};

/// What a column can hold.
using Cell = std::variant<std::nullptr_t, std::int64_t, std::string_view>;

/// How a file is opened. For reading SQLite wants its companions (-wal, -shm) there, or makes them:
/// `read_alone` does without -shm and locks nothing, `read_frozen` does without -wal too; neither
/// is for a file that somebody writes.
enum class Access { write, read, read_alone, read_frozen };

/// An open SQLite file. Everything throws DatabaseError.
class Database {
 public:
    explicit Database(const std::string& path, Access access = Access::write);
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database();

    /// Runs statements that give no rows.
    void run(const char* sql);
    /// The one number that a query gives.
    std::int64_t number(const char* sql);
    sqlite3* handle() { return database_; }
    /// Whether the file and its write-ahead log still begin as SQLite began them. A look at 20
    /// bytes: pages that are in memory hide it for long when somebody has written over the file.
    bool has_its_headers();
    /// Its end won't move what is in the write-ahead log to its place, for which it would wait.
    void leave_log_at_the_end();

 private:
    sqlite3* database_ = nullptr;
};

/// All or nothing: rolled back unless it was committed.
class Transaction {
 public:
    explicit Transaction(Database& database);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();
    void commit();

 private:
    Database& database_;
    bool open_ = true;
};

/// The rows of a query, one at a time; its end closes the query, which would hold up checkpoints.
class Rows {
 public:
    Rows(Database& database, sqlite3_stmt* statement)
        : database_(database), statement_(statement) {}
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;
    ~Rows();

    /// Goes to the first row, then to the next; false after the last.
    bool next();

    std::int64_t integer(int column) const;
    std::string text(int column) const;
    std::optional<std::int64_t> maybe_integer(int column) const;
    std::optional<std::string> maybe_text(int column) const;

 private:
    bool is_null(int column) const;
    Database& database_;
    sqlite3_stmt* statement_;
};

/// A prepared statement, used again and again.
class Statement {
 public:
    Statement(Database& database, std::string_view sql);
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement();

    /// Runs it with these parameters, to its end.
    void run(std::initializer_list<Cell> parameters);
    /// The parameters must live as long as the rows.
    Rows query(std::initializer_list<Cell> parameters);

 private:
    Database& database_;
    sqlite3_stmt* statement_ = nullptr;
};

}  // namespace lastcall
