#pragma once
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace lastcall {

/// A real HAProxy of the test's own: its admin socket in a temporary directory, gone (and so is the
/// directory) when this object is, whatever happens. Everything here blocks, briefly.
///
/// `admin.sock` has level admin, `operator.sock` has not; `config` is what follows `global` and
/// `defaults`.
class HaproxyProcess {
 public:
    enum class Mode { single, master_worker };

    explicit HaproxyProcess(const std::string& config, const std::string& global = "",
                            Mode mode = Mode::single)
        : mode_(mode) {
        char name[] = "/tmp/lastcall-haproxy-XXXXXX";
        if (!::mkdtemp(name)) throw std::runtime_error("mkdtemp");
        folder_ = name;
        std::ofstream(folder_ + "/haproxy.cfg")
            << "global\n  stats socket " << folder_ << "/admin.sock mode 600 level admin\n"
            << "  stats socket " << folder_ << "/operator.sock mode 600 level operator\n"
            << global << "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n"
            << "  timeout server 30s\n  timeout queue 30s\n"
            << config;
        try {
            start();
        } catch (...) {  // the destructor won't run
            clean();
            throw;
        }
    }
    HaproxyProcess(const HaproxyProcess&) = delete;
    HaproxyProcess& operator=(const HaproxyProcess&) = delete;
    ~HaproxyProcess() { clean(); }

    std::string socket(const std::string& level = "admin") const {
        return folder_ + "/" + level + ".sock";
    }

    void start() {
        const std::string file = folder_ + "/haproxy.cfg";
        const std::string master = socket("master");
        const pid_t parent = ::getpid();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::setpgid(0, 0);
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) ::_exit(1);
            const int log = ::open((folder_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
            ::dup2(log, 1);
            ::dup2(log, 2);
            if (mode_ == Mode::single) {
                ::execlp("haproxy", "haproxy", "-db", "-f", file.c_str(), nullptr);
            } else {
                ::execlp("haproxy", "haproxy", "-W", "-S", master.c_str(), "-f", file.c_str(),
                         nullptr);
            }
            ::_exit(127);
        }
        ::setpgid(pid_, pid_);
        await("it answers", [&] { return !info("Pid").empty(); });
        if (mode_ == Mode::single) return;
        // The master executes itself once more before it hears a signal, and may lose a question.
        await("its master answers",
              [&] { return !command("show proc", "master", {0, 200000}).empty(); });
    }
    /// All of it, workers too.
    void kill() {
        if (pid_ <= 0) return;
        ::kill(-pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }
    /// Returns when its last thread has stopped.
    void hang() const {
        int status = 0;
        ::kill(-pid_, SIGSTOP);
        ::waitpid(pid_, &status, WUNTRACED);
        if (!WIFSTOPPED(status)) throw std::runtime_error("haproxy: it ended instead of stopping");
    }
    void go_on() const { ::kill(-pid_, SIGCONT); }
    /// Returns when the new worker answers; the old one finishes what it has.
    void reload() {
        const std::string before = info("Pid");
        ::kill(pid_, SIGUSR2);
        await("a new worker answers", [&] {
            const std::string now = info("Pid");
            return !now.empty() && now != before;
        });
    }

    /// For the next start or reload.
    void edit(const std::string& what, const std::string& with) const {
        std::ifstream before(folder_ + "/haproxy.cfg");
        std::ostringstream config;
        config << before.rdbuf();
        std::string text = config.str();
        const auto at = text.find(what);
        if (at == std::string::npos) throw std::logic_error("not in the configuration: " + what);
        std::ofstream(folder_ + "/haproxy.cfg") << text.replace(at, what.size(), with);
    }

    /// What it answers to one line; empty if it doesn't.
    std::string command(const std::string& line, const std::string& level = "admin",
                        timeval patience = {5, 0}) const {
        const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socket(level).copy(address.sun_path, sizeof address.sun_path - 1);
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        std::string answer;
        const std::string sent = line + "\n";
        if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
            ::send(fd, sent.data(), sent.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(sent.size())) {
            char chunk[4096];
            for (ssize_t got; (got = ::recv(fd, chunk, sizeof chunk, 0)) > 0;) {
                answer.append(chunk, static_cast<std::size_t>(got));
            }
        }
        ::close(fd);
        return answer;
    }
    std::string info(const std::string& name) const {
        std::istringstream lines(command("show info"));
        for (std::string line; std::getline(lines, line);) {
            if (line.rfind(name + ": ", 0) == 0) return line.substr(name.size() + 2);
        }
        return "";
    }
    /// A column of `show stat`, of a server (of the first backend that has one of that name).
    std::string stat(const std::string& server, const std::string& column) const {
        std::istringstream lines(command("show stat -1 4 -1"));
        return cell(lines, ',', server, column, "svname");
    }
    /// A column of `show servers state web`.
    std::string state(const std::string& server, const std::string& column) const {
        std::istringstream lines(command("show servers state web"));
        std::string version;
        std::getline(lines, version);
        return cell(lines, ' ', server, column, "srv_name");
    }
    std::string admin_state(const std::string& server) const {
        return state(server, "srv_admin_state");
    }

 private:
    void clean() {
        kill();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    static std::vector<std::string> split(const std::string& line, char separator) {
        std::vector<std::string> cells;
        std::istringstream rest(line);
        for (std::string each; std::getline(rest, each, separator);) cells.push_back(each);
        return cells;
    }
    static std::string cell(std::istream& lines, char separator, const std::string& server,
                            const std::string& column, const std::string& key) {
        std::string line;
        std::getline(lines, line);
        const auto header = split(line.size() < 2 ? "" : line.substr(2), separator);
        while (std::getline(lines, line)) {
            const auto cells = split(line, separator);
            std::map<std::string, std::string> row;
            for (std::size_t i = 0; i < std::min(cells.size(), header.size()); ++i)
                row[header[i]] = cells[i];
            if (row[key] == server) return row[column];
        }
        return "";
    }
    template <class So>
    void await(const char* what, So so) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!so()) {
            if (::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
            if (pid_ == 0 || std::chrono::steady_clock::now() > limit) {
                std::ifstream log(folder_ + "/log");
                std::ostringstream said;
                said << log.rdbuf();
                throw std::runtime_error(fmt::format("haproxy: never {}: {}", what, said.str()));
            }
            ::usleep(5000);
        }
    }

    Mode mode_;
    std::string folder_;
    pid_t pid_ = 0;
};

}  // namespace lastcall
