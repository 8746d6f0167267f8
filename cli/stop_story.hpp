#pragma once
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/draw/canvas.hpp"

namespace lastcall::cli {

/// One task's stop as this program learns of it, and what of it was told already.
class StopStory {
 public:
    /// `began`: when we asked, by the wall clock; what the record dates earlier was not our doing.
    StopStory(std::string task, std::int64_t began) : task_(std::move(task)), began_(began) {}
    /// Told among others, each line starts with the name, so wide. 0: told alone.
    void name_width(std::size_t width) { name_width_ = width; }

    /// The task that has this name now. False if it is another than the one whose stop this is: one
    /// that was made since.
    bool is_of(const api::Task& task);
    /// Among a task's records, newest first, the one of this stop, if it has ended.
    std::optional<api::Stop> record_in(const api::StopList& stops) const;
    /// The agent is gone, and we wait for it.
    void waits_for_agent(bool waits) { waits_for_agent_ = waits; }

    void goes_on(std::optional<api::Progress> progress);
    void asked(boost::json::value answer);
    void ended(boost::json::value answer, api::Stop record);
    void restarted(boost::json::value answer, api::StopList stops);
    void refused(const Refused& error);  ///< with the record of a stop that failed, if there is one
    void failed(std::string trouble);
    void lost(std::string trouble);  ///< there is no agent any more that could tell

    /// What can be told for good and wasn't yet: phases that have ended, then the ending. Lines.
    std::string tell(const Canvas& canvas);
    /// What it waits for just now; nothing, if that isn't known or it is over.
    std::vector<std::string> now(const Canvas& canvas) const;

    const std::string& task() const { return task_; }
    bool over() const { return over_; }
    bool killed() const { return record_ && record_->outcome == "killed"; }
    int exit() const { return exit_; }
    const std::string& trouble() const { return trouble_; }  ///< for stderr
    const boost::json::value& answer() const { return answer_; }

 private:
    std::string phases(const Canvas& canvas, const api::Stop& stop);
    bool earlier(const std::string& when) const;

    std::string task_;
    std::int64_t began_;
    std::size_t name_width_ = 0;
    std::string task_id_, stop_id_;  ///< as far as known
    bool waits_for_agent_ = false;
    std::optional<api::Progress> progress_;
    std::optional<api::Stop> record_;
    std::optional<api::Task> restarted_;
    bool asked_ = false, over_ = false, joined_told_ = false;
    std::vector<bool> told_;  ///< by the phase's index
    int exit_ = 0;
    std::string trouble_;
    boost::json::value answer_;
};

}  // namespace lastcall::cli
