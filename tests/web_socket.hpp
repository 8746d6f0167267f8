#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>

/// The WebSockets of a test service (RFC 6455): they echo what they get until the client closes,
/// or `say_goodbye`.
class WebSockets {
 public:
    WebSockets();
    ~WebSockets();

    /// Takes over a connection whose upgrade request (`head`, and `rest`: what came behind it) was
    /// read. `heard` is called for each message. Returns when the connection is closed.
    boost::asio::awaitable<void> talk(boost::asio::ip::tcp::socket socket, std::string head,
                                      std::string rest,
                                      std::function<void(const std::string&)> heard);

    /// A close frame (1001, going away) to every client.
    void say_goodbye();

 private:
    class Talk;
    std::set<Talk*> talks_;
};
