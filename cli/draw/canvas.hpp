#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace lastcall::cli {

/// What text is drawn on. Drawing is pure: a canvas and values in, text out.
struct Canvas {
    std::size_t width = 0;  ///< columns; 0: as many as it takes (a file, a pipe)
    bool colour = false;
    bool utf8 = false;
};

enum class Ink { plain, bold, dim, good, bad, odd, busy };

/// `text` in that ink; unchanged where there is no colour. Colour last: the functions below count
/// columns.
std::string paint(const Canvas& canvas, Ink ink, std::string_view text);

/// Foreign text (a command, a reason) made harmless: no control character reaches the terminal, and
/// only ASCII does where the locale isn't UTF-8.
std::string printable(const Canvas& canvas, std::string_view text);

/// Columns that printable, unpainted `text` takes: one a code point.
std::size_t columns(std::string_view text);

std::string pad_right(std::string text, std::size_t width);
std::string pad_left(std::string text, std::size_t width);

/// At most `width` columns of `text`; what was cut shows as an ellipsis. 0: all of it.
std::string cut(const Canvas& canvas, std::string text, std::size_t width);

}  // namespace lastcall::cli
