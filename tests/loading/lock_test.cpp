#include "framework/loading/lock.h"

#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/config/document.h"
#include "framework/config/parse_toml.h"
#include "support/messages.h"

using namespace casdm;
using casdm::testing::message_of;

TEST_CASE("two entries of one id in a lock are refused, with the place of each") {
  const Value once =
      parse_toml("[[plugins.lock]]\nid = 'a'\nsha256 = '1'\n[[plugins.lock]]\nid = 'b'\nsha256 = '1'", "x");
  CHECK(lock_in(once).size() == 2);
  const Value twice = parse_toml(
      "[[plugins.lock]]\nid = 'a'\nsha256 = '1'\n\n[[plugins.lock]]\nid = 'b'\nsha256 = '1'\n"
      "[[plugins.lock]]\n  id = 'a'\nsha256 = '2'",
      "x");
  CHECK(message_of<ConfigError>([&] { lock_in(twice); }) ==
        "x:9:8: plugins.lock.2.id: \"a\" is in the lock twice, first as x:2:6: plugins.lock.0.id: keep one of the two");
}
