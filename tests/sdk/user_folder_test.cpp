#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "casdm/hex.h"
#include "casdm/user_folder.h"

using namespace casdm;

namespace {

/// Sets an environment variable while this object lives; null: unsets it.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) const {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }

  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("a user's folders are where the XDG variables say, or below the home folder") {
  const Variable home("HOME", "/home/ada");
  const std::pair<UserFolder, std::pair<const char*, const char*>> cases[] = {
      {UserFolder::data, {"XDG_DATA_HOME", "/home/ada/.local/share/casdm"}},
      {UserFolder::state, {"XDG_STATE_HOME", "/home/ada/.local/state/casdm"}},
      {UserFolder::cache, {"XDG_CACHE_HOME", "/home/ada/.cache/casdm"}}};
  for (const auto& [folder, expected] : cases) {
    CAPTURE(expected.first);
    {
      const Variable given(expected.first, "/srv/x");
      CHECK(user_folder(folder) == "/srv/x/casdm");
    }
    for (const char* useless : {static_cast<const char*>(nullptr), "", "relative"}) {
      const Variable given(expected.first, useless);
      CHECK(user_folder(folder) == expected.second);
    }
  }
}

TEST_CASE("there is no user folder if HOME is not set or is useless") {
  for (const char* useless : {static_cast<const char*>(nullptr), "", "relative"}) {
    const Variable home("HOME", useless);
    const Variable given("XDG_STATE_HOME", nullptr);
    CHECK_FALSE(user_folder(UserFolder::state).has_value());
  }
}

TEST_CASE("hexadecimal digits are lower-case, and a number has all its digits") {
  const unsigned char bytes[] = {0x00, 0x1f, 0xa0};
  CHECK(hexadecimal(bytes, 3) == "001fa0");
  CHECK(hexadecimal(0x1234abcdU) == "000000001234abcd");
}
