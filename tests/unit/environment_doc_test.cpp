#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "agent/config/settings.hpp"

namespace lastcall {
namespace {

/// The source tree's file: the test program lies somewhere below its root.
std::filesystem::path document(const std::string& name) {
    auto directory = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    while (!exists(directory / name) && directory.has_relative_path()) {
        directory = directory.parent_path();
    }
    return directory / name;
}

/// The cells of a Markdown table's line, without blanks and backquotes around them.
std::vector<std::string> cells(const std::string& line) {
    std::vector<std::string> all;
    for (std::size_t begin = 1; begin < line.size();) {
        const auto end = line.find('|', begin);
        std::string cell = line.substr(begin, end - begin);
        cell.erase(0, cell.find_first_not_of(' '));
        cell.erase(cell.find_last_not_of(' ') + 1);
        all.push_back(cell);
        begin = end + 1;
    }
    return all;
}

std::string code(const std::string& text) { return "`" + text + "`"; }

}  // namespace

TEST_CASE("docs/environment.md tells every setting as it is") {
    std::ifstream file(document("docs/environment.md"));
    REQUIRE(file);
    std::vector<std::vector<std::string>> table;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("| `")) table.push_back(cells(line));
    }
    REQUIRE(table.size() == setting_infos().size());
    for (std::size_t i = 0; i < table.size(); ++i) {
        const auto& info = setting_infos()[i];
        const auto& row = table[i];
        REQUIRE(row.size() == 5);
        CHECK(row[0] == code(info.name));
        CHECK(row[1] == code("--" + info.flag));
        CHECK(row[2] == info.fallback);
        CHECK_MESSAGE(row[3].starts_with(info.help), row[3]);

        const std::string example = row[4].substr(1, row[4].size() - 2);
        REQUIRE(code(example) == row[4]);
        const auto configuration = configure({.command = "nginx"}, {{info.name, example}}, {});
        CHECK(configuration.warnings.empty());
        CHECK(configuration.errors.empty());
        CHECK_MESSAGE(configuration.rows[i].source == "environment", info.name);
    }
}

}  // namespace lastcall
