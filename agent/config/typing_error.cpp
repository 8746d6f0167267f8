#include "agent/config/typing_error.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace lastcall {

std::size_t typing_errors(std::string_view meant, std::string_view typed) {
    using Row = std::vector<std::size_t>;
    Row before_last, last, row(typed.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= meant.size(); ++i) {
        before_last = std::move(last);
        last = std::move(row);
        row.assign(typed.size() + 1, i);
        for (std::size_t j = 1; j <= typed.size(); ++j) {
            const std::size_t wrong = meant[i - 1] == typed[j - 1] ? 0 : 1;
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + wrong});
            const bool exchanged =
                i > 1 && j > 1 && meant[i - 1] == typed[j - 2] && meant[i - 2] == typed[j - 1];
            if (exchanged) row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
    }
    return row.back();
}

}  // namespace lastcall
