#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <cerrno>
#include <charconv>
#include <functional>
#include <system_error>

#include "agent/api/types.hpp"
#include "cli/client.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {
namespace {

/// A log on disk, read in blocks: it may be larger than memory.
class LogFile {
 public:
    explicit LogFile(std::string path) : path_(std::move(path)) {
        file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) fail("open");
    }
    ~LogFile() { ::close(file_); }
    LogFile(const LogFile&) = delete;
    LogFile& operator=(const LogFile&) = delete;

    /// Where the last `lines` lines begin. The newline at the very end ends a line, it begins none.
    off_t tail(std::uint64_t lines) {
        off_t end = ::lseek(file_, 0, SEEK_END);
        if (end < 0) fail("read");
        if (lines == 0) return end;
        std::uint64_t seen = 0;
        const off_t last = end - 1;
        while (end > 0) {
            const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(sizeof block_));
            const std::string_view block = read(begin, static_cast<std::size_t>(end - begin));
            for (std::size_t i = block.size(); i-- > 0;) {
                const off_t at = begin + static_cast<off_t>(i);
                if (block[i] == '\n' && at != last && ++seen == lines) return at + 1;
            }
            end = begin;
        }
        return 0;
    }

    void each_block(off_t from, const std::function<void(std::string_view)>& take) {
        for (;;) {
            const std::string_view block = read(from, sizeof block_);
            if (block.empty()) return;
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
    LogFile log(*container.logFile);
    const off_t from = lines ? log.tail(*lines) : 0;
    if (!session.json) {
        log.each_block(from, [&](std::string_view block) { session.terminal.print(block); });
        return;
    }
    JsonLines json(session.terminal, container.name);
    log.each_block(from, [&](std::string_view block) { json.take(block); });
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
