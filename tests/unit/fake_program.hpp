#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/lb/program.hpp"
#include "supervisor/clock.hpp"

namespace lastcall {

/// What happens with the helper programs of one test, whichever of their lives it is.
struct Stage {
    /// Called with each line that is written to the helper of this life (the first is 1).
    std::function<void(int life, const std::string& line)> hears;
    std::function<void(int life)> begins;
    std::function<void(int life)> dismissed;

    int lives = 0;
    int refused_starts = 0;  ///< so many fail first, as if it weren't there
    std::vector<Clock::time_point> starts;
    std::vector<int> signals;
    bool there = false;                                     ///< one runs now
    std::function<void(const std::string&)> say, complain;  ///< of the present one
    std::function<void(const std::string&)> die;
};

/// A helper program in virtual time: it does what the stage says.
class FakeProgram final : public helper::Program {
 public:
    FakeProgram(asio::any_io_executor executor, Stage& stage)
        : stage_(stage), out_(executor), err_(executor), over_(executor) {
        const int life = ++stage_.lives;
        life_ = life;
        stage_.there = true;
        stage_.say = [this](const std::string& text) {
            output_.push_back(text);
            out_.ring();
        };
        stage_.complain = [this](const std::string& text) {
            errors_.push_back(text);
            err_.ring();
        };
        stage_.die = [this](const std::string& how) {
            how_ = how;
            over_.set();
            output_.push_back("");
            out_.ring();
            errors_.push_back("");
            err_.ring();
        };
        if (stage_.begins) stage_.begins(life);
    }
    ~FakeProgram() override {
        stage_.there = false;
        stage_.say = stage_.complain = stage_.die = [](const std::string&) {};
    }
    awaitable<std::string> read() override {
        while (output_.empty()) co_await out_.heard();
        std::string text = output_.front();
        if (!text.empty()) output_.pop_front();
        co_return text;
    }
    awaitable<std::string> read_errors() override {
        while (errors_.empty()) co_await err_.heard();
        std::string text = errors_.front();
        if (!text.empty()) errors_.pop_front();
        co_return text;
    }
    awaitable<void> write(std::string text) override {
        while (!text.empty()) {
            const auto end = text.find('\n');
            const std::string line = text.substr(0, end);
            text.erase(0, end + 1);
            if (stage_.hears) stage_.hears(life_, line);
        }
        co_return;
    }
    void dismiss() override {
        if (stage_.dismissed) stage_.dismissed(life_);
    }
    void signal(int number) override {
        stage_.signals.push_back(number);
        stage_.die("it was killed");
    }
    awaitable<std::string> end() override {
        co_await over_.wait();
        co_return how_;
    }

 private:
    Stage& stage_;
    int life_ = 0;
    std::deque<std::string> output_, errors_;
    Bell out_, err_;
    Event over_;
    std::string how_;
};

inline helper::StartProgram starter(asio::any_io_executor executor, Clock& clock, Stage& stage) {
    return [executor, &clock, &stage](const std::vector<std::string>&) {
        stage.starts.push_back(clock.now());
        if (stage.refused_starts > 0) {
            --stage.refused_starts;
            throw std::system_error(ENOENT, std::generic_category(), "cannot start 'agent-lb-x'");
        }
        return std::make_unique<FakeProgram>(executor, stage);
    };
}

}  // namespace lastcall
