#pragma once
#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/helpers/aws/failure.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// How AWS refuses a whole call for one item of it that it doesn't know.
struct Unknown {
    std::string code;      ///< the error's: "InvalidTarget"
    bool is_fine = false;  ///< to leave is what was wanted of it
};

/// One call for all `items`, each named once; if AWS refuses it for one of them, one for each half,
/// and so on: one bad item must not be everybody's trouble. Throws the last Failure when all have
/// had their call.
template <class Item>
awaitable<void> for_each_half(std::vector<Item> items, Unknown unknown,
                              std::function<awaitable<void>(std::vector<Item>)> call) {
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
    try {
        auto calling = call(items);
        co_await std::move(calling);
        co_return;
    } catch (const Failure& failure) {  // it may be about one of them only
        const bool is_unknown = failure.code() == unknown.code;
        if (items.size() == 1 && is_unknown && unknown.is_fine) co_return;
        const bool about_one = is_unknown || failure.code() == "ValidationError";
        if (items.size() == 1 || !about_one) throw;
    }
    const auto middle = items.begin() + static_cast<std::ptrdiff_t>(items.size() / 2);
    const std::vector<Item> first(items.begin(), middle), second(middle, items.end());
    std::exception_ptr trouble;
    for (const auto& half : {first, second}) {
        try {
            auto calling = for_each_half(half, unknown, call);
            co_await std::move(calling);
        } catch (const Failure&) {  // the other half first
            trouble = std::current_exception();
        }
    }
    if (trouble) std::rethrow_exception(trouble);
}

}  // namespace lastcall::aws
