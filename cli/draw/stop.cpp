#include "cli/draw/stop.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/draw/phase.hpp"
#include "cli/draw/table.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

/// What doesn't fit gives way from the left: the countdown must be seen.
std::string wait(const Canvas& canvas, const api::Progress& progress, std::size_t used) {
    const std::size_t room = canvas.width > used ? canvas.width - used : canvas.width == 0 ? 0 : 1;
    std::string line;
    const auto put_before = [&](std::string piece, std::size_t least) {
        if (piece.empty()) return;
        const std::string joint = line.empty() ? "" : ", ";
        const std::size_t taken = columns(line) + joint.size();
        if (room > 0 && room < taken + std::min(columns(piece), least)) return;
        if (room > 0) piece = cut(canvas, piece, room - taken);
        line = piece + joint + line;
    };
    const std::string what = printable(canvas, progress.waitingFor);
    if (progress.next && progress.nextInMs) {
        put_before(printable(canvas, *progress.next) + " within " + countdown(*progress.nextInMs),
                   0);
    }
    if (progress.connections && what.find("connection") == std::string::npos) {
        const std::int64_t left = *progress.connections;
        put_before(fmt::format("{} connection{} left", left, left == 1 ? "" : "s"), room);
    }
    put_before(what, 12);
    return cut(canvas, line, room);
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
        line += pad_left(duration(length(progress.stop, *each)), 11) + "  ";
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
            if (each.phase == "DRAIN") drained += length(stop, each);
        }
        const Ink its = ink(stop) == Ink::bold ? Ink::good : ink(stop);
        std::vector<std::string> codes;
        for (const api::ContainerEnd& each : stop.containers) {
            if (each.exitCode) codes.push_back(std::to_string(*each.exitCode));
            const bool unknown = each.reason && each.reason->starts_with("UnknownExitCode");
            if (unknown) codes.push_back("?");
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
