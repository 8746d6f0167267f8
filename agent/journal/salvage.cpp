#include "agent/journal/salvage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

namespace lastcall {
namespace {

using Names = std::vector<std::string>;

Names columns_of(Database& database, const char* table) {
    Names names;
    const auto sql = fmt::format("select name from pragma_table_info('{}')", table);
    Statement statement(database, sql);
    Rows row = statement.query({});
    while (row.next()) names.push_back(row.text(0));
    return names;
}

/// Those that both have: the damaged file may be an older agent's.
Names shared_columns(Database& from, Database& to, const char* table) {
    const Names old = columns_of(from, table);
    Names names = columns_of(to, table);
    std::erase_if(names, [&old](const std::string& name) {
        return std::find(old.begin(), old.end(), name) == old.end();
    });
    return names;
}

/// A statement whose cells are handed on as they are.
class Plain {
 public:
    Plain(Database& database, const std::string& sql) {
        sqlite3_prepare_v2(database.handle(), sql.c_str(), -1, &statement_, nullptr);
    }
    ~Plain() { sqlite3_finalize(statement_); }
    Plain(const Plain&) = delete;
    Plain& operator=(const Plain&) = delete;

    bool next() { return statement_ && sqlite3_step(statement_) == SQLITE_ROW; }
    /// False: this row is refused, it isn't what it should be.
    bool insert(Plain& row, int columns) {
        sqlite3_reset(statement_);
        for (int column = 0; column < columns; ++column) {
            sqlite3_bind_value(statement_, column + 1,
                               sqlite3_column_value(row.statement_, column));
        }
        return sqlite3_step(statement_) == SQLITE_DONE;
    }

 private:
    sqlite3_stmt* statement_ = nullptr;
};

/// From the front and from the back: what lies on either side of a damaged page is reached.
void copy(Database& from, Database& to, const char* table, const char* order, const char* where) {
    Names names = shared_columns(from, to, table);
    if (names.empty()) return;
    if (std::string_view(order) == "rowid") names.emplace_back(order);  // the order stays
    const auto columns = fmt::format("{}", fmt::join(names, ", "));
    std::string marks = "?";
    for (std::size_t more = 1; more < names.size(); ++more) marks += ", ?";
    Plain put(to, fmt::format("insert or ignore into {} ({}) values ({})", table, columns, marks));
    for (const auto* const direction : {"", " desc"}) {
        std::string by = order;
        for (auto comma = by.find(','); comma != by.npos; comma = by.find(',', comma + 8)) {
            by.insert(comma, direction);
        }
        Plain row(from, fmt::format("select {} from {} {} order by {}{}", columns, table, where, by,
                                    direction));
        while (row.next()) put.insert(row, static_cast<int>(names.size()));
    }
}

void copy_all(Database& from, Database& to) {
    copy(from, to, "tasks", "rowid", "where last_status <> 'STOPPED'");
    copy(from, to, "containers", "task_id, position", "");
    copy(from, to, "stops", "rowid", "");
    copy(from, to, "phases", "stop_id, position", "");
    to.run(
        "delete from containers where task_id not in (select id from tasks);"
        "delete from phases where stop_id not in (select id from stops)");
}

/// The damage decides which way it can be read, if any. Those come first that make no files.
std::unique_ptr<Database> opened(const std::string& path) {
    const bool has_log = ::access((path + "-wal").c_str(), F_OK) == 0;
    const Access first = has_log ? Access::read_alone : Access::read_frozen;
    for (const auto access : {first, Access::read_frozen, Access::read}) {
        try {
            auto database = std::make_unique<Database>(path, access);
            database->number("select count(*) from sqlite_schema");
            return database;
        } catch (const DatabaseError&) {
        }
    }
    return nullptr;
}

}  // namespace

Salvaged salvage(const std::string& from, Store& to) {
    const auto old = opened(from);
    if (!old) return {};
    Database& database = to.database();
    // Rows come without those that they belong to, until all are there.
    database.run("pragma foreign_keys = off");
    {
        Transaction transaction(database);
        try {
            copy_all(*old, database);
        } catch (const DatabaseError& error) {
            if (!error.damaged()) throw;
        }
        transaction.commit();
    }
    database.run("pragma foreign_keys = on");
    return {.tasks = static_cast<std::size_t>(database.number("select count(*) from tasks")),
            .stops = static_cast<std::size_t>(database.number("select count(*) from stops"))};
}

}  // namespace lastcall
