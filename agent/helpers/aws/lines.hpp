#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <optional>
#include <string>

#include "agent/helpers/aws/failure.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// Lines from a descriptor that stays somebody else's. Its flags are put back at the end: a
/// terminal would keep them.
class LineReader {
 public:
    /// `complain` hears of lines longer than `longest` bytes, which are skipped.
    LineReader(asio::any_io_executor executor, int descriptor, std::size_t longest, Note complain);
    ~LineReader();
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;
    /// Without its newline; nullopt: there are no more.
    awaitable<std::optional<std::string>> next();

 private:
    asio::posix::stream_descriptor descriptor_;
    int flags_;
    std::size_t longest_;
    Note complain_;
    std::string buffer_;
    bool skipping_ = false;
};

/// Lines to a descriptor, in order, none of them waited for.
class LineWriter {
 public:
    LineWriter(asio::any_io_executor executor, int descriptor);
    ~LineWriter();
    LineWriter(const LineWriter&) = delete;
    LineWriter& operator=(const LineWriter&) = delete;
    void write(std::string line);
    /// Writes what comes, until it is cancelled, or nobody reads any more.
    awaitable<void> run();
    /// Returns when all is written, or can't be.
    awaitable<void> flushed();

 private:
    asio::posix::stream_descriptor descriptor_;
    int flags_;
    std::string pending_;
    bool writing_ = false, broken_ = false;
    Bell filled_;
    Bell emptied_;
};

}  // namespace lastcall::aws
