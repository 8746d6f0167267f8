#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace lastcall::cli {

class Arguments::Impl {
 public:
    Impl(std::string command, std::vector<std::string> words)
        : command_(std::move(command)), words_(std::move(words)) {
        app_.set_help_flag();
    }

    CLI::Option* add(CLI::Option* option, const std::string& name, const std::string& value,
                     const std::string& help) {
        options_.push_back({name, value, help});
        return option;
    }
    void add_word(CLI::Option* option, const std::string& name, bool required, bool several) {
        option->option_text(name);
        if (required) needed_.push_back({option, name});
        const std::string text = name + (several ? "…" : "");
        usage_ += " " + (required ? text : "[" + text + "]");
    }

    void parse() {
        bool help = false;
        flag("-h, --help", help, "show this");
        take_rest();
        const bool asked = std::ranges::any_of(
            words_, [](const std::string& word) { return word == "-h" || word == "--help"; });
        if (asked) throw Help(help_text());
        std::reverse(words_.begin(), words_.end());  // CLI11 wants the first word last
        try {
            app_.parse(words_);
        } catch (const CLI::ExtrasError&) {  // CLI11's texts speak of its own matters
            throw_unexpected();
        } catch (const CLI::ParseError& error) {
            throw Usage(wrong(error.what()));
        }
        for (const auto& [option, name] : needed_) {
            if (option->count() == 0) throw Usage(wrong(name + " is missing"));
        }
        if (rest_ && rest_->empty()) {
            throw Usage(wrong(rest_name_ + " is missing: it goes behind '--'"));
        }
    }

    void flag(const std::string& name, bool& into, const std::string& help) {
        add(app_.add_flag(name, into), name, "", help);
    }

    CLI::App app_;
    std::string sentence_, examples_;
    std::vector<std::string>* rest_ = nullptr;
    std::string rest_name_;

 private:
    struct Named {
        std::string name, value, help;
    };

    void take_rest() {
        if (!rest_) return;
        const auto mark = std::find(words_.begin(), words_.end(), "--");
        if (mark == words_.end()) return;
        rest_->assign(mark + 1, words_.end());
        words_.erase(mark, words_.end());
    }

    [[noreturn]] void throw_unexpected() const {
        const std::vector<std::string> extras = app_.remaining();
        const std::string first = extras.empty() ? "" : extras.front();
        std::string hint;
        if (first.starts_with("-")) {
            std::vector<std::string> known;
            for (const Named& each : options_)
                known.push_back(each.name.substr(each.name.find("--")));
            hint = suggestion(first.substr(0, first.find('=')), known);
            throw Usage(wrong("unknown option '" + first + "'" + hint));
        }
        if (rest_) hint = " (the command to run goes behind '--')";
        throw Usage(wrong("unexpected '" + first + "'" + hint));
    }

    std::string wrong(const std::string& what) const {
        return fmt::format("{}; see 'agentctl {} --help'", what, command_);
    }

    std::string help_text() const {
        std::string text = fmt::format("agentctl {}: {}\n\n", command_, sentence_);
        const std::string behind = rest_ ? " -- " + rest_name_ : "";
        text +=
            fmt::format("Usage: agentctl {} [options]{}{}\n\nOptions:\n", command_, usage_, behind);
        std::size_t width = 0;
        const auto left = [](const Named& each) {
            return each.name + (each.value.empty() ? "" : " " + each.value);
        };
        for (const Named& each : options_) width = std::max(width, left(each).size());
        for (const Named& each : options_) {
            text += fmt::format("  {:<{}}  {}\n", left(each), width, each.help);
        }
        return text + "\nExamples:\n" + examples_;
    }

    std::string command_;
    std::vector<std::string> words_;
    std::string usage_;
    std::vector<Named> options_;
    std::vector<std::pair<CLI::Option*, std::string>> needed_;
};

Arguments::Arguments(std::string command, std::vector<std::string> words)
    : impl_(std::make_unique<Impl>(std::move(command), std::move(words))) {}
Arguments::~Arguments() = default;

void Arguments::about(std::string sentence, std::string examples) {
    impl_->sentence_ = std::move(sentence);
    impl_->examples_ = std::move(examples);
}

void Arguments::flag(const std::string& name, bool& into, const std::string& help) {
    impl_->flag(name, into, help);
}

void Arguments::value(const std::string& name, const std::string& value, std::string& into,
                      const std::string& help) {
    impl_->add(impl_->app_.add_option(name, into), name, value, help)->take_last();
}

void Arguments::value(const std::string& name, const std::string& value,
                      std::optional<std::string>& into, const std::string& help) {
    const auto keep = [&into](const std::string& text) { into = text; };
    auto* const option = impl_->app_.add_option_function<std::string>(name, keep);
    impl_->add(option, name, value, help)->take_last();
}

void Arguments::values(const std::string& name, const std::string& value,
                       std::vector<std::string>& into, const std::string& help) {
    impl_->add(impl_->app_.add_option(name, into), name, value, help)->allow_extra_args(false);
}

void Arguments::word(const std::string& name, std::string& into) {
    impl_->add_word(impl_->app_.add_option(name, into), name, true, false);
}

void Arguments::word(const std::string& name, std::optional<std::string>& into) {
    const auto keep = [&into](const std::string& text) { into = text; };
    impl_->add_word(impl_->app_.add_option_function<std::string>(name, keep), name, false, false);
}

void Arguments::words(const std::string& name, std::vector<std::string>& into, std::size_t least) {
    impl_->add_word(impl_->app_.add_option(name, into), name, least > 0, true);
}

void Arguments::rest(const std::string& name, std::vector<std::string>& into) {
    impl_->rest_ = &into;
    impl_->rest_name_ = name;
}

void Arguments::parse() { impl_->parse(); }

std::string suggestion(std::string_view typed, const std::vector<std::string>& known) {
    std::string nearest;
    std::size_t distance = typed.size() < 4 ? 2 : 3;  // so far off is no typing error any more
    for (const std::string& each : known) {
        std::vector<std::size_t> row(each.size() + 1);  // Levenshtein's
        for (std::size_t j = 0; j <= each.size(); ++j) row[j] = j;
        for (std::size_t i = 0; i < typed.size(); ++i) {
            std::size_t diagonal = std::exchange(row[0], i + 1);
            for (std::size_t j = 0; j < each.size(); ++j) {
                const std::size_t swap = diagonal + (typed[i] != each[j]);
                diagonal = row[j + 1];
                row[j + 1] = std::min({swap, row[j] + 1, diagonal + 1});
            }
        }
        if (row.back() < distance) {
            distance = row.back();
            nearest = each;
        }
    }
    return nearest.empty() ? "" : " (did you mean '" + nearest + "'?)";
}

}  // namespace lastcall::cli
