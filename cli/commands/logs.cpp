#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <cerrno>
#include <charconv>
#include <functional>
#include <memory>
#include <system_error>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {
namespace {

/// One file of a log, read in blocks: it may be larger than memory.
class LogFile {
 public:
    explicit LogFile(std::string path) : path_(std::move(path)) {
        file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (file_ < 0) fail("open");
    }
    ~LogFile() { ::close(file_); }
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;

    off_t size() const {
        const off_t end = ::lseek(file_, 0, SEEK_END);
        if (end < 0) fail("read");
        return end;
    }
    bool same_as(const LogFile& other) const {
        struct stat one = {}, two = {};
        return ::fstat(file_, &one) == 0 && ::fstat(other.file_, &two) == 0 &&
               one.st_dev == two.st_dev && one.st_ino == two.st_ino;
    }
    /// From the file's end towards its beginning: where the last `lines` lines begin, if they are
    /// all here; `lines` is then 0, else what is missing. `ends` tells whether the end of the file
    /// is the log's: the newline there ends a line, it begins none.
    off_t tail(std::uint64_t& lines, bool ends) {
        off_t end = size();
        const off_t last = ends ? end - 1 : end;
        while (end > 0) {
            const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(sizeof block_));
            const std::string_view block = read(begin, static_cast<std::size_t>(end - begin));
            if (block.empty()) break;  // it was truncated meanwhile
            for (std::size_t i = block.size(); i-- > 0;) {
                const off_t at = begin + static_cast<off_t>(i);
                if (block[i] == '\n' && at != last && --lines == 0) return at + 1;
            }
            end = begin;
        }
        return 0;
    }

    /// Returns where it ends.
    off_t each_block(off_t from, const std::function<void(std::string_view)>& take) {
        for (;;) {
            const std::string_view block = read(from, sizeof block_);
            if (block.empty()) return from;
            take(block);
            from += static_cast<off_t>(block.size());
        }
    }

 private:
    std::string_view read(off_t from, std::size_t size) {
        for (;;) {
            const ssize_t count = ::pread(file_, block_, size, from);
            if (count >= 0) return {block_, static_cast<std::size_t>(count)};
            if (errno != EINTR) fail("read");
        }
    }
    [[noreturn]] void fail(const char* what) const {
        throw std::runtime_error("cannot " + std::string(what) + " the log '" + path_ +
                                 "': " + std::generic_category().message(errno));
    }

    std::string path_;
    int file_ = -1;
    char block_[65536];
};

/// A log and what the agent has put away of it: NAME.log.1 ends where NAME.log begins.
class WholeLog {
 public:
    explicit WholeLog(std::string path) : path_(std::move(path)), older_(older()), now_(path_) {}

    /// The last `lines` lines; none: all.
    void print(std::optional<std::uint64_t> lines,
               const std::function<void(std::string_view)>& take) {
        if (lines == 0) return;
        off_t from = 0, from_older = 0;
        if (lines) from = now_.tail(*lines, true);
        const bool in_older = older_ && lines != 0;
        if (in_older && lines) from_older = older_->tail(*lines, now_.size() == 0);
        if (in_older) older_->each_block(from_older, take);
        // The agent may put the log away while it is read: what is left of it is then there.
        for (off_t end = now_.each_block(from, take); auto newer = older();) {
            if (older_ && newer->same_as(*older_)) return;
            end = newer->each_block(end, take);
            older_ = std::move(newer);
            now_.each_block(now_.size() < end ? 0 : end, take);
        }
    }

 private:
    std::unique_ptr<LogFile> older() const {
        if (::access((path_ + ".1").c_str(), F_OK) != 0) return nullptr;
        return std::make_unique<LogFile>(path_ + ".1");
    }

    std::string path_;
    std::unique_ptr<LogFile> older_;  ///< opened first: what comes between isn't missed
    LogFile now_;
};

/// Lines as JSON, one object each, as they come in blocks.
class JsonLines {
 public:
    JsonLines(Terminal& terminal, std::string container)
        : terminal_(terminal), container_(std::move(container)) {}

    void take(std::string_view block) {
        for (std::size_t end; (end = block.find('\n')) != block.npos;
             block.remove_prefix(end + 1)) {
            line_ += block.substr(0, end);
            write();
        }
        line_ += block;
    }
    void finish() {
        if (!line_.empty()) write();
    }

 private:
    void write() {
        const boost::json::object line = {{"container", container_}, {"line", line_}};
        terminal_.print(api::to_text(line) + "\n");
        line_.clear();
    }

    Terminal& terminal_;
    std::string container_, line_;
};

std::optional<std::uint64_t> count(const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    std::uint64_t number = 0;
    const char* const end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, number);
    if (error == std::errc() && stop == end) return number;
    throw Usage("--tail must be a whole number, not '" + *text + "'");
}

void print_log(Session& session, const api::Container& container,
               const std::optional<std::uint64_t>& lines) {
    WholeLog log(*container.logFile);
    if (!session.json) {
        log.print(lines, [&](std::string_view block) { session.terminal.print(block); });
        return;
    }
    JsonLines json(session.terminal, container.name);
    log.print(lines, [&](std::string_view block) { json.take(block); });
    json.finish();
}

}  // namespace

int logs(Session& session) {
    std::string name;
    std::optional<std::string> tail;
    session.arguments.about("prints what a task wrote to its stdout and stderr.",
                            "  agentctl logs web\n"
                            "  agentctl logs web --tail 20\n"
                            "  agentctl logs web --output json | jq -r .line\n");
    session.arguments.word("TASK", name);
    session.arguments.value("--tail", "N", tail, "only the last N lines");
    session.parse();
    const auto lines = count(tail);
    const auto task = api::from_json<api::Task>(session.call("GET", task_path(name)));

    std::vector<api::Container> logged;
    for (const api::Container& each : task.containers) {
        if (each.logFile && !each.logFile->empty()) logged.push_back(each);
    }
    if (logged.empty()) {
        throw std::runtime_error("cannot print the log of '" + name +
                                 "': it has none, its output went where the agent's goes");
    }
    for (const api::Container& each : logged) {
        const bool titled = logged.size() > 1 && !session.json;
        if (titled) session.terminal.print("==> " + each.name + " <==\n");
        print_log(session, each, lines);
    }
    return done;
}

}  // namespace lastcall::cli
