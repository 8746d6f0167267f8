#include "agent/lb/haproxy_reply.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace lastcall {
namespace {

using Row = std::vector<std::string>;

/// Refusals that the same command will meet again (tried on 2.6; LOAD_BALANCERS section 1.1).
constexpr std::array<std::string_view, 9> lasting = {
    "No such server.",   "No such backend.",  "Can't find backend.",
    "No such proxy.",    "Permission denied", "Require 'backend/server'.",
    "'set server <srv>", "Unknown command",   "Can't find the target",
};

/// The first line of something unexpected, short enough for a log.
std::string shown(std::string_view text) {
    const std::string_view line = text.substr(0, std::min<std::size_t>(text.find('\n'), 120));
    std::string result;
    for (const char each : line) result += static_cast<unsigned char>(each) < 0x20 ? '?' : each;
    return result;
}

[[noreturn]] void object(std::string_view answer) {
    const bool lasts = std::any_of(lasting.begin(), lasting.end(), [&](std::string_view each) {
        return answer.substr(0, each.size()) == each;
    });
    throw HaproxyError(shown(answer), !lasts);
}

[[noreturn]] void reject(const std::string& why) { throw HaproxyError(why, true); }

std::optional<std::int64_t> number(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
}

/// Takes the next line off `text`.
std::string_view next_line(std::string_view& text) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

Row words(std::string_view line) {
    Row row;
    while (!line.empty()) {
        const auto end = std::min(line.find(' '), line.size());
        if (end > 0) row.emplace_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return row;
}

/// Takes the next CSV record off `text` (RFC 4180: quotes may hold commas, newlines, doubled
/// quotes).
Row next_record(std::string_view& text) {
    Row row(1);
    bool inside = false;
    std::size_t at = 0;
    for (; at < text.size(); ++at) {
        const char each = text[at];
        if (each == '"' && inside && text.substr(at + 1, 1) == "\"") {
            row.back() += '"';
            ++at;
        } else if (each == '"') {
            inside = !inside;
        } else if (each == ',' && !inside) {
            row.emplace_back();
        } else if (each == '\n' && !inside) {
            break;
        } else {
            row.back() += each;
        }
    }
    if (inside) reject("show stat: a quote that never ends");
    text.remove_prefix(std::min(at + 1, text.size()));
    return row;
}

/// A table by the names of its header: columns differ between versions, names don't.
class Columns {
 public:
    explicit Columns(const Row& header) {
        for (std::size_t i = 0; i < header.size(); ++i) places_.emplace(header[i], i);
    }
    const std::string* find(const Row& row, const std::string& name) const {
        const auto place = places_.find(name);
        return place == places_.end() || place->second >= row.size() ? nullptr
                                                                     : &row[place->second];
    }
    std::int64_t count(const Row& row, const std::string& name) const {
        const std::string* text = find(row, name);
        const auto value = text ? number(*text) : std::nullopt;
        if (!value)
            reject(fmt::format("'{}' is '{}', expected a number", name, text ? shown(*text) : ""));
        return *value;
    }
    bool is(const Row& row, const std::string& name, std::string_view value) const {
        const std::string* text = find(row, name);
        return text && *text == value;
    }

 private:
    std::map<std::string, std::size_t> places_;
};

}  // namespace

std::vector<std::string_view> split_replies(std::string_view reply, std::size_t count) {
    std::vector<std::string_view> answers;
    if (reply.empty()) reject("it closed the connection without an answer");
    std::string_view rest = reply;
    while (answers.size() + 1 < count) {
        const auto end = rest.substr(0, 1) == "\n" ? 0 : rest.find("\n\n");
        if (end == std::string_view::npos) break;
        answers.push_back(rest.substr(0, end));
        rest.remove_prefix(end == 0 ? 1 : end + 2);
    }
    // The last answer is all the rest, whatever it quotes.
    const bool whole = rest == "\n" || (rest.size() > 2 && rest.substr(rest.size() - 2) == "\n\n");
    if (answers.size() + 1 < count || !whole) {
        reject(fmt::format("its answer is cut short after '{}'", shown(reply)));
    }
    rest.remove_suffix(rest.size() == 1 ? 1 : 2);
    answers.push_back(rest);
    return answers;
}

void expect_success(std::string_view answer) {
    if (!answer.empty()) object(answer);
}

ServerState server_state(std::string_view answer, std::string_view backend,
                         std::string_view server) {
    std::string_view rest = answer;
    const std::string_view version = next_line(rest);
    if (!number(version)) object(answer);
    Row header = words(next_line(rest));
    if (header.empty() || header.front() != "#") reject("show servers state: it has no header");
    header.erase(header.begin());
    const Columns columns(header);
    while (!rest.empty()) {
        const Row row = words(next_line(rest));
        if (!columns.is(row, "be_name", backend) || !columns.is(row, "srv_name", server)) continue;
        ServerState state;
        state.operation = static_cast<unsigned>(columns.count(row, "srv_op_state"));
        state.admin = static_cast<unsigned>(columns.count(row, "srv_admin_state"));
        state.backend_id = columns.count(row, "be_id");
        state.server_id = columns.count(row, "srv_id");
        const std::string* port = columns.find(row, "srv_port");
        const auto known = port ? number(*port) : std::nullopt;
        if (known && *known > 0 && *known < 65536) state.port = static_cast<std::uint16_t>(*known);
        return state;
    }
    throw HaproxyError("No such server.", false);
}

ServerLoad server_load(std::string_view answer, std::string_view backend, std::string_view server) {
    std::string_view rest = answer;
    if (answer.substr(0, 2) != "# ") object(answer);
    rest.remove_prefix(2);
    const Columns columns(next_record(rest));
    while (!rest.empty()) {
        const Row row = next_record(rest);
        if (!columns.is(row, "pxname", backend) || !columns.is(row, "svname", server)) continue;
        ServerLoad load;
        load.sessions = columns.count(row, "scur");
        load.queued = columns.count(row, "qcur");
        const std::string* idle = columns.find(row, "srv_icur");
        load.idle = idle ? number(*idle).value_or(0) : 0;
        return load;
    }
    throw HaproxyError("No such server.", false);
}

ProcessInfo process_info(std::string_view answer) {
    std::string_view rest = answer;
    ProcessInfo info;
    if (answer.substr(0, 6) != "Name: ") object(answer);
    while (!rest.empty()) {
        const std::string_view line = next_line(rest);
        const auto colon = line.find(": ");
        if (colon == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, colon);
        const std::string_view value = line.substr(colon + 2);
        if (name == "Pid") info.pid = number(value).value_or(0);
        if (name == "Stopping") info.stopping = value != "0";
    }
    return info;
}

}  // namespace lastcall
