#include "cli/agentctl.hpp"

int main(int count, char** words) {
    lastcall::cli::Terminal terminal;
    return lastcall::cli::agentctl({words + 1, words + count}, terminal);
}
