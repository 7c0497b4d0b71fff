#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/conformance/conformance.h"
#include "framework/device/device.h"

using namespace casdm;

TEST_CASE("a CUDA library that is loaded after LibTorch has computed on the CPU is refused with this reason") {
  at::conv2d(at::ones({1, 1, 3, 3}), at::ones({1, 1, 3, 3}));
  const char* const reason =
      "LibTorch computed on the CPU before its CUDA libraries were loaded, so this process can no longer load them";
  CHECK_THROWS_WITH_AS(conformance::test_device("stand-in"), doctest::Contains(reason), Error);
  RunOptions run;
  run.device = "auto";
  const SelectedDevice selected = select_device(run);
  CHECK(selected.device.is_cpu());
  CHECK_MESSAGE(selected.name.find(reason) != std::string::npos, selected.name);
}
