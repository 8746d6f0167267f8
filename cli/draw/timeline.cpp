#include "cli/draw/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/draw/phase.hpp"
#include "cli/draw/stop.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

double whole(const api::Stop& stop) {
    double end = stop.durationMs;
    for (const api::Phase& each : stop.phases) {
        end = std::max(end, offset(stop, each) + length(stop, each));
    }
    return std::max(end, 0.001);
}

/// `width` columns: a bar from `begin` to `end`, both shares of the whole. Too short for a column
/// is still seen: as a thin line where UTF-8 can draw one.
std::string bar(const Canvas& canvas, double begin, double end, std::size_t width, bool open) {
    constexpr std::array<std::string_view, 8> eighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const auto grid = static_cast<double>(width * 8);
    const auto place = [&](double share) {
        return static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * grid));
    };
    constexpr std::size_t cell = 8;
    const std::size_t first = std::min(place(begin) / cell, width - 1);
    std::size_t length = std::max<std::size_t>(place(end) - place(begin), 1);
    // Blocks grow from the left of a cell: a bar of some length keeps its end, not its beginning.
    if (length >= cell) length = place(end) - first * cell;
    const std::size_t full = length / cell, part = length % cell;
    std::string text(first, ' ');
    if (!canvas.utf8) {
        const std::size_t cells = std::max<std::size_t>(full + (part >= cell / 2), 1);
        return pad_right(text.append(cells, open ? '-' : '='), width);
    }
    for (std::size_t i = 0; i < full; ++i) text += open ? "▒" : "█";
    if (part > 0) text += eighths[part];
    return pad_right(text, width);
}

/// Lines of at most `width` columns, broken at spaces; a longer word keeps its line to itself.
std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
    std::vector<std::string> lines;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = std::min(text.find(' ', begin), text.size());
        const std::string word = text.substr(begin, end - begin);
        if (!lines.empty() && columns(lines.back()) + 1 + columns(word) <= width) {
            lines.back() += " " + word;
        } else {
            lines.push_back(word);
        }
        begin = end + 1;
    }
    return lines;
}

std::string header(const Canvas& canvas, const api::Stop& stop) {
    std::string text = summary(canvas, stop) + "\n" + survivors(canvas, stop);
    const std::string why = fmt::format("{} ({})", stop.stoppedReason, stop.stopCode);
    const std::string who =
        fmt::format("asked by {}, {}", requester(canvas, stop.requestedBy), date(stop.requestedAt));
    text += paint(canvas, Ink::dim, printable(canvas, why)) + "\n";
    return text + paint(canvas, Ink::dim, printable(canvas, who)) + "\n\n";
}

std::string footer(const Canvas& canvas, const api::Stop& stop) {
    const bool drained = std::ranges::count(stop.phases, "DRAIN", &api::Phase::phase) > 0;
    if (!drained || !stop.outcome || stop.deregistrationDelayMs <= 0) return "";
    const std::string delay = duration(stop.deregistrationDelayMs);
    const std::string line =
        stop.savedMs < 1 ? fmt::format("The whole deregistration delay of {} was used", delay)
                         : fmt::format("Saved {} of the deregistration delay of {}",
                                       duration(stop.savedMs), delay);
    return "\n" + paint(canvas, Ink::dim, line) + "\n";
}

}  // namespace

std::string timeline(const Canvas& canvas, const api::Stop& stop) {
    constexpr std::size_t figures = 35;  // start, duration, outcome and the gaps between them
    const std::size_t width = canvas.width == 0 ? 100 : canvas.width;
    std::size_t labels = 10;
    for (const api::Phase& each : stop.phases) {
        labels = std::max(labels, columns(label(canvas, stop, each)));
    }
    const std::size_t left = labels + 6;  // "  ✓ ", label, two spaces
    const std::size_t bars =
        std::clamp<std::size_t>(width - std::min(width, left + figures), 10, 60);
    const double total = whole(stop);
    const std::string margin(left, ' ');

    std::string text = header(canvas, stop);
    for (const api::Phase& each : stop.phases) {
        const double from = offset(stop, each), to = from + length(stop, each);
        const Ink its = ink(each);
        text += "  " + paint(canvas, its, sign(canvas, each)) + " ";
        text += pad_right(label(canvas, stop, each), labels) + "  ";
        text += paint(canvas, its, bar(canvas, from / total, to / total, bars, !each.outcome));
        text += pad_left("+" + duration(from), 11) + pad_left(duration(length(stop, each)), 11);
        text += "  " + paint(canvas, its, outcome(canvas, each)) + "\n";
        for (const std::string& line :
             wrapped(detail(canvas, stop, each), width - std::min(width, left + 1))) {
            text += margin + paint(canvas, Ink::dim, line) + "\n";
        }
    }
    if (!stop.phases.empty()) {
        const std::string scale = "0 s" + pad_left(duration(total), bars - 3);
        text += margin + paint(canvas, Ink::dim, scale) + "\n";
    }
    return text + footer(canvas, stop);
}

}  // namespace lastcall::cli
