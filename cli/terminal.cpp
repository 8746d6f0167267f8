#include "cli/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace lastcall::cli {
namespace {

std::string_view variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// As setlocale(3) chooses for LC_CTYPE; a static program loads no locale to ask.
bool locale_is_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        const std::string_view value = variable(name);
        if (value.empty()) continue;
        return value.find("UTF-8") != value.npos || value.find("utf8") != value.npos ||
               value.find("UTF8") != value.npos || value.find("utf-8") != value.npos;
    }
    return false;
}

winsize size_of(int terminal) {
    winsize size{};
    if (::ioctl(terminal, TIOCGWINSZ, &size) != 0) return {};
    return size;
}

/// The errno of a write that failed; 0 when all was written.
int write_all(int to, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(to, text.data(), text.size());
        if (written < 0 && errno != EINTR) return errno;
        if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

}  // namespace

Terminal::Terminal() : out_(STDOUT_FILENO), err_(STDERR_FILENO), live_(::isatty(STDOUT_FILENO)) {
    live_ = live_ && variable("TERM") != "dumb";
    canvas_.colour = live_ && variable("NO_COLOR").empty();
    canvas_.utf8 = locale_is_utf8();
}

Canvas Terminal::canvas() const {
    Canvas now = canvas_;
    if (const std::size_t width = size_of(out_).ws_col; width > 0) now.width = width;
    return now;
}

void Terminal::print(std::string_view text) {
    if (const int error = write_all(out_, text)) {
        throw std::runtime_error("cannot write the output: " +
                                 std::generic_category().message(error));
    }
}

void Terminal::complain(std::string_view text) {
    std::string line = "agentctl: ";
    line.append(printable({.colour = false, .utf8 = canvas_.utf8}, text)).append("\n");
    write_all(err_, line);
}

void Terminal::redraw(std::string_view lasting, std::vector<std::string> lines) {
    const std::size_t rows = size_of(out_).ws_row == 0 ? 24 : size_of(out_).ws_row;
    const std::size_t room = rows > 2 ? rows - 2 : 1;  // what has scrolled away can't be redrawn
    if (lines.size() > room) {
        const std::size_t more = lines.size() - (room - 1);
        lines.resize(room - 1);
        lines.push_back(fmt::format("  and {} more", more));
    }
    std::string text = drawn_ > 0 ? fmt::format("\x1b[{}A\r", drawn_) : "";
    while (!lasting.empty()) {
        const std::size_t end = lasting.find('\n');
        text.append(lasting.substr(0, end)).append("\x1b[K\n");
        lasting.remove_prefix(end == lasting.npos ? lasting.size() : end + 1);
    }
    for (const std::string& line : lines) text.append(line).append("\x1b[K\n");
    text += "\x1b[J";
    drawn_ = lines.size();
    print(text);
}

}  // namespace lastcall::cli
