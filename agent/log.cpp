#include "agent/log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

#include "agent/log_line.hpp"

namespace lastcall {
namespace {

/// Writes without ever waiting. O_NONBLOCK can't be set on what is inherited: it belongs to the
/// open file description, which the task shares. So a pipe or terminal is opened once more.
class Output {
 public:
    /// `descriptor` stays the caller's.
    static Output inherited(int descriptor) { return Output(descriptor, false); }
    /// Takes `descriptor`, which must be non-blocking.
    static Output owned(int descriptor) { return Output(descriptor, true); }
    Output(Output&& other) noexcept
        : descriptor_(other.descriptor_),
          kind_(other.kind_),
          owned_(std::exchange(other.owned_, false)) {}
    Output& operator=(Output&&) = delete;
    ~Output() {
        if (owned_) ::close(descriptor_);
    }

    /// How much of `text` was taken; 0 too if it can't be written now.
    std::size_t write(std::string_view text) const {
        const ssize_t size = send(text);
        return size > 0 ? static_cast<std::size_t>(size) : 0;
    }

 private:
    enum class Kind { never_waits, socket, may_wait };

    Output(int descriptor, bool owned)
        : descriptor_(descriptor),
          kind_(owned ? Kind::never_waits : kind_of(descriptor)),
          owned_(owned) {
        if (kind_ != Kind::may_wait) return;
        const auto path = fmt::format("/proc/self/fd/{}", descriptor);
        const int opened = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (opened < 0) return;  // no /proc, or another user's terminal
        descriptor_ = opened;
        kind_ = Kind::never_waits;
        owned_ = true;
    }

    static Kind kind_of(int descriptor) {
        struct stat status = {};
        if (::fstat(descriptor, &status) != 0) return Kind::never_waits;
        // Opened again, a file would be written from its beginning, over what the task writes.
        if (S_ISREG(status.st_mode)) return Kind::never_waits;
        return S_ISSOCK(status.st_mode) ? Kind::socket : Kind::may_wait;
    }

    ssize_t send(std::string_view text) const {
        if (kind_ == Kind::never_waits) return ::write(descriptor_, text.data(), text.size());
        if (kind_ == Kind::socket) {
            return ::send(descriptor_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        // Linux 6.4 can do this for pipes; before it, looking first is the best there is: another
        // writer may fill the pipe in between, and the write then waits for the reader.
        const iovec part{const_cast<char*>(text.data()), text.size()};
        const ssize_t size = ::pwritev2(descriptor_, &part, 1, -1, RWF_NOWAIT);
        if (size >= 0 || errno != EOPNOTSUPP) return size;
        pollfd ready{descriptor_, POLLOUT, 0};
        if (::poll(&ready, 1, 0) != 1) return 0;
        return ::write(descriptor_, text.data(), text.size());
    }

    int descriptor_;
    Kind kind_;
    bool owned_;
};

class AgentLog : public Log {
 public:
    AgentLog(Output output, Level least, LogFormat format)
        : output_(std::move(output)), least_(least), format_(format) {}
    ~AgentLog() override { tell_dropped(std::chrono::system_clock::now()); }

    bool hears(Level level) const override { return level >= least_ && level != Level::none; }

    void say(Level level, std::string_view message, std::initializer_list<Field> fields) override {
        if (!hears(level)) return;
        const auto now = std::chrono::system_clock::now();
        tell_dropped(now);
        if (!write({now, level, message, fields})) ++dropped_;
    }

 private:
    void tell_dropped(Clock::utc_time now) {
        if (dropped_ == 0 || Level::warn < least_) return;
        const bool told = write({now,
                                 Level::warn,
                                 "Log lines dropped: nobody took them in time",
                                 {{"lines", std::to_string(dropped_)}}});
        if (told) dropped_ = 0;
    }

    /// A pipe takes PIPE_BUF bytes or nothing (pipe(7)); a terminal may take half a line, which
    /// then ends where the next one begins.
    bool write(const LogEntry& entry) {
        const std::string line = (torn_ ? "\n" : "") + log_line(format_, entry, PIPE_BUF - 1);
        const std::size_t size = output_.write(line);
        if (size > 0) torn_ = size < line.size();
        return size == line.size();
    }

    Output output_;
    const Level least_;
    const LogFormat format_;
    std::uint64_t dropped_ = 0;
    bool torn_ = false;
};

}  // namespace

std::unique_ptr<Log> agent_log(const Settings& settings) {
    const auto log_to = [&settings](Output output) {
        return std::make_unique<AgentLog>(std::move(output), settings.log_level,
                                          settings.log_format);
    };
    if (settings.log_file.empty()) return log_to(Output::inherited(STDERR_FILENO));
    const int file =
        ::open(settings.log_file.c_str(),
               O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
    if (file >= 0) return log_to(Output::owned(file));
    const int error = errno;
    auto log = log_to(Output::inherited(STDERR_FILENO));
    // A log that can't be kept is no reason not to run the task.
    log->say(Level::warn, "Cannot open the log, using stderr",
             {{"file", settings.log_file}, {"error", std::strerror(error)}});
    return log;
}

}  // namespace lastcall
