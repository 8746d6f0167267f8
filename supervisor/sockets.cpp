#include "supervisor/sockets.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/passive_opens.hpp"
#include "supervisor/proc_net_tcp.hpp"
#include "supervisor/sock_diag.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration look_again = 1s;  // a safety net, where events tell the rest
constexpr Clock::duration soonest = 10ms;   // between two looks
constexpr Clock::duration latest = 250ms;   // between two looks, where there are no events
constexpr Clock::duration for_each_left = 1ms;
constexpr Clock::duration still_good = 100ms;  // a count, for people
constexpr int share = 10;                      // looks take at most so little of the time: a tenth

}  // namespace

Sockets::Sockets(asio::any_io_executor executor, Clock& clock, Log& log)
    : executor_(executor), clock_(clock), log_(log), gate_(executor), sooner_(executor) {}

void Sockets::do_without_netlink() {
    by_proc_ = true;
    log_.say(Level::warn, "Netlink gives no answer: connections are read from /proc/net/tcp");
}

const Sockets::Listeners* Sockets::listeners(Clock::duration age) {
    const auto now = clock_.now();
    if (listened_at_ && now - *listened_at_ <= age) return &listeners_;
    auto found = look_for_listeners();
    listened_at_.reset();
    if (!found) return nullptr;
    listened_at_ = now;
    std::set<std::uint64_t> inodes;
    for (const auto& socket : *found) inodes.insert(socket.inode);
    if (inodes != listening_) ++listeners_.version;
    listening_ = std::move(inodes);
    listeners_.sockets = std::make_shared<const std::vector<TcpSocket>>(std::move(*found));
    return &listeners_;
}

std::optional<std::vector<TcpSocket>> Sockets::look_for_listeners() {
    if (!by_proc_) {
        auto found = sock_diag_listeners();
        if (found) return found;
        do_without_netlink();
    }
    return proc_net_tcp({});
}

std::optional<std::vector<TcpSocket>> Sockets::of(const std::set<std::uint16_t>& ports) {
    if (ports.empty()) return std::vector<TcpSocket>();
    if (!by_proc_) {
        auto found = sock_diag_of(ports);
        if (found) return found;
        do_without_netlink();
    }
    return proc_net_tcp(ports);
}

std::optional<std::int64_t> Sockets::count(const std::set<std::uint16_t>& ports) {
    const auto now = clock_.now();
    if (by_proc_ || !counted_at_ || now - *counted_at_ > still_good) {
        const auto all = by_proc_ ? of(ports) : sock_diag_of({});
        if (!all) return std::nullopt;
        counted_.clear();
        for (const auto& socket : *all) {
            if (is_open(socket)) ++counted_[socket.port];
        }
        counted_at_ = now;
    }
    std::int64_t sum = 0;
    for (const auto port : ports) {
        const auto place = counted_.find(port);
        if (place != counted_.end()) sum += place->second;
    }
    return sum;
}

void Sockets::join(Inbox& inbox) {
    inboxes_.insert(&inbox);
    begin();
    ports_changed();
}

void Sockets::leave(Inbox& inbox) {
    inboxes_.erase(&inbox);
    if (inboxes_.empty()) {
        if (events_) events_->stop();
        events_.reset();
        sooner_.ring();
    } else {
        ports_changed();
    }
}

void Sockets::ports_changed() {
    if (!events_) return;
    std::set<std::uint16_t> all;
    for (const auto* inbox : inboxes_) all.insert(inbox->ports.begin(), inbox->ports.end());
    events_->only(all);
}

void Sockets::say_without_events(const std::string& trouble) {
    without_events_ = true;
    log_.say(Level::warn,
             "The kernel doesn't tell when connections close: they are looked at instead",
             {{"error", trouble}});
}

/// Subscribed before the first look, so that nothing falls between the two.
void Sockets::begin() {
    const auto failed = [this](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (...) {
            log_.say(Level::error, "Sockets can't be watched", {{"error", failure_text()}});
        }
    };
    if (!events_ && !without_events_ && !by_proc_) {
        // Caught here: without events there are looks.
        try {
            events_ = std::make_shared<CloseEvents>(executor_);
            gate_.spawn(hear_of_closes(events_), failed);
        } catch (...) {
            say_without_events(failure_text());
        }
    }
    if (!looking_) {
        looking_ = true;
        gate_.spawn(look_regularly(), failed);
    }
}

awaitable<void> Sockets::hear_of_closes(std::shared_ptr<CloseEvents> events) {
    std::string trouble;
    // Caught here: they were stopped, or broke; then looks go on.
    try {
        for (;;) {
            const CloseEvents::News news = co_await events->next();
            tell(news);
        }
    } catch (...) {
        trouble = failure_text();
    }
    if (events_ != events) co_return;
    events_.reset();
    say_without_events(trouble);
    sooner_.ring();
}

void Sockets::tell(const CloseEvents::News& news) {
    for (auto* inbox : inboxes_) {
        const std::size_t before = inbox->closed.size();
        for (const auto& socket : news.closed) {
            if (inbox->ports.contains(socket.port)) inbox->closed.push_back(socket.cookie);
        }
        if (inbox->closed.size() != before) inbox->bell.ring();
    }
    if (!news.lost) return;
    lost_ = true;
    sooner_.ring();
}

awaitable<void> Sockets::look_regularly() {
    auto last = clock_.now();
    while (!inboxes_.empty()) {
        const auto next = last + (lost_ ? soonest : pause());
        if (clock_.now() < next) co_await before(clock_, next, done(sooner_.heard()));
        if (clock_.now() < last + (lost_ ? soonest : pause())) continue;
        lost_ = false;
        look();
        last = clock_.now();
    }
    looking_ = false;
}

void Sockets::look() {
    std::set<std::uint16_t> all;
    for (const auto* inbox : inboxes_) all.insert(inbox->ports.begin(), inbox->ports.end());
    const auto began = clock_.now();
    const auto opens = passive_opens();
    const auto found = of(all);
    cost_ = clock_.now() - began;
    left_ = found ? found->size() : 0;
    for (auto* inbox : inboxes_) {
        inbox->looked = true;
        inbox->opens = opens;
        inbox->look.reset();
        if (found) {
            inbox->look.emplace();
            for (const auto& socket : *found) {
                if (inbox->ports.contains(socket.port)) inbox->look->push_back(socket);
            }
        }
        inbox->bell.ring();
    }
}

Clock::duration Sockets::pause() const {
    if (events_) return look_again;
    const auto by_number = for_each_left * static_cast<Clock::duration::rep>(left_);
    return std::clamp<Clock::duration>(std::max(by_number, share * cost_), soonest, latest);
}

}  // namespace lastcall
