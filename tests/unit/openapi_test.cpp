#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/api/fields.hpp"
#include "agent/api/handlers.hpp"

using namespace lastcall::api;

namespace {

std::vector<std::string> lines_of(const std::string& name) {
    auto directory = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    while (!exists(directory / name) && directory.has_relative_path()) {
        directory = directory.parent_path();
    }
    std::ifstream file(directory / name);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

/// "      key: …" is a key six deep; what is no key is "".
std::string key_at(const std::string& line, std::size_t depth) {
    if (line.find_first_not_of(' ') != depth) return "";
    const auto colon = line.find(':');
    return colon == line.npos ? "" : line.substr(depth, colon - depth);
}

/// What the document says of one schema.
struct Schema {
    std::vector<std::string> properties;
    std::string required;  ///< "[name, command]"
    bool closed = false;
};

/// docs/openapi.yaml, as far as its own regular form tells.
struct Document {
    std::set<std::pair<std::string, std::string>> operations;  ///< {"GET", "/v1/tasks"}
    std::map<std::string, Schema> schemas;

    Document() {
        std::string section, path, schema;
        bool in_schemas = false, in_properties = false;
        for (const std::string& line : lines_of("docs/openapi.yaml")) {
            if (const auto key = key_at(line, 0); !key.empty()) section = key;
            if (section == "paths") {
                if (const auto key = key_at(line, 2); !key.empty()) path = key;
                if (const auto key = key_at(line, 4); !key.empty() && key != "parameters") {
                    std::string method = key;
                    for (char& each : method) each = static_cast<char>(each - 'a' + 'A');
                    operations.emplace(method, path);
                }
            }
            if (section != "components") continue;
            if (const auto key = key_at(line, 2); !key.empty()) in_schemas = key == "schemas";
            if (!in_schemas) continue;
            if (const auto key = key_at(line, 4); !key.empty()) schema = key;
            if (const auto key = key_at(line, 6); !key.empty()) {
                in_properties = key == "properties";
                const std::string value = line.substr(std::min(line.size(), 6 + key.size() + 2));
                if (key == "required") schemas[schema].required = value;
                if (key == "additionalProperties") schemas[schema].closed = value == "false";
            }
            const auto key = key_at(line, 8);
            if (in_properties && !key.empty()) schemas[schema].properties.push_back(key);
        }
    }
};

/// Goes along a shape's keys, as the writer and the reader of JSON do.
struct Keys {
    std::vector<std::string> all;
    std::string required;

    void must(const char* key, auto&) {
        all.emplace_back(key);
        required += (required.empty() ? "" : ", ") + all.back();
    }
    void may(const char* key, auto&, bool = false) { all.emplace_back(key); }
    void null(const char* key, auto& value) { must(key, value); }
};

template <class Shape>
void check_schema(const Document& document, const char* name, bool request = false) {
    CAPTURE(name);
    REQUIRE(document.schemas.contains(name));
    const Schema& schema = document.schemas.at(name);
    Keys keys;
    Shape shape;
    fields(keys, shape, std::type_identity<Shape>());
    CHECK(schema.properties == keys.all);
    auto required = schema.required;
    std::erase_if(required, [](char c) { return c == '[' || c == ']'; });
    CHECK(required == keys.required);
    CHECK(schema.closed == request);
}

}  // namespace

TEST_CASE("docs/openapi.yaml has every route, and no other") {
    const Document document;
    std::set<std::pair<std::string, std::string>> answered;
    for (const Route& each : routes()) answered.emplace(each.method, each.path);
    CHECK(answered.size() == routes().size());
    CHECK(document.operations == answered);
}

TEST_CASE(
    "docs/openapi.yaml has every key of every shape, in order, and says which must be there") {
    const Document document;
    check_schema<Requester>(document, "Requester");
    check_schema<Survivor>(document, "Survivor");
    check_schema<Phase>(document, "Phase");
    check_schema<ContainerEnd>(document, "ContainerEnd");
    check_schema<Stop>(document, "Stop");
    check_schema<StopList>(document, "StopList");
    check_schema<Progress>(document, "Progress");
    check_schema<Container>(document, "Container");
    check_schema<Task>(document, "Task");
    check_schema<TaskList>(document, "TaskList");
    check_schema<RunRequest>(document, "RunRequest", true);
    check_schema<StopRequest>(document, "StopRequest", true);
    check_schema<SignalRequest>(document, "SignalRequest", true);
    check_schema<UpgradeRequest>(document, "UpgradeRequest", true);
    check_schema<Setting>(document, "Setting");
    check_schema<SettingList>(document, "SettingList");
    check_schema<Metadata>(document, "Metadata");
    check_schema<JournalState>(document, "JournalState");
    check_schema<Problem>(document, "Problem");
}
