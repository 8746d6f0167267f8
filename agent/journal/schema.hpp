#pragma once
#include "agent/journal/database.hpp"

namespace lastcall {

/// The schema is of a newer agent, or the file is another program's: nothing is touched.
class ForeignSchema : public std::runtime_error {
 public:
    explicit ForeignSchema(const std::string& text, bool newer)
        : std::runtime_error(text), newer_(newer) {}
    /// A newer agent's: it only has more columns and tables, so what we know of it can be read.
    bool newer() const { return newer_; }

 private:
    bool newer_;
};

/// Throws ForeignSchema or DatabaseError. Writes nothing.
void check_schema(Database& database);

/// Brings a database to the schema of this agent: makes a new one's tables, migrates an older
/// one's. Throws ForeignSchema or DatabaseError.
void migrate(Database& database);

/// Whether `migrate` could: throws what it would. Opens the file for reading only, and changes
/// nothing; one that isn't there is as good as a new one.
void check_schema(const std::string& path);

}  // namespace lastcall
