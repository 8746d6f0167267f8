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
    return words(key) + " " + std::string(value.get_string());
}

std::string plural(std::int64_t count, std::string_view noun, std::string_view ending = "s") {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : ending);
}

/// Turns a phase's detail into pieces of a sentence: what ended it, where, how many, what else.
/// What is said by name is not said again by its key.
class Teller {
 public:
    Teller(const Canvas& canvas, const api::Stop& stop, const api::Phase& phase)
        : canvas_(canvas), stop_(stop), phase_(phase) {}

    std::string told() {
        limit();
        load_balancer();
        connections();
        processes();
        rest();
        return fmt::format("{}", fmt::join(pieces_, ", "));
    }

 private:
    std::optional<std::string> take_text(std::string_view key) {
        const api::json::value* value = phase_.detail.if_contains(key);
        if (!value || !value->is_string()) return std::nullopt;
        said_.push_back(key);
        return std::string(value->get_string());
    }
    std::optional<std::int64_t> take_count(std::string_view key) {
        const api::json::value* value = phase_.detail.if_contains(key);
        if (!value || !value->is_int64()) return std::nullopt;
        said_.push_back(key);
        return value->get_int64();
    }
    std::optional<double> take_milliseconds(std::string_view key) {
        const api::json::value* value = phase_.detail.if_contains(key);
        if (!value || !value->is_number()) return std::nullopt;
        said_.push_back(key);
        return value->to_number<double>();
    }
    void tell(std::string piece) {
        if (!piece.empty()) pieces_.push_back(std::move(piece));
    }

    void limit() {
        const auto timeout = take_count("stopTimeoutMs");
        std::string why = take_text("limit").value_or("");
        if (why == "stop timeout" && timeout)
            why += " of " + duration(static_cast<double>(*timeout));
        if (why == "deregistration delay") why += " of " + duration(stop_.deregistrationDelayMs);
        tell(std::move(why));
        tell(take_text("reason").value_or(""));
        if (const auto by = take_text("requestedBy")) tell("asked by " + *by);
        tell(take_text("error").value_or(""));
    }
    void load_balancer() {
        const auto attempts = take_count("attempts");
        tell(take_text("loadBalancer").value_or(""));
        if (attempts && *attempts != 1) tell(plural(*attempts, "attempt"));
    }
    void connections() {
        const auto start = take_count("connectionsAtStart"), end = take_count("connectionsAtEnd");
        const auto peak = take_count("connectionsPeak");
        const std::string_view arrow = canvas_.utf8 ? "→" : "->";
        if (start == 0 && end == 0) {
            tell("no connections");
        } else if (start && end) {
            tell(fmt::format("{} {} {} connections", *start, arrow, *end));
        } else if (start || end) {
            tell(plural(start ? *start : *end, "connection") + (start ? " at the start" : " left"));
        }
        if (peak && peak > start) tell(fmt::format("{} at the peak", *peak));
        const auto in_flight = take_count("inFlightAtLoadBalancer").value_or(0);
        if (in_flight > 0) tell(fmt::format("{} in flight at the load balancer", in_flight));
        const auto late = take_count("arrivedAfterDeregistration").value_or(0);
        if (late > 0) tell(fmt::format("{} arrived after deregistration", late));
        const auto longest = take_milliseconds("longestMs");
        const std::string peer = take_text("longestPeer").value_or("");
        if (longest) tell(fmt::format("longest {} ({})", duration(*longest), peer));
        if (const auto peers = take_text("peers")) tell("from " + *peers);
    }
    void processes() {
        const auto signal = take_text("signal");
        if (signal && *signal != phase_.phase) tell(*signal);
        if (const auto code = take_count("exitCode")) {
            tell(fmt::format("exit code {}", *code));
        } else {
            ended_here();
        }
        const auto left = take_count("left").value_or(0);
        const auto survivors = take_count("survivors").value_or(0);
        if (left + survivors > 0) tell(plural(left + survivors, "process", "es") + " left");
    }
    void ended_here() {
        std::vector<api::ContainerEnd> ended;
        for (const api::ContainerEnd& each : stop_.containers) {
            const bool ours = !phase_.container || *phase_.container == each.name;
            if (ours && each.killedBy == phase_.phase) ended.push_back(each);
        }
        tell(exits(canvas_, ended));
    }
    void rest() {
        for (const auto& [key, value] : phase_.detail) {
            if (std::ranges::count(said_, std::string_view(key)) == 0) tell(fact(key, value));
        }
    }

    const Canvas& canvas_;
    const api::Stop& stop_;
    const api::Phase& phase_;
    std::vector<std::string_view> said_;
    std::vector<std::string> pieces_;
};

}  // namespace

double offset(const api::Stop& stop, const api::Phase& phase) {
    const auto from = moment(stop.requestedAt), to = moment(phase.startedAt);
    return from && to ? std::max(0.0, static_cast<double>(*to - *from) / 1000) : 0;
}

double length(const api::Stop& stop, const api::Phase& phase) {
    if (phase.outcome) return phase.durationMs;
    return std::max(phase.durationMs, stop.durationMs - offset(stop, phase));
}

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
    return printable(canvas, Teller(canvas, stop, phase).told());
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
