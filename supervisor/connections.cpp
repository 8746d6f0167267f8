#include "supervisor/connections.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/ports.hpp"
#include "supervisor/rest.hpp"
#include "supervisor/sockets.hpp"

namespace lastcall {
namespace {

class TaskConnections final : public Evidence {
 public:
    TaskConnections(Clock& clock, asio::any_io_executor executor, Sockets& sockets, Ports ports)
        : clock_(clock), sockets_(sockets), ports_(std::move(ports)), inbox_(std::move(executor)) {}
    ~TaskConnections() override { unwatch(); }

    std::optional<Connections> open() override {
        if (!watched_) find_ports();  // the regular look does it: a close must not wait for it
        if (!is_known()) return std::nullopt;
        return understand(sockets_.of(ports_.known()));
    }

    std::optional<std::int64_t> count() override {
        if (!watched_) find_ports();
        if (!is_known()) return std::nullopt;
        return sockets_.count(ports_.known());
    }

    std::string trouble() const override {
        if (ports_.known().empty()) return "no port of the task is known";
        const auto missing = ports_.never_listened();
        if (!missing.empty())
            return fmt::format("nobody has ever listened on port {}", fmt::join(missing, ", "));
        return tells_ ? "" : "the kernel doesn't tell";
    }

    void watch() override {
        if (watched_) return;
        watched_ = true;
        ports_.find(true);
        inbox_.ports = ports_.known();
        sockets_.join(inbox_);
    }

    void unwatch() override {
        if (!watched_) return;
        watched_ = false;
        sockets_.leave(inbox_);
    }

    awaitable<News> news() override {
        News news;
        while (!news.looked && news.closed.empty()) {
            co_await inbox_.bell.heard();
            news.looked = std::exchange(inbox_.looked, false);
            for (const auto cookie : std::exchange(inbox_.closed, {})) {
                if (!no_news_.contains(cookie)) news.closed.push_back(cookie);
            }
        }
        if (!news.looked) co_return news;
        auto look = std::exchange(inbox_.look, {});
        if (find_ports()) look = sockets_.of(ports_.known());
        if (is_known()) news.open = understand(std::move(look));
        co_return news;
    }

    std::optional<bool> listening() override { return ports_.listening(); }
    void named(std::uint16_t port) override { ports_.name(port); }
    std::set<std::uint16_t> ports() const override { return ports_.known(); }

 private:
    bool find_ports() {
        const bool more = ports_.find();
        if (more && watched_) {
            inbox_.ports = ports_.known();
            sockets_.ports_changed();
        }
        return more;
    }

    /// Ports that nobody ever listened on are a mistake, and zero there means nothing.
    bool is_known() const {
        return seen_ || ports_.never_listened().size() < ports_.known().size();
    }

    std::optional<Connections> understand(std::optional<std::vector<TcpSocket>> sockets) {
        tells_ = sockets.has_value();
        if (!sockets) return std::nullopt;
        const auto now = clock_.now();
        Connections open;
        std::unordered_map<std::uint64_t, Rest> rests;
        no_news_.clear();
        for (const TcpSocket& socket : *sockets) {
            if (!is_open(socket) || ports_.is_another_tasks(socket)) {
                no_news_.insert(socket.cookie);
                continue;
            }
            auto& rest = rests[socket.cookie];
            if (const auto before = rests_.find(socket.cookie); before != rests_.end())
                rest = before->second;
            open[socket.cookie] = {
                .port = socket.port, .peer = socket.peer, .rests_since = rest.look(socket, now)};
        }
        rests_ = std::move(rests);
        seen_ = seen_ || !open.empty();
        return open;
    }

    Clock& clock_;
    Sockets& sockets_;
    Ports ports_;
    Sockets::Inbox inbox_;
    std::unordered_map<std::uint64_t, Rest> rests_;  ///< by cookie
    std::set<std::uint64_t> no_news_;                ///< whose end is none: they didn't count
    bool watched_ = false, tells_ = true;
    bool seen_ = false;  ///< somebody was connected once, so the ports are right
};

}  // namespace

std::unique_ptr<Evidence> task_connections(Clock& clock, asio::any_io_executor executor,
                                           Sockets& sockets, std::vector<std::uint16_t> configured,
                                           std::vector<Process*> processes, bool whole_namespace) {
    Ports ports(clock, sockets, std::move(configured), std::move(processes), whole_namespace);
    return std::make_unique<TaskConnections>(clock, std::move(executor), sockets, std::move(ports));
}

}  // namespace lastcall
