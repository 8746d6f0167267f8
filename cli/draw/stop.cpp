#include "cli/draw/stop.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/draw/phase.hpp"
#include "cli/draw/table.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

/// What it waits for gives way first: the countdown must be seen.
std::string wait(const Canvas& canvas, const api::Progress& progress, std::size_t used) {
    std::string what = printable(canvas, progress.waitingFor), rest;
    if (progress.connections && what.find("connection") == std::string::npos) {
        const std::int64_t left = *progress.connections;
        rest = fmt::format("{} connection{} left", left, left == 1 ? "" : "s");
    }
    if (progress.next && progress.nextInMs) {
        rest += fmt::format("{}{} in {} at the latest", rest.empty() ? "" : ", ",
                            printable(canvas, *progress.next), countdown(*progress.nextInMs));
    }
    if (canvas.width > 0) {
        const std::size_t taken = used + columns(rest) + 2;
        what = canvas.width < taken + 8 ? "" : cut(canvas, what, canvas.width - taken);
    }
    const std::string joint = what.empty() || rest.empty() ? "" : ", ";
    return cut(canvas, what + joint + rest, canvas.width > used ? canvas.width - used : 1);
}

std::string_view manner(const api::Stop& stop) {
    if (stop.outcome == "graceful") return ", gracefully";
    if (stop.outcome == "killed") return ", SIGKILL was needed";
    if (stop.outcome == "exited") return ", gone before it was signalled";
    return "";
}

Ink ink(const api::Stop& stop) {
    if (!stop.outcome) return Ink::busy;
    if (stop.outcome == "unkillable") return Ink::bad;
    return stop.outcome == "killed" ? Ink::odd : Ink::bold;
}

}  // namespace

std::vector<std::string> waiting_lines(const Canvas& canvas, const api::Progress& progress) {
    constexpr std::size_t used = 28;  // sign, label, duration
    std::vector<const api::Phase*> running;
    for (const api::Phase& each : progress.stop.phases) {
        if (!each.outcome) running.push_back(&each);
    }
    std::vector<std::string> lines;
    for (const api::Phase* each : running) {
        std::string line = "  " + paint(canvas, ink(*each), sign(canvas, *each)) + " ";
        line += pad_right(cut(canvas, label(canvas, progress.stop, *each), 11), 11);
        line += pad_left(duration(each->durationMs), 11) + "  ";
        if (each == running.back()) line += wait(canvas, progress, used);
        lines.push_back(line);
    }
    return lines;
}

std::string waiting_line(const Canvas& canvas, const api::Progress& progress,
                         std::size_t name_width) {
    std::string phase = "waiting";
    for (const api::Phase& each : progress.stop.phases) {
        if (!each.outcome) phase = printable(canvas, each.phase);
    }
    const std::string name = pad_right(printable(canvas, progress.stop.task), name_width);
    return paint(canvas, Ink::bold, name) + "  " + paint(canvas, Ink::busy, pad_right(phase, 10)) +
           "  " + wait(canvas, progress, name_width + 14);
}

std::string survivors(const Canvas& canvas, const api::Stop& stop) {
    std::string text;
    for (const api::Survivor& each : stop.survivorDetails) {
        std::string line =
            fmt::format("    pid {}  {}  state {}", each.pid, each.command, each.state);
        if (!each.waitChannel.empty()) line += " in " + each.waitChannel;
        text += printable(canvas, line) + "\n";
    }
    return text;
}

std::string summary(const Canvas& canvas, const api::Stop& stop) {
    const std::string name = paint(canvas, ink(stop), printable(canvas, stop.task));
    if (!stop.outcome) return name + " has been stopping for " + duration(stop.durationMs);
    if (stop.outcome == "unkillable") {
        return fmt::format("{} is not stopped: {} process{} outlived SIGKILL", name, stop.survivors,
                           stop.survivors == 1 ? "" : "es");
    }
    const std::string ends = exits(canvas, stop.containers);
    return fmt::format("{} stopped in {}{}{}{}", name, duration(stop.durationMs), manner(stop),
                       ends.empty() ? "" : ", ", ends);
}

std::string ending(const Canvas& canvas, const api::Stop& stop) {
    std::string line = summary(canvas, stop);
    const bool drained = std::ranges::count(stop.phases, "DRAIN", &api::Phase::phase) > 0;
    if (drained && stop.savedMs >= 1000) {
        line += fmt::format("; {} of the deregistration delay saved", duration(stop.savedMs));
    }
    return line + "\n" + survivors(canvas, stop);
}

std::string requester(const Canvas& canvas, const api::Requester& by) {
    std::string text;
    if (by.uid) text += fmt::format("uid {}, ", *by.uid);
    if (by.pid) text += fmt::format("pid {}, ", *by.pid);
    return printable(canvas, text + "via " + by.via);
}

std::string history(const Canvas& canvas, const std::vector<api::Stop>& stops) {
    const std::vector<Column> titles = {{"TASK"},           {"REQUESTED"},   {"OUTCOME"},
                                        {"DURATION", true}, {"DRAIN", true}, {"EXIT"},
                                        {"REASON"}};
    std::vector<std::vector<Cell>> rows;
    for (const api::Stop& stop : stops) {
        double drained = 0;
        for (const api::Phase& each : stop.phases) {
            if (each.phase == "DRAIN") drained += each.durationMs;
        }
        const Ink its = ink(stop) == Ink::bold ? Ink::good : ink(stop);
        std::vector<std::string> codes;
        for (const api::ContainerEnd& each : stop.containers) {
            if (each.exitCode) codes.push_back(std::to_string(*each.exitCode));
            if (each.signal) codes.push_back(*each.signal);
        }
        rows.push_back({stop.task, date(stop.requestedAt),
                        Cell(stop.outcome.value_or("going on"), its), duration(stop.durationMs),
                        drained > 0 ? duration(drained) : "",
                        fmt::format("{}", fmt::join(codes, ",")), stop.stoppedReason});
    }
    return table(canvas, titles, rows);
}

}  // namespace lastcall::cli
