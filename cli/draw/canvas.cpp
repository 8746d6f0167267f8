#include "cli/draw/canvas.hpp"

namespace lastcall::cli {
namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// The length of the UTF-8 character that `text` starts with: 1 for anything broken.
std::size_t character(std::string_view text) {
    const auto first = static_cast<unsigned char>(text[0]);
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
    if (length > text.size()) return 1;
    for (std::size_t i = 1; i < length; ++i) {
        if (!continues(text[i])) return 1;
    }
    return length;
}

std::string_view code(Ink ink) {
    switch (ink) {
        case Ink::plain:
            return "";
        case Ink::bold:
            return "1";
        case Ink::dim:
            return "2";
        case Ink::good:
            return "32";
        case Ink::bad:
            return "31";
        case Ink::odd:
            return "33";
        case Ink::busy:
            return "36";
    }
    return "";
}

}  // namespace

std::string paint(const Canvas& canvas, Ink ink, std::string_view text) {
    if (!canvas.colour || ink == Ink::plain || text.empty()) return std::string(text);
    std::string painted = "\x1b[";
    painted.append(code(ink)).append("m").append(text).append("\x1b[0m");
    return painted;
}

std::string printable(const Canvas& canvas, std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t length = character(text);
        const auto first = static_cast<unsigned char>(text[0]);
        const bool control = first < 0x20 || first == 0x7F ||
                             (length == 2 && first == 0xC2 && (text[1] & 0xE0) == 0x80);  // C1
        const bool broken = length == 1 && first >= 0x80;
        if (control || broken || (length > 1 && !canvas.utf8)) {
            out += '?';
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
    return out;
}

std::size_t columns(std::string_view text) {
    std::size_t count = 0;
    for (const char byte : text) count += !continues(byte);
    return count;
}

std::string pad_right(std::string text, std::size_t width) {
    const std::size_t used = columns(text);
    if (used < width) text.append(width - used, ' ');
    return text;
}

std::string pad_left(std::string text, std::size_t width) {
    const std::size_t used = columns(text);
    if (used < width) text.insert(0, width - used, ' ');
    return text;
}

std::string cut(const Canvas& canvas, std::string text, std::size_t width) {
    if (width == 0 || columns(text) <= width) return text;
    const std::string_view ellipsis = canvas.utf8 ? "…" : "...";
    const std::size_t mark = columns(ellipsis);
    std::size_t kept = width > mark ? width - mark : 0;
    std::size_t end = 0;
    while (kept-- > 0) end += character(std::string_view(text).substr(end));
    text.resize(end);
    text += width >= mark ? ellipsis : ellipsis.substr(0, 0);
    return text;
}

}  // namespace lastcall::cli
