#pragma once
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall::cli {

/// The command line is wrong: exit 2.
class Usage : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// What is asked for is the help text: exit 0.
class Help : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The arguments of one command: it says what it takes and where it goes, then calls `parse`.
/// Names are CLI11's ("--port", "-h,--help"); `value` stands for the value in the help ("D").
class Arguments {
 public:
    /// `words`: what follows the command's name.
    Arguments(std::string command, std::vector<std::string> words);
    ~Arguments();

    /// One sentence, and examples (a line each) for the help.
    void about(std::string sentence, std::string examples);
    void flag(const std::string& name, bool& into, const std::string& help);
    void value(const std::string& name, const std::string& value, std::string& into,
               const std::string& help);
    void value(const std::string& name, const std::string& value, std::optional<std::string>& into,
               const std::string& help);
    void values(const std::string& name, const std::string& value, std::vector<std::string>& into,
                const std::string& help);
    /// Words without a dash in front: exactly one; one or none; any number, `least` or more.
    void word(const std::string& name, std::string& into);
    void word(const std::string& name, std::optional<std::string>& into);
    void words(const std::string& name, std::vector<std::string>& into, std::size_t least);
    /// Everything behind "--", as it is; at least one word. Throws Usage if it is missing.
    void rest(const std::string& name, std::vector<std::string>& into);

    /// Fills what was named above. Throws Usage or Help.
    void parse();

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// The word among `known` that is nearest to `typed`: " (did you mean 'stop'?)", or nothing if none
/// is near.
std::string suggestion(std::string_view typed, const std::vector<std::string>& known);

}  // namespace lastcall::cli
