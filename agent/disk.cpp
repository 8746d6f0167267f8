#include "agent/disk.hpp"

#include <condition_variable>
#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace lastcall {
namespace {

using Time = std::chrono::steady_clock;  // of condition variables; no deadline of a stop is on it

constexpr Disk::Duration patience_at_the_end{2000};

}  // namespace

class Disk::Thread {
 public:
    void start(const std::shared_ptr<Thread>& self) {
        if (thread_.joinable()) return;
        // Signals are for the thread that waits for them.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        thread_ = std::thread([self] { self->work_until_closed(); });
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    void close() {
        if (!thread_.joinable()) return;
        std::unique_lock lock(mutex_);
        closed_ = true;
        wake_.notify_one();
        const bool over = idle_.wait_for(lock, patience_at_the_end, [this] { return over_; });
        lock.unlock();
        if (over) {
            thread_.join();
        } else {
            thread_.detach();
        }
    }

    template <class Change>
    void change(Change make) {
        {
            const std::lock_guard lock(mutex_);
            make();
        }
        wake_.notify_one();
    }

    bool finish(Duration limit) {
        std::unique_lock lock(mutex_);
        return idle_.wait_for(lock, limit, [this] { return urgent_.empty() && !busy_; });
    }

    struct Later {
        Time::time_point at;
        Work work;
    };
    struct Job {
        const void* owner;
        Work work;
    };
    std::deque<Job> urgent_;
    std::deque<Step> spare_;
    std::map<const void*, Later> later_;

 private:
    void work_until_closed() {
        std::unique_lock lock(mutex_);
        while (do_next(lock)) {
        }
        over_ = true;
        idle_.notify_all();
    }

    /// False: it is closed, and nothing urgent is left.
    bool do_next(std::unique_lock<std::mutex>& lock) {
        if (!urgent_.empty()) {
            Job job = std::move(urgent_.front());
            urgent_.pop_front();
            do_now(lock, std::move(job));
            return true;
        }
        if (closed_) return false;
        if (const auto due = next_later(); due != later_.end() && due->second.at <= Time::now()) {
            Job job{due->first, std::move(due->second.work)};
            later_.erase(due);
            do_now(lock, std::move(job));
            return true;
        }
        if (!spare_.empty()) {
            Step step = std::move(spare_.front());
            spare_.pop_front();
            bool more = false;
            unlocked(lock, [&step, &more] { more = step(); });
            if (more) spare_.push_back(std::move(step));
            return true;
        }
        wait(lock);
        return true;
    }

    void do_now(std::unique_lock<std::mutex>& lock, Job job) {
        std::optional<Duration> again;
        unlocked(lock, [&job, &again] { again = job.work(); });
        later_.erase(job.owner);
        if (again) later_[job.owner] = {Time::now() + *again, std::move(job.work)};
    }

    template <class What>
    void unlocked(std::unique_lock<std::mutex>& lock, const What& work) {
        busy_ = true;
        lock.unlock();
        work();
        lock.lock();
        busy_ = false;
        idle_.notify_all();
    }

    void wait(std::unique_lock<std::mutex>& lock) {
        const auto next = next_later();
        if (next == later_.end()) return wake_.wait(lock);
        const auto at = next->second.at;  // it may be gone when the wait ends
        wake_.wait_until(lock, at);
    }

    std::map<const void*, Later>::iterator next_later() {
        auto first = later_.begin();
        for (auto each = first; each != later_.end(); ++each) {
            if (each->second.at < first->second.at) first = each;
        }
        return first;
    }

    std::mutex mutex_;  // guards everything but `thread_`
    std::condition_variable wake_, idle_;
    bool busy_ = false, closed_ = false, over_ = false;
    std::thread thread_;
};

Disk::Disk() : thread_(std::make_shared<Thread>()) {}

Disk::~Disk() { thread_->close(); }

void Disk::urgent(const void* owner, Work work) {
    thread_->change([this, owner, &work] { thread_->urgent_.push_back({owner, std::move(work)}); });
    thread_->start(thread_);
}

void Disk::spare(Step step) {
    thread_->change([this, &step] { thread_->spare_.push_back(std::move(step)); });
    thread_->start(thread_);
}

bool Disk::finish(Duration limit) { return thread_->finish(limit); }

}  // namespace lastcall
