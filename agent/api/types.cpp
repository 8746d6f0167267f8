#include "agent/api/types.hpp"

#include <boost/json/array.hpp>
#include <cmath>
#include <utility>

#include "agent/api/fields.hpp"

namespace lastcall::api {
namespace {

// ---- to JSON ----

class Writer {
 public:
    template <class T>
    void must(std::string_view key, const T& it) {
        object[key] = encode(it);
    }
    template <class T>
    void may(std::string_view key, const T& it, const T& left_out = {}) {
        if constexpr (requires { it.empty(); }) {
            if (!it.empty()) must(key, it);
        } else if (it != left_out) {
            must(key, it);
        }
    }
    template <class T>
    void may(std::string_view key, const std::optional<T>& it) {
        if (it) must(key, *it);
    }
    template <class T>
    void null(std::string_view key, const std::optional<T>& it) {
        object[key] = it ? encode(*it) : json::value();
    }
    template <class T>
    static json::value encode(const T& it) {
        if constexpr (std::is_constructible_v<json::value, const T&>) {
            return json::value(it);
        } else {
            Writer writer;
            fields(writer, it, std::type_identity<T>());
            return std::move(writer.object);
        }
    }
    template <class T>
    static json::value encode(const std::vector<T>& items) {
        json::array array;
        for (const T& each : items) array.push_back(encode(each));
        return array;
    }

    json::object object;
};

// ---- from JSON ----

std::string excerpt(const json::value& value) {
    constexpr std::size_t enough = 60;
    std::string text = to_text(value);
    if (text.size() > enough) {
        std::size_t end = enough;
        while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a character
        text = text.substr(0, end) + "…";
    }
    return text;
}

[[noreturn]] void refuse(const std::string& path, std::string_view expected,
                         const json::value& value) {
    const std::string name = path.empty() ? "the whole" : "'" + path + "'";
    throw Malformed(name + " must be " + std::string(expected) + ", not " + excerpt(value));
}

void decode(const std::string& path, const json::value& value, std::string& it) {
    if (!value.is_string()) refuse(path, "text", value);
    it = value.get_string();
}

void decode(const std::string& path, const json::value& value, bool& it) {
    if (!value.is_bool()) refuse(path, "true or false", value);
    it = value.get_bool();
}

void decode(const std::string& path, const json::value& value, std::int64_t& it) {
    if (!value.is_int64()) refuse(path, "a whole number within 64 bits", value);
    it = value.get_int64();
}

void decode(const std::string& path, const json::value& value, double& it) {
    if (!value.is_number()) refuse(path, "a number", value);
    it = value.to_number<double>();
    if (!std::isfinite(it)) refuse(path, "a number that a double can hold", value);
}

void decode(const std::string& path, const json::value& value, json::object& it) {
    if (!value.is_object()) refuse(path, "an object", value);
    it = value.get_object();
}

template <class T>
void decode(const std::string& path, const json::value& value, T& it);

template <class T>
void decode(const std::string& path, const json::value& value, std::vector<T>& it) {
    if (!value.is_array()) refuse(path, "a list", value);
    for (const json::value& each : value.get_array()) {
        decode(path + "[" + std::to_string(it.size()) + "]", each, it.emplace_back());
    }
}

class Reader {
 public:
    Reader(std::string path, const json::object& object)
        : prefix_(path.empty() ? "" : std::move(path) + "."), object_(object) {}

    template <class T>
    void must(std::string_view key, T& it) {
        const json::value* value = find(key);
        if (!value) throw Malformed("'" + prefix_ + std::string(key) + "' is missing");
        decode(prefix_ + std::string(key), *value, it);
    }
    template <class T>
    void may(std::string_view key, T& it, const T& = {}) {
        const json::value* value = find(key);
        if (value) decode(prefix_ + std::string(key), *value, it);
    }
    template <class T>
    void may(std::string_view key, std::optional<T>& it) {
        const json::value* value = find(key);
        if (value) decode(prefix_ + std::string(key), *value, it.emplace());
    }
    template <class T>
    void null(std::string_view key, std::optional<T>& it) {
        const json::value* value = find(key);
        if (value && !value->is_null()) decode(prefix_ + std::string(key), *value, it.emplace());
    }
    /// Throws Malformed if a key is there that no field asked for.
    void finish() const {
        for (const auto& [key, value] : object_) {
            if (known_.contains(key)) continue;
            std::string names;
            for (const auto& [name, ignored] : known_) {
                names += (names.empty() ? "" : ", ") + std::string(name);
            }
            throw Malformed("'" + prefix_ + std::string(key) + "' is unknown; known are " + names);
        }
    }

 private:
    const json::value* find(std::string_view key) {
        known_[key] = true;
        return object_.if_contains(key);
    }

    std::string prefix_;
    const json::object& object_;
    json::object known_;  ///< keys in the order of the fields
};

template <class T>
void decode(const std::string& path, const json::value& value, T& it) {
    if (!value.is_object()) refuse(path, "an object", value);
    Reader reader(path, value.get_object());
    fields(reader, it, std::type_identity<T>());
    constexpr bool is_request = std::is_same_v<T, RunRequest> || std::is_same_v<T, StopRequest> ||
                                std::is_same_v<T, SignalRequest> ||
                                std::is_same_v<T, UpgradeRequest>;
    if (is_request) reader.finish();
}

}  // namespace

template <class Shape>
json::value to_json(const Shape& shape) {
    return Writer::encode(shape);
}

template <class Shape>
Shape from_json(const json::value& value) {
    Shape shape;
    decode("", value, shape);
    return shape;
}

template json::value to_json(const Stop&);
template json::value to_json(const Progress&);
template json::value to_json(const Task&);
template json::value to_json(const RunRequest&);
template json::value to_json(const StopRequest&);
template json::value to_json(const SignalRequest&);
template json::value to_json(const UpgradeRequest&);
template json::value to_json(const Setting&);
template json::value to_json(const Metadata&);
template json::value to_json(const TaskList&);
template json::value to_json(const StopList&);
template json::value to_json(const SettingList&);
template json::value to_json(const Problem&);
template Stop from_json(const json::value&);
template Progress from_json(const json::value&);
template Task from_json(const json::value&);
template RunRequest from_json(const json::value&);
template StopRequest from_json(const json::value&);
template SignalRequest from_json(const json::value&);
template UpgradeRequest from_json(const json::value&);
template Setting from_json(const json::value&);
template Metadata from_json(const json::value&);
template TaskList from_json(const json::value&);
template StopList from_json(const json::value&);
template SettingList from_json(const json::value&);
template Problem from_json(const json::value&);

}  // namespace lastcall::api
