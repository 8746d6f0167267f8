#include "cli/draw/phase.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

struct Look {
    std::string_view outcome, words, sign, plain_sign;
    Ink ink;
};
constexpr std::array<Look, 5> looks = {{
    {"completed", "completed", "✓", "+", Ink::good},
    {"timed_out", "timed out", "!", "!", Ink::odd},
    {"failed", "failed", "✗", "x", Ink::bad},
    {"skipped", "skipped", "–", "-", Ink::dim},
    {"interrupted", "interrupted", "»", ">", Ink::odd},
}};
constexpr Look going_on = {"", "going on", "●", "*", Ink::busy};
constexpr Look unknown = {"", "", "?", "?", Ink::odd};

const Look& look(const api::Phase& phase) {
    if (!phase.outcome) return going_on;
    const auto found = std::ranges::find(looks, std::string_view(*phase.outcome), &Look::outcome);
    return found == looks.end() ? unknown : *found;
}

/// "interruptedBy" as "interrupted by".
std::string words(std::string_view key) {
    std::string out;
    for (const char letter : key) {
        if (letter >= 'A' && letter <= 'Z') {
            (out += ' ') += static_cast<char>(letter - 'A' + 'a');
        } else {
            out += letter;
        }
    }
    return out;
}

/// A fact in words, by its key's form; empty if it says nothing.
std::string fact(std::string_view key, const api::json::value& value) {
    const bool is_duration = key.ends_with("Ms") && value.is_number();
    if (value.is_null() || (value.is_bool() && !value.get_bool())) return {};
    if (value.is_bool()) return words(key);
    if (is_duration) {
        key.remove_suffix(2);
        return words(key) + " " + duration(value.to_number<double>());
    }
    if (!value.is_string()) return words(key) + ": " + api::to_text(value);
    const std::string text(value.get_string());
    constexpr std::array speaks_for_itself = {"error", "reason", "note", "warning", "loadBalancer"};
    if (std::ranges::count(speaks_for_itself, key) > 0) return text;
    return words(key) + " " + text;
}

/// Turns a phase's detail into pieces of a sentence; what is said by name is not said again by key.
class Teller {
 public:
    Teller(const Canvas& canvas, const api::Phase& phase) : canvas_(canvas), phase_(phase) {}

    std::string told(const api::Stop& stop) {
        connections();
        attempts();
        signal();
        rest();
        exit(stop);
        return fmt::format("{}", fmt::join(pieces_, ", "));
    }

 private:
    const api::json::value* take(std::string_view key) {
        said_.push_back(key);
        return phase_.detail.if_contains(key);
    }
    std::optional<std::int64_t> take_count(std::string_view key) {
        const api::json::value* value = phase_.detail.if_contains(key);
        if (!value || !value->is_int64()) return std::nullopt;
        said_.push_back(key);
        return value->get_int64();
    }
    void connections() {
        const auto start = take_count("connectionsAtStart"), end = take_count("connectionsAtEnd");
        const std::string_view arrow = canvas_.utf8 ? "→" : "->";
        if (start && end) {
            pieces_.push_back(fmt::format("{} {} {} connections", *start, arrow, *end));
        } else if (start || end) {
            const std::int64_t count = start ? *start : *end;
            const std::string_view when = start ? "at the start" : "at the end";
            pieces_.push_back(
                fmt::format("{} connection{} {}", count, count == 1 ? "" : "s", when));
        }
        const auto late = take_count("arrivedAfterDeregistration");
        if (late.value_or(0) > 0) {
            pieces_.push_back(fmt::format("{} arrived after deregistration", *late));
        }
    }
    void attempts() {
        const auto count = take_count("attempts");
        if (const auto* where = take("loadBalancer"))
            pieces_.push_back(fact("loadBalancer", *where));
        if (count && *count != 1) pieces_.push_back(fmt::format("{} attempts", *count));
    }
    /// The usual signal and a limit that didn't matter are no news.
    void signal() {
        const api::json::value* sent = phase_.detail.if_contains("signal");
        if (sent && sent->is_string() && sent->get_string() == phase_.phase) take("signal");
        if (phase_.outcome != "timed_out") take("stopTimeoutMs");
    }
    void rest() {
        for (const auto& [key, value] : phase_.detail) {
            if (std::ranges::count(said_, std::string_view(key)) > 0) continue;
            if (std::string piece = fact(key, value); !piece.empty()) pieces_.push_back(piece);
        }
    }
    void exit(const api::Stop& stop) {
        if (phase_.detail.contains("exitCode")) return;
        std::vector<api::ContainerEnd> ended;
        for (const api::ContainerEnd& each : stop.containers) {
            const bool ours = !phase_.container || *phase_.container == each.name;
            if (ours && each.killedBy == phase_.phase) ended.push_back(each);
        }
        if (std::string piece = exits(canvas_, ended); !piece.empty()) pieces_.push_back(piece);
    }

    const Canvas& canvas_;
    const api::Phase& phase_;
    std::vector<std::string_view> said_;
    std::vector<std::string> pieces_;
};

}  // namespace

std::string label(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase) {
    if (!phase.container || stop.containers.size() < 2) return printable(canvas, phase.phase);
    return printable(canvas, phase.phase + " " + *phase.container);
}

std::string sign(const Canvas& canvas, const api::Phase& phase) {
    return std::string(canvas.utf8 ? look(phase).sign : look(phase).plain_sign);
}

Ink ink(const api::Phase& phase) { return look(phase).ink; }

std::string outcome(const Canvas& canvas, const api::Phase& phase) {
    const Look& its = look(phase);
    return its.words.empty() ? printable(canvas, *phase.outcome) : std::string(its.words);
}

std::string detail(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase) {
    const std::string told = Teller(canvas, phase).told(stop);
    // The arrow is ours and survives: it is only drawn where UTF-8 is.
    return printable(canvas, told);
}

std::string phase_line(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase) {
    std::string line = "  " + paint(canvas, ink(phase), sign(canvas, phase)) + " ";
    line += pad_right(label(canvas, stop, phase), 11);
    line += pad_left(duration(phase.durationMs), 11);
    const std::string facts = detail(canvas, stop, phase);
    if (phase.outcome != "completed") {
        line += "  " + paint(canvas, ink(phase), outcome(canvas, phase));
        if (!facts.empty()) line += ": " + facts;
    } else if (!facts.empty()) {
        line += "  " + facts;
    }
    return line;
}

std::string exits(const Canvas& canvas, const std::vector<api::ContainerEnd>& containers) {
    std::vector<std::string> pieces;
    for (const api::ContainerEnd& each : containers) {
        const bool several = containers.size() > 1;
        if (several && each.exitCode == 0) continue;
        std::string piece;
        if (each.exitCode) piece = fmt::format("exit code {}", *each.exitCode);
        if (each.signal) piece = "ended by " + *each.signal;
        if (each.reason) piece += (piece.empty() ? "" : ", ") + *each.reason;
        if (!piece.empty()) pieces.push_back(several ? each.name + ": " + piece : piece);
    }
    return printable(canvas, fmt::format("{}", fmt::join(pieces, ", ")));
}

}  // namespace lastcall::cli
