#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cli/draw/canvas.hpp"

namespace lastcall::cli {

/// Where the program's words go: results to one descriptor, remarks and errors to another. Throws
/// std::runtime_error when results can't be written; an error that can't be told is lost.
class Terminal {
 public:
    /// Stdout and stderr as they are: width by TIOCGWINSZ; colour on a terminal that isn't "dumb",
    /// without NO_COLOR (no-color.org); UTF-8 as LC_ALL, LC_CTYPE or LANG say.
    Terminal();
    /// For tests.
    Terminal(int out, int err, Canvas canvas, bool live)
        : out_(out), err_(err), canvas_(canvas), live_(live) {}

    void print(std::string_view text);
    /// "agentctl: …" to stderr.
    void complain(std::string_view text);
    /// Lines that are redrawn in place: `lasting` goes above them and stays, `lines` replace those
    /// of the last call. No more are shown than fit the screen. Only where `live()`.
    void redraw(std::string_view lasting, std::vector<std::string> lines);

    /// Whether somebody watches: stdout is a terminal that understands ANSI.
    bool live() const { return live_; }
    /// As wide as the terminal is now.
    Canvas canvas() const;

 private:
    int out_, err_;
    Canvas canvas_;
    bool live_;
    std::size_t drawn_ = 0;  ///< lines that the next redraw replaces
};

}  // namespace lastcall::cli
