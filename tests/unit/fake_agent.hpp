#pragma once
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cli/agentctl.hpp"

namespace lastcall::testing {

/// A latch between a test and its fake agent; no wait is longer than five seconds.
class Latch {
 public:
    void set() {
        const std::lock_guard lock(mutex_);
        set_ = true;
        changed_.notify_all();
    }
    bool wait() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(5), [this] { return set_; });
    }

 private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool set_ = false;
};

/// What agentctl writes, read as it comes.
class Page {
 public:
    Page() {
        if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
        reading_ = std::thread([this] { read(); });
    }
    ~Page() {
        finish();
        ::close(ends_[0]);
    }
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;

    int file() const { return ends_[1]; }
    /// Nothing more will be written: from here on `text` is all of it.
    void finish() {
        if (!reading_.joinable()) return;
        ::close(ends_[1]);
        reading_.join();
    }
    std::string text() const {
        const std::lock_guard lock(mutex_);
        return text_;
    }
    /// Whether `words` appear within five seconds.
    bool shows(const std::string& words) {
        std::unique_lock lock(mutex_);
        return grown_.wait_for(lock, std::chrono::seconds(5),
                               [&] { return text_.find(words) != text_.npos; });
    }

 private:
    void read() {
        char block[4096];
        for (;;) {
            const ssize_t count = ::read(ends_[0], block, sizeof block);
            if (count <= 0) return;
            const std::lock_guard lock(mutex_);
            text_.append(block, static_cast<std::size_t>(count));
            grown_.notify_all();
        }
    }

    int ends_[2] = {-1, -1};
    mutable std::mutex mutex_;
    std::condition_variable grown_;
    std::string text_;
    std::thread reading_;
};

/// A unix socket that answers each request with what `answer` returns: raw bytes, HTTP or not. An
/// answer without a Content-Length ends the connection.
class FakeAgent {
 public:
    struct Request {
        std::string line;  ///< "GET /v1/tasks"
        std::string body;
        friend bool operator==(const Request&, const Request&) = default;
    };
    using Answer = std::function<std::string(const Request&)>;

    explicit FakeAgent(Answer answer) : answer_(std::move(answer)) {
        static std::atomic<int> count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("lastcall-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
        listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(listener_, 16) != 0) {
            throw std::runtime_error("cannot listen on " + path_);
        }
        accepting_ = std::thread([this] { accept(); });
    }
    ~FakeAgent() {
        ::shutdown(listener_, SHUT_RDWR);
        accepting_.join();
        for (std::thread& each : serving_) each.join();
        ::close(listener_);
        ::unlink(path_.c_str());
    }

    const std::string& socket() const { return path_; }
    std::vector<Request> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }
    int connections() const { return connections_; }

 private:
    void accept() {
        for (;;) {
            const int peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (peer < 0) return;
            ++connections_;
            serving_.emplace_back([this, peer] {
                while (serve(peer)) {
                }
                ::close(peer);
            });
        }
    }
    bool serve(int peer) {
        std::string text;
        char block[4096];
        while (!whole(text)) {
            const ssize_t count = ::read(peer, block, sizeof block);
            if (count <= 0) return false;
            text.append(block, static_cast<std::size_t>(count));
        }
        const Request request{text.substr(0, text.find(" HTTP/1.1")),
                              text.substr(text.find("\r\n\r\n") + 4)};
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(request);
        }
        const std::string answer = answer_(request);
        const ssize_t sent = ::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
        return sent > 0 && answer.find("Content-Length") != answer.npos;
    }
    static bool whole(const std::string& text) {
        const std::size_t head = text.find("\r\n\r\n");
        if (head == text.npos) return false;
        const std::size_t length = text.find("Content-Length: ");
        const std::size_t body = length < head ? std::stoul(text.substr(length + 16)) : 0;
        return text.size() >= head + 4 + body;
    }

    Answer answer_;
    std::string path_;
    int listener_;
    std::atomic<int> connections_ = 0;
    mutable std::mutex mutex_;
    std::vector<Request> requests_;
    std::vector<std::thread> serving_;
    std::thread accepting_;
};

inline std::string http(int status, const std::string& body) {
    return "HTTP/1.1 " + std::to_string(status) +
           " Whatever\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string problem(int status, const std::string& detail) {
    return http(status, R"({"type":"about:blank","title":"Trouble","status":)" +
                            std::to_string(status) + R"(,"detail":")" + detail + "\"}");
}

/// agentctl, run with these words against that socket: what it printed and how it
/// exited. For one use.
struct Agentctl {
    Page out, err;
    int exit = -1;

    Agentctl& operator()(const std::string& socket, std::vector<std::string> words,
                         bool live = false) {
        ::setenv("AGENT_SOCKET", socket.c_str(), 1);
        cli::Terminal terminal(out.file(), err.file(), {.width = live ? 80u : 0u, .utf8 = true},
                               live);
        exit = cli::agentctl(std::move(words), terminal);
        ::unsetenv("AGENT_SOCKET");
        out.finish();
        err.finish();
        return *this;
    }
};

}  // namespace lastcall::testing
