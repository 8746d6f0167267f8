#include "cli/stop_story.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "cli/draw/phase.hpp"
#include "cli/draw/stop.hpp"
#include "cli/draw/time.hpp"
#include "cli/session.hpp"

namespace lastcall::cli {

bool StopStory::is_of(const api::Task& task) {
    if (task_id_.empty() && earlier(task.createdAt)) task_id_ = task.id;
    return task.id == task_id_;
}

std::optional<api::Stop> StopStory::record_in(const api::StopList& stops) const {
    std::optional<api::Stop> found;
    for (const api::Stop& each : stops.stops) {
        if (!each.stoppedAt || !each.outcome) continue;
        if (each.id == stop_id_) return each;
        // The oldest that ended since we asked: later ones are of later tasks.
        if (stop_id_.empty() && !earlier(*each.stoppedAt)) found = each;
    }
    return found;
}

void StopStory::goes_on(std::optional<api::Progress> progress) {
    progress_ = std::move(progress);
    if (progress_) stop_id_ = progress_->stop.id;
}

void StopStory::asked(boost::json::value answer) {
    answer_ = std::move(answer);
    asked_ = over_ = true;
}

void StopStory::ended(boost::json::value answer, api::Stop record) {
    answer_ = std::move(answer);
    record_ = std::move(record);
    over_ = true;
    if (record_->outcome == "unkillable") exit_ = Exit::failed;
}

void StopStory::restarted(boost::json::value answer, api::StopList stops) {
    answer_ = std::move(answer);
    restarted_ = api::from_json<api::Task>(answer_);
    if (!stops.stops.empty()) record_ = std::move(stops.stops.front());
    over_ = true;
}

void StopStory::refused(const Refused& error) {
    const auto* problem = error.problem().if_object();
    const boost::json::value* record = problem ? problem->if_contains("stop") : nullptr;
    if (record && record->is_object()) ended(*record, api::from_json<api::Stop>(*record));
    exit_ = Exit::failed;
    // An unkillable task's record tells the trouble itself.
    if (!record_ || !record_->outcome) failed(error.what());
    if (error.status() == 404) exit_ = no_such_task;
}

void StopStory::failed(std::string trouble) {
    trouble_ = std::move(trouble);
    exit_ = Exit::failed;
    over_ = true;
}

void StopStory::lost(std::string trouble) {
    failed(std::move(trouble));
    exit_ = no_agent;
}

bool StopStory::earlier(const std::string& when) const {
    const auto then = moment(when);
    return then && *then < began_;
}

std::string StopStory::phases(const Canvas& canvas, const api::Stop& stop) {
    std::string lines;
    const std::string name = pad_right(printable(canvas, task_), name_width_);
    if (!joined_told_ && earlier(stop.requestedAt)) {
        lines +=
            fmt::format("{} is being stopped already, asked by {}, {}\n", printable(canvas, task_),
                        requester(canvas, stop.requestedBy), ago(stop.requestedAt, began_));
    }
    joined_told_ = true;
    told_.resize(std::max(told_.size(), stop.phases.size()));
    for (std::size_t i = 0; i < stop.phases.size(); ++i) {
        if (told_[i] || !stop.phases[i].outcome) continue;
        told_[i] = true;
        if (name_width_ > 0) lines += paint(canvas, Ink::bold, name);
        lines += phase_line(canvas, stop, stop.phases[i]) + "\n";
    }
    return lines;
}

std::string StopStory::tell(const Canvas& canvas) {
    if (asked_) return printable(canvas, task_) + " is being stopped\n";
    if (!over_) return progress_ ? phases(canvas, progress_->stop) : "";
    std::string text;
    const bool was_stopped = record_ && record_->stoppedAt && earlier(*record_->stoppedAt);
    if (record_ && !was_stopped) text = phases(canvas, *record_);
    if (record_ && !was_stopped && record_->outcome) text += ending(canvas, *record_);
    if (was_stopped && !restarted_) {
        const std::string how = exits(canvas, record_->containers);
        text = fmt::format("{} was stopped already, {}{}{}\n", printable(canvas, task_),
                           ago(*record_->stoppedAt, began_), how.empty() ? "" : ": ", how);
    }
    if (restarted_) {
        text += paint(canvas, Ink::bold, printable(canvas, task_)) + " started again";
        const auto& containers = restarted_->containers;
        if (!containers.empty() && containers[0].pid)
            text += fmt::format(", pid {}", *containers[0].pid);
        text += "\n";
    }
    return text;
}

std::vector<std::string> StopStory::now(const Canvas& canvas) const {
    if (!over_ && waits_for_agent_) {
        const std::string name = pad_right(printable(canvas, task_), name_width_);
        return {fmt::format("{}  waiting for the agent to come back", name_width_ > 0 ? name : "")};
    }
    if (over_ || !progress_) return {};
    if (name_width_ > 0) return {waiting_line(canvas, *progress_, name_width_)};
    return waiting_lines(canvas, *progress_);
}

}  // namespace lastcall::cli
