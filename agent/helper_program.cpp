#include "agent/helper_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <system_error>

#include "agent/definition.hpp"
#include "agent/lb/helper_lines.hpp"
#include "agent/run.hpp"

namespace lastcall {
namespace {

/// Close-on-exec; both ends are closed unless they are taken.
class Pipe {
 public:
    Pipe() {
        if (::pipe2(ends_.data(), O_CLOEXEC) == -1) {
            throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
        }
    }
    ~Pipe() {
        for (const int end : ends_) {
            if (end != -1) ::close(end);
        }
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    int reading() const { return ends_[0]; }
    int writing() const { return ends_[1]; }
    int take_reading() { return std::exchange(ends_[0], -1); }
    int take_writing() { return std::exchange(ends_[1], -1); }

 private:
    std::array<int, 2> ends_{-1, -1};
};

/// Nothing at the stream's end.
awaitable<std::string> read_some(asio::posix::stream_descriptor& from) {
    std::string text(16 * 1024, '\0');
    boost::system::error_code error;
    const auto size = co_await from.async_read_some(asio::buffer(text),
                                                    asio::redirect_error(use_awaitable, error));
    if (error && error != asio::error::eof) throw boost::system::system_error(error);
    text.resize(size);
    co_return text;
}

class Child final : public helper::Program {
 public:
    Child(asio::any_io_executor executor, Reaper& reaper, const LaunchOptions& options, Pipe& input,
          Pipe& output, Pipe& errors)
        : reaper_(reaper),
          input_(executor, input.take_writing()),
          output_(executor, output.take_reading()),
          errors_(executor, errors.take_reading()),
          ended_(executor) {
        const Launched launched = launch(options);
        ::close(launched.pidfd);
        pid_ = launched.pid;
        reaper_.set_apart(pid_);
        reaper_.expect(pid_, [this](ExitStatus status) {
            status_ = status;
            ended_.set();
        });
    }
    ~Child() override {
        // Its number is its group's as long as it isn't reaped, or anybody is in it.
        if (!status_ || reaper_.has_apart(pid_)) ::kill(-pid_, SIGKILL);
        if (!status_) reaper_.forget(pid_);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    awaitable<std::string> read() override { return read_some(output_); }
    awaitable<std::string> read_errors() override { return read_some(errors_); }
    awaitable<void> write(std::string text) override {
        co_await asio::async_write(input_, asio::buffer(text), use_awaitable);
    }
    void dismiss() override {
        boost::system::error_code ignored;
        input_.close(ignored);
    }
    void signal(int number) override {
        if (!status_) ::kill(-pid_, number);
    }
    awaitable<std::string> end() override {
        co_await ended_.wait();
        if (status_->signal != 0) {
            co_return fmt::format("it was killed by {}", signal_name(status_->signal));
        }
        co_return fmt::format("it exited with code {}", status_->code);
    }

 private:
    Reaper& reaper_;
    asio::posix::stream_descriptor input_, output_, errors_;
    Event ended_;
    pid_t pid_ = 0;
    std::optional<ExitStatus> status_;
};

/// Ours, the whole of it: credentials may come that way.
std::vector<std::string> helpers_environment() {
    std::vector<std::string> variables;
    for (const auto& [name, value] : environment(true)) {
        variables.push_back(fmt::format("{}={}", name, value));
    }
    set_variable(variables, fmt::format("LASTCALL_HELPER_PROTOCOL={}", helper::protocol));
    return variables;
}

}  // namespace

helper::StartProgram helper_starter(asio::any_io_executor executor, Reaper& reaper,
                                    Inheritance inherited) {
    return [executor, &reaper, inherited](const std::vector<std::string>& command) {
        Pipe input, output, errors;
        const LaunchOptions options{.command = command,
                                    .environment = helpers_environment(),
                                    .working_directory = "/",
                                    .output = output.writing(),
                                    .errors = errors.writing(),
                                    .input = input.reading(),
                                    .own_stdin = false,
                                    .keep_descriptors = false,
                                    .inherited = inherited};
        return std::make_unique<Child>(executor, reaper, options, input, output, errors);
    };
}

}  // namespace lastcall
