#include "cli/draw/table.hpp"

#include <algorithm>

namespace lastcall::cli {
namespace {

std::string shown(const Canvas& canvas, const std::string& text) {
    return text.empty() ? "-" : printable(canvas, text);
}

class Ruler {
 public:
    Ruler(const Canvas& canvas, const std::vector<Column>& titles,
          const std::vector<std::vector<Cell>>& rows)
        : canvas_(canvas), titles_(titles) {
        for (const Column& each : titles) widths_.push_back(columns(each.title));
        for (const auto& row : rows) {
            for (std::size_t i = 0; i < row.size(); ++i) {
                widths_[i] = std::max(widths_[i], columns(shown(canvas, row[i].text)));
            }
        }
    }

    std::string line(const std::vector<Cell>& row) const {
        std::string line;
        std::size_t used = 0;
        for (std::size_t i = 0; i < row.size(); ++i) {
            std::string text = shown(canvas_, row[i].text);
            const bool last = i + 1 == row.size();
            if (titles_[i].right) text = pad_left(std::move(text), widths_[i]);
            if (last && canvas_.width > used) text = cut(canvas_, text, canvas_.width - used);
            const std::size_t width = columns(text);
            line += paint(canvas_, row[i].ink, text);
            if (!last) line.append(std::max(widths_[i], width) - width + 2, ' ');
            used += widths_[i] + 2;
        }
        return line + "\n";
    }

 private:
    const Canvas& canvas_;
    const std::vector<Column>& titles_;
    std::vector<std::size_t> widths_;
};

}  // namespace

std::string table(const Canvas& canvas, const std::vector<Column>& titles,
                  const std::vector<std::vector<Cell>>& rows) {
    const Ruler ruler(canvas, titles, rows);
    std::vector<Cell> head;
    for (const Column& each : titles) head.emplace_back(each.title, Ink::dim);
    std::string text = ruler.line(head);
    for (const auto& row : rows) text += ruler.line(row);
    return text;
}

}  // namespace lastcall::cli
