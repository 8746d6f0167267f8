#pragma once
#include <string>
#include <vector>

#include "cli/draw/canvas.hpp"

namespace lastcall::cli {

struct Column {
    std::string title;
    bool right = false;  ///< numbers stand right
};

struct Cell {
    Cell(std::string its_text, Ink its_ink = Ink::plain)  // a cell is its text, mostly
        : text(std::move(its_text)), ink(its_ink) {}
    std::string text;  ///< foreign text is made printable here; empty shows as "-"
    Ink ink = Ink::plain;
};

/// Columns as wide as their widest cell, two spaces apart; the last is cut at the canvas' width.
std::string table(const Canvas& canvas, const std::vector<Column>& titles,
                  const std::vector<std::vector<Cell>>& rows);

}  // namespace lastcall::cli
