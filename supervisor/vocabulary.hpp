#pragma once
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace lastcall {

/// A vocabulary is an array of these: each value and how it is spelled.
template <class Value>
using Word = std::pair<Value, std::string_view>;

/// The first spelling of `value`. Throws std::logic_error for one that has none.
template <class Value, std::size_t size>
std::string_view spelling_of(Value value, const Word<Value> (&words)[size]) {
    for (const auto& [each, word] : words) {
        if (each == value) return word;
    }
    throw std::logic_error("a value that the vocabulary doesn't have");
}

template <class Value, std::size_t size>
std::optional<Value> value_of(std::string_view text, const Word<Value> (&words)[size]) {
    for (const auto& [value, word] : words) {
        if (word == text) return value;
    }
    return std::nullopt;
}

}  // namespace lastcall
