#include "agent/journal/entry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

/// Records of what is over, in memory: some MB. What goes on is never too much.
constexpr std::size_t most_in_memory = 1000;

}  // namespace

const std::string& Entry::id() const {
    if (const auto* const task = std::get_if<TaskState>(&what)) return task->id;
    return std::get<OfStop>(what).stop.id;
}

std::string Entry::purpose() const {
    if (const auto* const task = std::get_if<TaskState>(&what)) {
        return fmt::format("record the task '{}'", task->definition.name);
    }
    return fmt::format("record the stop of '{}'", std::get<OfStop>(what).stop.task);
}

bool Entry::is_over() const {
    if (const auto* const task = std::get_if<TaskState>(&what)) {
        return task->last_status == TaskStatus::stopped;
    }
    return std::get<OfStop>(what).stop.outcome.has_value();
}

void Entry::write(Store& store) const {
    if (const auto* const task = std::get_if<TaskState>(&what)) return store.tasks().write(*task);
    const auto& [stop, phase] = std::get<OfStop>(what);
    store.stops().write(stop, phase);
}

void Unwritten::keep(Entry entry) {
    // Its phases too, those that came before: the last version is all there is.
    if (auto* const of_stop = std::get_if<Entry::OfStop>(&entry.what)) of_stop->phase.reset();
    const auto [place, is_new] = place_.try_emplace(entry.id(), entries_.size());
    if (!is_new) {
        entries_[place->second] = std::move(entry);
        return;
    }
    entries_.push_back(std::move(entry));
    if (entries_.size() > most_in_memory) forget_oldest();
}

void Unwritten::forget_oldest() {
    const auto oldest = std::find_if(entries_.begin(), entries_.end(),
                                     [](const Entry& each) { return each.is_over(); });
    if (oldest == entries_.end()) return;
    entries_.erase(oldest);
    place_.clear();
    for (std::size_t index = 0; index < entries_.size(); ++index) {
        place_[entries_[index].id()] = index;
    }
    ++lost_;
}

std::vector<Entry> Unwritten::take() {
    place_.clear();
    return std::exchange(entries_, {});
}

void Unwritten::clear() {
    take();
    lost_ = 0;
}

void Unwritten::put_into(std::vector<StopRecord>& stops,
                         const std::optional<std::string>& task) const {
    for (const auto& entry : entries_) {
        const auto* const of_stop = std::get_if<Entry::OfStop>(&entry.what);
        if (!of_stop || (task && of_stop->stop.task != *task)) continue;
        const auto row = std::find_if(stops.begin(), stops.end(), [of_stop](const auto& each) {
            return each.id == of_stop->stop.id;
        });
        if (row != stops.end()) {
            *row = of_stop->stop;
        } else {
            stops.insert(stops.begin(), of_stop->stop);
        }
    }
}

}  // namespace lastcall
