#include "tests/web_socket.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

namespace asio = boost::asio;
namespace websocket = boost::beast::websocket;
using asio::awaitable;

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

class WebSockets::Talk {
 public:
    explicit Talk(asio::ip::tcp::socket socket)
        : stream_(std::move(socket)),
          closed_(stream_.get_executor(), asio::steady_timer::time_point::max()) {}

    awaitable<void> last(std::string request,
                         const std::function<void(const std::string&)>& heard) {
        const auto [refused] = co_await stream_.async_accept(asio::buffer(request), quietly);
        while (!refused) {
            boost::beast::flat_buffer message;
            const auto [gone, size] = co_await stream_.async_read(message, quietly);
            if (gone) break;
            heard(boost::beast::buffers_to_string(message.data()));
            stream_.text(stream_.got_text());
            const auto [cut, written] = co_await stream_.async_write(message.data(), quietly);
            if (cut) break;
        }
        if (closing_ && !over_)
            co_await closed_.async_wait(quietly);  // the close frame is still under way
    }

    void close() {
        if (closing_) return;
        closing_ = true;
        stream_.async_close(websocket::close_code::going_away, [this](boost::system::error_code) {
            over_ = true;
            closed_.cancel();
        });
    }

 private:
    websocket::stream<asio::ip::tcp::socket> stream_;
    asio::steady_timer closed_;
    bool closing_ = false, over_ = false;
};

WebSockets::WebSockets() = default;
WebSockets::~WebSockets() = default;

awaitable<void> WebSockets::talk(asio::ip::tcp::socket socket, std::string head, std::string rest,
                                 std::function<void(const std::string&)> heard) {
    Talk talk(std::move(socket));
    talks_.insert(&talk);
    co_await talk.last(head + rest, heard);
    talks_.erase(&talk);
}

void WebSockets::say_goodbye() {
    for (auto* talk : talks_) talk->close();
}
