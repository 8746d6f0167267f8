#include "agent/lb/helper_lines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "agent/utc.hpp"
#include "supervisor/vocabulary.hpp"

namespace lastcall::helper {
namespace {

namespace json = boost::json;

constexpr Word<Verb> verbs[] = {
    {Verb::check, "check"},           {Verb::register_target, "register"},
    {Verb::deregister, "deregister"}, {Verb::cancel, "cancel"},
    {Verb::watch, "watch"},           {Verb::complete, "complete"},
};
constexpr Word<State> states[] = {
    {State::known, "known"},         {State::registered, "registered"},
    {State::draining, "draining"},   {State::drained, "drained"},
    {State::cancelled, "cancelled"}, {State::watching, "watching"},
    {State::completed, "completed"},
};

constexpr std::int64_t longest_wait = 3'600'000;  // ms
constexpr std::size_t shown = 100;                // bytes of what isn't understood

[[noreturn]] void refuse(std::string_view line, std::string_view expected) {
    const bool long_one = line.size() > shown;
    throw BadLine(fmt::format("it wrote '{}{}', expected {}", one_line(line.substr(0, shown)),
                              long_one ? "…" : "", expected));
}

/// One object, and what to say of it if a value is none.
class Fields {
 public:
    Fields(const json::value& value, std::string_view line) : line_(line) {
        if (!value.is_object()) refuse(line, "a JSON object");
        object_ = &value.get_object();
    }

    bool has(std::string_view key) const { return object_->contains(key); }
    std::string text(std::string_view key) const {
        const auto* const value = find(key);
        if (!value) return {};
        if (!value->is_string()) refuse(line_, fmt::format("\"{}\" to be a string", key));
        return one_line(value->get_string());
    }
    std::optional<std::int64_t> number(std::string_view key, std::int64_t least,
                                       std::int64_t most) const {
        const auto* const value = find(key);
        if (!value) return std::nullopt;
        boost::system::error_code error;
        const auto number = value->to_number<std::int64_t>(error);
        if (error || number < least || number > most) {
            refuse(line_,
                   fmt::format("\"{}\" to be a whole number from {} to {}", key, least, most));
        }
        return number;
    }
    std::optional<bool> flag(std::string_view key) const {
        const auto* const value = find(key);
        if (!value) return std::nullopt;
        if (!value->is_bool()) refuse(line_, fmt::format("\"{}\" to be true or false", key));
        return value->get_bool();
    }
    const json::value* find(std::string_view key) const { return object_->if_contains(key); }

 private:
    std::string_view line_;
    const json::object* object_ = nullptr;
};

json::value parsed(std::string_view line) {
    boost::system::error_code error;
    // Depth is Boost's own limit of 32, size is the line's.
    json::value value = json::parse(line, error);
    if (error) refuse(line, "a line of JSON");
    return value;
}

std::optional<Clock::duration> milliseconds(const Fields& fields, std::string_view key) {
    const auto number = fields.number(key, 0, longest_wait);
    if (!number) return std::nullopt;
    return std::chrono::milliseconds(*number);
}

Manners manners(const Fields& fields) {
    Manners manners;
    manners.knows = fields.flag("knows").value_or(false);
    manners.settle = milliseconds(fields, "settleMs");
    manners.delay = milliseconds(fields, "delayMs");
    manners.registers = fields.flag("register");
    if (const auto port = fields.number("port", 1, 65535)) {
        manners.port = static_cast<std::uint16_t>(*port);
    }
    manners.target = fields.text("target");
    manners.warning = fields.text("warning");
    return manners;
}

Answer answer(const json::value& value, std::string_view line) {
    const Fields fields(value, line);
    Answer answer;
    const auto id = fields.number("id", 1, std::int64_t{1} << 53);
    if (!id) refuse(line, "an \"id\"");
    answer.id = static_cast<std::uint64_t>(*id);
    const int kinds =
        fields.has("state") + fields.has("note") + fields.has("error") + fields.has("notice");
    if (kinds != 1) refuse(line, "one of \"state\", \"note\", \"error\" and \"notice\"");
    answer.note = fields.text("note");
    answer.error = fields.text("error");
    answer.retry = fields.flag("retry").value_or(false);
    answer.notice = fields.text("notice");
    answer.reason = fields.text("reason");
    if (fields.has("error") && answer.error.empty()) refuse(line, "\"error\" to say what is wrong");
    if (const auto at = fields.text("at"); !at.empty()) {
        answer.at = utc_time(at);
        if (!answer.at) refuse(line, "\"at\" to be a time like 2026-09-18T08:22:00Z");
    }
    if (!fields.has("state")) return answer;
    const auto word = fields.text("state");
    answer.state = value_of(word, states);
    if (!answer.state) {
        refuse(line,
               "\"state\" to be known, registered, draining, drained, cancelled, watching or "
               "completed");
    }
    answer.connections = fields.number("connections", 0, std::int64_t{1} << 53);
    if (answer.state == State::known) answer.manners = manners(fields);
    return answer;
}

/// The keys in the document's order: a shell reads them.
std::string text_of(const Request& request) {
    json::object object{{"id", request.id}, {"do", to_string(request.verb)}};
    if (!request.url.empty()) object["url"] = request.url;
    if (request.verb == Verb::watch) object["spot"] = request.spot;
    if (!request.hook.empty()) object["hook"] = request.hook;
    if (!request.result.empty()) object["result"] = request.result;
    return json::serialize(object);
}

}  // namespace

Greeting read_greeting(std::string_view line) {
    constexpr std::string_view expected =
        R"(a greeting like {"helper":"…","version":"…","protocol":1,"abilities":[]})";
    const json::value value = parsed(line);
    if (!value.is_object() || !value.get_object().contains("protocol")) refuse(line, expected);
    const Fields fields(value, line);
    Greeting greeting{.name = fields.text("helper"), .version = fields.text("version")};
    greeting.protocol = *fields.number("protocol", 0, 1'000'000);
    if (greeting.protocol != protocol) {
        throw BadLine(
            fmt::format("it speaks protocol {}, expected {}", greeting.protocol, protocol));
    }
    if (greeting.name.empty()) refuse(line, expected);
    const auto* const abilities = fields.find("abilities");
    if (!abilities || !abilities->is_array()) refuse(line, "\"abilities\" to be an array");
    for (const auto& each : abilities->get_array()) {
        if (!each.is_string()) refuse(line, "\"abilities\" to hold words");
        const std::string_view word = each.get_string();
        if (word == "register") greeting.registers = true;
        if (word == "cancel") greeting.cancels = true;
        if (word == "batch") greeting.batches = true;
        if (word == "watch") greeting.watches = true;
    }
    return greeting;
}

std::vector<Answer> read_answers(std::string_view line) {
    const json::value value = parsed(line);
    std::vector<Answer> answers;
    if (!value.is_array()) {
        answers.push_back(answer(value, line));
        return answers;
    }
    for (const auto& each : value.get_array()) answers.push_back(answer(each, line));
    return answers;
}

std::vector<std::string> lines(const std::vector<Request>& requests, bool batches) {
    std::vector<std::string> lines;
    bool in_array = false;
    for (const auto& request : requests) {
        const auto text = text_of(request);
        // Two brackets, a comma and the newline.
        if (batches && !lines.empty() && lines.back().size() + text.size() + 4 <= longest_line) {
            if (!std::exchange(in_array, true)) lines.back().insert(0, 1, '[');
            lines.back() += "," + text;
            continue;
        }
        if (std::exchange(in_array, false)) lines.back() += ']';
        lines.push_back(text);
    }
    if (in_array) lines.back() += ']';
    return lines;
}

bool ends(const Answer& answer) {
    if (!answer.error.empty()) return true;
    return answer.state && answer.state != State::draining && answer.state != State::watching;
}

std::optional<std::string> Lines::next() {
    const auto end = text_.find('\n', searched_);
    const auto size = (end == text_.npos ? text_.size() : end + 1) - begin_;
    if (size > longest_line) {
        throw BadLine(fmt::format("it wrote a line of more than {} bytes, which begins '{}…'",
                                  longest_line,
                                  one_line(std::string_view(text_).substr(begin_, shown))));
    }
    if (end == text_.npos) {
        text_.erase(0, begin_);
        begin_ = 0;
        searched_ = text_.size();
        return std::nullopt;
    }
    std::string line = text_.substr(begin_, end - begin_);
    begin_ = searched_ = end + 1;
    return line;
}

std::string one_line(std::string_view text) {
    constexpr std::size_t most = 500;
    const auto continues = [](char each) { return (each & 0xc0) == 0x80; };  // UTF-8
    auto size = std::min(text.size(), most);
    while (size > 0 && size < text.size() && continues(text[size])) --size;
    std::string line;
    for (const char each : text.substr(0, size)) {
        const auto byte = static_cast<unsigned char>(each);
        line += byte < 0x20 || byte == 0x7f ? ' ' : each;
    }
    return text.size() > size ? line + "…" : line;
}

std::string_view to_string(Verb verb) { return spelling_of(verb, verbs); }

}  // namespace lastcall::helper
