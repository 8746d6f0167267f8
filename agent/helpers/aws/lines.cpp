#include "agent/helpers/aws/lines.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/write.hpp>

#include "agent/helpers/aws/excerpt.hpp"

namespace lastcall::aws {

LineReader::LineReader(asio::any_io_executor executor, int descriptor, std::size_t longest,
                       Note complain)
    : descriptor_(std::move(executor), descriptor),
      flags_(::fcntl(descriptor, F_GETFL)),
      longest_(longest),
      complain_(std::move(complain)) {}

LineReader::~LineReader() { ::fcntl(descriptor_.release(), F_SETFL, flags_); }

awaitable<std::optional<std::string>> LineReader::next() {
    std::array<char, 65536> piece{};
    std::size_t searched = 0;
    for (;;) {
        const auto end = buffer_.find('\n', searched);
        if (end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            searched = 0;
            if (!skipping_ && line.size() < longest_) co_return line;
            if (!skipping_) complain_("cannot take so long a line: " + quoted(line));
            skipping_ = false;
            continue;
        }
        searched = buffer_.size();
        if (buffer_.size() >= longest_) {
            if (!skipping_) complain_("cannot take so long a line: " + quoted(buffer_));
            skipping_ = true;
            buffer_.clear();
            searched = 0;
        }
        boost::system::error_code error;
        auto token = asio::redirect_error(use_awaitable, error);
        const std::size_t got =
            co_await descriptor_.async_read_some(asio::buffer(piece), std::move(token));
        if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
        if (error) co_return std::nullopt;
        buffer_.append(piece.data(), got);
    }
}

LineWriter::LineWriter(asio::any_io_executor executor, int descriptor)
    : descriptor_(executor, descriptor),
      flags_(::fcntl(descriptor, F_GETFL)),
      filled_(executor),
      emptied_(executor) {}

LineWriter::~LineWriter() { ::fcntl(descriptor_.release(), F_SETFL, flags_); }

void LineWriter::write(std::string line) {
    if (broken_) return;
    pending_ += line;
    filled_.ring();
}

awaitable<void> LineWriter::run() {
    for (;;) {
        if (pending_.empty()) {
            emptied_.ring();
            auto filled = filled_.heard();
            co_await std::move(filled);
            continue;
        }
        const std::string part = std::exchange(pending_, "");
        writing_ = true;
        boost::system::error_code error;
        auto token = asio::redirect_error(use_awaitable, error);
        co_await asio::async_write(descriptor_, asio::buffer(part), std::move(token));
        writing_ = false;
        if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
        if (error) break;
    }
    broken_ = true;
    emptied_.ring();
}

awaitable<void> LineWriter::flushed() {
    while (!broken_ && (writing_ || !pending_.empty())) {
        auto emptied = emptied_.heard();
        co_await std::move(emptied);
    }
}

}  // namespace lastcall::aws
