#include "launcher.h"

namespace launcher {

std::string quoteBytes(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') {
      text += "\\u00";
      text += kHex[byte >> 4];
      text += kHex[byte & 15];
    } else {
      text += c;
    }
  }
  return text + '"';
}

namespace {

// A reader for one flat object of numbers and strings: all an answer can be.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }

  bool number(int& value) {
    bool any = false;
    for (value = 0; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; at_++) {
      value = value * 10 + (text_[at_] - '0');
      any = true;
    }
    return any;
  }

  bool string(std::string& value) {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (c != '\\') {
        value += c;
      } else if (!escape(value)) {
        return false;
      }
    }
    return false;
  }

 private:
  bool escape(std::string& value) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        value += '\n';
        return true;
      case 't':
        value += '\t';
        return true;
      case 'r':
        value += '\r';
        return true;
      case 'b':
        value += '\b';
        return true;
      case 'f':
        value += '\f';
        return true;
      case 'u':
        return unicode(value);
      default:
        value += c;
        return true;
    }
  }

  // The host escapes only control characters and lone surrogates; the latter have no UTF-8 form.
  bool unicode(std::string& value) {
    unsigned code = 0;
    for (int i = 0; i < 4; i++, at_++) {
      if (at_ >= text_.size()) return false;
      const char c = text_[at_];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      code = code * 16 + static_cast<unsigned>(digit);
    }
    if (code < 0x80) {
      value += static_cast<char>(code);
    } else if (code < 0x800) {
      value += static_cast<char>(0xc0 | (code >> 6));
      value += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      value += code >= 0xd800 && code < 0xe000 ? "\xef\xbf\xbd" : threeBytes(code);
    }
    return true;
  }

  static std::string threeBytes(unsigned code) {
    return {static_cast<char>(0xe0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
            static_cast<char>(0x80 | (code & 0x3f))};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool parseAnswer(std::string_view text, Answer& answer) {
  Reader reader(text);
  if (!reader.take('{')) return false;
  do {
    std::string key;
    if (!reader.string(key) || !reader.take(':')) return false;
    std::string ignored;
    std::string& target = key == "stdout"   ? answer.out
                          : key == "stderr" ? answer.err
                          : key == "other"  ? answer.other
                                            : ignored;
    if (!(key == "code" ? reader.number(answer.code) : reader.string(target))) return false;
  } while (reader.take(','));
  return reader.take('}');
}

}  // namespace launcher
