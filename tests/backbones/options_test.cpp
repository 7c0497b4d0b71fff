#include <doctest/doctest.h>

#include "backbones/networks.h"
#include "casdm/error.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The message of the ConfigError for these options; "" if there is none.
std::string error_of(const std::string& options, Backbone::Spec spec = {}) {
  try {
    make<Backbone>("unet", options, spec);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

void check_error(const std::string& options, std::initializer_list<const char*> parts, Backbone::Spec spec = {}) {
  const std::string message = error_of(options, spec);
  for (const char* part : parts) {
    CAPTURE(options);
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("the defaults make a valid network") {
  CHECK(error_of("") == "");
  CHECK(error_of("channels = 32\nattention_resolutions = []", {.image = {3, 8, 8}}) == "");
}

TEST_CASE("an attention resolution that never occurs is refused, listing those that do") {
  check_error("channels = 32\nchannel_mult = [1, 2, 2]\nattention_resolutions = [8, 12]", {"12", "32, 16, 8"});
  check_error("channels = 32\nchannel_mult = [1]", {"attention_resolutions", "16", "32 pixel"});
}

TEST_CASE("an image that cannot be halved often enough is refused") {
  check_error("channels = 32\nattention_resolutions = []", {"image_size = 36", "4 entries", "multiple of 8"},
              {.image = {3, 36, 36}});
}

TEST_CASE("widths that cannot be divided into groups are refused") {
  check_error("channels = 48", {"48", "32 groups", "`groups`"});
  check_error("channels = 32\nchannel_mult = [1, 1.5]", {"48", "channel_mult[1]", "32 groups"});
  check_error("channels = 33\nchannel_mult = [0.5]\ngroups = 1", {"16.5", "whole number"});
  CHECK(error_of("channels = 16\ngroups = 8") == "");
  CHECK(error_of("channels = 64\nchannel_mult = [0.5, 1]") == "");
}

TEST_CASE("heads that do not divide the channels are refused") {
  check_error("channels = 32\nnum_heads = 3", {"num_heads = 3", "64 channels", "16 pixels"});
  check_error("channels = 32\nnum_heads_upsample = 5", {"num_heads_upsample = 5", "divisor"});
  check_error("channels = 32\nnum_head_channels = 24", {"num_head_channels = 24", "64 channels"});
  // Only the middle has attention, so only its width matters.
  CHECK(error_of("channels = 32\nchannel_mult = [1, 3]\nattention_resolutions = []\nnum_heads = 3") == "");
}

TEST_CASE("values outside their range are refused") {
  check_error("channels = 0", {"channels"});
  check_error("channel_mult = []", {"channel_mult"});
  check_error("channel_mult = [1, -1]", {"channel_mult"});
  check_error("num_res_blocks = 0", {"num_res_blocks"});
  check_error("num_heads = 0", {"num_heads"});
  check_error("num_head_channels = 0", {"num_head_channels", "-1"});
  check_error("num_heads_upsample = -2", {"num_heads_upsample"});
  check_error("groups = 0", {"groups"});
  check_error("dropout = 1.0", {"dropout"});
  check_error("dropout = -0.1", {"dropout"});
  check_error("timestep_scale = 0.0", {"timestep_scale"});
  check_error("attention_order = \"newest\"", {"attention_order"});
  check_error("", {"channels"}, {.image = {0, 32, 32}});
  check_error("", {"classes"}, {.condition = {.num_classes = -1}});
}

TEST_CASE("a memory format that does not exist is refused with the key and those that do") {
  check_error("memory_format = \"nhwc\"", {"memory_format", "nhwc", "auto", "contiguous", "channels_last"});
}
