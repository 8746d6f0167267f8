#include "cli/draw/json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "agent/api/types.hpp"

namespace lastcall::cli {
namespace {

namespace json = boost::json;

void write(std::string& out, const json::value& value, std::size_t level) {
    const std::string indent(2 * level + 2, ' '), outdent(2 * level, ' ');
    std::string_view comma;
    if (value.is_object() && !value.get_object().empty()) {
        out += "{\n";
        for (const auto& [key, each] : value.get_object()) {
            ((out += std::exchange(comma, ",\n")) += indent) += api::to_text(json::value(key));
            out += ": ";
            write(out, each, level + 1);
        }
        ((out += '\n') += outdent) += '}';
    } else if (value.is_array() && !value.get_array().empty()) {
        out += "[\n";
        for (const json::value& each : value.get_array()) {
            (out += std::exchange(comma, ",\n")) += indent;
            write(out, each, level + 1);
        }
        ((out += '\n') += outdent) += ']';
    } else {
        out += api::to_text(value);
    }
}

}  // namespace

std::string pretty(const json::value& value) {
    std::string out;
    write(out, value, 0);
    return out + "\n";
}

}  // namespace lastcall::cli
