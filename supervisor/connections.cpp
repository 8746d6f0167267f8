#include "supervisor/connections.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/passive_opens.hpp"
#include "supervisor/ports.hpp"
#include "supervisor/proc_net_tcp.hpp"
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
        const auto opens = passive_opens();  // before the look: who comes meanwhile is in both
        auto seen = understand(sockets_.of(ports_.known()));
        opens_at_look_ = opens;
        return seen;
    }

    bool may_have_grown() override {
        const auto now = passive_opens();
        return !now || now != opens_at_look_;
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

    void watch(bool rest) override {
        if (watched_) return;
        watched_ = true;
        rest_matters_ = rest;
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
        auto opens = std::exchange(inbox_.opens, {});
        if (find_ports()) {
            opens = passive_opens();
            look = sockets_.of(ports_.known());
        }
        if (is_known()) news.open = understand(std::move(look));
        // They may have closed after that look.
        for (const auto cookie : news.closed) {
            if (news.open) news.open->erase(cookie);
        }
        opens_at_look_ = opens;
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
        if (rest_matters_) remove_doubts(*sockets, open, now);
        seen_ = seen_ || !open.empty();
        return open;
    }

    /// Reads the kernel's whole table as text, but only for who has been at work since the last
    /// time.
    void remove_doubts(const std::vector<TcpSocket>& sockets, Connections& open,
                       Clock::time_point now) {
        std::unordered_map<std::uint64_t, const TcpSocket*> doubtful;
        for (const TcpSocket& socket : sockets) {
            const auto rest = rests_.find(socket.cookie);
            if (rest == rests_.end() || !rest->second.is_doubtful() || socket.inode == 0) continue;
            doubtful[socket.inode] = &socket;
        }
        if (doubtful.empty()) return;
        const auto modes = proc_net_tcp(ports_.known());
        if (!modes) return;
        for (const TcpSocket& mode : *modes) {
            const auto place = doubtful.find(mode.inode);
            if (place == doubtful.end() || !mode.interactive) continue;
            const TcpSocket& socket = *place->second;
            Rest& rest = rests_[socket.cookie];
            rest.interactive(*mode.interactive);
            open[socket.cookie].rests_since = rest.look(socket, now);
        }
    }

    Clock& clock_;
    Sockets& sockets_;
    Ports ports_;
    Sockets::Inbox inbox_;
    std::unordered_map<std::uint64_t, Rest> rests_;  ///< by cookie
    std::set<std::uint64_t> no_news_;                ///< whose end is none: they didn't count
    std::optional<std::uint64_t> opens_at_look_;     ///< passive_opens before the last look
    bool watched_ = false, tells_ = true, rest_matters_ = false;
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
