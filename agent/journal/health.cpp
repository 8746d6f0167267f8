#include "agent/journal/health.hpp"

#include <fmt/format.h>

#include "agent/config/duration.hpp"

namespace lastcall {

JournalHealth::Report JournalHealth::report() const {
    Report report{.waiting = in_memory_ + handed_.size()};
    if (ill_) {
        report.trouble = ill_->trouble;
        report.since = ill_->since;
        return report;
    }
    if (handed_.empty()) return report;
    const auto wait = clock_.now() - handed_.front();
    if (wait < 1s) return report;
    report.trouble = fmt::format("the disk is slow: a record has been waiting for {}",
                                 format_duration(std::chrono::floor<std::chrono::seconds>(wait)));
    report.since = clock_.utc() - std::chrono::floor<Clock::utc_time::duration>(wait);
    return report;
}

/// Since the first trouble: another one that comes upon it doesn't begin anew.
void JournalHealth::ill(std::string trouble) {
    if (!ill_) ill_ = {{}, clock_.utc()};
    ill_->trouble = std::move(trouble);
}

}  // namespace lastcall
