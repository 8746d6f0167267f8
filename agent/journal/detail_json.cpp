#include "agent/journal/detail_json.hpp"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace lastcall {
namespace {

namespace json = boost::json;

/// JSON has no infinity: a detail that isn't a number any more is null.
std::string number_json(double number) {
    if (!std::isfinite(number)) return "null";
    std::string text = fmt::format("{}", number);
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
    return text;
}

std::string value_json(const Detail::Value& value) {
    if (const auto* const given = std::get_if<bool>(&value)) return *given ? "true" : "false";
    if (const auto* const given = std::get_if<std::int64_t>(&value)) return std::to_string(*given);
    if (const auto* const given = std::get_if<double>(&value)) return number_json(*given);
    return json::serialize(json::string_view(std::get<std::string>(value)));
}

/// Reads what `detail_json` has written, and nothing else.
class Reader {
 public:
    explicit Reader(std::string_view text) : text_(text) {}

    Detail detail() {
        Detail detail;
        take('{');
        while (!text_.starts_with('}')) {
            if (!detail.entries().empty()) take(',');
            const std::string key = string();
            take(':');
            detail.set(key, text_.starts_with('"') ? Detail::Value(string()) : scalar());
        }
        return detail;
    }

 private:
    void take(char expected) {
        if (!text_.starts_with(expected)) throw std::runtime_error("cannot read a phase's detail");
        text_.remove_prefix(1);
    }

    std::string string() {
        std::size_t end = 1;
        while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
        const auto quoted = text_.substr(0, end + 1);
        json::parse_options options;
        options.allow_invalid_utf8 = true;  // a process may call itself anything
        const auto value = json::parse({quoted.data(), quoted.size()}, {}, options);
        text_.remove_prefix(quoted.size());
        return std::string(value.as_string());
    }

    Detail::Value scalar() {
        const auto token = text_.substr(0, text_.find_first_of(",}"));
        text_.remove_prefix(token.size());
        if (token == "true" || token == "false") return token == "true";
        if (token == "null") return std::numeric_limits<double>::quiet_NaN();
        if (token.find_first_of(".e") == std::string_view::npos) return number<std::int64_t>(token);
        return number<double>(token);
    }

    template <class Number>
    static Number number(std::string_view token) {
        Number number{};
        const auto [end, error] =
            std::from_chars(token.data(), token.data() + token.size(), number);
        if (error != std::errc() || end != token.data() + token.size()) {
            throw std::runtime_error("cannot read a phase's detail");
        }
        return number;
    }

    std::string_view text_;
};

}  // namespace

std::string detail_json(const Detail& detail) {
    std::string text = "{";
    for (const auto& [key, value] : detail.entries()) {
        if (text.size() > 1) text += ',';
        text += json::serialize(json::string_view(key)) + ":" + value_json(value);
    }
    return text + "}";
}

Detail detail_from_json(std::string_view json) { return Reader(json).detail(); }

}  // namespace lastcall
