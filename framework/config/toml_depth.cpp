#include "framework/config/toml_depth.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/limits.h"

namespace casdm {

namespace {

/// Counts generously (a float counts as a key of two parts); nesting that is slightly too deep is found during
/// conversion.
constexpr std::size_t kDeepestParsed = 4 * kDeepestNesting;

class DepthReader {
 public:
  DepthReader(std::string_view toml, const std::string& file) : rest_(toml), file_(file) {}

  void run() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (c == '"' || c == '\'') {
        skip_string(c);
        word();
      } else if (c == '#') {
        skip(std::min(rest_.find('\n'), rest_.size()));
      } else if (is_punctuation(c)) {
        punctuation(c);
        skip(1);
      } else {
        skip(std::max<std::size_t>(1, length_of_word()));
        word();
      }
    }
  }

 private:
  static bool is_punctuation(char c) { return std::string_view(" \t\r\n.=,[]{}").find(c) != std::string_view::npos; }

  std::size_t length_of_word() const {
    const auto end = std::find_if(rest_.begin(), rest_.end(),
                                  [](char c) { return is_punctuation(c) || c == '#' || c == '"' || c == '\''; });
    return static_cast<std::size_t>(end - rest_.begin());
  }

  void skip(std::size_t count) {
    line_ += static_cast<int>(std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(count), '\n'));
    rest_.remove_prefix(count);
  }

  void skip_string(char quote) {
    const std::string triple(3, quote);
    const bool is_long = rest_.starts_with(triple);
    std::size_t at = is_long ? 3 : 1;
    while (at < rest_.size()) {
      if (quote == '"' && rest_[at] == '\\') {
        at += 2;
      } else if (is_long && rest_.substr(at).starts_with(triple)) {
        at += 3;
        for (int more = 0; more < 2 && at < rest_.size() && rest_[at] == quote; ++more) ++at;
        break;
      } else if (!is_long && (rest_[at] == quote || rest_[at] == '\n')) {
        at += rest_[at] == quote ? 1 : 0;
        break;
      } else {
        ++at;
      }
    }
    skip(std::min(at, rest_.size()));
  }

  void word() {
    parts_ = is_dotted_ ? parts_ + 1 : 1;
    is_dotted_ = false;
    is_line_begun_ = true;
    check(header_ + open_depth_ + parts_);
  }

  void punctuation(char c) {
    switch (c) {
      case '.':
        is_dotted_ = true;
        break;
      case ',':
        parts_ = 0;
        break;
      case '\n':
        if (open_.empty()) {
          parts_ = 0;
          is_line_begun_ = is_header_ = false;
        }
        break;
      case '[':
      case '{':
        if (c == '[' && open_.empty() && !is_line_begun_) {
          is_header_ = true;
          header_ = 0;
        } else if (!is_header_) {
          open_.push_back(std::max<std::size_t>(1, parts_));
          open_depth_ += open_.back();
          parts_ = 0;
          check(header_ + open_depth_);
        }
        break;
      case ']':
      case '}':
        if (is_header_) {
          header_ = std::max(header_, 2 * parts_);  // each part may be an array of tables
          parts_ = 0;
        } else if (!open_.empty()) {
          open_depth_ -= open_.back();
          open_.pop_back();
          parts_ = 0;
        }
        break;
      default:
        break;
    }
    if (c != '.' && c != ' ' && c != '\t') is_dotted_ = false;
  }

  void check(std::size_t depth) const {
    if (depth > kDeepestParsed) {
      fail_at({file_, line_, 1, ""}, text("tables and arrays nest deeper than ", kDeepestNesting));
    }
  }

  std::string_view rest_;
  const std::string& file_;
  int line_ = 1;
  std::size_t parts_ = 0;   ///< of the dotted key being read
  std::size_t header_ = 0;  ///< depth of the table with the last [header]
  std::vector<std::size_t> open_;
  std::size_t open_depth_ = 0;  ///< the sum of `open_`
  bool is_dotted_ = false;
  bool is_header_ = false;
  bool is_line_begun_ = false;
};

}  // namespace

void refuse_deep_nesting(const std::string& toml, const std::string& file) { DepthReader(toml, file).run(); }

}  // namespace casdm
