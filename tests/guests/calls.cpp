// Makes the calls on its socket that the client asks for, a line each, and answers each with
// a line: `ok` and the result as Python prints it, or `err` and the error.
#include "sendfile.hpp"
#include "socketserver.hpp"
#include "tls.hpp"

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

using socketserver::Error;
using socketserver::Result;
using std::string;

namespace {

string hex(std::string_view data) {
  string text;
  for (unsigned char byte : data) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    text += digits;
  }
  return text;
}

string from_hex(const string &text) {
  string data;
  for (size_t i = 0; i + 1 < text.size(); i += 2) data += static_cast<char>(std::strtol(text.substr(i, 2).c_str(), nullptr, 16));
  return data;
}

// Returns a truth value as Python prints it.
string python(bool value) { return value ? "True" : "False"; }

// Returns the result of a call as Python prints it.
Result<string> none(Result<> result) {
  return result.transform([] { return string("None"); });
}
Result<string> show(Result<string> result) { return result.transform(hex); }
template <class Number>
Result<string> show(Result<Number> result) {
  return result.transform([](Number number) { return std::to_string(number); });
}

// Returns the name that the handler in Python gives to the error.
string name_of(const Error &error) {
  switch (error.code().value_or(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_OTHER)) {
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_WOULD_BLOCK: return "BlockingIOError";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_TIMED_OUT: return "TimeoutError";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_INVALID_ARGUMENT: return "EINVAL";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_NOT_SUPPORTED: return "EOPNOTSUPP";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_NOT_CONNECTED: return "ENOTCONN";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_BROKEN_PIPE: return "EPIPE";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_DENIED: return "EACCES";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_NO_SUCH_FILE: return "ENOENT";
    default: return error.text();
  }
}

struct Calls : socketserver::BaseRequestHandler {
  Result<> handle() override {
    for (;;) {
      auto line = command();
      if (!line) return std::unexpected(line.error());
      if (line->empty()) return {};
      auto result = call(*line);
      auto answer = result ? "ok " + *result + "\n" : "err " + name_of(result.error()) + "\n";
      if (!request.getblocking()) (void)request.settimeout({});
      if (auto sent = request.sendall(answer); !sent) return sent;
    }
  }

  // Receives a line without a timeout. It is empty at the end.
  Result<string> command() {
    auto timeout = request.gettimeout();
    (void)request.settimeout({});
    string line;
    while (!line.ends_with('\n')) {
      auto byte = request.recv(1);
      if (!byte || byte->empty()) return byte;
      line += *byte;
    }
    (void)request.settimeout(timeout);
    return line;
  }

  Result<string> call(const string &line) {
    std::istringstream in(line);
    std::vector<string> words;
    std::vector<int> numbers;
    for (string word; in >> word; words.push_back(word)) {
      char *end;
      long number = std::strtol(word.c_str(), &end, 10);
      if (*end == 0) numbers.push_back(static_cast<int>(number));
    }
    size_t count = numbers.size();
    numbers.resize(4);
    const auto name = words[0], text = words.size() > 1 ? words[1] : string();
    const auto [a, b, c, d] = std::array{numbers[0], numbers[1], numbers[2], numbers[3]};
    if (name == "recv") return show(request.recv(a, b));
    if (name == "peek") {
      auto peeked = request.recv(a, b);
      auto all = request.recv(100);
      return peeked ? show(all).transform([&](auto rest) { return hex(*peeked) + " " + rest; }) : peeked;
    }
    if (name == "recv_into") {
      string buffer(a, '\0');
      auto received = request.recv_into(buffer, b);
      return show(received).transform([&](auto number) { return number + " " + hex(buffer); });
    }
    if (name == "recvfrom") {
      return request.recvfrom(a, b).transform([](auto both) {
        return hex(both.first) + " " + (both.second ? both.second->text() : "None");
      });
    }
    if (name == "send") return show(request.send(text, a));
    if (name == "sendall") return none(request.sendall(text, a));
    if (name == "settimeout") {
      return none(request.settimeout(text == "None" ? std::nullopt : std::optional(std::strtod(text.c_str(), nullptr))));
    }
    if (name == "gettimeout") {
      char seconds[32];
      auto timeout = request.gettimeout();
      std::snprintf(seconds, sizeof seconds, "%g", timeout.value_or(0));
      return timeout ? seconds : "None";
    }
    if (name == "setblocking") return none(request.setblocking(text == "True"));
    if (name == "getblocking") return python(request.getblocking());
    if (name == "getsockopt") return count == 3 ? show(request.getsockopt(a, b, c)) : show(request.getsockopt(a, b));
    if (name == "setsockopt") return none(request.setsockopt(a, b, c));
    if (name == "setsockopt_bytes") return none(request.setsockopt(a, b, from_hex(words[3].substr(1))));
    if (name == "attributes") {
      return string(request.family() == SS_AF_INET ? "AF_INET" : "another family") +
             (request.type() == SS_SOCK_STREAM ? " SOCK_STREAM " : " another type ") + std::to_string(request.proto());
    }
    if (name == "names") return request.getpeername().transform([&](auto peer) { return python(peer == client_address); });
    if (name == "sendfile") {
      auto file = socketserver::File::open(text);
      if (!file) return std::unexpected(file.error());
      auto most = b < 0 ? std::nullopt : std::optional<uint64_t>(b);
      return show(socketserver::sendfile(request, *file, a, most));
    }
    if (name == "version") return socketserver::version(request).value_or("None");
    if (name == "cipher") {
      auto cipher = socketserver::cipher(request);
      return cipher ? cipher->name + " " + cipher->protocol + " " + std::to_string(cipher->secret_bits) : "None";
    }
    if (name == "alpn") return socketserver::selected_alpn_protocol(request).value_or("None");
    if (name == "peercert") return socketserver::getpeercert(request).transform(hex).value_or("None");
    if (name == "hostname") return socketserver::server_hostname(request).value_or("None");
    if (name == "shutdown") return none(request.shutdown(a));
    return "None";
  }
};

}  // namespace

SOCKETSERVER_EXPORT(Calls)
